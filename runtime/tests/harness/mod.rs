//! What the integration tests of this crate share: every backend by one macro,
//! and a watchdog that says which test hung.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::future::Future;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bourn::Backend;
use bourn::runtime::{Builder, Runtime};

/// The longest that any test may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the process with a message if `what` lasts too long.
pub fn watched<R>(what: &str, body: impl FnOnce() -> R) -> R {
    let (done, watch) = mpsc::channel::<()>();
    let name = what.to_owned();
    thread::spawn(move || {
        if watch.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs: not done after {PATIENCE:?}");
            std::process::abort();
        }
    });
    let result = body();
    drop(done);
    result
}

/// The runtimes that a property has to hold for, with their names.
pub fn flavors() -> impl Iterator<Item = (String, Builder)> {
    let workers = [1, 2, 8].map(|count| format!("multi_thread:{count}"));
    ["current_thread".to_owned()].into_iter().chain(workers).map(|name| {
        let builder = flavor(&name);
        (name, builder)
    })
}

/// What the name stands for.
fn flavor(name: &str) -> Builder {
    match name.split_once(':') {
        None if name == "current_thread" => Builder::new_current_thread(),
        Some(("multi_thread", workers)) => {
            let workers = workers.parse().expect("a number of workers");
            // Some with a reactor for each, some with one for all.
            Builder::new_multi_thread().worker_threads(workers).workers_per_reactor(4).on_stall(|_| {})
        }
        _ => panic!("no flavor {name}: it is current_thread, or multi_thread:N"),
    }
}

/// What `BOURN_FLAVOR` names, or else a runtime without workers.
pub fn runtime(backend: Backend) -> Runtime {
    let name = std::env::var("BOURN_FLAVOR").unwrap_or_else(|_| "current_thread".to_owned());
    flavor(&name).backend(backend).build().expect("a runtime")
}

pub fn run<F: Future>(backend: Backend, what: &str, body: F) -> F::Output {
    watched(&format!("{what} on {backend}"), || runtime(backend).block_on(body))
}

/// Makes a test of each async function on each backend.
#[macro_export]
macro_rules! on_every_backend {
    ($($name:ident),+ $(,)?) => {
        $crate::on_every_backend!(@ epoll Epoll, $($name),+);
        $crate::on_every_backend!(@ poll Poll, $($name),+);
        $crate::on_every_backend!(@ select Select, $($name),+);
        $crate::on_every_backend!(@ mio Mio, $($name),+);
    };
    (@ $module:ident $backend:ident, $($name:ident),+) => {
        mod $module {
            $(#[test]
            fn $name() {
                $crate::harness::run(bourn::Backend::$backend, stringify!($name), super::$name());
            })+
        }
    };
}

//! What the integration tests of this crate share: every backend by one macro,
//! and a watchdog that says which test hung.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::future::Future;
use std::io::Write as _;
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
            // Not `eprintln!`, which the test harness keeps to itself, and loses here.
            let _told = writeln!(std::io::stderr(), "{name} hangs: not done after {PATIENCE:?}");
            std::process::abort();
        }
    });
    let result = body();
    drop(done);
    result
}

/// The runtimes that a property has to hold for, with their names.
pub fn flavors() -> impl Iterator<Item = (String, Builder)> {
    ["current_thread", "multi_thread:1", "multi_thread:2", "multi_thread:8", "thread_per_core:2"]
        .map(|name| (name.to_owned(), flavor(name)))
        .into_iter()
}

/// What the name stands for.
fn flavor(name: &str) -> Builder {
    let (flavor, workers) = name.split_once(':').unwrap_or((name, "1"));
    let builder = match flavor {
        "current_thread" => Builder::new_current_thread(),
        "multi_thread" => Builder::new_multi_thread(),
        "thread_per_core" => Builder::new_thread_per_core(),
        _ => panic!("no flavor {name}: it is current_thread, multi_thread:N or thread_per_core:N"),
    };
    let builder = builder.on_stall(|_| {});
    if flavor == name { builder } else { builder.worker_threads(workers.parse().expect("a number of workers")) }
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

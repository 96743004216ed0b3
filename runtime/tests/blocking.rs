//! Blocking calls of a runtime: inside it, made for its sockets too, and not in the
//! way of its end.

mod harness;

use std::net::ToSocketAddrs;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bourn::runtime::{Builder, Handle, Runtime, UnhandledPanic};
use bourn::task;

use harness::watched;

#[test]
fn a_call_is_inside_the_runtime() {
    watched("inside", || {
        let runtime = Runtime::new().unwrap();
        let sum = runtime.block_on(async {
            let call = task::spawn_blocking(|| {
                let inner = bourn::spawn(async { 1 });
                (inner, task::spawn_blocking(|| Handle::try_current().is_some()))
            });
            let (inner, nested) = call.await.unwrap();
            assert!(nested.await.unwrap());
            inner.await.unwrap()
        });
        assert_eq!(sum, 1);
        let metrics = runtime.handle().blocking_metrics();
        assert_eq!(metrics.started, 2);
        // From outside, too.
        assert_eq!(runtime.block_on(runtime.spawn_blocking(|| 2)).unwrap(), 2);
    });
}

#[test]
fn the_cap_holds() {
    watched("the cap", || {
        let runtime = Builder::new_current_thread().max_blocking_threads(2).build().unwrap();
        runtime.block_on(async {
            let calls: Vec<_> = (0..20).map(|_| task::spawn_blocking(|| thread::current().id())).collect();
            let mut threads = std::collections::HashSet::new();
            for call in calls {
                threads.insert(call.await.unwrap());
            }
            assert!(threads.len() <= 2, "{threads:?}");
        });
    });
}

#[test]
fn names_are_looked_up_by_the_pool() {
    if ("localhost", 80).to_socket_addrs().is_err() {
        println!("skipped: localhost has no address here");
        return;
    }
    watched("look-up", || {
        let runtime = Runtime::new().unwrap();
        let port = runtime.block_on(async {
            let listener = bourn::net::TcpListener::bind(("localhost", 0)).await.unwrap();
            listener.local_addr().unwrap().port()
        });
        assert_ne!(port, 0);
        assert!(runtime.handle().blocking_metrics().started >= 1, "the runtime's own pool");
    });
}

#[test]
fn dropping_the_runtime_waits_for_a_call() {
    watched("drop", || {
        let runtime = Runtime::new().unwrap();
        let (begun, wait) = mpsc::channel();
        let (ended, told) = mpsc::channel();
        runtime.spawn_blocking(move || {
            begun.send(()).unwrap();
            // Enough for the drop below to begin, and harmless if it is not.
            thread::sleep(Duration::from_millis(20));
            ended.send(()).unwrap();
        });
        wait.recv().unwrap();
        drop(runtime);
        told.try_recv().expect("waited for");
    });
}

const CHILD: &str = "BOURN_TEST_STUCK_CALL";

#[test]
fn dropping_the_runtime_names_a_call_that_outlasts_the_grace() {
    let grace = Duration::from_millis(30);
    if std::env::var_os(CHILD).is_some() {
        let runtime = Builder::new_current_thread().blocking_grace(grace).build().unwrap();
        let (begun, wait) = mpsc::channel();
        let entered = runtime.enter();
        task::Builder::new().name("stuck").spawn_blocking(move || {
            begun.send(()).unwrap();
            loop {
                thread::park();
            }
        });
        wait.recv().unwrap();
        drop(entered);
        let start = Instant::now();
        drop(runtime);
        assert!(start.elapsed() >= grace);
        return;
    }
    let output = watched("a stuck call", || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dropping_the_runtime_names_a_call_that_outlasts_the_grace", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap()
    });
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("bourn: a runtime was dropped, and 30ms later a blocking call still runs: task "), "{told}");
    assert!(told.contains(&format!(" \"stuck\" (spawned at {}:", file!())), "{told}");
}

#[test]
fn a_call_that_panics_alone_meets_the_policy() {
    let outcome = watched("the policy", || {
        std::panic::catch_unwind(|| {
            let builder = Builder::new_current_thread().unhandled_panic(UnhandledPanic::Shutdown);
            builder.build().unwrap().block_on(async {
                drop(task::spawn_blocking(|| panic!("in a call")));
                std::future::pending::<()>().await;
            });
        })
    });
    let message = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(message.ends_with("\"in a call\". Await the task's handle, or choose another policy"), "{message}");
}

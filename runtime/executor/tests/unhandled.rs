//! What a runtime does about a panic in a task whose handle nobody holds.

mod support;

use std::env;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::process::{Command, Output};
use std::sync::Arc;

use bourn_executor::{
    BlockingPool, Executor, ExecutorOptions, Options, PoolOptions, ThreadPark, UnhandledPanic, yield_now,
};
use support::{Drops, Runtime, watchdog, with};

const CHILD: &str = "BOURN_TEST_UNHANDLED_CHILD";

fn runtime(policy: UnhandledPanic) -> Runtime {
    Executor::new(with(ExecutorOptions::current_thread(), |options| options.unhandled_panic = policy), || {
        Ok(Arc::new(ThreadPark::new()))
    })
    .unwrap()
}

/// Runs the calling test again in a process of its own.
fn again(test: &str) -> Output {
    Command::new(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]).env(CHILD, "1").output().unwrap()
}

/// What a runtime with that policy does when a task panics alone: it goes on, if this returns.
fn panic_alone(policy: UnhandledPanic) {
    set_hook(Box::new(|_| {}));
    let runtime = runtime(policy);
    let handle = runtime.handle();
    runtime.block_on(async {
        drop(handle.spawn_with(Options::new().name("lonely"), async { panic!("unheard") }));
        yield_now().await;
        assert_eq!(handle.spawn(async { 1 }).await.unwrap(), 1);
    });
}

fn reported(output: &Output) -> String {
    let lines = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = lines.lines().filter(|line| line.starts_with("bourn: ")).collect();
    ours.join("\n")
}

#[test]
fn ignore_says_nothing_and_goes_on() {
    let _watchdog = watchdog();
    if env::var_os(CHILD).is_some() {
        return panic_alone(UnhandledPanic::Ignore);
    }
    let output = again("ignore_says_nothing_and_goes_on");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(reported(&output), "");
}

#[test]
fn report_says_it_and_goes_on() {
    let _watchdog = watchdog();
    if env::var_os(CHILD).is_some() {
        return panic_alone(UnhandledPanic::default());
    }
    let output = again("report_says_it_and_goes_on");
    assert!(output.status.success(), "{output:?}");
    assert!(reported(&output).contains(" \"lonely\" (spawned at "), "{output:?}");
}

#[test]
fn abort_says_it_and_ends_the_process() {
    let _watchdog = watchdog();
    if env::var_os(CHILD).is_some() {
        return panic_alone(UnhandledPanic::Abort);
    }
    let output = again("abort_says_it_and_ends_the_process");
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
    assert!(reported(&output).ends_with("nobody awaited it: \"unheard\""), "{output:?}");
}

/// The message with which `block_on` ends, after some task has panicked alone.
fn message_after(spawn: impl FnOnce(&bourn_executor::Handle<ThreadPark>)) -> String {
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(UnhandledPanic::Shutdown), Drops::default());
    let handle = runtime.handle();
    let kept = drops.value();
    let other = handle.spawn(async move {
        let _kept = kept;
        pending::<()>().await;
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            yield_now().await;
            spawn(&handle);
            pending::<()>().await;
        });
    }));
    assert_eq!(drops.count(), 1, "the other task is dropped");
    assert!(other.is_finished() && handle.is_closed());
    *outcome.unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn shutdown_drops_the_other_tasks_and_ends_block_on() {
    let line = line!() + 2;
    let message = message_after(|handle| {
        drop(handle.spawn(async { panic!("alone") }));
    });
    assert!(message.contains("was shut down, as its policy for unhandled panics asks"), "{message}");
    assert!(message.contains(&format!("(spawned at {}:{line}:", file!())), "{message}");
}

#[test]
fn shutdown_heeds_local_tasks() {
    let message = message_after(|handle| drop(handle.spawn_local(async { panic!("at home") })));
    assert!(message.contains("nobody awaited it: \"at home\""), "{message}");
}

#[test]
fn shutdown_heeds_what_is_reported_from_elsewhere() {
    let message = message_after(|handle| handle.unhandled_panic("bourn: a call panicked"));
    assert!(message.contains("for this: a call panicked. "), "{message}");
}

#[test]
fn shutdown_leaves_a_panic_that_is_awaited_to_who_awaits_it() {
    let _watchdog = watchdog();
    let runtime = runtime(UnhandledPanic::Shutdown);
    let handle = runtime.handle();
    runtime.block_on(async {
        let error = handle.spawn(async { panic!("heard") }).await;
        assert!(error.map(|(): ()| ()).unwrap_err().is_panic());
        assert_eq!(handle.spawn(async { 2 }).await.unwrap(), 2);
    });
}

#[test]
fn a_blocking_call_that_panics_alone_is_told_to_the_host() {
    struct Told(std::sync::mpsc::Sender<String>);
    impl bourn_executor::PoolHost for Told {
        fn unhandled_panic(&self, line: &str) {
            self.0.send(line.to_owned()).unwrap();
        }
    }
    let _watchdog = watchdog();
    let pool = BlockingPool::new(PoolOptions::default());
    let (sender, told) = std::sync::mpsc::channel();
    let host = Arc::new(Told(sender));
    pool.set_host(&host);
    drop(pool.spawn_with(Options::new().name("call"), || panic!("in a call")));
    let line = told.recv().unwrap();
    assert!(line.contains(" \"call\" (spawned at "), "{line}");
    assert!(line.ends_with("it panicked, and nobody awaited it: \"in a call\""), "{line}");
}

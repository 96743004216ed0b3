//! What bourn says to somebody who uses it in a way that can not work: what
//! happened, where, how to mend it. Word for word, and none of it hangs.
#![allow(unsafe_code, reason = "fork(2)")]

mod harness;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bourn::runtime::{Handle, Runtime};

use harness::watched;

/// The message of the panic in `body`, with every place in this file cut down to
/// `FILE:LINE`.
fn message(what: &str, body: impl FnOnce()) -> String {
    let payload = watched(what, || catch_unwind(AssertUnwindSafe(body)).expect_err("it must be refused"));
    let text = match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().expect("a message").to_string(),
    };
    let mut told = String::new();
    let mut rest = text.as_str();
    while let Some(place) = rest.find(file!()) {
        told += &rest[..place];
        told += "FILE:LINE";
        rest = &rest[place + file!().len()..];
        for _line_and_column in 0..2 {
            rest = rest.strip_prefix(':').expect("a number").trim_start_matches(|sign: char| sign.is_ascii_digit());
        }
    }
    told + rest
}

#[test]
fn spawning_without_a_runtime() {
    assert_eq!(
        message("spawn", || drop(bourn::spawn(async {}))),
        "bourn: spawn called at FILE:LINE, on a thread that is in no runtime. Call it from async code that \
         #[bourn::main] or Runtime::block_on runs; from another thread, take a Handle there (Handle::current()) \
         and call the Handle's method here"
    );
    let spawn_local = message("spawn_local", || drop(bourn::spawn_local(async {})));
    assert!(spawn_local.starts_with("bourn: spawn_local called at FILE:LINE, on a thread that is in no runtime."));
    let current = message("current", || drop(Handle::current()));
    assert!(current.starts_with("bourn: Handle::current called at FILE:LINE, on a thread that is in no runtime."));
    assert!(Handle::try_current().is_none());
}

#[test]
fn block_on_inside_block_on() {
    let runtime = Runtime::new().unwrap();
    assert_eq!(
        message("nested block_on", || runtime.block_on(async { bourn::block_on(async {}) })),
        "bourn: block_on called at FILE:LINE, on a thread that is inside the block_on called at FILE:LINE: it \
         would keep that one's tasks from running. Make the function async and await the future there, or call \
         block_on on a thread of its own (std::thread::spawn)"
    );
    // The refusal has broken nothing.
    assert_eq!(runtime.block_on(async { bourn::spawn(async { 5 }).await.unwrap() }), 5);
}

#[test]
fn block_on_of_a_handle() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    let waited = handle.block_on(async {
        assert!(Handle::try_current().is_some());
        bourn::time::sleep(Duration::from_millis(1)).await;
        bourn::spawn(async { 6 }).await.unwrap()
    });
    assert_eq!(waited, 6);
    let text = message("nested, by a handle", || runtime.block_on(async { handle.block_on(async {}) }));
    assert!(text.contains("on a thread that is inside the block_on"), "{text}");
}

#[test]
fn block_on_inside_a_task() {
    let runtime = Runtime::new().unwrap();
    let error = watched("block_on in a task", || {
        runtime.block_on(async { bourn::spawn(async { bourn::block_on(async {}) }).await.unwrap_err() })
    });
    let payload = error.into_panic();
    let text = payload.downcast_ref::<String>().expect("a message");
    assert!(text.contains("on a thread that is inside the block_on"), "{text}");
}

#[test]
fn a_runtime_dropped_in_async_code() {
    let outer = Runtime::new().unwrap();
    assert_eq!(
        message("drop in async code", || {
            outer.block_on(async { drop(Runtime::new().unwrap()) });
        }),
        "bourn: a runtime was dropped on a thread that is inside the block_on called at FILE:LINE; its tasks are \
         dropped. Move the runtime out of the async code, and drop it where the thread may wait"
    );
    assert_eq!(outer.block_on(async { 6 }), 6);
}

#[test]
fn a_runtime_dropped_by_its_own_task() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    let moved = Runtime::new().unwrap();
    let inner = moved.handle().clone();
    // The runtime that drives the task is dropped in it.
    let error = watched("a runtime dropped by a task", || {
        runtime.block_on(async move { handle.spawn(async move { drop(moved) }).await.unwrap_err() })
    });
    assert!(error.is_panic());
    // What is spawned there now is refused, not lost in silence.
    let refused = watched("a task of a runtime that is gone", || {
        bourn::block_on(async move { inner.spawn(async {}).await.unwrap_err() })
    });
    assert!(refused.is_cancelled());
}

#[test]
fn spawn_local_on_another_thread() {
    let runtime = Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    let text = message("spawn_local elsewhere", || {
        let _entered = handle.enter();
        drop(bourn::spawn_local(async {}));
    });
    assert_eq!(
        text,
        "bourn: spawn_local called at FILE:LINE, on a thread that is not inside block_on of this runtime: a local task \
         needs a thread to stay on. Call it from code that block_on runs, or use spawn if the future is Send"
    );
}

/// Guards that are dropped in another order than they were made, or kept beyond
/// the `block_on` in which they were made, leave nothing behind.
#[test]
fn guards_dropped_out_of_order() {
    let first = Runtime::new().unwrap();
    let second = Runtime::new().unwrap();
    let guards = [first.enter(), second.enter()];
    for guard in guards {
        drop(guard);
    }
    assert!(Handle::try_current().is_none());
    let kept = first.block_on(async { Handle::current().enter() });
    assert!(Handle::try_current().is_some());
    drop(kept);
    assert!(Handle::try_current().is_none());
    // Nobody turns those runtimes' reactors: the background one must serve this.
    watched("a sleep after the guards", || {
        futures_lite::future::block_on(bourn::time::sleep(Duration::from_millis(1)));
    });
}

/// A forked child has none of the threads, even if one was idle: it does not wait
/// for them. A socket's blocking calls go elsewhere there.
#[test]
fn a_blocking_call_in_a_forked_child() {
    const CHILD: &str = "BOURN_TEST_FORKED_CALL";
    if std::env::var_os(CHILD).is_none() {
        let output = watched("a forked child", || {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "a_blocking_call_in_a_forked_child", "--nocapture"])
                .env(CHILD, "1")
                .output()
                .unwrap()
        });
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let runtime = Runtime::new().unwrap();
    runtime.block_on(runtime.spawn_blocking(|| ())).unwrap();
    // Else the child's call would merely start a thread.
    while runtime.handle().blocking_metrics().idle == 0 {
        std::thread::yield_now();
    }
    let _entered = runtime.enter();
    // SAFETY: the child takes no lock that another thread of the parent could have
    // held (the idle thread waits without its own; the runtime that it makes is new),
    // and ends with `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            assert_eq!(
                message("a call", || drop(runtime.spawn_blocking(|| ()))),
                "bourn: a blocking call was spawned at FILE:LINE, in a forked child of the process that made the pool: \
                 its threads are the parent's. Make a new runtime in the child, or start the child with exec \
                 (std::process::Command)"
            );
            assert_eq!(
                message("a task", || drop(runtime.spawn(async {}))),
                "bourn: a task was spawned at FILE:LINE, in a forked child of the process that made the runtime: its \
                 threads are the parent's. Make a new runtime in the child, or start the child with exec \
                 (std::process::Command)"
            );
            let answer = bourn::net::offload::run(|| 7);
            assert_eq!(futures_lite::future::block_on(answer).unwrap(), 7);
            // The one that is made here is this process's own.
            let own = Runtime::new().unwrap();
            assert_eq!(own.block_on(own.spawn(async { 7 })).unwrap(), 7);
            assert_eq!(own.block_on(own.spawn_blocking(|| 7)).unwrap(), 7);
            drop((own, runtime));
        }));
        // SAFETY: ends the process.
        unsafe { libc::_exit(libc::c_int::from(outcome.is_err())) };
    }
    let mut status = 0;
    // SAFETY: `status` is writable and lives through the call.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!((waited, status), (child, 0));
}

/// The child has the parent's tasks, timers and locks: dropping its copy of the
/// runtime runs nothing of theirs and waits for nobody.
#[test]
fn a_runtime_dropped_in_a_forked_child() {
    struct OfParent(u32);
    impl Drop for OfParent {
        fn drop(&mut self) {
            if std::process::id() != self.0 {
                // SAFETY: ends the process.
                unsafe { libc::_exit(7) };
            }
        }
    }
    let runtime = Runtime::new().unwrap();
    let kept = OfParent(std::process::id());
    runtime.spawn(async move {
        let _kept = kept;
        bourn::time::sleep(Duration::from_secs(3600)).await;
    });
    runtime.block_on(bourn::task::yield_now());
    // SAFETY: the child drops a value, and ends with `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        drop(runtime);
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: `status` is writable and lives through the call.
    let waited = watched("the child", || unsafe { libc::waitpid(child, &raw mut status, 0) });
    assert_eq!((waited, status), (child, 0));
}

#[test]
fn an_interval_without_a_period() {
    assert_eq!(
        message("interval", || drop(bourn::time::interval(Duration::ZERO))),
        "bourn: interval called at FILE:LINE with a period of zero, which would tick without end. Use a longer one"
    );
}

#[test]
fn an_unknown_backend_in_the_environment() {
    let variable = bourn::Backend::VARIABLE;
    if std::env::var_os(variable).is_some_and(|name| name == "kqueue") {
        // This is the process that is started below.
        println!("{}", Runtime::new().unwrap_err());
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "an_unknown_backend_in_the_environment", "--nocapture"])
        .env(variable, "kqueue")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.contains("BOURN_BACKEND: there is no backend \"kqueue\" here; choose epoll, poll, select, mio"),
        "{told}"
    );
}

//! What cannot work says what happened, where, and how to mend it, in these words.

mod support;

use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::Arc;

use bourn_executor::{Executor, Park, Turn, Wait, yield_now};
use support::{Drops, runtime, watchdog};

fn message(body: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(body)).expect_err("it did not panic");
    *payload.downcast::<String>().expect("a formatted message")
}

/// The line after the call, as locations give it.
#[track_caller]
fn next_line() -> String {
    let here = Location::caller();
    format!("{}:{}:", here.file(), here.line() + 1)
}

#[test]
fn nested_block_on() {
    let _watchdog = watchdog();
    let (outer, inner) = (runtime(), runtime());
    let handle = outer.handle();
    for other in [&outer, &inner] {
        let (mut here, mut there) = (String::new(), String::new());
        let text = message(|| {
            there = next_line();
            outer.block_on(async {
                here = next_line();
                other.block_on(async {});
            });
        });
        let tail = text.strip_prefix("bourn: block_on called at ").unwrap();
        assert!(tail.starts_with(&here), "{text}");
        let (_, tail) = tail.split_once(", on a thread that is inside the block_on called at ").unwrap();
        assert!(tail.starts_with(&there), "{text}");
        assert!(
            tail.ends_with(
                ": it would keep that one's tasks from running. Make the function async and await the future there, \
                 or call block_on on a thread of its own (std::thread::spawn)"
            ),
            "{text}"
        );
    }
    // Both are as good as new.
    assert_eq!(inner.block_on(async { 1 }), 1);
    assert_eq!(outer.block_on(handle.spawn(async { 2 })).unwrap(), 2);
}

#[test]
fn spawn_local_outside_block_on() {
    let _watchdog = watchdog();
    let (runtime, other) = (runtime(), runtime());
    let handle = runtime.handle();
    let expected = ", on a thread that is not inside block_on of this runtime: a local task needs a thread to stay \
                    on. Call it from code that block_on runs, or use spawn if the future is Send";
    let mut here = String::new();
    let text = message(|| {
        here = next_line();
        drop(handle.spawn_local(async {}));
    });
    assert!(text.starts_with(&format!("bourn: spawn_local called at {here}")), "{text}");
    assert!(text.ends_with(expected), "{text}");
    let text = message(|| other.block_on(async { drop(handle.spawn_local(async {})) }));
    assert!(text.ends_with(expected), "{text}");
}

#[test]
fn a_runtime_dropped_inside_async_code() {
    let _watchdog = watchdog();
    let (outer, drops) = (runtime(), Drops::default());
    let inner = runtime();
    let kept = drops.value();
    let task = inner.handle().spawn(async move {
        let _kept = kept;
        pending::<()>().await;
    });
    let mut there = String::new();
    let text = message(|| {
        there = next_line();
        outer.block_on(async { drop(inner) });
    });
    assert!(
        text.starts_with(&format!(
            "bourn: a runtime was dropped on a thread that is inside the block_on called at {there}"
        )),
        "{text}"
    );
    assert!(
        text.ends_with(
            "; its tasks are dropped. Move the runtime out of the async code, and drop it where the thread may \
             wait"
        ),
        "{text}"
    );
    assert_eq!(drops.count(), 1);
    assert!(outer.block_on(task).unwrap_err().is_cancelled());
}

#[test]
fn a_runtime_dropped_inside_async_code_by_a_panic() {
    let _watchdog = watchdog();
    let outer = runtime();
    let inner = runtime();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        outer.block_on(async move {
            let _inner = inner;
            panic!("the first");
        })
    }));
    assert_eq!(*outcome.unwrap_err().downcast::<&str>().unwrap(), "the first");
}

#[test]
fn a_wait_that_fails() {
    struct Broken;
    impl Park for Broken {
        type Entered = ();
        fn enter(self: &Arc<Self>) {}
        fn turn(&self, _wait: Wait) -> Turn {
            Turn::Failed(io::Error::from_raw_os_error(9))
        }
        fn unpark(&self) {}
        fn close(&self) {}
    }
    let _watchdog = watchdog();
    let runtime = Executor::current_thread(Arc::new(Broken));
    let text = message(|| runtime.block_on(pending::<()>()));
    assert!(
        text.starts_with("bourn: the wait for events failed on a thread that is inside the block_on called at "),
        "{text}"
    );
    assert!(text.contains(&io::Error::from_raw_os_error(9).to_string()), "{text}");
    // The core is back.
    assert_eq!(runtime.block_on(runtime.handle().spawn(async { 1 })).unwrap(), 1);
}

#[test]
fn a_handle_polled_after_its_output() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let mut task = runtime.handle().spawn(async {});
    runtime.block_on(&mut task).unwrap();
    let payload = catch_unwind(AssertUnwindSafe(|| runtime.block_on(&mut task))).unwrap_err();
    assert_eq!(
        *payload.downcast::<&str>().unwrap(),
        "a JoinHandle was polled after it had yielded its output; keep what it yielded instead"
    );
    runtime.block_on(yield_now());
}

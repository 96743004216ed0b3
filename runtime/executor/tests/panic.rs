//! A panic in foreign code ends its own task and nothing else, wherever it comes from.

mod support;

use std::future::{Future, pending};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bourn_executor::{JoinError, yield_now};
use support::{DropBomb, Drops, WakeBomb, poll_once, runtime, watchdog};

/// Runs a future as a task among others, and checks that the others go on.
fn survive<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T, JoinError> {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let result = runtime.block_on(async {
        let before = handle.spawn(async {
            yield_now().await;
            1
        });
        let task = handle.spawn(future);
        let after = handle.spawn(async { 2 });
        let result = task.await;
        assert_eq!(before.await.unwrap(), 1);
        assert_eq!(after.await.unwrap(), 2);
        result
    });
    assert_eq!(handle.task_count(), 0);
    result
}

#[test]
fn in_the_first_poll() {
    let drops = Drops::default();
    let kept = drops.value();
    let which = String::from("first");
    let error = survive(async move {
        let _kept = kept;
        panic!("in the {which} poll")
    })
    .map(|(): ()| ())
    .unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!(error.to_string(), format!("task {} panicked: in the first poll", error.id()));
    assert_eq!(drops.count(), 1);
    let payload = error.into_panic();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "in the first poll");
}

#[test]
fn in_a_later_poll() {
    let error = survive(async {
        yield_now().await;
        panic_any(5_u8)
    })
    .map(|(): ()| ())
    .unwrap_err();
    assert_eq!(error.to_string(), format!("task {} panicked", error.id()));
    assert_eq!(*error.try_into_panic().unwrap().downcast::<u8>().unwrap(), 5);
}

#[test]
fn in_the_drop_of_a_future_that_is_ready() {
    struct Ready(#[allow(dead_code)] DropBomb, Option<support::Dropped>);
    impl Future for Ready {
        type Output = support::Dropped;
        fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<support::Dropped> {
            Poll::Ready(self.1.take().unwrap())
        }
    }
    let drops = Drops::default();
    let error = survive(Ready(DropBomb("future"), Some(drops.value()))).map(drop).unwrap_err();
    assert!(error.to_string().ends_with("panicked: future"));
    assert_eq!(drops.count(), 1, "the output that was not delivered");
}

#[test]
fn in_the_drop_of_a_future_that_is_aborted() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let error = runtime.block_on(async {
        let task = handle.spawn(async {
            let _bomb = DropBomb("aborted");
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        task.await.unwrap_err()
    });
    assert!(error.to_string().ends_with("panicked: aborted"));
}

#[test]
fn in_the_poll_and_then_in_the_drop() {
    struct Twice(#[allow(dead_code)] DropBomb);
    impl Future for Twice {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
            panic!("poll")
        }
    }
    let error = survive(Twice(DropBomb("drop"))).unwrap_err();
    assert!(error.to_string().ends_with("panicked: poll"), "the first panic is the one that is told: {error}");
}

#[test]
fn in_the_drop_of_an_output_nobody_takes() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    runtime.block_on(async {
        // Detached before it ends: dropped by the runner.
        drop(handle.spawn(async { DropBomb("detached") }));
        // Detached after it has ended: dropped by the handle.
        let task = handle.spawn(async { DropBomb("finished") });
        yield_now().await;
        assert!(task.is_finished());
        drop(task);
        assert_eq!(handle.spawn(async { 3 }).await.unwrap(), 3);
    });
}

#[test]
fn in_the_drop_of_a_payload() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    runtime.block_on(async {
        drop(handle.spawn(async { panic_any(DropBomb("payload")) }));
        assert_eq!(handle.spawn(async { 3 }).await.unwrap(), 3);
    });
}

#[test]
fn in_the_waker_of_a_join_handle() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let mut task = handle.spawn(async { 1 });
    assert!(poll_once(&mut task, &Waker::from(Arc::new(WakeBomb))).is_pending());
    runtime.block_on(async {
        assert_eq!(handle.spawn(async { 2 }).await.unwrap(), 2);
        assert_eq!(task.await.unwrap(), 1);
    });
}

#[test]
fn at_shutdown() {
    let _watchdog = watchdog();
    let drops = Drops::default();
    let runtime = runtime();
    let handle = runtime.handle();
    for _ in 0..10 {
        let kept = drops.value();
        drop(handle.spawn(async move {
            let _kept = kept;
            let _bomb = DropBomb("shutdown");
            pending::<()>().await;
        }));
    }
    runtime.block_on(yield_now());
    drop(runtime);
    assert_eq!(drops.count(), 10);
}

#[test]
fn of_block_on_itself_leaves_the_runtime_usable() {
    let _watchdog = watchdog();
    let drops = Drops::default();
    let runtime = runtime();
    let handle = runtime.handle();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let kept = drops.value();
            drop(handle.spawn_local(async move {
                let _kept = kept;
                pending::<()>().await;
            }));
            yield_now().await;
            panic!("the caller's own");
        })
    }));
    assert_eq!(*outcome.unwrap_err().downcast::<&str>().unwrap(), "the caller's own");
    assert_eq!(drops.count(), 1, "the local task is gone");
    assert_eq!(runtime.block_on(async { handle.spawn(async { 4 }).await.unwrap() }), 4);
}

#[test]
fn errors_convert() {
    let error = survive(async { panic!("into io") }).map(|(): ()| ()).unwrap_err();
    let error = io::Error::from(error);
    assert_eq!(error.kind(), io::ErrorKind::Other);
    assert!(error.get_ref().unwrap().downcast_ref::<JoinError>().unwrap().is_panic());
}

//! A thread that leaves `block_on` keeps its seat, and the waker for it, for the next time: unless somebody else has
//! either, and never the runtime with it.

mod support;

use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;

use bourn_executor::{Executor, Handle, ThreadPark, yield_now};
use support::{runtime, watchdog};

fn waker(runtime: &Executor<ThreadPark>) -> Waker {
    runtime.block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone())))
}

fn address(cx: &mut Context<'_>) -> Poll<usize> {
    Poll::Ready(cx.waker().data().addr())
}

/// How often a future is polled that waits for a task with some steps.
fn polls(runtime: &Executor<ThreadPark>) -> u32 {
    let handle = runtime.handle();
    let mut task = handle.spawn(async {
        for _ in 0..8 {
            yield_now().await;
        }
    });
    let mut polls = 0;
    runtime.block_on(poll_fn(|cx| {
        polls += 1;
        std::pin::Pin::new(&mut task).poll(cx).map(|result| result.unwrap())
    }));
    polls
}

#[test]
fn a_seat_that_nobody_else_has_is_kept() {
    let _watchdog = watchdog();
    let runtime = runtime();
    assert_eq!(runtime.block_on(poll_fn(address)), runtime.block_on(poll_fn(address)));
}

#[test]
fn a_seat_that_somebody_else_has_is_not_kept() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let kept = waker(&runtime);
    assert_ne!(runtime.block_on(poll_fn(address)), kept.data().addr());
    let local = runtime.handle();
    let handle = runtime.block_on(poll_fn(|_| Poll::Ready(local.spawn_local(ready(1)))));
    assert!(runtime.block_on(handle).is_err(), "a local task has outlived its block_on");
    // Whenever and wherever it is called, it is in vain.
    let other = thread::spawn(move || {
        kept.wake_by_ref();
        kept
    });
    assert_eq!(polls(&runtime), 2);
    let kept = other.join().unwrap();
    kept.wake_by_ref();
    drop(runtime);
    kept.wake();
}

#[test]
fn a_wake_in_vain_is_not_heard_by_the_next_future() {
    let _watchdog = watchdog();
    let runtime = runtime();
    runtime.block_on(poll_fn(|cx| {
        cx.waker().wake_by_ref();
        Poll::Ready(())
    }));
    assert_eq!(polls(&runtime), 2);
}

#[test]
fn a_kept_seat_keeps_no_runtime() {
    let _watchdog = watchdog();
    let park = Arc::new(ThreadPark::new());
    for _ in 0..2 {
        let runtime = Executor::current_thread(Arc::clone(&park));
        runtime.block_on(ready(()));
        drop(runtime);
        assert_eq!(Arc::strong_count(&park), 1);
    }
}

#[test]
fn the_current_handle_is_that_of_the_block_on() {
    let _watchdog = watchdog();
    assert!(Handle::<ThreadPark>::current().is_none());
    let runtime = runtime();
    let task = runtime.block_on(poll_fn(|_| Poll::Ready(Handle::<ThreadPark>::current().unwrap().spawn(ready(7)))));
    assert_eq!(runtime.block_on(task).unwrap(), 7);
    assert!(Handle::<ThreadPark>::current().is_none());
}

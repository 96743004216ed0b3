//! Models of whole runtimes: the shipped loop, with [`ThreadPark`], on loom's threads.

use std::{
    future::{pending, poll_fn},
    sync::{Arc, Mutex},
    task::{Poll, Waker},
};

use loom::thread;

use super::CurrentThread;
use crate::{park::ThreadPark, task::yield_now};

fn runtime() -> Arc<CurrentThread<ThreadPark>> {
    Arc::new(CurrentThread::new(Arc::new(ThreadPark::new())))
}

fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(5);
    builder.check(body);
}

/// A spawn from another thread wakes a runtime that may be going to sleep. A lost wake-up is a deadlock, which loom
/// reports. Killed by: executor-drive-second-look.
#[test]
fn loom_runtime_hears_a_spawn() {
    model(|| {
        let runtime = runtime();
        let handle = runtime.handle();
        let done = Arc::new(Mutex::new((false, None::<Waker>)));
        let other = thread::spawn({
            let done = Arc::clone(&done);
            move || {
                drop(handle.spawn(async move {
                    let mut done = done.lock().unwrap();
                    done.0 = true;
                    if let Some(waker) = done.1.take() {
                        waker.wake();
                    }
                }));
            }
        });
        runtime.block_on(poll_fn(|cx| {
            let mut done = done.lock().unwrap();
            done.1 = Some(cx.waker().clone());
            if done.0 { Poll::Ready(()) } else { Poll::Pending }
        }));
        other.join().unwrap();
    });
}

/// Of two threads inside `block_on`, the one that does not drive takes the core over. Killed by:
/// executor-core-hand-over,
/// executor-drive-heed.
#[test]
fn loom_core_is_handed_over() {
    model(|| {
        let runtime = runtime();
        let left = runtime.handle().spawn(async {});
        let right = runtime.handle().spawn(yield_now());
        let other = thread::spawn({
            let runtime = Arc::clone(&runtime);
            move || runtime.block_on(left).unwrap()
        });
        runtime.block_on(right).unwrap();
        other.join().unwrap();
    });
}

/// A shutdown that meets a thread inside `block_on` leaves no task behind, not even one that this thread has queued
/// and never run. Killed by: executor-shutdown-core.
#[test]
fn loom_shutdown_meets_a_driver() {
    model(|| {
        let runtime = runtime();
        let handle = runtime.handle();
        let waiting = handle.spawn(pending::<()>());
        let other = thread::spawn({
            let runtime = Arc::clone(&runtime);
            move || runtime.shutdown()
        });
        let queued = runtime.block_on(async {
            yield_now().await;
            handle.spawn(pending::<()>())
        });
        other.join().unwrap();
        assert!(waiting.is_finished());
        assert!(queued.is_finished());
    });
}

/// A local task's wake from elsewhere that meets a shutdown leaves nothing behind that would keep the runtime.
/// Kills `executor-evict-leaves-returning`.
#[test]
fn loom_local_wake_leaves_no_cycle() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let park = Arc::new(ThreadPark::new());
        let runtime = CurrentThread::new(Arc::clone(&park));
        let handle = runtime.handle();
        let mut other = None;
        let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
        let kept = Arc::clone(&slot);
        runtime.block_on(async {
            drop(handle.spawn_local(poll_fn(move |cx| {
                *kept.lock().unwrap() = Some(cx.waker().clone());
                Poll::<()>::Pending
            })));
            yield_now().await;
            let waker = slot.lock().unwrap().take().unwrap();
            other = Some(thread::spawn(move || waker.wake()));
            runtime.shutdown();
            yield_now().await;
        });
        other.unwrap().join().unwrap();
        drop(runtime);
        drop(handle);
        assert_eq!(Arc::strong_count(&park), 1, "a seat was leaked");
    });
}

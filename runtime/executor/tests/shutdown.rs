//! Shutdown drops every task exactly once, tells who awaits them, and leaves wakers that do nothing.

mod support;

use std::future::{pending, poll_fn};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use bourn_executor::{Executor, JoinHandle, yield_now};
use futures_lite::future::block_on;
use support::{CountingPark, Door, Drops, Runtime, runtime, watchdog};

#[test]
fn drops_each_task_once() {
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(), Drops::default());
    let handle = runtime.handle();
    let spawn = |run_it: bool| {
        let kept = drops.value();
        let task = handle.spawn(async move {
            let _kept = kept;
            pending::<()>().await;
        });
        if run_it {
            runtime.block_on(yield_now());
        }
        task
    };
    let waiting = spawn(true);
    let queued = spawn(false);
    drop(spawn(false));
    assert_eq!(drops.count(), 0);
    drop(runtime);
    assert_eq!(drops.count(), 3);
    for task in [waiting, queued] {
        assert!(block_on(task).unwrap_err().is_cancelled());
    }
    assert!(handle.is_closed());
    assert!(handle.tasks().is_empty());
}

#[test]
fn closes_the_park_once() {
    let _watchdog = watchdog();
    let park = Arc::new(CountingPark::default());
    let runtime = Executor::current_thread(park.clone());
    runtime.shutdown_background();
    runtime.shutdown_background();
    drop(runtime);
    assert_eq!(park.closes.load(SeqCst), 1);
}

#[test]
fn leaves_wakers_that_do_nothing() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    drop(runtime.handle().spawn({
        let kept = kept.clone();
        poll_fn(move |cx| {
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
    }));
    runtime.block_on(yield_now());
    drop(runtime);
    let waker = kept.lock().unwrap().take().unwrap();
    waker.wake_by_ref();
    thread::spawn(move || waker.wake()).join().unwrap();
}

#[test]
fn cancels_what_is_spawned_later() {
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(), Drops::default());
    let handle = runtime.handle();
    drop(runtime);
    let kept = drops.value();
    let task = handle.spawn(async move { drop(kept) });
    assert_eq!(drops.count(), 1);
    assert!(block_on(task).unwrap_err().is_cancelled());
}

#[test]
fn drops_what_is_spawned_by_destructors() {
    struct Spawns(bourn_executor::Handle<bourn_executor::ThreadPark>, u32, Drops);
    impl Drop for Spawns {
        fn drop(&mut self) {
            if self.1 > 0 {
                let next = Spawns(self.0.clone(), self.1 - 1, self.2.clone());
                let kept = self.2.value();
                drop(self.0.spawn(async move {
                    let _kept = (kept, next);
                    pending::<()>().await;
                }));
            }
        }
    }
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(), Drops::default());
    let first = Spawns(runtime.handle(), 50_000, drops.clone());
    drop(runtime.handle().spawn(async move {
        let _first = first;
        pending::<()>().await;
    }));
    runtime.block_on(yield_now());
    drop(runtime);
    assert_eq!(drops.count(), 50_000);
}

#[test]
fn tells_whoever_awaits_elsewhere() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let task = runtime.handle().spawn(pending::<()>());
    runtime.block_on(yield_now());
    let waits = Arc::new(AtomicBool::new(false));
    let (polled, is_polled) = mpsc::channel();
    let other = thread::spawn({
        let waits = waits.clone();
        move || {
            let mut task = task;
            block_on(poll_fn(|cx| {
                let result = std::pin::Pin::new(&mut task).poll(cx);
                if result.is_pending() && !waits.swap(true, SeqCst) {
                    polled.send(()).unwrap();
                }
                result
            }))
        }
    });
    is_polled.recv().unwrap();
    drop(runtime);
    assert!(other.join().unwrap().unwrap_err().is_cancelled());
}

/// Each task owns the handle of the next, awaited or not; a destructor that recursed along it would overflow the stack.
fn chain(awaited: bool) {
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(), Drops::default());
    let handle = runtime.handle();
    let mut next: Option<JoinHandle<()>> = None;
    for _ in 0..100_000 {
        let (kept, owned) = (drops.value(), next.take());
        next = Some(handle.spawn(async move {
            let _kept = kept;
            match owned {
                Some(owned) if awaited => drop(owned.await),
                owned => {
                    pending::<()>().await;
                    drop(owned);
                }
            }
        }));
    }
    runtime.block_on(async {
        while handle.task_count() < 100_000 {
            yield_now().await;
        }
    });
    let last = next.unwrap();
    drop(runtime);
    assert_eq!(drops.count(), 100_000);
    assert!(last.is_finished());
}

#[test]
fn of_a_long_chain_of_owned_handles() {
    chain(false);
}

#[test]
fn of_a_long_chain_of_awaited_handles() {
    chain(true);
}

#[test]
fn of_a_long_chain_that_was_never_polled() {
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(), Drops::default());
    let mut next = None;
    for _ in 0..100_000 {
        let (kept, owned) = (drops.value(), next.take());
        let task = runtime.handle().spawn(async move { drop((kept, owned)) });
        next = Some(task.abort_handle());
    }
    drop(runtime);
    assert_eq!(drops.count(), 100_000);
}

#[test]
fn from_another_thread_while_one_is_inside() {
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(), Drops::default());
    let handle = runtime.handle();
    let (inside, end) = (Door::new(), Door::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            inside.wait();
            runtime.shutdown_background();
        });
        let kept = [drops.value(), drops.value(), drops.value()];
        runtime.block_on(async {
            let [waiting, local, later] = kept;
            let waiting = handle.spawn(async move {
                let _kept = waiting;
                pending::<()>().await;
            });
            let local = handle.spawn_local(async move {
                let _kept = local;
                pending::<()>().await;
            });
            yield_now().await;
            inside.open();
            assert!(waiting.await.unwrap_err().is_cancelled());
            assert!(local.await.unwrap_err().is_cancelled());
            // The future itself goes on, and what it spawns does not.
            let task = handle.spawn_local(async move { drop(later) });
            assert!(task.await.unwrap_err().is_cancelled());
            let opener = end.clone();
            let other = thread::spawn(move || opener.open());
            end.pass().await;
            other.join().unwrap();
        });
    });
    assert_eq!(drops.count(), 3);
}

#[test]
fn races_with_spawns_and_wakes() {
    let _watchdog = watchdog();
    for _ in 0..200 {
        let (runtime, drops): (Runtime, _) = (runtime(), Drops::default());
        let handle = runtime.handle();
        let spawner = thread::spawn({
            let drops = drops.clone();
            move || {
                let tasks: Vec<_> = (0..50)
                    .map(|_| {
                        let kept = drops.value();
                        handle.spawn(async move {
                            let _kept = kept;
                            yield_now().await;
                        })
                    })
                    .collect();
                for task in tasks {
                    let _outcome = block_on(task);
                }
            }
        });
        runtime.block_on(yield_now());
        drop(runtime);
        spawner.join().unwrap();
        assert_eq!(drops.count(), 50);
    }
}

#[test]
fn a_runtime_that_was_shut_down_may_be_dropped_inside_another() {
    let _watchdog = watchdog();
    let drops = Drops::default();
    runtime().block_on(async {
        let inner = runtime();
        let kept = drops.value();
        drop(inner.handle().spawn(async move { drop(kept) }));
        inner.shutdown_background();
        drop(inner);
        assert_eq!(drops.count(), 1);
    });
}

//! Panics on workers end a task and nothing else; a shutdown drops every task once, wherever it is.

mod support;

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use bourn_executor::{ExecutorOptions, JoinHandle, UnhandledPanic, yield_now};
use futures_lite::future::block_on;
use support::{Door, DropBomb, Drops, WakeBomb, watchdog, with, workers, workers_with};

#[test]
fn panics_of_every_kind_leave_the_workers_alone() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(ExecutorOptions::multi_thread().workers(2), |options| {
        options.unhandled_panic = UnhandledPanic::Ignore
    }));
    let handle = runtime.handle();
    for round in 0..50 {
        let polled = handle.spawn(async { panic!("in a poll") });
        let dropped: JoinHandle<()> = handle.spawn(async {
            let _bomb = DropBomb("in a future's destructor");
            yield_now().await;
        });
        let output = handle.spawn(async { DropBomb("in an output's destructor") });
        let aborted = handle.spawn(async {
            let _bomb = DropBomb("in an aborted future's destructor");
            pending::<()>().await;
        });
        let waits = handle.spawn(yield_now());
        if round % 2 == 0 {
            // Awaited.
            assert!(block_on::<Result<(), _>>(polled).unwrap_err().is_panic());
            assert!(block_on(dropped).unwrap_err().is_panic());
            let output = block_on(output).unwrap();
            catch_unwind(AssertUnwindSafe(|| drop(output))).unwrap_err();
        }
        aborted.abort();
        let error = block_on(aborted).unwrap_err();
        // Aborted before its first poll it holds no bomb yet.
        assert!(error.is_panic() || error.is_cancelled());
        let bomb = Waker::from(Arc::new(WakeBomb));
        let mut waits = waits;
        let _either = support::poll_once(&mut waits, &bomb);
    }
    assert_eq!(block_on(handle.spawn(async { 5 })).unwrap(), 5);
}

#[test]
fn a_dropped_runtime_drops_each_task_once() {
    let _watchdog = watchdog();
    let drops = Drops::default();
    let runtime = workers(3);
    let handle = runtime.handle();
    let mut tasks = Vec::new();
    for number in 0..1_000 {
        let kept = drops.value();
        tasks.push(handle.spawn(async move {
            let _kept = kept;
            for _ in 0..number % 4 {
                yield_now().await;
            }
            pending::<()>().await;
        }));
    }
    drop(runtime);
    assert_eq!(drops.count(), 1_000);
    assert!(handle.tasks().is_empty());
    for task in tasks {
        assert!(block_on(task).unwrap_err().is_cancelled());
    }
    let kept = drops.value();
    let late = handle.spawn(async move { drop(kept) });
    assert_eq!(drops.count(), 1_001);
    assert!(block_on(late).unwrap_err().is_cancelled());
}

#[test]
fn races_of_the_end_with_spawns_and_wakes() {
    let _watchdog = watchdog();
    for round in 0..300 {
        let (runtime, drops) = (workers(2), Drops::default());
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (handle, drops) = (runtime.handle(), drops.clone());
                let (wakers, stop) = (wakers.clone(), stop.clone());
                thread::spawn(move || {
                    let mut spawned = 0;
                    while !stop.load(SeqCst) || spawned < 20 {
                        let (kept, left) = (drops.value(), wakers.clone());
                        spawned += 1;
                        drop(handle.spawn(async move {
                            let _kept = kept;
                            poll_fn(|cx| {
                                let mut left = left.lock().unwrap();
                                left.push(cx.waker().clone());
                                if left.len().is_multiple_of(3) { Poll::Ready(()) } else { Poll::Pending }
                            })
                            .await;
                        }));
                        let fired = std::mem::take(&mut *wakers.lock().unwrap());
                        fired.into_iter().for_each(Waker::wake);
                    }
                    spawned
                })
            })
            .collect();
        if round % 2 == 0 {
            runtime.block_on(yield_now());
        }
        drop(runtime);
        stop.store(true, SeqCst);
        let spawned: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        // Inert, whoever wakes them and however late.
        std::mem::take(&mut *wakers.lock().unwrap()).into_iter().for_each(Waker::wake);
        assert_eq!(drops.count(), spawned);
    }
}

#[test]
fn a_long_chain_of_owned_handles_fits_on_a_small_stack() {
    let _watchdog = watchdog();
    let drops = Drops::default();
    let runtime =
        workers_with(with(ExecutorOptions::multi_thread().workers(2), |options| options.stack_size = Some(256 * 1024)));
    let handle = runtime.handle();
    let mut next: Option<JoinHandle<()>> = None;
    for _ in 0..100_000 {
        let (kept, owned) = (drops.value(), next.take());
        next = Some(handle.spawn(async move {
            let _kept = kept;
            if let Some(owned) = owned {
                let _ended = owned.await;
            } else {
                pending::<()>().await;
            }
        }));
    }
    thread::Builder::new().stack_size(256 * 1024).spawn(move || drop(runtime)).unwrap().join().unwrap();
    assert_eq!(drops.count(), 100_000);
    drop(next);
}

#[test]
fn local_tasks_of_workers_are_dropped_on_their_thread() {
    let _watchdog = watchdog();
    struct Here(thread::ThreadId, Arc<Mutex<Vec<bool>>>);
    impl Drop for Here {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(thread::current().id() == self.0);
        }
    }
    let runtime = workers(2);
    let handle = runtime.handle();
    let log: Arc<Mutex<Vec<bool>>> = Arc::default();
    for _ in 0..10 {
        let (inner, log) = (handle.clone(), log.clone());
        let spawner = handle.spawn(async move {
            let here = Here(thread::current().id(), log);
            drop(inner.spawn_local(async move {
                let _here = here;
                pending::<()>().await;
            }));
            yield_now().await;
        });
        block_on(spawner).unwrap();
    }
    drop(runtime);
    assert_eq!(*log.lock().unwrap(), [true; 10]);
}

#[test]
fn a_block_on_goes_on_without_tasks_after_the_shutdown() {
    let _watchdog = watchdog();
    let runtime = workers(2);
    let handle = runtime.handle();
    let (inside, end) = (Door::new(), Door::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            inside.wait();
            assert!(runtime.shutdown(Duration::from_secs(10)).is_empty());
            end.open();
        });
        runtime.block_on(async {
            let local = handle.spawn_local(pending::<()>());
            let task = handle.spawn(pending::<()>());
            yield_now().await;
            inside.open();
            assert!(local.await.unwrap_err().is_cancelled());
            assert!(task.await.unwrap_err().is_cancelled());
            end.pass().await;
        });
    });
}

#[test]
fn mistakes_on_a_worker_say_what_they_are() {
    let _watchdog = watchdog();
    let runtime = workers(2);
    let inner = Arc::new(workers(1));
    let nested = runtime.handle().spawn({
        let inner = inner.clone();
        async move { inner.block_on(async {}) }
    });
    let payload = block_on(nested).unwrap_err().into_panic();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(message.contains("on a worker of the runtime made at"), "{message}");
    let dropped = runtime.handle().spawn(async move { drop(Arc::try_unwrap(inner)) });
    let payload = block_on(dropped).unwrap_err().into_panic();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(message.contains("dropped on a worker"), "{message}");
}

#[test]
fn an_unhandled_panic_can_end_the_runtime() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(ExecutorOptions::multi_thread().workers(2), |options| {
        options.unhandled_panic = UnhandledPanic::Shutdown
    }));
    let handle = runtime.handle();
    let payload = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            drop(handle.spawn(async { panic!("fatal") }));
            pending::<()>().await;
        });
    }))
    .unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(message.contains("fatal"), "{message}");
    assert!(handle.is_closed());
}

//! A thread that is busy for long keeps no push, no event and no shutdown from being heard: also without the sentinel.

mod support;

use std::future::{pending, poll_fn};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use bourn_executor::{Executor, ExecutorOptions, Park, ThreadPark, Turn, UnhandledPanic, Wait, yield_now};
use support::{CountingPark, Door, Drops, watchdog, with, workers_with};

const LONG: Duration = Duration::from_secs(5);

fn unwatched(workers: usize) -> ExecutorOptions {
    with(ExecutorOptions::multi_thread().workers(workers), |options| options.rescue = Some(false))
}

#[test]
fn a_push_is_heard_while_the_future_of_block_on_is_polled() {
    let _watchdog = watchdog();
    let runtime = workers_with(unwatched(1));
    let handle = runtime.handle();
    while handle.metrics().workers[0].parks == 0 {
        thread::yield_now();
    }
    let mut polls = 0;
    runtime.block_on(poll_fn(|cx| {
        polls += 1;
        if polls == 1 {
            // Between this poll and the next one, the thread looks for work in vain.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (ran, has_run) = mpsc::channel();
        let handle = &handle;
        thread::scope(|scope| {
            scope.spawn(move || drop(handle.spawn(async move { ran.send(()).unwrap() })));
        });
        has_run.recv_timeout(LONG).expect("the worker was not woken");
        Poll::Ready(())
    }));
}

#[test]
fn a_yield_behind_another_task_wakes_an_idle_worker() {
    let _watchdog = watchdog();
    let runtime = workers_with(unwatched(1));
    let handle = runtime.handle();
    while handle.metrics().workers[0].parks == 0 {
        thread::yield_now();
    }
    let (ran, has_run) = mpsc::channel();
    let has_yielded = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&has_yielded);
    runtime.block_on(async {
        let first = handle.spawn(async move {
            while seen.load(SeqCst) == 0 {
                yield_now().await;
            }
            // Blocks one of the two threads, which may have both tasks.
            has_run.recv_timeout(LONG).expect("the worker was not woken");
        });
        // The first task lies in the ring of this thread, alone.
        yield_now().await;
        let second = handle.spawn(async move {
            has_yielded.store(1, SeqCst);
            yield_now().await;
            ran.send(()).unwrap();
        });
        second.await.unwrap();
        first.await.unwrap();
    });
}

/// What is in the slot is polled first, may take long, and is nobody else's.
#[test]
fn a_yield_beside_a_task_in_the_slot_wakes_an_idle_worker() {
    let _watchdog = watchdog();
    let runtime = workers_with(unwatched(2));
    let handle = runtime.handle();
    while handle.metrics().workers.iter().any(|worker| worker.parks == 0) {
        thread::yield_now();
    }
    let inner = handle.clone();
    let outer = handle.spawn(async move {
        let (ran, has_run) = mpsc::channel();
        // It lies in the slot, and has woken nobody: the other worker rests.
        let blocker = inner.spawn(async move { has_run.recv_timeout(LONG).expect("the worker was not woken") });
        yield_now().await;
        ran.send(()).unwrap();
        blocker.await.unwrap();
    });
    futures_lite::future::block_on(outer).unwrap();
}

/// Calls what was posted at the end of a wait, as a reactor calls wakers.
#[derive(Default)]
struct Calls {
    park: Arc<ThreadPark>,
    posted: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
}

impl Calls {
    fn post(&self, call: impl FnOnce() + Send + 'static) {
        self.posted.lock().unwrap().push(Box::new(call));
        self.park.unpark();
    }
}

impl Park for Calls {
    type Entered = ();

    fn enter(self: &Arc<Self>) {}

    fn turn(&self, wait: Wait) -> Turn {
        self.turn_then(wait, || {})
    }

    fn turn_then(&self, wait: Wait, awake: impl FnOnce()) -> Turn {
        let turn = self.park.turn(wait);
        if !matches!(turn, Turn::Busy) {
            awake();
        }
        let calls = std::mem::take(&mut *self.posted.lock().unwrap());
        calls.into_iter().for_each(|call| call());
        turn
    }

    fn unpark(&self) {
        self.park.unpark();
    }

    fn close(&self) {
        self.park.close();
    }
}

#[test]
fn a_waker_that_blocks_inside_a_turn_keeps_neither_the_park_nor_a_push() {
    let _watchdog = watchdog();
    let park = Arc::new(Calls::default());
    let runtime = Executor::new(unwatched(2), || Ok(park.clone())).unwrap();
    runtime.start(None).unwrap();
    let handle = runtime.handle();
    while handle.metrics().workers.iter().any(|worker| worker.parks == 0) {
        thread::yield_now();
    }
    let (inside, leave) = (Door::new(), Door::new());
    park.post({
        let (inside, leave) = (inside.clone(), leave.clone());
        move || {
            inside.open();
            leave.wait();
        }
    });
    inside.wait();
    // A push finds the other worker, not the one that is busy with the waker.
    let (ran, has_run) = mpsc::channel();
    drop(handle.spawn(async move { ran.send(()).unwrap() }));
    has_run.recv_timeout(LONG).expect("the push was left to the thread that blocks");
    // And that one waits in the park from now on.
    let (called, is_called) = mpsc::channel();
    park.post(move || called.send(()).unwrap());
    is_called.recv_timeout(LONG).expect("nobody turns the park");
    leave.open();
}

#[test]
fn the_last_thread_closes_the_park_of_a_runtime_that_nobody_waits_for() {
    let _watchdog = watchdog();
    for policy in [UnhandledPanic::Report, UnhandledPanic::Shutdown] {
        let park = Arc::new(CountingPark::default());
        let options = with(unwatched(2), |options| options.unhandled_panic = policy);
        let runtime = Executor::new(options, || Ok(park.clone())).unwrap();
        runtime.start(None).unwrap();
        let (inside, leave) = (Door::new(), Door::new());
        drop(runtime.handle().spawn({
            let (inside, leave) = (inside.clone(), leave.clone());
            async move {
                inside.open();
                leave.wait();
            }
        }));
        inside.wait();
        if policy == UnhandledPanic::Shutdown {
            drop(runtime.handle().spawn(async { panic!("the end") }));
            while !runtime.handle().is_closed() {
                thread::yield_now();
            }
            assert_eq!(park.closes.load(SeqCst), 0, "a thread is there still");
        } else {
            runtime.shutdown_background();
        }
        leave.open();
        let end = Instant::now() + LONG;
        while park.closes.load(SeqCst) == 0 {
            assert!(Instant::now() < end, "nobody closes the park");
            thread::yield_now();
        }
        drop(runtime);
        assert_eq!(park.closes.load(SeqCst), 1);
    }
}

#[test]
fn a_runtime_that_a_panic_has_shut_down_is_waited_for_all_the_same() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(unwatched(2), |options| options.unhandled_panic = UnhandledPanic::Shutdown));
    let (inside, drops) = (Door::new(), Drops::default());
    drop(runtime.handle().spawn({
        let (inside, kept, handle) = (inside.clone(), drops.value(), runtime.handle());
        async move {
            let _kept = kept;
            inside.open();
            while !handle.is_closed() {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(50));
        }
    }));
    inside.wait();
    drop(runtime.handle().spawn(async { panic!("the end") }));
    while !runtime.handle().is_closed() {
        thread::yield_now();
    }
    drop(runtime);
    assert_eq!(drops.count(), 1, "the poll that was under way was waited for");
}

#[test]
fn block_in_place_hands_its_tasks_to_an_idle_worker() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(unwatched(2), |options| options.spares = 0));
    let handle = runtime.handle();
    while handle.metrics().workers.iter().any(|worker| worker.parks == 0) {
        thread::yield_now();
    }
    let task = handle.spawn({
        let handle = handle.clone();
        async move {
            let (ran, has_run) = mpsc::channel();
            let before = ran.clone();
            drop(handle.spawn(async move { before.send(()).unwrap() }));
            handle.block_in_place(|| {
                has_run.recv_timeout(LONG).expect("what was queued before was not taken");
                drop(handle.spawn(async move { ran.send(()).unwrap() }));
                has_run.recv_timeout(LONG).expect("what was queued meanwhile was not taken");
            });
            // The thread is itself again.
            handle.spawn(yield_now()).await.unwrap();
        }
    });
    futures_lite::future::block_on(task).unwrap();
}

#[test]
fn block_in_place_has_a_spare_without_the_sentinel_too() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(unwatched(1), |options| options.spares = 1));
    let handle = runtime.handle();
    let count = Arc::new(AtomicUsize::new(0));
    let task = handle.spawn({
        let (handle, count) = (handle.clone(), count.clone());
        async move {
            let (ran, has_run) = mpsc::channel();
            drop(handle.spawn(async move {
                count.fetch_add(1, SeqCst);
                ran.send(()).unwrap();
            }));
            handle.block_in_place(|| has_run.recv_timeout(LONG).expect("nobody stands in"));
        }
    });
    futures_lite::future::block_on(task).unwrap();
    assert_eq!(count.load(SeqCst), 1);
    assert_eq!(handle.metrics().rescues, 1);
    drop(handle.spawn(pending::<()>()));
}

/// A park that panics in its first wait.
struct BrittlePark {
    park: Arc<ThreadPark>,
    left: AtomicUsize,
}

impl Park for BrittlePark {
    type Entered = ();
    fn enter(self: &Arc<Self>) {}
    fn turn(&self, wait: Wait) -> Turn {
        if wait == Wait::Forever && self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
            panic!("in a turn");
        }
        self.park.turn(wait)
    }
    fn unpark(&self) {
        self.park.unpark();
    }
    fn close(&self) {
        self.park.close();
    }
}

/// Else its thread would be gone, and nobody else could wait in the park.
#[test]
fn a_turn_that_panics_is_not_the_last() {
    let _watchdog = watchdog();
    let park = Arc::new(BrittlePark { park: Arc::default(), left: AtomicUsize::new(1) });
    let runtime = Executor::new(unwatched(1), || Ok(park.clone())).unwrap();
    runtime.start(None).unwrap();
    while park.left.load(SeqCst) > 0 {
        thread::yield_now();
    }
    for _ in 0..3 {
        let (ran, has_run) = mpsc::channel();
        drop(runtime.handle().spawn(async move { ran.send(()).unwrap() }));
        has_run.recv_timeout(LONG).expect("nobody waits in the park any more");
    }
}

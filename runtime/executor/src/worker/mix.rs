//! Mixes of all protocols, under random schedules: too large for loom to go through, and for shuttle to go through all of.
//!
//! Whole executors of the shipped types, of each flavour. What is left out: the orderings (shuttle runs everything in one
//! order; those are loom's), crossbeam's queue (the stand-in has its lock), the reactor (a `ThreadPark` stands for it;
//! it has loom models of its own), and time (see `sync::model`): a stall is never reported, for none lasts.
//!
//! A lost wake-up is a deadlock, which shuttle reports, with the schedule that leads there.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, MaxSteps, Runner};

use super::executor::Executor;
use super::options::ExecutorOptions;
use crate::handle::Handle;
use crate::park::ThreadPark;
use crate::sync::{Condvar, Mutex, thread};
use crate::task::{AbortHandle, JoinHandle, yield_now};

/// Schedules of each mix; `BOURN_SCHEDULES` says otherwise.
const SCHEDULES: usize = 10_000;

fn config() -> Config {
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    config.max_steps = MaxSteps::FailAfter(200_000);
    // Of orderings that it does not model.
    config.silence_warnings = true;
    config
}

fn schedules() -> usize {
    std::env::var("BOURN_SCHEDULES").map_or(SCHEDULES, |number| number.parse().expect("BOURN_SCHEDULES is a number"))
}

fn explore(body: fn()) {
    Runner::new(RandomScheduler::new(schedules()), config()).run(body);
}

/// With few changes of the thread that runs, at places that are drawn: finds what needs one of them to be very late. Not
/// where somebody spins until another has gone on.
fn explore_late(body: fn()) {
    Runner::new(PctScheduler::new(3, schedules() / 4), config()).run(body);
}

fn start(options: ExecutorOptions) -> (Executor<ThreadPark>, Arc<ThreadPark>) {
    let mut first = None;
    let make = || Ok(Arc::clone(first.get_or_insert_with(|| Arc::new(ThreadPark::new()))));
    // Shards may not share a park.
    let runtime = if options.shards > 1 {
        Executor::new(options, || Ok(Arc::new(ThreadPark::new())))
    } else {
        Executor::new(options, make)
    };
    let runtime = runtime.expect("parks");
    runtime.start(None).expect("threads");
    (runtime, first.unwrap_or_default())
}

fn workers(count: usize) -> ExecutorOptions {
    let mut options = ExecutorOptions::multi_thread().workers(count);
    (options.spares, options.rescue, options.callers) = (0, Some(false), 1);
    options
}

/// How many futures there were, and how many of them were dropped.
#[derive(Clone, Default)]
struct Tally(Arc<(AtomicUsize, AtomicUsize)>);

impl Tally {
    fn value(&self) -> Counted {
        self.0.0.fetch_add(1, Relaxed);
        Counted(self.clone())
    }

    #[track_caller]
    fn end(&self) {
        let (made, dropped) = (self.0.0.load(Relaxed), self.0.1.load(Relaxed));
        assert_eq!(made, dropped, "futures made, and dropped");
    }
}

struct Counted(Tally);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.1.fetch_add(1, Relaxed);
    }
}

/// Returns when nobody else has the park: if a task or a seat was left behind, never, which is an error, too. A thread
/// that has left the runtime lets go of it a moment later.
fn await_release(park: &Arc<ThreadPark>) {
    while Arc::strong_count(park) > 1 {
        thread::yield_now();
    }
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Awaits where no executor is.
fn block_on<F: Future + Unpin>(future: F) -> F::Output {
    let mut future = future;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A number that some raise, and others wait for: with a single wake for each wait.
#[derive(Default)]
struct Level {
    state: Mutex<(usize, Vec<Waker>)>,
    changed: Condvar,
}

impl Level {
    fn raise(&self) {
        let wakers = {
            let mut state = self.state.lock().unwrap();
            state.0 += 1;
            std::mem::take(&mut state.1)
        };
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn reach(&self, wanted: usize) {
        poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            if state.0 >= wanted {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Blocks the thread.
    fn wait(&self, wanted: usize) {
        let mut state = self.state.lock().unwrap();
        while state.0 < wanted {
            state = self.changed.wait(state).unwrap();
        }
    }
}

/// Spawns tasks of all kinds: that end at once, that yield, that play ping-pong, that spawn and await others, that wait
/// for `level`. Those that end are what is returned.
fn spawn_all(handle: &Handle<ThreadPark>, tally: &Tally, level: &Arc<Level>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    let kept = tally.value();
    tasks.push(handle.spawn(async move { drop(kept) }));
    let kept = tally.value();
    tasks.push(handle.spawn(async move {
        let _kept = kept;
        for _ in 0..3 {
            yield_now().await;
        }
    }));
    let ball = Arc::new(Level::default());
    for side in 0..2 {
        let (ball, kept) = (Arc::clone(&ball), tally.value());
        tasks.push(handle.spawn(async move {
            let _kept = kept;
            for round in 0..3 {
                ball.reach(2 * round + side).await;
                ball.raise();
            }
        }));
    }
    let (inner, kept, level, tally) = (handle.clone(), tally.value(), Arc::clone(level), tally.clone());
    tasks.push(handle.spawn(async move {
        let _kept = kept;
        let kept = tally.value();
        let child = inner.spawn(async move {
            level.reach(2).await;
            drop(kept);
        });
        // Cancelled if the runtime was shut down.
        drop(child.await);
    }));
    tasks
}

/// Two threads that are not the runtime's spawn, raise what tasks wait for, and abort some.
fn foreigners(
    handle: &Handle<ThreadPark>,
    tally: &Tally,
    level: &Arc<Level>,
) -> Vec<thread::JoinHandle<(Vec<JoinHandle<()>>, AbortHandle)>> {
    let foreigner = |_| {
        let (handle, tally, level) = (handle.clone(), tally.clone(), Arc::clone(level));
        thread::spawn(move || {
            let tasks = spawn_all(&handle, &tally, &level);
            let kept = tally.value();
            let victim = handle.spawn(async move {
                let _kept = kept;
                yield_now().await;
                pending::<()>().await;
            });
            let abort = victim.abort_handle();
            for _ in 0..thread_rng().gen_range(0..4_u32) {
                thread::yield_now();
            }
            level.raise();
            abort.abort();
            (tasks, abort)
        })
    };
    (0..2).map(foreigner).collect()
}

/// All tasks come to their ends, and all is gone with the runtime.
fn everything_ends(options: ExecutorOptions) {
    let (tally, level) = (Tally::default(), Arc::new(Level::default()));
    let (runtime, park) = start(options);
    let handle = runtime.handle();
    let others = foreigners(&handle, &tally, &level);
    let own = spawn_all(&handle, &tally, &level);
    let local = tally.clone();
    runtime.block_on(async {
        let kept = local.value();
        let here = handle.spawn_local(async move {
            let _kept = kept;
            yield_now().await;
        });
        for task in own {
            task.await.expect("an own task");
        }
        here.await.expect("a local task");
    });
    for other in others {
        let (tasks, _) = other.join().unwrap();
        for task in tasks {
            // On one thread nobody else runs them.
            if runtime.shards[0].options.workers == 0 {
                runtime.block_on(task).expect("a foreign task");
            } else {
                block_on(task).expect("a foreign task");
            }
        }
    }
    assert!(runtime.shutdown(Duration::MAX).is_empty());
    drop((runtime, handle));
    tally.end();
    await_release(&park);
}

/// The shutdown comes at any time; every handle hears of its task's end, and every future is dropped once.
fn shutdown_at_any_time(options: ExecutorOptions) {
    let (tally, level) = (Tally::default(), Arc::new(Level::default()));
    let (runtime, park) = start(options);
    let handle = runtime.handle();
    let others = foreigners(&handle, &tally, &level);
    let own = spawn_all(&handle, &tally, &level);
    for _ in 0..thread_rng().gen_range(0..40_u32) {
        thread::yield_now();
    }
    if thread_rng().gen_bool(0.5) {
        assert!(runtime.shutdown(Duration::MAX).is_empty());
    } else {
        runtime.shutdown_background();
    }
    for other in others {
        let (tasks, abort) = other.join().unwrap();
        tasks.into_iter().for_each(|task| drop(block_on(task)));
        while !abort.is_finished() {
            thread::yield_now();
        }
    }
    own.into_iter().for_each(|task| drop(block_on(task)));
    assert!(runtime.shutdown(Duration::MAX).is_empty());
    drop((runtime, handle));
    tally.end();
    await_release(&park);
}

/// Killed by: executor-mix-worker-sleeps.
#[test]
fn shuttle_everything_ends_on_two_workers() {
    let body = || everything_ends(workers(2));
    explore(body);
    explore_late(body);
}

#[test]
fn shuttle_everything_ends_on_three_workers_of_two_groups() {
    explore(|| {
        let mut options = workers(3);
        options.workers_per_park = 2;
        let make = || Ok(Arc::new(ThreadPark::new()));
        let runtime = Executor::new(options, make).expect("parks");
        runtime.start(None).expect("threads");
        let (tally, level) = (Tally::default(), Arc::new(Level::default()));
        let others = foreigners(&runtime.handle(), &tally, &level);
        for other in others {
            other.join().unwrap().0.into_iter().for_each(|task| block_on(task).expect("a foreign task"));
        }
        assert!(runtime.shutdown(Duration::MAX).is_empty());
        tally.end();
    });
}

#[test]
fn shuttle_everything_ends_on_one_thread() {
    let body = || {
        let mut options = ExecutorOptions::current_thread();
        options.rescue = Some(false);
        everything_ends(options);
    };
    explore(body);
    explore_late(body);
}

#[test]
fn shuttle_everything_ends_on_shards() {
    explore(|| {
        let mut options = ExecutorOptions::thread_per_core().workers(2);
        options.rescue = Some(false);
        let (runtime, _) = start(options);
        let (tally, level) = (Tally::default(), Arc::new(Level::default()));
        let each = runtime.handle().spawn_on_each({
            let (tally, level) = (tally.clone(), Arc::clone(&level));
            move |_| {
                let (kept, level) = (tally.value(), Arc::clone(&level));
                async move {
                    let _kept = kept;
                    level.reach(2).await;
                }
            }
        });
        let others = foreigners(&runtime.handle(), &tally, &level);
        runtime.block_on(each).into_iter().for_each(|result| result.expect("one for each shard"));
        for other in others {
            other.join().unwrap().0.into_iter().for_each(|task| block_on(task).expect("a foreign task"));
        }
        assert!(runtime.shutdown(Duration::MAX).is_empty());
        tally.end();
    });
}

#[test]
fn shuttle_shutdown_at_any_time_on_two_workers() {
    let body = || shutdown_at_any_time(workers(2));
    explore(body);
}

#[test]
fn shuttle_shutdown_at_any_time_on_shards() {
    explore(|| {
        let mut options = ExecutorOptions::thread_per_core().workers(2);
        options.rescue = Some(false);
        shutdown_at_any_time(options);
    });
}

/// Both workers are stuck until other tasks, in the slot of one of them and spawned from elsewhere, have run. The sentinel
/// notices, at any of its looks, and has spares stand in; they and the workers, which go on, share what comes then.
/// Killed by: executor-mix-spare-keeps-tasks.
#[test]
fn shuttle_stuck_workers_are_stood_in_for() {
    explore(|| {
        let mut options = workers(2);
        (options.spares, options.rescue) = (2, Some(true));
        let (runtime, park) = start(options);
        let (tally, level, release) = (Tally::default(), Arc::new(Level::default()), Arc::new(Level::default()));
        let handle = runtime.handle();
        let victim = |_| {
            let (inner, kept, release) = (handle.clone(), tally.value(), Arc::clone(&release));
            handle.spawn(async move {
                let _kept = kept;
                let opener = Arc::clone(&release);
                drop(inner.spawn(async move { opener.raise() }));
                release.wait(2);
            })
        };
        let victims: Vec<_> = (0..2).map(victim).collect();
        let others = foreigners(&handle, &tally, &level);
        victims.into_iter().for_each(|task| block_on(task).expect("a stuck task"));
        for other in others {
            other.join().unwrap().0.into_iter().for_each(|task| block_on(task).expect("a foreign task"));
        }
        assert!(runtime.shutdown(Duration::MAX).is_empty());
        drop((runtime, handle));
        tally.end();
        await_release(&park);
    });
}

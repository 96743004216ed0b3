//! Models of the protocols between the threads of a runtime: the shipped types on loom's threads.
//!
//! A lost wake-up is a deadlock, which loom reports.

mod guest;
mod rescue;
mod shutdown;

use std::future::{Future, pending, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use loom::sync::atomic::AtomicBool;
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::executor::Executor;
use super::idle::Idle;
use super::options::ExecutorOptions;
use super::sentinel::Sentinel;
use super::shared::Shared;
use super::sleeper::{Post, Sleeper};
use super::watch::Watch;
use crate::handle::Handle;
use crate::park::{Park, ThreadPark, Wait};
use crate::task::{Id, JoinHandle, yield_now};
use crate::unhandled::Unhandled;

fn bounded(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    // Where a tick is over at once, the sentinel makes many.
    builder.max_branches = 20_000;
    builder.check(body);
}

/// A push against a worker that searched in vain and is about to rest. Killed by: executor-idle-publish-fence,
/// executor-idle-pick-fence.
#[test]
fn loom_idle_loses_no_push() {
    loom::model(|| {
        let shared =
            Arc::new((Idle::new(1, 1), Sleeper::new(), (Post::new(), ThreadPark::new()), AtomicBool::new(false)));
        let pusher = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (idle, sleeper, park, work) = &*shared;
                // Relaxed, so that nothing but the fences orders the two.
                work.store(true, Relaxed);
                if idle.pick(|_| true, |_| true).is_some() {
                    sleeper.unpark(&park.1);
                }
            }
        });
        let (idle, sleeper, park, work) = &*shared;
        let mut searching = idle.start_search();
        while !work.load(Relaxed) {
            idle.publish(0, searching);
            if !work.load(Relaxed) {
                sleeper.rest(Some(&park.0), &park.1, Wait::Forever, || {}).unwrap();
            }
            searching = idle.withdraw(0);
        }
        pusher.join().unwrap();
    });
}

/// A yield behind another task against a worker that is about to rest: one of them sees the other. (That on some processors the
/// end of a poll does what the fence does here is beyond what a model can show.) Killed by: executor-yield-looks-without-fence.
#[test]
fn loom_yield_behind_another_loses_no_worker() {
    loom::model(|| {
        let shared = Arc::new((Idle::new(2, 2), AtomicBool::new(false)));
        let rester = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.0.publish(1, false);
                !shared.1.load(Relaxed)
            }
        });
        let yielder = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.store(true, Relaxed);
                shared.0.is_anyone(|index| index == 1)
            }
        });
        let (rests, is_seen) = (rester.join().unwrap(), yielder.join().unwrap());
        assert!(is_seen || !rests, "it rests, and nobody knows");
    });
}

/// A push that is hidden by a searcher that finds something else: one of the two sees to it. Killed by:
/// executor-idle-stop-fence.
#[test]
fn loom_last_searcher_hands_on() {
    loom::model(|| {
        let shared = Arc::new((Idle::new(2, 2), AtomicBool::new(false)));
        let (idle, work) = &*shared;
        idle.publish(1, false);
        assert!(idle.start_search());
        let pusher = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (idle, work) = &*shared;
                work.store(true, Relaxed);
                idle.pick(|_| true, |_| true).is_some()
            }
        });
        let handed_on = idle.stop_search() && work.load(Relaxed);
        let picked = pusher.join().unwrap();
        assert!(handed_on || picked, "nobody was woken for the push");
    });
}

/// Two stop searching, of whom one has stolen more than it runs: the last one sees it. Killed by: executor-stop-search-relaxed.
#[test]
fn loom_last_searcher_sees_what_was_stolen() {
    loom::model(|| {
        let shared = Arc::new((Idle::new(2, 4), AtomicBool::new(false)));
        assert!(shared.0.start_search() && shared.0.start_search());
        let thief = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.store(true, Relaxed);
                shared.0.stop_search()
            }
        });
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.0.stop_search() && shared.1.load(Relaxed)
        });
        let (by_thief, by_other) = (thief.join().unwrap(), other.join().unwrap());
        assert!(by_thief || by_other, "nobody looks at what was stolen");
    });
}

/// Two of a group rest, one in the park and one beside it; each is unparked once. Killed by:
/// executor-sleeper-overwrites, executor-sleeper-without-post.
#[test]
fn loom_sleepers_hear_their_unpark() {
    bounded(3, || {
        let sleepers = [Sleeper::new(), Sleeper::new()];
        let shared = Arc::new((ThreadPark::new(), sleepers, Post::new()));
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1[1].rest(Some(&shared.2), &shared.0, Wait::Forever, || {}).unwrap();
            }
        });
        let bringer = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1[0].unpark(&shared.0);
                shared.1[1].unpark(&shared.0);
            }
        });
        shared.1[0].rest(Some(&shared.2), &shared.0, Wait::Forever, || {}).unwrap();
        bringer.join().unwrap();
        other.join().unwrap();
    });
}

/// The sentinel falls asleep while a thread's rest ends: it is roused, or stays awake. Killed by:
/// executor-sentinel-pause-fence, executor-sentinel-rouse-fence.
#[test]
fn loom_sentinel_hears_who_gets_up() {
    loom::model(|| {
        let shared = Arc::new((Sentinel::new(true), Watch::new()));
        let worker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.begin(None, None);
                shared.0.rouse();
            }
        });
        shared.0.pause(true, || shared.1.progress().is_none());
        worker.join().unwrap();
    });
}

/// What is read of a step is of that step. (The reader is the spawned thread: loom remembers one access to a word, and the
/// writer's own loads would hide the reader's.) Killed by: executor-watch-write-fence, executor-watch-read-again.
#[test]
fn loom_watch_is_not_torn() {
    loom::model(|| {
        let watch = Arc::new(Watch::new());
        let reader = thread::spawn({
            let watch = Arc::clone(&watch);
            move || {
                // The steps count by four, from the parked first one.
                if let Some(doing) = watch.doing(4) {
                    assert_eq!(doing.task.map(Id::get), Some(1), "a task of another step");
                }
            }
        });
        for number in [1, 2] {
            watch.begin(Id::from_number(number), Some(Location::caller()));
        }
        reader.join().unwrap();
    });
}

fn options(workers: usize, callers: usize) -> ExecutorOptions {
    let mut options = ExecutorOptions::multi_thread().workers(workers);
    (options.spares, options.rescue) = (0, Some(false));
    options.callers = callers;
    options
}

/// A runtime of which no thread is started, and a handle to it.
fn unstarted<P: Park>(options: ExecutorOptions, park: P) -> (Arc<Shared<P>>, Handle<P>) {
    let unhandled = Arc::new(Unhandled::new(options.unhandled_panic));
    let sentinel = Arc::new(Sentinel::new(true));
    let parks = Box::new([Arc::new(park)]);
    let shared = Arc::new(Shared::new(parks, options, 0, unhandled, sentinel, Location::caller()));
    let handle = Handle::new(Arc::from([Arc::clone(&shared)]));
    (shared, handle)
}

/// Opened once; threads wait before it.
#[derive(Default)]
struct Door {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Door {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
    }
}

/// Counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn runtime(options: ExecutorOptions) -> Executor<ThreadPark> {
    Executor::new(options, || Ok(Arc::new(ThreadPark::new()))).unwrap()
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Awaits a task where no executor is.
fn join<T>(task: JoinHandle<T>) -> Option<T> {
    let mut task = task;
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut task).poll(&mut cx) {
            Poll::Ready(result) => return result.ok(),
            Poll::Pending => thread::park(),
        }
    }
}

/// A spawn from a foreign thread finds a worker that may be about to rest. Killed by: executor-rest-second-look.
#[test]
fn loom_worker_hears_a_spawn() {
    bounded(2, || {
        let runtime = runtime(options(1, 0));
        runtime.start(None).unwrap();
        let task = runtime.handle().spawn(async { 7 });
        assert_eq!(join(task), Some(7));
        drop(runtime);
    });
}

/// A shutdown meets a worker and a foreign spawn: whichever task is there is dropped, and nobody hangs. Killed by:
/// executor-inject-closed.
#[test]
fn loom_shutdown_meets_a_spawn() {
    bounded(2, || {
        let runtime = runtime(options(1, 0));
        runtime.start(None).unwrap();
        let handle = runtime.handle();
        let spawner = thread::spawn(move || handle.spawn(pending::<()>()));
        assert!(runtime.shutdown(Duration::MAX).is_empty());
        let task = spawner.join().unwrap();
        assert!(task.is_finished(), "a task was left behind");
    });
}

/// Two callers, one core: tasks of either get done, and what is left in the core goes on when its caller leaves. Killed
/// by: executor-caller-leaves-tasks.
#[test]
fn loom_core_of_callers_is_handed_back() {
    bounded(2, || {
        // No worker is started: the callers are alone.
        let runtime = Arc::new(runtime(options(1, 1)));
        let done = Arc::new(Mutex::new((false, None::<Waker>)));
        let other = thread::spawn({
            let runtime = Arc::clone(&runtime);
            move || runtime.block_on(async {})
        });
        let (handle, setter) = (runtime.handle(), Arc::clone(&done));
        runtime.block_on(async move {
            drop(handle.spawn(async move {
                let waker = {
                    let mut done = setter.lock().unwrap();
                    done.0 = true;
                    done.1.take()
                };
                waker.into_iter().for_each(Waker::wake);
            }));
        });
        other.join().unwrap();
        // Whoever had the core, it is free again, and the task is where the next one finds it.
        runtime.block_on(poll_fn(|cx| {
            let mut done = done.lock().unwrap();
            done.1 = Some(cx.waker().clone());
            if done.0 { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
}

/// Preemptions of the models without workers, which are small.
const ALONE: usize = 4;

fn alone() -> ExecutorOptions {
    let mut options = ExecutorOptions::current_thread();
    options.rescue = Some(false);
    options
}

/// An unpark before, during or after the start of a wait ends it. Killed by: executor-park-token.
#[test]
fn loom_unpark_is_kept() {
    loom::model(|| {
        let park = Arc::new(ThreadPark::new());
        let other = {
            let park = Arc::clone(&park);
            thread::spawn(move || park.unpark())
        };
        park.turn(Wait::Forever);
        other.join().unwrap();
    });
}

/// A spawn from another thread wakes a runtime that may be going to sleep. A lost wake-up is a deadlock, which loom
/// reports. Killed by: executor-rest-second-look.
#[test]
fn loom_runtime_hears_a_spawn() {
    bounded(ALONE, || {
        let runtime = Arc::new(runtime(alone()));
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
/// executor-core-hand-over, executor-enroll-claim.
#[test]
fn loom_core_is_handed_over() {
    bounded(ALONE, || {
        let runtime = Arc::new(runtime(alone()));
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
/// and never run; and the thread is told while it is inside. Killed by: executor-give-up-sweep.
#[test]
fn loom_shutdown_meets_a_driver() {
    bounded(ALONE, || {
        let runtime = Arc::new(runtime(alone()));
        let handle = runtime.handle();
        let waiting = handle.spawn(pending::<()>());
        let other = thread::spawn({
            let runtime = Arc::clone(&runtime);
            move || runtime.shutdown_background()
        });
        runtime.block_on(async {
            yield_now().await;
            assert!(handle.spawn(pending::<()>()).await.is_err());
        });
        other.join().unwrap();
        assert!(waiting.is_finished());
    });
}

/// A local task's wake from elsewhere that meets a shutdown leaves nothing behind that would keep the runtime.
/// Kills `executor-evict-leaves-returning`.
#[test]
fn loom_local_wake_leaves_no_cycle() {
    bounded(3, || {
        let park = Arc::new(ThreadPark::new());
        let runtime = Executor::new(alone(), || Ok(Arc::clone(&park))).unwrap();
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
            runtime.shutdown_background();
            yield_now().await;
        });
        other.unwrap().join().unwrap();
        drop(runtime);
        drop(handle);
        assert_eq!(Arc::strong_count(&park), 1, "a seat was leaked");
    });
}

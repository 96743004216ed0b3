//! Models of the task protocol, on the shipped cell with a scheduler that is a plain queue.
//!
//! The scheduler is behind loom's `Arc`, so a cell that is not freed fails the model as a leak.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::task::{Context, Poll, Wake as StdWake, Waker};

use loom::sync::atomic::{AtomicBool, AtomicUsize};
use loom::sync::{Arc, Mutex};
use loom::thread::ThreadId;

use super::{JoinHandle, Live, Options, Schedule, Task};

struct Queue {
    tasks: Mutex<VecDeque<Task>>,
    live: Live,
    /// The thread that alone takes tasks out of the queue, if there is one.
    owner: Option<ThreadId>,
}

#[derive(Clone)]
struct Scheduler(Arc<Queue>);

impl Scheduler {
    fn new() -> Self {
        Self::owned_by(None)
    }

    fn owned_by(owner: Option<ThreadId>) -> Self {
        Self(Arc::new(Queue { tasks: Mutex::new(VecDeque::new()), live: Live::new(1), owner }))
    }

    #[track_caller]
    fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        let (task, handle) = Task::new(future, self.clone(), Options::new(), Location::caller());
        self.schedule(task);
        handle
    }

    /// Runs what is queued until nothing is.
    fn run(&self) {
        loop {
            let task = self.0.tasks.lock().unwrap().pop_front();
            let Some(task) = task else { return };
            if let Some(task) = task.run() {
                self.schedule(task);
            }
        }
    }
}

impl Schedule for Scheduler {
    const LOCAL: bool = false;

    fn queue_here(&self, make: impl FnOnce() -> Option<Task>) -> bool {
        let is_here = self.0.owner.is_some_and(|owner| owner == loom::thread::current().id());
        if is_here {
            let made = make();
            self.0.tasks.lock().unwrap().extend(made);
        }
        is_here
    }

    fn queue(&self, task: Task) {
        self.0.tasks.lock().unwrap().push_back(task);
    }

    fn admit(&self, task: Task) -> Result<(), Task> {
        self.0.live.admit(task, 0, 0)
    }

    fn retire(&self, key: u32) -> Task {
        self.0.live.retire(key)
    }
}

/// Counts how often it is dropped.
struct Counted(std::sync::Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, AcqRel);
    }
}

fn counter() -> std::sync::Arc<AtomicUsize> {
    std::sync::Arc::new(AtomicUsize::new(0))
}

/// A waker that says whether it was woken.
struct Flag(AtomicBool);

impl StdWake for Flag {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

fn flag() -> (std::sync::Arc<Flag>, Waker) {
    let flag = std::sync::Arc::new(Flag(AtomicBool::new(false)));
    (std::sync::Arc::clone(&flag), Waker::from(flag))
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = None;
    builder.check(body);
}

/// Spawns a task that waits until `ready`, polls it once, and returns its waker.
fn waiting(scheduler: &Scheduler, ready: &std::sync::Arc<AtomicBool>, kept: Counted) -> (JoinHandle<()>, Waker) {
    let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
    let handle = scheduler.spawn({
        let (slot, ready) = (std::sync::Arc::clone(&slot), std::sync::Arc::clone(ready));
        async move {
            let _kept = kept;
            poll_fn(move |cx| {
                slot.lock().unwrap().get_or_insert_with(|| cx.waker().clone());
                // Relaxed: the wake alone has to carry the store over.
                if ready.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    });
    scheduler.run();
    let waker = slot.lock().unwrap().take().unwrap();
    (handle, waker)
}

/// A wake that meets a queued or running task leads to a poll that sees what was done before the wake. Killed by:
/// executor-task-wake-sync, executor-task-pend.
#[test]
fn loom_task_wake_is_not_lost() {
    model(|| {
        let scheduler = Scheduler::new();
        let ready = std::sync::Arc::new(AtomicBool::new(false));
        let drops = counter();
        let (handle, waker) = waiting(&scheduler, &ready, Counted(drops.clone()));
        waker.wake_by_ref();
        let other = loom::thread::spawn({
            let ready = ready.clone();
            move || {
                ready.store(true, Relaxed);
                waker.wake();
            }
        });
        scheduler.run();
        other.join().unwrap();
        scheduler.run();
        assert!(handle.is_finished(), "the wake was lost");
        assert_eq!(drops.load(Acquire), 1);
    });
}

/// Of two wakes by value, one from the thread that has the queue to itself, one gives its reference to the queue, and the
/// other gives it up: in the end the cell is freed, once. Killed by: executor-task-wake-keeps,
/// executor-task-wake-adds.
#[test]
fn loom_task_wake_gives_its_reference() {
    model(|| {
        let scheduler = Scheduler::owned_by(Some(loom::thread::current().id()));
        let ready = std::sync::Arc::new(AtomicBool::new(false));
        let drops = counter();
        let (handle, waker) = waiting(&scheduler, &ready, Counted(drops.clone()));
        drop(handle);
        ready.store(true, Relaxed);
        let second = waker.clone();
        let other = loom::thread::spawn(move || second.wake());
        waker.wake();
        scheduler.run();
        other.join().unwrap();
        scheduler.run();
        assert_eq!(drops.load(Acquire), 1);
    });
}

/// A waker that a task has cloned in its poll is called by another thread before the poll is over, or dropped at once: the
/// cell stays until the last one is gone, and goes then. Killed by: executor-task-lends-on-credit,
/// executor-task-lent-uncounted, executor-task-lent-at-the-end.
#[test]
fn loom_task_lends_wakers() {
    model(|| {
        let scheduler = Scheduler::new();
        let (drops, polls) = (counter(), counter());
        let slot = std::sync::Arc::new(Mutex::new(None::<Waker>));
        let take = |slot: &Mutex<Option<Waker>>| slot.lock().unwrap().take();
        let handle = scheduler.spawn({
            let (slot, kept, polls) = (slot.clone(), Counted(drops.clone()), polls.clone());
            poll_fn(move |cx| {
                let _kept = &kept;
                drop(cx.waker().clone());
                let before = slot.lock().unwrap().replace(cx.waker().clone());
                drop(before);
                if polls.fetch_add(1, Relaxed) == 1 { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        drop(handle);
        let other = loom::thread::spawn({
            let slot = slot.clone();
            move || take(&slot).into_iter().for_each(Waker::wake)
        });
        scheduler.run();
        other.join().unwrap();
        take(&slot).into_iter().for_each(Waker::wake);
        scheduler.run();
        drop(take(&slot));
        assert_eq!((polls.load(Acquire), drops.load(Acquire)), (2, 1));
    });
}

/// A task wakes itself, which is noted aside, while another thread wakes it as well: it is polled once more or twice, and is
/// freed once. Killed by: executor-task-own-wake-is-lost.
#[test]
fn loom_task_wakes_itself() {
    model(|| {
        let scheduler = Scheduler::new();
        let (drops, polls) = (counter(), counter());
        let slot = std::sync::Arc::new(Mutex::new(None::<Waker>));
        let handle = scheduler.spawn({
            let (slot, kept, polls) = (slot.clone(), Counted(drops.clone()), polls.clone());
            poll_fn(move |cx| {
                let _kept = &kept;
                let poll = polls.fetch_add(1, Relaxed);
                if poll == 0 {
                    *slot.lock().unwrap() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                cx.waker().wake_by_ref();
                if poll == 1 { Poll::Pending } else { Poll::Ready(()) }
            })
        });
        drop(handle);
        scheduler.run();
        let waker = slot.lock().unwrap().take().unwrap();
        let other = loom::thread::spawn({
            let waker = waker.clone();
            move || waker.wake()
        });
        waker.wake();
        scheduler.run();
        other.join().unwrap();
        scheduler.run();
        assert_eq!((polls.load(Acquire), drops.load(Acquire)), (3, 1));
    });
}

/// The last reference is the runner's or that of a waker that another thread drops: whoever frees the cell has seen what the
/// other did. Killed by: executor-task-release-relaxed.
#[test]
fn loom_task_is_freed_by_the_last() {
    model(|| {
        let scheduler = Scheduler::new();
        let ready = std::sync::Arc::new(AtomicBool::new(false));
        let drops = counter();
        let (handle, waker) = waiting(&scheduler, &ready, Counted(drops.clone()));
        drop(handle);
        ready.store(true, Relaxed);
        let second = waker.clone();
        // In this order, or loom 0.7 lets the other thread never be the last.
        let runner = loom::thread::spawn(move || {
            waker.wake();
            scheduler.run();
        });
        let other = loom::thread::spawn(move || drop(second));
        runner.join().unwrap();
        other.join().unwrap();
        assert_eq!(drops.load(Acquire), 1);
    });
}

/// An abort from elsewhere drops the future once, whatever the runner and a waker do meanwhile. Killed by:
/// executor-task-abort.
#[test]
fn loom_task_abort_drops_once() {
    model(|| {
        let scheduler = Scheduler::new();
        let ready = std::sync::Arc::new(AtomicBool::new(false));
        let drops = counter();
        let (mut handle, waker) = waiting(&scheduler, &ready, Counted(drops.clone()));
        let abort = handle.abort_handle();
        let other = loom::thread::spawn(move || abort.abort());
        waker.wake();
        scheduler.run();
        other.join().unwrap();
        scheduler.run();
        let result = poll(&mut handle, Waker::noop());
        assert!(matches!(result, Poll::Ready(Err(error)) if error.is_cancelled()));
        assert_eq!(drops.load(Acquire), 1);
    });
}

/// A cancel from elsewhere, as in a shutdown, and a run of the same task: one of them gets the future. Killed by:
/// executor-task-cancel.
#[test]
fn loom_task_cancel_meets_run() {
    model(|| {
        let scheduler = Scheduler::new();
        let ready = std::sync::Arc::new(AtomicBool::new(false));
        let drops = counter();
        let (mut handle, waker) = waiting(&scheduler, &ready, Counted(drops.clone()));
        let other = loom::thread::spawn({
            let scheduler = scheduler.clone();
            move || {
                for task in scheduler.0.live.of_seat(0) {
                    task.cancel();
                }
            }
        });
        waker.wake();
        scheduler.run();
        other.join().unwrap();
        scheduler.run();
        let result = poll(&mut handle, Waker::noop());
        assert!(matches!(result, Poll::Ready(Err(error)) if error.is_cancelled()));
        assert_eq!(drops.load(Acquire), 1);
    });
}

/// Whoever awaits a task while it completes gets the output or is woken by the last waker that it left. Killed by:
/// executor-task-join-waker.
#[test]
fn loom_task_join_is_woken() {
    model(|| {
        let scheduler = Scheduler::new();
        let mut handle = scheduler.spawn(async { 7 });
        let other = loom::thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.run()
        });
        let (_, first) = flag();
        let (woken, second) = flag();
        let mut result = poll(&mut handle, &first);
        if result.is_pending() {
            result = poll(&mut handle, &second);
        }
        other.join().unwrap();
        if result.is_pending() {
            assert!(woken.0.load(Relaxed), "the last waker was not woken");
            result = poll(&mut handle, &second);
        }
        assert!(matches!(result, Poll::Ready(Ok(7))));
    });
}

/// Of a completion and a handle that goes away, exactly one drops the output. Killed by: executor-task-detach.
#[test]
fn loom_task_output_is_dropped_once() {
    model(|| {
        let scheduler = Scheduler::new();
        let drops = counter();
        let mut handle = scheduler.spawn({
            let output = Counted(drops.clone());
            async move { output }
        });
        let other = loom::thread::spawn({
            let scheduler = scheduler.clone();
            move || scheduler.run()
        });
        drop(pin!(poll(&mut handle, Waker::noop())));
        drop(handle);
        other.join().unwrap();
        assert_eq!(drops.load(Acquire), 1);
    });
}

/// The last of three references, given up by three threads, frees the cell after all that the others did to it. Killed
/// by: executor-task-release.
#[test]
fn loom_task_last_reference_frees() {
    model(|| {
        let scheduler = Scheduler::new();
        let ready = std::sync::Arc::new(AtomicBool::new(true));
        let drops = counter();
        let slot = std::sync::Arc::new(std::sync::Mutex::new(None));
        let handle = scheduler.spawn({
            let (slot, kept) = (slot.clone(), Counted(drops.clone()));
            poll_fn(move |cx| {
                let _kept = &kept;
                *slot.lock().unwrap() = Some(cx.waker().clone());
                if ready.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        let task = scheduler.0.tasks.lock().unwrap().pop_front().unwrap();
        let other = loom::thread::spawn(move || drop(handle));
        assert!(task.run().is_none());
        let waker = slot.lock().unwrap().take();
        let third = loom::thread::spawn(move || drop(waker));
        other.join().unwrap();
        third.join().unwrap();
        assert_eq!(drops.load(Acquire), 1);
    });
}

/// A shutdown finds a task with a name before its maker has queued it, and cancels it whole. Killed by:
/// executor-task-with-a-name-refused.
#[test]
fn loom_task_with_a_name_meets_a_shutdown() {
    model(|| {
        let scheduler = Scheduler::new();
        let drops = counter();
        let other = loom::thread::spawn({
            let scheduler = scheduler.clone();
            move || {
                scheduler.0.live.close();
                scheduler.0.live.of_seat(0).into_iter().for_each(Task::cancel);
            }
        });
        let kept = Counted(drops.clone());
        let options = Options::new().name("named");
        let future = async move { drop(kept) };
        let (task, handle) = Task::new(future, scheduler.clone(), options, Location::caller());
        scheduler.schedule(task);
        other.join().unwrap();
        scheduler.run();
        assert_eq!((drops.load(Acquire), scheduler.0.live.len()), (1, 0));
        assert!(handle.is_finished());
    });
}

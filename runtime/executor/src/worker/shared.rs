//! What the threads of a runtime share.

use std::ops::Range;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use std::{iter, mem};

use super::core::{Core, Owned};
use super::idle::Idle;
use super::options::ExecutorOptions;
use super::seat::Seat;
use super::sentinel::{self, Sentinel};
use super::sleeper::Post;
use super::spare::Spares;
use crate::blocking::PoolHost;
use crate::context::{self, Place};
use crate::park::Park;
use crate::queue::injector::Injector;
use crate::signal::WORK;
use crate::sync::{AtomicUsize, Condvar, Mutex, fence, is_over, lock, now, wait_until, wait_while};
use crate::task::{Live, Schedule, Task, TaskInfo};
use crate::unhandled::Unhandled;
use crate::{misuse, sys, unwind};

pub(crate) struct Shared<P: Park> {
    /// One for each group of workers.
    pub(crate) parks: Box<[Arc<P>]>,
    /// One for each park.
    pub(super) posts: Box<[Post]>,
    /// Those of the workers, then those for callers, then those for spares.
    pub(super) cores: Box<[Core]>,
    pub(super) options: ExecutorOptions,
    /// Of several shards, which one this is.
    pub(super) shard: usize,
    /// Where the next round-robin spawn goes. Used in the first shard only.
    pub(crate) next_shard: AtomicUsize,
    pub(super) idle: Idle,
    /// Tasks woken or spawned by threads without a core, and what did not fit into a ring.
    pub(super) injector: Injector<Task>,
    /// What a turn in a hurry has woken. It goes before the injector, where spares leave what they had.
    urgent: Injector<Task>,
    pub(crate) live: Live,
    /// One for all shards, like the sentinel.
    pub(super) unhandled: Arc<Unhandled>,
    /// All shards, this one included.
    pub(crate) siblings: OnceLock<Weak<[Arc<Self>]>>,
    pub(super) sentinel: Arc<Sentinel>,
    pub(super) spares: Spares,
    /// Where the runtime was made.
    pub(super) location: &'static Location<'static>,
    /// See [`sys::forks`].
    forks: u32,
    /// Not 0 once the runtime is closed.
    closed: AtomicUsize,
    /// Not 0 once the parks are being closed.
    parks_closed: AtomicUsize,
    /// Not 0 once a wait has failed, and it has been said.
    failed: AtomicUsize,
    roll: Mutex<Roll<P>>,
    /// Rung when a thread has left.
    left: Condvar,
}

// Foreign code (tasks, wakers, the hook for stalls) runs under no lock of a runtime and under a guard of its own, so a
// panic leaves nothing half-changed that could be seen later.
impl<P: Park + RefUnwindSafe> UnwindSafe for Shared<P> {}
impl<P: Park + RefUnwindSafe> RefUnwindSafe for Shared<P> {}

/// Who is here.
struct Roll<P: Park> {
    /// Threads of the runtime's own that have not left.
    threads: usize,
    /// Of these, how many run tasks.
    runners: usize,
    /// Threads inside `block_on` that have no core, and rest by themselves.
    strangers: Vec<Arc<Seat<P>>>,
    /// What the threads are inside, until the runtime is closed.
    host: Option<Arc<dyn PoolHost>>,
}

impl<P: Park> Shared<P> {
    pub(super) fn new(
        parks: Box<[Arc<P>]>,
        options: ExecutorOptions,
        shard: usize,
        unhandled: Arc<Unhandled>,
        sentinel: Arc<Sentinel>,
        location: &'static Location<'static>,
    ) -> Self {
        let workers = options.workers;
        let count = workers + options.callers + options.cap();
        let group = |index: usize| {
            if index < workers { options.group(index) } else { index % parks.len() }
        };
        Self {
            cores: (0..count).map(|index| Core::new(group(index), options.private)).collect(),
            posts: parks.iter().map(|_| Post::new()).collect(),
            shard,
            next_shard: AtomicUsize::new(0),
            idle: Idle::new(count, workers),
            injector: Injector::new(),
            urgent: Injector::new(),
            live: Live::new(if options.private { 1 } else { 2 * workers }),
            unhandled,
            siblings: OnceLock::new(),
            sentinel,
            spares: Spares::new(workers + options.callers..count, &options),
            location,
            forks: sys::forks(),
            closed: AtomicUsize::new(0),
            parks_closed: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            roll: Mutex::new(Roll { threads: 0, runners: 0, strangers: Vec::new(), host: None }),
            left: Condvar::new(),
            parks,
            options,
        }
    }

    /// By what threads know this runtime; see [`context`].
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    pub(super) fn park_of(&self, core: &Core) -> &Arc<P> {
        &self.parks[core.group()]
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: a hint that is looked at again and again; the queues are emptied by their own protocol.
        self.closed.load(Relaxed) != 0
    }

    /// Whether a queue that anybody may take from is not empty.
    pub(super) fn has_work(&self) -> bool {
        !self.urgent.is_empty()
            || !self.injector.is_empty()
            || (!self.options.private && self.cores.iter().any(Core::has_work))
    }

    /// How many tasks wait in the queues that are nobody's.
    pub(super) fn injected(&self) -> usize {
        self.urgent.len() + self.injector.len()
    }

    pub(super) fn pop_injected(&self) -> Option<Task> {
        // A vain pop costs a fence.
        let urgent = if self.urgent.is_empty() { None } else { self.urgent.pop() };
        urgent.or_else(|| if self.injector.is_empty() { None } else { self.injector.pop() })
    }

    /// Wakes somebody for a task that the caller has queued, if nobody looks for one already.
    pub(super) fn notify(&self) {
        let is_napping = |index: usize| self.cores[index].sleeper.is_napping();
        // Each word is read after the fence in `pick`, which pairs with the one in `help`.
        if let Some(index) = self.idle.pick(is_napping, |index| self.is_fit(index)) {
            self.unpark(index);
        }
    }

    /// Whether a push may wake the core's thread: not a guest, while a worker of its group gets on.
    pub(super) fn is_fit(&self, index: usize) -> bool {
        !self.is_guest(index) || !self.workers_get_on(self.cores[index].group())
    }

    /// Whether a worker of this group is there, and not stuck. As long as one is, guests leave tasks and park to it.
    pub(super) fn workers_get_on(&self, group: usize) -> bool {
        let gets_on = |core: &Core| core.group() == group && core.is_taken() && !core.watch.is_stuck();
        self.cores[..self.options.workers].iter().any(gets_on)
    }

    /// Whether the core is for a caller beside workers.
    pub(super) fn is_guest(&self, index: usize) -> bool {
        let workers = self.options.workers;
        workers > 0 && self.callers().contains(&index)
    }

    /// The numbers of the cores for callers.
    pub(super) fn callers(&self) -> Range<usize> {
        let workers = self.options.workers;
        workers..workers + self.options.callers
    }

    /// Wakes a thread that rests and is `fit`, if there is one.
    pub(super) fn wake_where(&self, fit: impl Fn(usize) -> bool) {
        if let Some(index) = self.idle.pick_where(fit) {
            self.unpark(index);
        }
    }

    /// Sends somebody of `group` who rests into its park, if nobody is in it: a guest only if no worker gets on, for one
    /// that is up comes to the post by itself, or gets stuck and is helped.
    ///
    /// Called by whoever leaves the post for good, and by `help`. The fence pairs with the one in `Idle::publish`: a thread
    /// that found the post taken, or a worker getting on, and so naps, had put itself into the set before, and is seen there.
    pub(super) fn attend(&self, group: usize) {
        fence(SeqCst);
        if !self.posts[group].is_taken() {
            let spares_guests = self.workers_get_on(group);
            self.wake_where(|index| self.cores[index].group() == group && !(spares_guests && self.is_guest(index)));
        }
    }

    pub(super) fn unpark(&self, index: usize) {
        let core = &self.cores[index];
        core.sleeper.unpark(&**self.park_of(core));
    }

    /// Queues a task for anyone, and wakes somebody.
    #[cold]
    fn inject(self: &Arc<Self>, task: Task) {
        if self.is_closed() && self.is_forked() {
            // The child of a fork(2) has a copy of the parent's tasks: none is dropped in it.
            return mem::forget(task);
        }
        if context::is_turning(self.address()) {
            self.urgent.push(task);
        } else {
            self.injector.push(task);
        }
        self.notify();
        // After the fence in `notify`, which pairs with the one in `shut_down`: either its sweep finds the task, or this
        // sees that it is closed.
        if self.is_closed() {
            // In turn, for a chain of tasks may go back and forth between runtimes, whose sweeps would nest.
            let shared = Arc::clone(self);
            context::drop_in_turn(move || shared.sweep());
        }
    }

    /// Adds a task to the ring of this thread's core; half of a full one goes to the injector.
    pub(super) fn push_back(&self, owned: &Owned<'_>, task: Task) {
        let mut task = task;
        while let Err(back) = owned.push(task) {
            task = back;
            owned.core.counters.overflows.add(1);
            for first in iter::from_fn(|| owned.core.ring.pop()).take(owned.core.ring.len() / 2) {
                self.injector.push(first);
            }
        }
    }

    /// Calls `work` while somebody stands in for this thread.
    pub(crate) fn block_in_place<T>(self: &Arc<Self>, work: impl FnOnce() -> T) -> T {
        let here = context::core_in(self.address()).filter(|_| !self.options.private);
        let Some((index, _)) = here else {
            return work();
        };
        let watch = &self.cores[index].watch;
        // Declares what the sentinel would find out two ticks later. The thread's next step ends it.
        if let Some(step) = watch.progress() {
            watch.mark_stuck(step);
            sentinel::help(self, index, step);
        }
        // What is woken here meanwhile goes to the injector, and so to somebody else.
        context::without_core(work)
    }

    /// Says once that a wait has failed: there is nobody to return it to. A caller without workers panics.
    pub(super) fn meet_failure(&self, error: &std::io::Error) {
        assert!(!self.is_forked(), "bourn: the runtime of {} was made before fork(2): make a new one", self.location);
        let message = misuse::turn_failed(context::place().unwrap_or(Place::Worker(self.location)), error);
        assert!(self.options.workers > 0, "{message}");
        if self.failed.swap(1, Relaxed) == 0 {
            unwind::report(format_args!("{message}"));
        }
    }

    pub(super) fn set_host(&self, host: Option<Arc<dyn PoolHost>>) {
        let before = mem::replace(&mut lock(&self.roll).host, host);
        drop(before);
    }

    pub(super) fn host(&self) -> Option<Arc<dyn PoolHost>> {
        if self.is_forked() { None } else { lock(&self.roll).host.clone() }
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forks != sys::forks()
    }

    pub(super) fn enroll_thread(&self, is_runner: bool) {
        let mut roll = lock(&self.roll);
        roll.threads += 1;
        roll.runners += usize::from(is_runner);
    }

    pub(super) fn dismiss_thread(&self, is_runner: bool) {
        let runners = {
            let mut roll = lock(&self.roll);
            roll.runners -= usize::from(is_runner);
            roll.runners
        };
        if runners == 0 && self.is_closed() {
            // Whoever closed the runtime may have gone without waiting.
            self.sweep();
            self.close_parks();
        }
        // Last: who waits for this may end the process.
        lock(&self.roll).threads -= 1;
        self.left.notify_all();
    }

    /// Puts a thread without a core on the list of those who have to be told of a shutdown, and of a core that becomes
    /// free. `false`: the runtime is closed, or one is free.
    ///
    /// A thread is on the list before a core that is given back is found to be wanted, for both are done under the lock
    /// that [`call_strangers`](Self::call_strangers) takes; and so does the shutdown after it has closed. So neither
    /// passes a thread unseen that is about to rest.
    pub(super) fn enroll_stranger(&self, seat: &Arc<Seat<P>>) -> bool {
        let mut roll = lock(&self.roll);
        let may_rest = !self.is_closed() && self.cores[self.callers()].iter().all(Core::want);
        if may_rest {
            roll.strangers.push(Arc::clone(seat));
        }
        may_rest
    }

    pub(super) fn dismiss_stranger(&self, seat: &Arc<Seat<P>>) {
        lock(&self.roll).strangers.retain(|other| !Arc::ptr_eq(other, seat));
    }

    /// Has all strangers look whether there is a core for them, or that the runtime is closed. All of them: one that was
    /// told alone might be leaving.
    pub(super) fn call_strangers(&self) {
        let strangers = mem::take(&mut lock(&self.roll).strangers);
        for stranger in strangers {
            stranger.raise(WORK);
        }
    }

    /// Closes the runtime: its threads drop all tasks and leave. Returns whether that is news.
    pub(super) fn shut_down(&self) -> bool {
        if self.closed.swap(1, SeqCst) != 0 {
            return false;
        }
        if self.is_forked() {
            // fork(2) copies the caller's thread alone. The others can neither be waited for, nor will they ever give
            // up the locks that they held.
            self.close_parks();
            return false;
        }
        self.live.close();
        // Pairs with the fences in `notify`, for pushes, and in `Idle::publish`, for threads about to rest.
        fence(SeqCst);
        for index in 0..self.cores.len() {
            self.unpark(index);
        }
        self.sentinel.ring();
        self.spares.threads.close();
        self.call_strangers();
        let (runners, host) = {
            let mut roll = lock(&self.roll);
            (roll.runners, roll.host.take())
        };
        drop(host);
        if runners == 0 {
            self.sweep();
            self.close_parks();
        }
        true
    }

    fn close_parks(&self) {
        if self.parks_closed.swap(1, Relaxed) == 0 {
            self.parks.iter().for_each(|park| park.close());
        }
    }

    /// Waits for the runtime's threads to leave until `deadline`, closes the parks and drops what they left.
    /// Returns the tasks that are being polled even so.
    pub(super) fn await_end(&self, deadline: Option<Instant>) -> Vec<TaskInfo> {
        if self.is_forked() {
            return Vec::new();
        }
        drop(wait_while(&self.left, lock(&self.roll), deadline, |roll| roll.threads > 0));
        // Those that rest are not on the roll.
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(now()));
        drop(self.spares.threads.shutdown(left));
        self.sweep();
        self.close_parks();
        // What callers of `block_on` and other threads that sweep have in their hands is about to end, too; a thread
        // inside a `block_on` would wait for itself.
        let mut roll = lock(&self.roll);
        loop {
            let tasks = self.tasks();
            if tasks.is_empty() || is_over(deadline) || context::place().is_some() {
                return tasks;
            }
            roll = wait_until(&self.left, roll, deadline);
        }
    }

    /// After the shutdown, when a thread has dropped what it had in its hands.
    pub(super) fn tell_of_dropped(&self) {
        // Under the lock, under which `await_end` looks.
        drop(lock(&self.roll));
        self.left.notify_all();
    }

    /// The tasks that wait, and those that are in the hands of a thread.
    pub(crate) fn tasks(&self) -> Vec<TaskInfo> {
        let mut tasks = self.live.describe();
        for core in &self.cores {
            let doing = core.watch.progress().and_then(|at| core.watch.doing(at));
            if let Some(doing) = doing
                && let (Some(id), Some(location)) = (doing.task, doing.location)
                && tasks.iter().all(|task| task.id != id)
            {
                tasks.push(TaskInfo::of_running(id, location));
            }
        }
        tasks
    }

    /// Drops every task that no thread has in its hands, after the runtime was closed.
    ///
    /// An unfinished task that any thread may run is in a ring, a slot, the injector, the live table, a thread's own
    /// queue, or a runner's hands. What a destructor in here pushes goes to this thread's core, whose thread sweeps once
    /// more when it has given it up, or to the injector, which is emptied last.
    pub(super) fn sweep(&self) {
        if self.is_forked() {
            return;
        }
        context::while_draining(self.address(), || {
            for core in &self.cores {
                while let Some(task) = core.lifo.take().or_else(|| core.ring.pop()) {
                    task.cancel();
                }
            }
            self.live.of_seat(0).into_iter().for_each(Task::cancel);
            while let Some(task) = self.pop_injected() {
                task.cancel();
            }
        });
        self.tell_of_dropped();
    }

    pub(crate) fn meet_panic(&self, line: &str) {
        // Whoever drops the last owner of the shards has closed them.
        if self.unhandled.meet(line)
            && let Some(shards) = self.siblings.get().and_then(Weak::upgrade)
        {
            for shared in &*shards {
                shared.shut_down();
            }
        }
    }
}

impl<P: Park> Schedule for Arc<Shared<P>> {
    const LOCAL: bool = false;

    #[inline]
    fn queue_here(&self, make: impl FnOnce() -> Option<Task>) -> bool {
        // A private core's thread needs no ring: the task goes to the end of its own queue.
        self.options.private && context::push_driven(self.address(), make)
    }

    #[inline(never)]
    fn queue(&self, task: Task) {
        match Owned::here(self) {
            None => self.inject(task),
            // What a turn wakes is announced once, after it, and runs in the order of its wakes.
            Some((owned, true)) => self.push_back(&owned, task),
            Some((owned, false)) => {
                // A single task wakes nobody: this thread runs it next, or somebody steals it from a stuck one.
                if let Some(displaced) = owned.core.lifo.replace(task) {
                    self.push_back(&owned, displaced);
                    self.notify();
                }
            }
        }
    }

    fn admit(&self, task: Task) -> Result<(), Task> {
        let thread = context::core_in(self.address()).map_or(task.id().get() as usize, |(index, _)| index);
        self.live.admit(task, 0, thread)
    }

    fn retire(&self, key: u32) -> Task {
        self.live.retire(key)
    }

    fn let_go(self) {
        self.keep();
    }

    fn unhandled_panic(&self, line: &str) {
        self.meet_panic(line);
    }
}

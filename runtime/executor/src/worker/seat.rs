//! A thread's place in a runtime while it is inside `block_on`, or one of the runtime's own: the home of its local tasks.

use std::mem;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Wake, Waker};

use super::shared::Shared;
use crate::context::{self, Context};
use crate::park::Park;
use crate::signal::{Door, Signal, WOKEN, WORK};
use crate::sync::{Mutex, fence, lock};
use crate::task::{Schedule, Task};

/// Is also what is behind the waker of the future of `block_on`, so it may outlive its `block_on`.
pub(crate) struct Seat<P: Park> {
    /// Weak, for a thread that has left keeps the seat, but not the runtime.
    pub(crate) shared: Weak<Shared<P>>,
    /// The same, for local tasks, since there was one. Such a seat is not kept.
    home: OnceLock<Arc<Shared<P>>>,
    pub(super) signal: Signal,
    /// Local tasks of this seat that other threads have woken, or that wait for the thread to come back. Under a lock: a
    /// lock-free queue would cost every `block_on` an allocation of several cache lines.
    returning: Mutex<Vec<Task>>,
    /// How many local tasks of this seat are in the live table. Only the seat's thread changes it.
    live: AtomicUsize,
    /// The number of the thread's core. Only the seat's thread changes it, before its signal is raised to driving.
    pub(super) core: AtomicUsize,
}

impl<P: Park> Seat<P> {
    /// A seat for the calling thread.
    fn new(shared: &Arc<Shared<P>>) -> Self {
        Self {
            shared: Arc::downgrade(shared),
            home: OnceLock::new(),
            signal: Signal::new(),
            returning: Mutex::new(Vec::new()),
            live: AtomicUsize::new(0),
            core: AtomicUsize::new(0),
        }
    }

    pub(super) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// Whether nobody has a reference but the thread, in its [`Sitting`]: nobody else raises a reason, and no local task
    /// is left. Only on the seat's thread.
    pub(super) fn is_alone(self: &Arc<Self>) -> bool {
        // That of the sitting, and of its waker. Loom sees no order in what std counts, so nobody is alone there.
        let is_alone = !cfg!(loom) && Arc::strong_count(self) == 2;
        // Pairs with the Release of those who have dropped theirs.
        fence(Acquire);
        is_alone
    }

    pub(crate) fn is_of(&self, shared: &Arc<Shared<P>>) -> bool {
        self.shared.as_ptr() == Arc::as_ptr(shared)
    }

    /// The runtime, for a local task: whoever has one is inside, or owns it. Only on the seat's thread.
    pub(super) fn home(&self) -> &Arc<Shared<P>> {
        self.home.get_or_init(|| self.shared.upgrade().unwrap_or_else(|| unreachable!("a thread is in no runtime")))
    }

    /// Gives the thread a reason to get up, and wakes it if it may sleep.
    pub(super) fn raise(self: &Arc<Self>, reason: usize) {
        let door = self.signal.raise(reason);
        self.knock(door);
    }

    fn knock(self: &Arc<Self>, door: Door) {
        match door {
            // On its own thread it is up.
            Door::Thread if !context::is_seated(self.address()) => self.signal.unpark(),
            Door::Park if !context::is_seated(self.address()) => {
                self.shared.upgrade().into_iter().for_each(|shared| shared.unpark(self.core.load(Relaxed)));
            }
            Door::Thread | Door::Park | Door::Known | Door::Closed => {}
        }
    }

    /// Whether local tasks were ever queued here.
    pub(super) fn is_host(&self) -> bool {
        self.home.get().is_some()
    }

    /// Whether local tasks have waited and not ended. Only on the seat's thread.
    pub(super) fn has_live(&self) -> bool {
        self.live.load(Relaxed) > 0
    }

    /// Moves the local tasks that other threads have woken into the thread's queue.
    pub(super) fn collect(&self, context: &Context) {
        for task in self.take_returning() {
            context.push(task);
        }
    }

    /// Takes the reasons to get up that there are, and sees to local tasks that were woken.
    pub(super) fn heed(&self, context: &Context) -> usize {
        let reasons = self.signal.take();
        if reasons & WORK != 0 {
            self.collect(context);
        }
        reasons
    }

    fn take_returning(&self) -> Vec<Task> {
        mem::take(&mut *lock(&self.returning))
    }

    /// Empties the thread's queue: local tasks are kept for the thread's next stay, or, unless they are to be kept,
    /// dropped, those that wait included; the others go to the injector. Only on the seat's thread.
    #[cold]
    pub(super) fn evict(self: &Arc<Self>, context: &Context, shared: &Shared<P>, keep: bool) {
        let mut moved = false;
        // A destructor may wake and spawn further tasks, hence the loop.
        loop {
            // What another thread has queued here comes with WORK, or, since the signal was closed, is taken back there.
            if !keep && self.signal.has(WORK) {
                self.collect(context);
            }
            while let Some(task) = context.pop() {
                if !task.is_local() {
                    shared.injector.push(task);
                    moved = true;
                } else if keep {
                    lock(&self.returning).push(task);
                    self.signal.raise(WORK);
                } else {
                    task.cancel();
                }
            }
            if keep {
                break;
            }
            self.cancel_live();
            if context.queued() == 0 && !self.has_live() {
                break;
            }
        }
        if moved {
            shared.notify();
        }
    }

    fn cancel_live(self: &Arc<Self>) {
        if self.has_live() {
            self.home().live.of_seat(self.address()).into_iter().for_each(Task::cancel);
        }
    }

    /// Drops all local tasks of a seat that was kept, and ends it. On the seat's thread, which is not sitting on it.
    pub(super) fn end(self: &Arc<Self>) {
        // Twice: those that were never polled are in the queue alone, which after the closing anybody empties.
        for _ in 0..2 {
            self.take_returning().into_iter().for_each(Task::cancel);
            self.cancel_live();
            self.signal.close();
        }
        drop(self.take_returning());
    }
}

/// A seat, and the waker that stands for it. A thread that leaves keeps both for its next stay in the same runtime, if
/// nobody else has the seat.
pub(crate) struct Sitting<P: Park> {
    pub(crate) seat: Arc<Seat<P>>,
    pub(super) waker: Waker,
}

impl<P: Park> Sitting<P> {
    /// For the calling thread.
    pub(super) fn new(shared: &Arc<Shared<P>>) -> Rc<Self> {
        let seat = Arc::new(Seat::new(shared));
        Rc::new(Self { waker: Waker::from(Arc::clone(&seat)), seat })
    }

    /// The one that the thread has kept, or a new one.
    pub(super) fn again(context: &Context, shared: &Arc<Shared<P>>) -> Rc<Self> {
        let kept = context.sitting.take().and_then(|kept| kept.downcast::<Self>().ok());
        let kept = kept.filter(|kept| kept.seat.is_of(shared));
        // The last waker may have been called in vain.
        kept.inspect(|kept| _ = kept.seat.signal.take()).unwrap_or_else(|| Self::new(shared))
    }
}

impl<P: Park> Wake for Seat<P> {
    fn wake(self: Arc<Self>) {
        self.raise(WOKEN);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise(WOKEN);
    }
}

impl<P: Park> Schedule for Arc<Seat<P>> {
    const LOCAL: bool = true;

    #[inline]
    fn queue_here(&self, make: impl FnOnce() -> Option<Task>) -> bool {
        context::push_seated(self.address(), make)
    }

    fn queue(&self, task: Task) {
        lock(&self.returning).push(task);
        let door = self.signal.raise(WORK);
        if door == Door::Closed {
            // The thread is leaving, and drops every local future: what waits is in the live table besides, so that these
            // are mere references. The swap that raised WORK came after the one that closed the signal, or the thread
            // would have seen the push.
            drop(self.take_returning());
        } else {
            self.knock(door);
        }
    }

    fn admit(&self, task: Task) -> Result<(), Task> {
        self.home().live.admit(task, self.address(), self.core.load(Relaxed))?;
        self.live.fetch_add(1, Relaxed);
        Ok(())
    }

    fn retire(&self, key: u32) -> Task {
        self.live.fetch_sub(1, Relaxed);
        self.home().live.retire(key)
    }

    fn unhandled_panic(&self, line: &str) {
        self.home().meet_panic(line);
    }
}

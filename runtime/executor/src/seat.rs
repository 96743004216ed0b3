//! A thread's place in a runtime while it is inside `block_on`.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Wake,
};

use crate::{
    context::{self, Context},
    queue::injector::Injector,
    signal::{Door, Signal, WOKEN, WORK},
    task::{Live, Schedule, Task},
};

/// The runtime that a seat is in, as far as a seat needs to know it.
pub(crate) trait House: Send + Sync + Sized + 'static {
    /// The table of live tasks.
    fn live(&self) -> &Live;

    /// Wakes the thread of a seat that drives: it sleeps where the runtime has it sleep.
    fn knock(&self, seat: &Seat<Self>);

    /// Does what the policy says about a panic that nobody will see.
    fn meet_panic(self: &Arc<Self>, line: &str);
}

/// Is also what is behind the waker of the future of `block_on`, so it may outlive its `block_on`.
pub(crate) struct Seat<H: House> {
    pub(crate) shared: Arc<H>,
    pub(crate) signal: Signal,
    /// Local tasks of this seat that other threads have woken.
    returning: Injector<Task>,
    /// How many local tasks of this seat are in the live table. Only the seat's thread changes it.
    live: AtomicUsize,
    /// Local tasks were spawned here since the last eviction. Only the seat's thread changes it.
    is_host: AtomicBool,
    /// The number of the thread's core, where the runtime has several. Only the seat's thread changes it.
    core: AtomicUsize,
}

impl<H: House> Seat<H> {
    /// A seat for the calling thread.
    pub(crate) fn new(shared: Arc<H>) -> Self {
        Self {
            shared,
            signal: Signal::new(),
            returning: Injector::new(),
            live: AtomicUsize::new(0),
            is_host: AtomicBool::new(false),
            core: AtomicUsize::new(0),
        }
    }

    pub(crate) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// Gives the thread a reason to get up, and wakes it if it may sleep.
    pub(crate) fn raise(self: &Arc<Self>, reason: usize) {
        let door = self.signal.raise(reason);
        self.knock(door);
    }

    fn knock(self: &Arc<Self>, door: Door) {
        match door {
            // On its own thread it is up.
            Door::Thread if !context::is_seated(self.address()) => self.signal.unpark(),
            Door::Park if !context::is_seated(self.address()) => {
                self.shared.knock(self);
            }
            Door::Thread | Door::Park | Door::Known | Door::Closed => {}
        }
    }

    /// Notes that a local task is about to be queued here. Only on the seat's thread.
    pub(crate) fn host(&self) {
        self.is_host.store(true, Relaxed);
    }

    /// Whether local tasks may be queued here.
    pub(crate) fn is_host(&self) -> bool {
        self.is_host.load(Relaxed)
    }

    /// How many local tasks have waited and not ended. Only on the seat's thread.
    pub(crate) fn live_count(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// Says which core the thread has from now on. Its signal is raised to driving after that.
    pub(crate) fn set_core(&self, core: usize) {
        self.core.store(core, Relaxed);
    }

    pub(crate) fn core(&self) -> usize {
        self.core.load(Relaxed)
    }

    /// Moves the local tasks that other threads have woken into the thread's queue.
    pub(crate) fn collect(&self, context: &Context) {
        while let Some(task) = self.returning.pop() {
            context.push(task);
        }
    }

    /// Drops this seat's local tasks, all of them, and takes the other tasks out of the thread's queue.
    ///
    /// Only on the seat's thread. A destructor may wake and spawn further ones, hence the loop.
    pub(crate) fn evict(self: &Arc<Self>, context: &Context) -> VecDeque<Task> {
        let mut others = VecDeque::new();
        loop {
            if !self.is_host.load(Relaxed) {
                // References to ended tasks, pushed after the last eviction by wakes that had begun before it: they
                // would keep the seat that keeps them.
                while self.returning.pop().is_some() {}
                // The common case: nothing in the queue needs to be looked at.
                let mut queue = context.take_queue();
                if others.is_empty() {
                    return queue;
                }
                others.append(&mut queue);
                return others;
            }
            self.collect(context);
            while let Some(task) = context.pop() {
                if task.is_local() { task.cancel() } else { others.push_back(task) }
            }
            if self.live.load(Relaxed) > 0 {
                for task in self.shared.live().of_seat(self.address()) {
                    task.cancel();
                }
            }
            if context.queued() == 0 && self.live.load(Relaxed) == 0 {
                self.is_host.store(false, Relaxed);
            }
        }
    }
}

impl<H: House> Wake for Seat<H> {
    fn wake(self: Arc<Self>) {
        self.raise(WOKEN);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise(WOKEN);
    }
}

impl<H: House> Schedule for Arc<Seat<H>> {
    const LOCAL: bool = true;

    fn schedule(&self, task: Task) {
        if let Err(task) = context::push_seated(self.address(), task) {
            self.returning.push(task);
            let door = self.signal.raise(WORK);
            if door == Door::Closed {
                // The thread has left and has dropped every local future: what is pushed after that are mere
                // references to ended tasks. The swap that raised WORK came after the one that closed the signal, or
                // the thread would have seen the push.
                while self.returning.pop().is_some() {}
            } else {
                self.knock(door);
            }
        }
    }

    fn admit(&self, task: Task) -> Result<u32, Task> {
        let key = self.shared.live().admit(task, self.address(), self.core())?;
        self.live.fetch_add(1, Relaxed);
        Ok(key)
    }

    fn retire(&self, key: u32) -> Task {
        self.live.fetch_sub(1, Relaxed);
        self.shared.live().retire(key)
    }

    fn unhandled_panic(&self, line: &str) {
        self.shared.meet_panic(line);
    }
}

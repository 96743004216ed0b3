//! A thread's place in a runtime while it is inside `block_on`.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::Wake,
};

use super::shared::Shared;
use crate::{
    context::{self, Context},
    injector::Injector,
    park::Park,
    signal::{Door, Signal, WOKEN, WORK},
    task::{Schedule, Task},
};

/// Is also what is behind the waker of the future of `block_on`, so it may outlive its `block_on`.
pub(crate) struct Seat<P: Park> {
    pub(super) shared: Arc<Shared<P>>,
    pub(super) signal: Signal,
    /// Local tasks of this seat that other threads have woken.
    returning: Injector<Task>,
    /// How many local tasks of this seat are in the live table. Only the seat's thread changes it.
    live: AtomicUsize,
    /// Local tasks were spawned here since the last eviction. Only the seat's thread changes it.
    is_host: AtomicBool,
}

impl<P: Park> Seat<P> {
    /// A seat for the calling thread.
    pub(super) fn new(shared: Arc<Shared<P>>) -> Self {
        Self {
            shared,
            signal: Signal::new(),
            returning: Injector::new(),
            live: AtomicUsize::new(0),
            is_host: AtomicBool::new(false),
        }
    }

    pub(super) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
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
                self.shared.awake.notify(&*self.shared.park);
            }
            Door::Thread | Door::Park | Door::Known | Door::Closed => {}
        }
    }

    /// Notes that a local task is about to be queued here. Only on the seat's thread.
    pub(super) fn host(&self) {
        self.is_host.store(true, Relaxed);
    }

    /// Moves the local tasks that other threads have woken into the thread's queue.
    pub(super) fn collect(&self, context: &Context) {
        while let Some(task) = self.returning.pop() {
            context.push(task);
        }
    }

    /// Drops this seat's local tasks, all of them, and takes the other tasks out of the thread's queue.
    ///
    /// Only on the seat's thread. A destructor may wake and spawn further ones, hence the loop.
    pub(super) fn evict(self: &Arc<Self>, context: &Context) -> VecDeque<Task> {
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
                for task in self.shared.live.of_seat(self.address()) {
                    task.cancel();
                }
            }
            if context.queued() == 0 && self.live.load(Relaxed) == 0 {
                self.is_host.store(false, Relaxed);
            }
        }
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
        let key = self.shared.live.admit(task, self.address())?;
        self.live.fetch_add(1, Relaxed);
        Ok(key)
    }

    fn retire(&self, key: u32) -> Task {
        self.live.fetch_sub(1, Relaxed);
        self.shared.live.retire(key)
    }

    fn unhandled_panic(&self, line: &str) {
        self.shared.meet_panic(line);
    }
}

//! What the threads of a current-thread runtime share.

use std::{collections::VecDeque, mem, sync::Arc};

use super::seat::Seat;
use crate::{
    awake::Awake,
    context,
    injector::Injector,
    park::Park,
    signal::WORK,
    sync::{Mutex, lock},
    task::{Live, Schedule, Task},
    unhandled::{Unhandled, UnhandledPanic},
};

pub(crate) struct Shared<P: Park> {
    pub(super) park: Arc<P>,
    pub(super) awake: Awake,
    /// Tasks woken or spawned by threads that do not drive.
    pub(super) injector: Injector<Task>,
    pub(crate) live: Live,
    pub(super) unhandled: Unhandled,
    desk: Mutex<Desk<P>>,
}

/// Where the core lies while nobody drives.
struct Desk<P: Park> {
    /// The run queue; `None` while a thread has it.
    core: Option<VecDeque<Task>>,
    /// Who wants to know when it comes back.
    strangers: Vec<Arc<Seat<P>>>,
}

/// What came of asking for the core.
pub(super) enum Claim {
    /// Here it is.
    Core(VecDeque<Task>),
    /// Another thread has it; the seat will be told.
    Waiting,
    /// There will be none any more.
    Closed,
}

impl<P: Park> Shared<P> {
    pub(super) fn new(park: Arc<P>, policy: UnhandledPanic) -> Self {
        Self {
            park,
            awake: Awake::new(),
            injector: Injector::new(),
            live: Live::new(),
            unhandled: Unhandled::new(policy),
            desk: Mutex::new(Desk { core: Some(VecDeque::new()), strangers: Vec::new() }),
        }
    }

    /// By what threads know this runtime; see [`context`].
    pub(super) fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).addr()
    }

    /// Takes the core, or leaves `seat` to be told when it comes back.
    ///
    /// All under one lock, the same as in [`put_core`](Self::put_core) and [`shut_down`](Self::shut_down): so neither
    /// the core's return nor the shutdown passes a seat unseen.
    pub(super) fn take_core(&self, seat: &Arc<Seat<P>>) -> Claim {
        let mut desk = lock(&self.desk);
        if self.awake.is_closed() {
            return Claim::Closed;
        }
        match desk.core.take() {
            Some(core) => Claim::Core(core),
            None => {
                // Whoever put the core back the last time has emptied the list.
                if !desk.strangers.iter().any(|stranger| Arc::ptr_eq(stranger, seat)) {
                    desk.strangers.push(Arc::clone(seat));
                }
                Claim::Waiting
            }
        }
    }

    /// Puts the core back and tells all who wait for it: there are few, and one that was told alone might be leaving.
    /// After a shutdown gives the tasks in it back, to be dropped.
    pub(super) fn put_core(&self, core: VecDeque<Task>) -> VecDeque<Task> {
        let (strangers, rest) = {
            let mut desk = lock(&self.desk);
            let (core, rest) = if self.awake.is_closed() { (VecDeque::new(), core) } else { (core, VecDeque::new()) };
            desk.core = Some(core);
            (mem::take(&mut desk.strangers), rest)
        };
        for stranger in strangers {
            stranger.raise(WORK);
        }
        rest
    }

    /// Takes `seat` off the list of those who wait for the core.
    pub(super) fn forget(&self, seat: &Arc<Seat<P>>) {
        lock(&self.desk).strangers.retain(|stranger| !Arc::ptr_eq(stranger, seat));
    }

    /// Drops all tasks that this thread may drop, and has the threads that may drop the others do so.
    pub(super) fn shut_down(self: &Arc<Self>) {
        if self.awake.close() {
            return;
        }
        self.live.close();
        context::while_draining(self.address(), || {
            // An unfinished task that any thread may run is now in one of: the injector (or about to be pushed by
            // somebody who will see that it is closed), the core, a driver's queue, the live table, a runner's hands.
            let core = lock(&self.desk).core.as_mut().map(mem::take);
            for task in core.into_iter().flatten().chain(self.live.of_seat(0)) {
                task.cancel();
            }
            self.drain_injector();
        });
        self.park.close();
        // The driver and the strangers drop what is theirs.
        self.awake.notify(&*self.park);
        let strangers = mem::take(&mut lock(&self.desk).strangers);
        for stranger in strangers {
            stranger.raise(WORK);
        }
    }

    /// Does what the policy says about a panic that nobody will see.
    pub(super) fn meet_panic(self: &Arc<Self>, line: &str) {
        if self.unhandled.meet(line) {
            self.shut_down();
        }
    }

    fn drain_injector(&self) {
        while let Some(task) = self.injector.pop() {
            task.cancel();
        }
    }
}

impl<P: Park> Schedule for Arc<Shared<P>> {
    const LOCAL: bool = false;

    fn schedule(&self, task: Task) {
        if let Err(task) = context::push_driven(self.address(), task) {
            self.injector.push(task);
            if self.awake.notify(&*self.park) {
                context::while_draining(self.address(), || self.drain_injector());
            }
        }
    }

    fn admit(&self, task: Task) -> Result<u32, Task> {
        self.live.admit(task, 0)
    }

    fn retire(&self, key: u32) -> Task {
        self.live.retire(key)
    }

    fn unhandled_panic(&self, line: &str) {
        self.meet_panic(line);
    }
}

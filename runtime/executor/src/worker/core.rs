//! What a thread that runs tasks owns, and how it comes to own it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::{mem, ptr};

use super::counters::Counters;
use super::shared::Shared;
use super::sleeper::Sleeper;
use super::watch::Watch;
use crate::context::{self, Context};
use crate::park::Park;
use crate::queue::lifo::LifoSlot;
use crate::queue::ring::Ring;
use crate::sync::AtomicUsize;
use crate::task::Task;

const FREE: usize = 0;
const TAKEN: usize = 1;
/// Taken, and there are threads that rest without a core.
const WANTED: usize = 2;

/// A ring, a slot, and what the others need to know of the thread that has them.
#[repr(align(128))]
pub(super) struct Core {
    pub(super) ring: Ring,
    pub(super) lifo: LifoSlot,
    pub(super) watch: Watch,
    pub(super) sleeper: Sleeper,
    pub(super) counters: Counters,
    /// Whether a thread has the core.
    taken: AtomicUsize,
    /// The group whose park the thread rests in. Changes only while no thread has the core.
    group: AtomicUsize,
}

impl Core {
    /// With `private`, nothing is ever in its ring and its slot.
    pub(super) fn new(group: usize, private: bool) -> Self {
        Self {
            ring: Ring::new(private),
            lifo: LifoSlot::new(),
            watch: Watch::new(),
            sleeper: Sleeper::new(),
            counters: Counters::default(),
            taken: AtomicUsize::new(FREE),
            group: AtomicUsize::new(group),
        }
    }

    pub(super) fn group(&self) -> usize {
        self.group.load(Relaxed)
    }

    /// Has the thread that is about to take the core rest in the park of this group.
    pub(super) fn join_group(&self, group: usize) {
        self.group.store(group, Relaxed);
    }

    pub(super) fn is_taken(&self) -> bool {
        self.taken.load(Relaxed) != FREE
    }

    /// Has whoever has the core call the strangers when he gives it back. `false`: nobody has it.
    pub(super) fn want(&self) -> bool {
        // Relaxed: what the two need to know of each other is in the roll, under its lock.
        self.taken.fetch_update(Relaxed, Relaxed, |taken| (taken != FREE).then_some(WANTED)).is_ok()
    }

    /// A task to run, for whoever helps out: from the ring, and, if the core's thread is stuck, from its slot.
    pub(super) fn has_work(&self) -> bool {
        !self.ring.is_empty() || (!self.lifo.is_empty() && self.watch.is_stuck())
    }
}

/// The calling thread's right to a core. It cannot leave the thread.
pub(super) struct Lease<'a, P: Park> {
    pub(super) index: usize,
    pub(super) core: &'a Core,
    context: &'a Context,
    shared: &'a Arc<Shared<P>>,
}

impl<'a, P: Park> Lease<'a, P> {
    /// Takes core `index`, if nobody has it. The thread, in this runtime, has none.
    pub(super) fn take(context: &'a Context, shared: &'a Arc<Shared<P>>, index: usize) -> Option<Self> {
        let core = &shared.cores[index];
        // Acquire: pairs with the Release in `drop`, for what only the owner may touch.
        if core.is_taken() || core.taken.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_err() {
            return None;
        }
        context.set_core(Some(index));
        Some(Self { index, core, context, shared })
    }

    /// Steals half of what `victim` has, and returns one task of it and how many there were. The own ring is empty.
    pub(super) fn steal(&self, victim: &Core) -> (Option<Task>, usize) {
        // SAFETY: the lease is on this thread, which alone owns the ring; the callers come with an empty one, which is
        // not the victim's.
        unsafe { victim.ring.steal_into(&self.core.ring) }
    }

    pub(super) fn owned(&self) -> Owned<'a> {
        Owned { core: self.core, thread: PhantomData }
    }
}

impl<P: Park> Drop for Lease<'_, P> {
    fn drop(&mut self) {
        let spares = self.context.spares.take();
        self.context.set_core(None);
        if self.core.taken.swap(FREE, Release) == WANTED {
            self.shared.call_strangers();
        }
        // Last, for nobody has to wait for it.
        for _ in 0..spares {
            // SAFETY: `keep` forgot as many references to this runtime. The lease's own is not among them.
            drop(unsafe { ptr::read(self.shared) });
        }
    }
}

/// A thread keeps no more references.
const MOST_SPARES: usize = 1024;

/// A thread that has a core keeps references of tasks that have ended for those that it spawns: the count of all is written
/// by all threads.
impl<P: Park> Shared<P> {
    pub(crate) fn for_task(self: &Arc<Self>) -> Arc<Self> {
        if context::change_spares(self.address(), |spares| spares.checked_sub(1)) {
            // SAFETY: this is the reference to this runtime that `keep` forgot; it is not counted as kept any more.
            return unsafe { ptr::read(self) };
        }
        Arc::clone(self)
    }

    pub(super) fn keep(self: Arc<Self>) {
        if context::change_spares(self.address(), |spares| (spares < MOST_SPARES).then_some(spares + 1)) {
            mem::forget(self);
        }
    }
}

/// The calling thread's own core, as a waker finds it.
pub(super) struct Owned<'a> {
    pub(super) core: &'a Core,
    thread: PhantomData<*const ()>,
}

impl<'a> Owned<'a> {
    /// The core that this thread has a lease for in this runtime, and whether the thread is inside a turn.
    #[inline]
    pub(super) fn here<P: Park>(shared: &'a Arc<Shared<P>>) -> Option<(Self, bool)> {
        let (index, turning) = context::core_in(Arc::as_ptr(shared).addr())?;
        let owned = Self { core: &shared.cores[index], thread: PhantomData };
        Some((owned, turning))
    }

    /// Adds a task to the ring, or gives it back.
    #[inline]
    pub(super) fn push(&self, task: Task) -> Result<(), Task> {
        // SAFETY: the context names a core only while a lease for it is on this thread, and there is one lease for a
        // core at a time.
        unsafe { self.core.ring.push(task) }
    }
}

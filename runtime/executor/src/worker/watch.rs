//! What a core shows of its thread: whether it gets on, and with which task.
//!
//! `progress` is stored by the core's thread alone: before each poll and each turn, at the start of a rest, when the
//! rest is over, and on leaving. Its two low bits say where the thread is, the others count. A thread is *stuck* as long
//! as `stuck_at` equals `progress`: nobody takes that back, the thread's next step ends it.
//!
//! What is being polled is published like this, `progress` being the sequence lock:
//!
//! ```text
//!     thread                              watcher
//!     progress = next | WRITING           before = progress (Acquire)
//!     fence (Release)                     task, location
//!     task, location                      fence (Acquire)
//!     progress = next (Release)           before == progress, and it is not WRITING?
//! ```
//!
//! If the watcher has read a task of a later step, then by the two fences it reads that step's WRITING, or a later
//! value, in the end.

use std::panic::Location;
use std::ptr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::sync::{AtomicPtr, AtomicU64, AtomicUsize, fence};
use crate::task::Id;

/// The thread rests, or there is none.
const PARKED: usize = 1;
/// What is being polled is being changed.
const WRITING: usize = 2;
const STEP: usize = 4;
/// No step ever has this number: it would be parked and writing.
const NEVER: usize = usize::MAX;

pub(super) struct Watch {
    progress: AtomicUsize,
    /// The progress at which the thread was found to be stuck.
    stuck_at: AtomicUsize,
    /// The progress at which somebody was found to help out.
    helped_at: AtomicUsize,
    /// The thread shall look around before its next step.
    hurry: AtomicBool,
    /// The task that is being polled, or 0.
    task: AtomicU64,
    /// Where it was spawned, or where `block_on` was called. Null or from a `&'static Location`.
    location: AtomicPtr<Location<'static>>,
    /// The kernel's number of the thread, or 0 where it is not known.
    thread: AtomicU64,
}

/// What a thread is doing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doing {
    /// `None`: the future of a `block_on`, or a waker that is called in a turn.
    pub(super) task: Option<Id>,
    pub(super) location: Option<&'static Location<'static>>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            progress: AtomicUsize::new(PARKED),
            stuck_at: AtomicUsize::new(NEVER),
            helped_at: AtomicUsize::new(NEVER),
            hurry: AtomicBool::new(false),
            task: AtomicU64::new(0),
            location: AtomicPtr::new(ptr::null_mut()),
            thread: AtomicU64::new(0),
        }
    }

    /// A step begins. Only for the core's thread, like all that return nothing but for `hurry` and `mark_stuck`.
    #[inline]
    pub(super) fn begin(&self, task: Option<Id>, location: Option<&'static Location<'static>>) {
        let next = self.next();
        self.progress.store(next | WRITING, Relaxed);
        fence(Release);
        self.task.store(task.map_or(0, Id::get), Relaxed);
        let location = location.map_or(ptr::null(), ptr::from_ref);
        self.location.store(location.cast_mut(), Relaxed);
        self.progress.store(next, Release);
    }

    /// A rest begins, or the thread leaves.
    pub(super) fn rest(&self) {
        self.progress.store(self.next() | PARKED, Release);
    }

    #[inline]
    fn next(&self) -> usize {
        // Relaxed: the thread's own store.
        (self.progress.load(Relaxed) & !(STEP - 1)).wrapping_add(STEP)
    }

    /// Says which thread has the core.
    pub(super) fn set_thread(&self, number: u64) {
        self.thread.store(number, Relaxed);
    }

    pub(super) fn thread(&self) -> u64 {
        self.thread.load(Relaxed)
    }

    /// The current step; `None` while the thread rests.
    pub(super) fn progress(&self) -> Option<usize> {
        let progress = self.progress.load(Acquire);
        (progress & PARKED == 0).then_some(progress)
    }

    /// Asks the thread to look around before its next step.
    pub(super) fn hurry(&self) {
        self.hurry.store(true, Relaxed);
    }

    /// Whether the thread was asked to. Relaxed, and not taken in one step: a flag that is raised at the same time is
    /// raised again by the next tick.
    #[inline]
    pub(super) fn take_hurry(&self) -> bool {
        let hurry = self.hurry.load(Relaxed);
        if hurry {
            self.hurry.store(false, Relaxed);
        }
        hurry
    }

    /// Notes that the thread is stuck in the step `progress`. Returns whether that is news.
    pub(super) fn mark_stuck(&self, progress: usize) -> bool {
        self.stuck_at.swap(progress, AcqRel) != progress
    }

    /// Whether somebody helps out for the thread, which is stuck in the step `progress`.
    pub(super) fn is_helped(&self, progress: usize) -> bool {
        // Relaxed, like the store: at worst a second one helps, too.
        self.helped_at.load(Relaxed) == progress
    }

    pub(super) fn set_helped(&self, progress: usize) {
        self.helped_at.store(progress, Relaxed);
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck_at(self.stuck_at.load(Acquire))
    }

    /// Whether the thread is still in the step in which it was found stuck.
    pub(super) fn is_stuck_at(&self, progress: usize) -> bool {
        self.progress.load(Acquire) == progress
    }

    /// What the thread is doing in the step `progress`, if it still is in it.
    pub(super) fn doing(&self, progress: usize) -> Option<Doing> {
        if self.progress.load(Acquire) != progress || progress & WRITING != 0 {
            return None;
        }
        let task = self.task.load(Relaxed);
        let location = self.location.load(Relaxed);
        fence(Acquire);
        if self.progress.load(Relaxed) != progress {
            return None;
        }
        // SAFETY: null, or made from a reference to what lives for ever.
        let location = unsafe { location.cast_const().as_ref() };
        Some(Doing { task: Id::from_number(task), location })
    }
}

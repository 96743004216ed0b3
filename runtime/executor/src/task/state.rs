//! The word that decides who may touch what in a task, and the only code that changes it.
//!
//! Each transition is one function that returns what its caller now has to do. All that change the word are
//! read-modify-write operations, and with `AcqRel`, but for new references: each releases what its caller did before to
//! whoever comes next in the word's history, and acquires what was done before it. A wake that finds the task already
//! scheduled therefore still writes the word: the poll that follows must see what the waker's thread did before waking.
//! (`release` may find by a load alone that the caller's references are all there are. The load sees what everybody did
//! who gave one up, for no plain store comes between.)

use std::process;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::info::TaskState;
use crate::context::MOST_LENT;
use crate::sync::AtomicUsize;

/// The task is in a queue, or will be put there by the thread that runs it.
const SCHEDULED: usize = 1;
/// One thread has the future to itself: to poll it or to drop it.
const RUNNING: usize = 1 << 1;
/// The future is gone for good; the cell holds its result until somebody takes it.
const COMPLETE: usize = 1 << 2;
/// The future shall be dropped instead of polled.
const CANCELLED: usize = 1 << 3;
/// The `JoinHandle` exists: the result is its to take or to drop.
const HANDLE: usize = 1 << 4;
/// The join waker is the task's to take when it completes. While the bit is clear it is the handle's to change.
const JOIN_WAKER: usize = 1 << 5;
/// What one reference adds.
const REFERENCE: usize = 1 << 6;
/// What a runner adds: its bit, and as many references as it may lend to wakers before it counts them. So the count is
/// never too low, whoever drops such a waker meanwhile.
const RUNNER: usize = RUNNING + MOST_LENT * REFERENCE;

// The count then does not run over before it is checked; nor do the indices of rings.
const _: () = assert!(size_of::<usize>() == 8, "the executor needs a 64-bit system");

/// What to do with a task that came out of a queue, or shall end now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Poll the future.
    Poll,
    /// Drop the future and complete.
    Cancel,
    /// Nothing is left to do but to give the reference up: it is done, or its runner sees to it.
    Skip,
}

/// What to do after a poll that returned `Pending`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pend {
    /// Nothing: the task waits, and the runner's reference is given up.
    Idle,
    /// Queue the task again, with the runner's reference.
    Again,
    /// Drop the future and complete.
    Cancel,
}

/// What whoever is the second to be done with a task, its runner or its handle, has to do with what is left of it.
#[derive(Debug)]
pub(super) struct Leftovers {
    /// The join waker is there to be taken: to be woken by the runner, to be dropped by the handle.
    pub(super) waker: bool,
    /// Nobody will take the output.
    pub(super) output: bool,
}

pub(super) struct State {
    word: AtomicUsize,
}

impl State {
    /// Scheduled, with a handle; one reference for each.
    pub(super) fn new() -> Self {
        Self { word: AtomicUsize::new(SCHEDULED | HANDLE | (2 * REFERENCE)) }
    }

    /// A task comes out of a queue; its reference becomes the runner's.
    #[inline]
    pub(super) fn start(&self) -> Start {
        self.update(|word| {
            if word & (RUNNING | COMPLETE) != 0 {
                // It was cancelled where it lay.
                (word & !SCHEDULED, Start::Skip)
            } else {
                let start = if word & CANCELLED != 0 { Start::Cancel } else { Start::Poll };
                ((word & !SCHEDULED) + RUNNER, start)
            }
        })
    }

    /// The poll returned `Pending`, and the task may have `woken` itself. Adds the references that came about meanwhile: of
    /// wakers, and, if the task has just entered the live table, of that. `worker::idle` relies on its being one
    /// read-modify-write that acquires.
    #[inline]
    pub(super) fn pend(&self, added: usize, woken: bool) -> Pend {
        self.update(|word| {
            debug_assert!(word & RUNNING != 0 && word & COMPLETE == 0);
            let word = (word + added * REFERENCE) | if woken { SCHEDULED } else { 0 };
            if word & CANCELLED != 0 {
                (word, Pend::Cancel)
            } else if word & SCHEDULED != 0 {
                (word - RUNNER, Pend::Again)
            } else {
                // Never the last reference: the live table has one.
                (word - RUNNER - REFERENCE, Pend::Idle)
            }
        })
    }

    /// A wake. `true`: the caller is to queue the task, with the waker's reference, if that is `given`, or a new one;
    /// `false`: it is queued, done, or its runner will see to it.
    #[inline]
    pub(super) fn wake(&self, given: bool) -> bool {
        self.update(|word| {
            if word & (RUNNING | SCHEDULED | COMPLETE) != 0 {
                (word | SCHEDULED, false)
            } else {
                ((word | SCHEDULED) + if given { 0 } else { REFERENCE }, true)
            }
        })
    }

    /// Asks for the future to be dropped by whoever runs the task. `true`: the caller is to queue it, with a new reference.
    pub(super) fn abort(&self) -> bool {
        self.update(|word| {
            if word & (RUNNING | SCHEDULED | COMPLETE) != 0 {
                (word | CANCELLED, false)
            } else {
                ((word | CANCELLED | SCHEDULED) + REFERENCE, true)
            }
        })
    }

    /// Claims the future in order to drop it. The caller's reference becomes the runner's.
    pub(super) fn cancel(&self) -> Start {
        self.update(|word| {
            if word & (RUNNING | COMPLETE) != 0 {
                (word | CANCELLED, Start::Skip)
            } else {
                // SCHEDULED stays: whoever finds the task in a queue later meets COMPLETE and skips it.
                ((word | CANCELLED) + RUNNER, Start::Cancel)
            }
        })
    }

    /// The result is stored. Adds the references `lent` to wakers. Where nothing is left to do but to give `count` up, this
    /// does.
    #[inline]
    pub(super) fn complete(&self, lent: usize, count: usize) -> Option<Leftovers> {
        self.update(|word| {
            debug_assert!(word & RUNNING != 0 && word & COMPLETE == 0);
            let next = word + lent * REFERENCE - RUNNER + COMPLETE;
            let left = Leftovers { waker: word & JOIN_WAKER != 0, output: word & HANDLE == 0 };
            // Never the last ones: the handle has one.
            if left.waker || left.output { (next, Some(left)) } else { (next - count * REFERENCE, None) }
        })
    }

    /// The handle wants to change the join waker. `false`: too late, the task is complete.
    #[inline]
    pub(super) fn claim_join_waker(&self) -> bool {
        let word = self.word.load(Acquire);
        if word & JOIN_WAKER == 0 {
            // Nobody but the handle sets the bit.
            return word & COMPLETE == 0;
        }
        self.update(|word| if word & COMPLETE != 0 { (word, false) } else { (word & !JOIN_WAKER, true) })
    }

    /// The handle has stored a join waker. `false`: too late, it stays the handle's.
    pub(super) fn offer_join_waker(&self) -> bool {
        self.update(|word| if word & COMPLETE != 0 { (word, false) } else { (word | JOIN_WAKER, true) })
    }

    /// The handle goes away; its reference is given up separately.
    pub(super) fn detach(&self) -> Leftovers {
        self.update(|word| {
            debug_assert!(word & HANDLE != 0);
            if word & COMPLETE != 0 {
                (word & !HANDLE, Leftovers { waker: word & JOIN_WAKER == 0, output: true })
            } else {
                (word & !(HANDLE | JOIN_WAKER), Leftovers { waker: true, output: false })
            }
        })
    }

    /// Adds a reference on behalf of somebody who holds one.
    pub(super) fn retain(&self) {
        // Relaxed: the reference that the caller holds keeps the task, and orders whatever it does with it.
        Self::check(self.word.fetch_add(REFERENCE, Relaxed));
    }

    /// Gives `count` references up. `true`: they were the last, and the cell is the caller's to free.
    #[inline]
    pub(super) fn release(&self, count: usize) -> bool {
        // Nobody else has any, nor can get one. Acquire: what those did who gave theirs up is over.
        if self.word.load(Acquire) / REFERENCE == count {
            return true;
        }
        let word = self.word.fetch_sub(count * REFERENCE, AcqRel);
        debug_assert!(word / REFERENCE >= count);
        word / REFERENCE == count
    }

    /// Whether the result is there. Whoever owns it sees it.
    pub(super) fn is_complete(&self) -> bool {
        self.word.load(Acquire) & COMPLETE != 0
    }

    /// What the task is doing, for those who watch.
    pub(super) fn doing(&self) -> TaskState {
        match self.word.load(Acquire) {
            word if word & (RUNNING | COMPLETE) != 0 => TaskState::Running,
            word if word & SCHEDULED != 0 => TaskState::Queued,
            _ => TaskState::Waiting,
        }
    }

    /// Ends the process before the count of references, swollen by forgotten wakers, runs over into a wrong free. What one
    /// step adds, and many threads do before they look, is far less than half of what there is room for.
    fn check(word: usize) {
        if word > isize::MAX as usize {
            process::abort();
        }
    }

    fn update<A>(&self, step: impl Fn(usize) -> (usize, A)) -> A {
        let mut word = self.word.load(Relaxed);
        loop {
            Self::check(word);
            let (next, action) = step(word);
            match self.word.compare_exchange_weak(word, next, AcqRel, Relaxed) {
                Ok(_) => return action,
                Err(current) => word = current,
            }
        }
    }
}

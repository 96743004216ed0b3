//! How a thread inside `block_on` is told that it has something to do.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::sync::AtomicUsize;
use crate::sync::thread::{self, Thread};

/// The future of `block_on` was woken.
pub(crate) const WOKEN: usize = 1;
/// Something else wants a look: a local task in the queue of guests, a core that became free, a shutdown.
pub(crate) const WORK: usize = 1 << 1;
/// The thread drives the runtime: it sleeps in the `Park`, not in its own thread's.
const DRIVING: usize = 1 << 2;
/// The thread has left `block_on`; nobody will look any more.
pub(crate) const CLOSED: usize = 1 << 3;

/// One word of reasons to get up, together with where the thread sleeps.
///
/// The two are in one word so that whoever raises a reason learns in the same step where to knock. A thread that
/// changes its place looks at the reasons afterwards, so a knock at the old door is never the only trace.
#[derive(Debug)]
pub(crate) struct Signal {
    word: AtomicUsize,
    thread: Thread,
}

/// Where the owner of a [`Signal`] sleeps.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// In its own thread's parker: [`Signal::unpark`].
    Thread,
    /// In the runtime's `Park`.
    Park,
    /// Nowhere: the reason was known already.
    Known,
    /// The thread is gone.
    Closed,
}

impl Signal {
    /// A signal for the calling thread.
    pub(crate) fn new() -> Self {
        Self { word: AtomicUsize::new(0), thread: thread::current() }
    }

    /// Adds a reason to get up, and says where its owner has to be woken.
    ///
    /// Releases what the caller did before to the [`take`](Self::take) that finds the reason.
    pub(crate) fn raise(&self, reason: usize) -> Door {
        let before = self.word.fetch_or(reason, AcqRel);
        if before & CLOSED != 0 {
            Door::Closed
        } else if before & reason != 0 {
            Door::Known
        } else if before & DRIVING != 0 {
            Door::Park
        } else {
            Door::Thread
        }
    }

    /// Takes the reasons that are there.
    pub(crate) fn take(&self) -> usize {
        // The load keeps the common case, nothing there, from writing a line that others write.
        if self.is_raised() { self.word.fetch_and(!(WOKEN | WORK), AcqRel) & (WOKEN | WORK) } else { 0 }
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.has(WOKEN | WORK)
    }

    /// Whether one of `reasons` is there.
    #[inline]
    pub(crate) fn has(&self, reasons: usize) -> bool {
        self.word.load(Acquire) & reasons != 0
    }

    /// Says that from now on the owner sleeps in the `Park`, or does no longer. The owner may be `alone`: nobody else has
    /// a reference.
    pub(crate) fn set_driving(&self, driving: bool, alone: bool) {
        if alone {
            let others = self.word.load(Relaxed) & !DRIVING;
            self.word.store(if driving { others | DRIVING } else { others }, Relaxed);
        } else if driving {
            self.word.fetch_or(DRIVING, AcqRel);
        } else {
            self.word.fetch_and(!DRIVING, AcqRel);
        }
    }

    /// Says that the owner will not look any more.
    pub(crate) fn close(&self) {
        self.word.fetch_or(CLOSED, AcqRel);
    }

    /// Ends the owner's [`wait`](Self::wait).
    pub(crate) fn unpark(&self) {
        self.thread.unpark();
    }

    /// Sleeps until there is a reason to get up. Only for the owner.
    pub(crate) fn wait(&self) {
        // A token left over from foreign use of the same parker ends a park early, never late: the reason is set
        // before the token.
        while !self.is_raised() {
            thread::park();
        }
    }
}

#[cfg(all(test, loom))]
mod tests {
    use std::sync::Arc;

    use super::{Door, Signal, WOKEN, WORK};

    /// A thread that changes its place while it is woken is found at one door or sees the reason itself. Killed by:
    /// executor-signal-take.
    #[test]
    fn loom_signal_finds_its_owner() {
        loom::model(|| {
            let signal = Arc::new(Signal::new());
            let other = {
                let signal = Arc::clone(&signal);
                loom::thread::spawn(move || {
                    for reason in [WORK, WOKEN] {
                        if signal.raise(reason) == Door::Thread {
                            signal.unpark();
                        }
                    }
                })
            };
            let mut seen = 0;
            while seen != (WOKEN | WORK) {
                signal.wait();
                seen |= signal.take();
            }
            other.join().unwrap();
        });
    }

    /// What the waker of `block_on` did before the wake is seen after it. Kills `executor-signal-carries`.
    #[test]
    fn loom_signal_carries() {
        use loom::sync::atomic::AtomicBool;
        use loom::sync::atomic::Ordering::Relaxed;

        loom::model(|| {
            let shared = Arc::new((Signal::new(), AtomicBool::new(false)));
            let other = {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || {
                    shared.1.store(true, Relaxed);
                    shared.0.raise(WOKEN);
                })
            };
            if shared.0.take() != 0 {
                assert!(shared.1.load(Relaxed));
            }
            other.join().unwrap();
        });
    }
}

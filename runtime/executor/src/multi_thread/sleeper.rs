//! Where the thread of a core rests: in its group's park if nobody else does, or else by itself.
//!
//! One word says where to knock. The thread changes it before it goes anywhere, and each time by compare-and-swap, so
//! that an unpark in between is not overwritten: it is found by the next change, and ends the rest.

use std::{
    io,
    sync::atomic::Ordering::{AcqRel, Acquire},
};

use crate::{
    park::{Park, ThreadPark, Turn, Wait},
    sync::AtomicUsize,
};

/// The thread is up, or there is none.
const UP: usize = 0;
/// In the group's park, or about to be.
const TURNING: usize = 1;
/// By itself.
const NAPPING: usize = 2;
/// Unparked. Whoever wants to rest is up at once.
const NOTIFIED: usize = 3;

pub(super) struct Sleeper {
    state: AtomicUsize,
    nap: ThreadPark,
}

/// How a rest ended.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing was waited for in the park.
    Napped,
    /// The thread has turned the park.
    Turned,
    /// It tried to.
    Failed(io::Error),
}

impl Sleeper {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicUsize::new(UP),
            nap: ThreadPark::new(),
        }
    }

    /// Rests until it is unparked, something happens in `park`, or `wait` is over. `awake` is called as soon as the
    /// wait is over, before anybody is woken. Only for the core's thread.
    pub(super) fn rest(&self, park: &impl Park, wait: Wait, mut awake: impl FnMut()) -> Rest {
        let mut rest = Rest::Napped;
        if self.goes(UP, TURNING) {
            match park.turn_then(wait, &mut awake) {
                Turn::Done => rest = Rest::Turned,
                Turn::Busy => self.nap(TURNING, wait),
                Turn::Failed(error) => rest = Rest::Failed(error),
            }
        }
        self.state.swap(UP, AcqRel);
        if !matches!(rest, Rest::Turned) {
            awake();
        }
        rest
    }

    /// Rests by itself.
    pub(super) fn rest_aside(&self, wait: Wait) {
        self.nap(UP, wait);
        self.state.swap(UP, AcqRel);
    }

    fn nap(&self, from: usize, wait: Wait) {
        if self.goes(from, NAPPING) {
            // It is unparked only while the state is NAPPING; a token that is left over from an earlier nap ends this
            // one early, which is allowed.
            self.nap.turn(wait);
        }
    }

    fn goes(&self, from: usize, to: usize) -> bool {
        self.state
            .compare_exchange(from, to, AcqRel, Acquire)
            .is_ok()
    }

    /// Ends the thread's rest, or the next one. What the caller did before is seen after it.
    pub(super) fn unpark(&self, park: &impl Park) {
        match self.state.swap(NOTIFIED, AcqRel) {
            TURNING => park.unpark(),
            NAPPING => self.nap.unpark(),
            _ => {}
        }
    }

    pub(super) fn is_napping(&self) -> bool {
        self.state.load(Acquire) == NAPPING
    }

    pub(super) fn is_turning(&self) -> bool {
        self.state.load(Acquire) == TURNING
    }
}

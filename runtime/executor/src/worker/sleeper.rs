//! Where the thread of a core rests: in its group's park if nobody else does, or else by itself.
//!
//! One word says where to knock. The thread changes it before it goes anywhere, and by compare-and-swap, so that an
//! unpark in between is not overwritten: it is found by the change, and there is no rest.
//!
//! An unpark of the park ends whoever's wait is under way, or else the next one. So only a thread that holds the group's
//! *post* says that it is in the park: two that say so could take each other's unparks.

use std::io;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::park::{Park, ThreadPark, Turn, Wait};
use crate::sync::{AtomicUsize, thread};
use crate::unwind;

/// The thread is up, or there is none.
const UP: usize = 0;
/// In the group's park, or about to be.
const TURNING: usize = 1;
/// By itself.
const NAPPING: usize = 2;
/// Unparked. Whoever wants to rest is up at once.
const NOTIFIED: usize = 3;

/// The right to wait in a park.
pub(super) struct Post {
    /// 1 while a thread has it.
    taken: AtomicUsize,
}

impl Post {
    pub(super) fn new() -> Self {
        Self { taken: AtomicUsize::new(0) }
    }

    /// Takes the post, if nobody has it.
    fn take(&self) -> bool {
        // Acquire: pairs with the Release in `leave`.
        !self.is_taken() && self.taken.compare_exchange(0, 1, Acquire, Relaxed).is_ok()
    }

    fn leave(&self) {
        self.taken.store(0, Release);
    }

    pub(super) fn is_taken(&self) -> bool {
        // Relaxed: whoever finds it taken naps. Who leaves it comes back, or sees to it that somebody is woken; for the
        // ordering see `Shared::attend`.
        self.taken.load(Relaxed) != 0
    }
}

pub(super) struct Sleeper {
    state: AtomicUsize,
    nap: ThreadPark,
}

/// Makes a panic of a turn a failure: the post is to be left, and the thread to go on.
pub(super) fn guarded(turn: impl FnOnce() -> Turn) -> Turn {
    unwind::catch(turn).unwrap_or_else(|payload| {
        unwind::discard(payload);
        Turn::Failed(io::Error::other("it panicked"))
    })
}

impl Sleeper {
    pub(super) fn new() -> Self {
        Self { state: AtomicUsize::new(UP), nap: ThreadPark::new() }
    }

    /// Rests until it is unparked, or `wait` is over; in the park, if it may have the post and that is free, also until
    /// something happens there. Returns whether it has turned the park. Only for the core's thread.
    ///
    /// `awake` is called as soon as the wait is over and the post is free again, before anybody is woken: a waker that
    /// blocks must keep neither the park nor the thread's place in it.
    ///
    /// # Errors
    ///
    /// The turn failed.
    pub(super) fn rest(
        &self,
        post: Option<&Post>,
        park: &impl Park,
        wait: Wait,
        awake: impl FnOnce(),
    ) -> io::Result<bool> {
        let Some(post) = post.filter(|post| post.take()) else {
            self.rest_aside(wait);
            awake();
            return Ok(false);
        };
        let mut end = Some(|| {
            self.state.swap(UP, AcqRel);
            post.leave();
            awake();
        });
        let mut rest = Ok(false);
        if self.goes(TURNING) {
            match guarded(|| park.turn_then(wait, || end.take().into_iter().for_each(|end| end()))) {
                Turn::Done => rest = Ok(true),
                // Somebody looks into the park without waiting; that is over soon.
                Turn::Busy => thread::yield_now(),
                Turn::Failed(error) => rest = Err(error),
            }
        }
        end.into_iter().for_each(|end| end());
        rest
    }

    /// Rests by itself.
    pub(super) fn rest_aside(&self, wait: Wait) {
        if self.goes(NAPPING) {
            // It is unparked only while the state is NAPPING; a token that is left over from an earlier nap ends this
            // one early, which is allowed.
            self.nap.turn(wait);
        }
        self.state.swap(UP, AcqRel);
    }

    fn goes(&self, to: usize) -> bool {
        self.state.compare_exchange(UP, to, AcqRel, Acquire).is_ok()
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
}

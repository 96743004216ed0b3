//! What a thread of an executor sleeps in when it has nothing to run.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::sync::{Condvar, Mutex, lock, wait_while};

/// How long a [`Park::turn`] may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: only what is already there is delivered.
    No,
    /// Until this moment at the latest.
    Until(Instant),
    /// Until something happens or [`Park::unpark`] is called.
    Forever,
}

/// What came of a [`Park::turn`].
#[derive(Debug)]
pub enum Turn {
    /// The wait is over, and whatever it brought has been delivered.
    Done,
    /// Another thread is inside a turn; this one did nothing.
    Busy,
    /// The wait failed. What could be delivered was delivered first.
    Failed(io::Error),
}

/// What the workers of a group sleep in, one at a time; anyone may turn it.
///
/// This is all that an executor knows of a reactor. An implementation without one is [`ThreadPark`].
pub trait Park: Send + Sync + 'static {
    /// Undoes [`enter`](Park::enter) when it is dropped.
    type Entered;

    /// Makes this the place where the calling thread's new sources and timers go, until the guard is dropped.
    fn enter(self: &Arc<Self>) -> Self::Entered;

    /// Waits once, at most as long as `wait` says, and delivers what happened by waking.
    ///
    /// A blocking turn returns at once if [`unpark`](Park::unpark) was called since the last one. It may return
    /// without a reason.
    fn turn(&self, wait: Wait) -> Turn;

    /// As [`turn`](Park::turn), and calls `awake` between the wait and the first waker, if the wait took place.
    ///
    /// A waker may be foreign code that takes long. An implementation that calls none can leave this as it is.
    fn turn_then(&self, wait: Wait, awake: impl FnOnce()) -> Turn
    where
        Self: Sized,
    {
        let turn = self.turn(wait);
        if matches!(turn, Turn::Done) {
            awake();
        }
        turn
    }

    /// Ends the wait that is under way, or else the next one that would block.
    ///
    /// It should cost a system call only if a thread is inside the wait.
    fn unpark(&self);

    /// Ends all service: whoever waits for something here is woken, and later turns return at once.
    fn close(&self);

    /// Called on the thread that polls, before each poll of a task or of the future of `block_on`.
    ///
    /// It must be cheap, and must not panic.
    #[inline]
    fn before_poll(&self) {}
}

/// A [`Park`] without a reactor: a turn waits for [`unpark`](Park::unpark) and for nothing else.
///
/// For programs whose tasks wait only for each other or for other threads, and for tests.
#[derive(Debug, Default)]
pub struct ThreadPark {
    state: Mutex<ParkState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ParkState {
    /// An unpark that no blocking turn has consumed yet.
    notified: bool,
    /// A thread is inside a blocking turn.
    waiting: bool,
    /// No turn blocks any more.
    closed: bool,
}

impl ThreadPark {
    /// Makes one.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Mutex::new(ParkState::default()), changed: Condvar::new() }
    }
}

impl Park for ThreadPark {
    type Entered = ();

    fn enter(self: &Arc<Self>) -> Self::Entered {}

    fn turn(&self, wait: Wait) -> Turn {
        let deadline = match wait {
            Wait::No => return Turn::Done,
            Wait::Until(deadline) => Some(deadline),
            Wait::Forever => None,
        };
        let mut state = lock(&self.state);
        if state.waiting {
            return Turn::Busy;
        }
        state.waiting = true;
        let mut state = wait_while(&self.changed, state, deadline, |state| !state.notified && !state.closed);
        state.waiting = false;
        state.notified = false;
        Turn::Done
    }

    fn unpark(&self) {
        let waiting = {
            let mut state = lock(&self.state);
            state.notified = true;
            state.waiting
        };
        if waiting {
            self.changed.notify_one();
        }
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

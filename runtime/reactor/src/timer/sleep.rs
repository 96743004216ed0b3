//! A future that is ready at a given moment.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use crate::background;
use crate::budget;
use crate::clock;
use crate::context;
use crate::reactor::Reactor;
use crate::timer::wheel::Key;

/// A future that is ready at its deadline, never before.
///
/// It is inserted at the reactor of the thread that polls it first, and works
/// under any executor: where no runtime is, the background reactor serves it.
///
/// A deadline too far ahead to be represented is 136 years away.
///
/// # Cancel safety
/// Nothing is lost when it is dropped; one that is dropped or
/// [reset](Sleep::reset) before its deadline never wakes its task for the old
/// one, except that a wake-up which is on its way may arrive.
///
/// # Panics
/// When polled where no runtime is and the background reactor can not be started
/// (no thread or descriptor is left).
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    deadline: Instant,
    state: State,
}

enum State {
    /// Just made from a duration: the deadline is known to lie ahead.
    Fresh,
    /// Not inserted, and the clock has to say whether the deadline is over.
    Idle,
    Set(Timer),
    Over,
}

/// An entry in a wheel.
struct Timer {
    reactor: Arc<Reactor>,
    key: Key,
}

impl Timer {
    fn set(reactor: Arc<Reactor>, deadline: Instant, waker: Waker) -> Result<Timer, Waker> {
        let key = reactor.set_timer(deadline, waker)?;
        Ok(Timer { reactor, key })
    }

    fn take_back(self) {
        self.reactor.cancel_timer(self.key);
        context::give_back(self.reactor);
    }

    /// Whether a task on this thread can wait for it.
    fn is_near(&self) -> bool {
        // Another runtime's reactor may never turn again.
        let is_near = |here: &Arc<Reactor>| here.is_of_same_runtime(&self.reactor) && !self.reactor.is_closed();
        context::with_current(is_near).unwrap_or(false)
    }
}

impl Sleep {
    /// A sleep that ends `duration` from now.
    pub fn after(duration: Duration) -> Sleep {
        Sleep {
            deadline: clock::after(clock::now(), duration),
            state: if duration.is_zero() { State::Idle } else { State::Fresh },
        }
    }

    /// A sleep that ends at `deadline`; at its first poll, if that is over.
    pub fn until(deadline: Instant) -> Sleep {
        Sleep { deadline, state: State::Idle }
    }

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether a poll has found the deadline over, or would.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Over) || clock::now() >= self.deadline
    }

    /// Moves the deadline. The task that polled last is woken at the new one; a
    /// sleep that was over can be awaited again. Moving a deadline ahead costs no
    /// more than storing it.
    pub fn reset(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if !matches!(&self.state, State::Set(timer) if timer.reactor.move_timer(timer.key, deadline)) {
            self.set_state(State::Idle);
        }
    }

    /// Takes the timer back, if one is set.
    #[inline]
    fn set_state(&mut self, state: State) {
        if let State::Set(timer) = mem::replace(&mut self.state, state) {
            timer.take_back();
        }
    }

    /// Inserts the timer at the reactor of this thread, or, if the runtime of this
    /// thread is shutting down, at the background one: time goes on.
    fn insert(&mut self, cx: &Context<'_>) -> Timer {
        let waker = cx.waker().clone();
        let set = context::current().and_then(|here| {
            Timer::set(here, self.deadline, waker).or_else(|waker| {
                let background = background::reactor()?;
                let set = Timer::set(Arc::clone(background), self.deadline, waker);
                set.map_err(|_waker| background.closed_error())
            })
        });
        set.unwrap_or_else(|error| {
            panic!(
                "bourn: no reactor can wake this sleep: {error}. Outside a runtime, timers are \
                 served by a background reactor, which needs a thread and a few descriptors."
            )
        })
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let is_near = matches!(&self.state, State::Set(timer) if timer.is_near());
        match &self.state {
            State::Over => return Poll::Ready(()),
            State::Set(timer) if is_near && timer.reactor.watch_timer(timer.key, cx.waker()) => return Poll::Pending,
            State::Set(_) | State::Idle => {
                // What has fired need not be taken back.
                if is_near && let State::Set(timer) = mem::replace(&mut self.state, State::Idle) {
                    context::give_back(timer.reactor);
                }
                if clock::now() >= self.deadline {
                    ready!(budget::poll_left(cx));
                    self.set_state(State::Over);
                    budget::spend();
                    return Poll::Ready(());
                }
            }
            State::Fresh => {}
        }
        let timer = self.insert(cx);
        self.set_state(State::Set(timer));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.set_state(State::Over);
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

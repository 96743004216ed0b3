//! The task: a future, what it will leave behind, and the protocol of those who share it.
//!
//! A task is one allocation ([`cell`]): a header with the state word, a scheduler, the stage (the future, later its
//! result), and the waker of whoever awaits the result. Pointers to it are *references* ([`mod@reference`]), counted in
//! the state word:
//!
//! * each waker, each [`AbortHandle`] and the [`JoinHandle`] hold one;
//! * a queue holds one for each task in it, which becomes the runner's when the task is taken out;
//! * the live table holds one from the first `Pending`, or, of a task with a name, from the spawn, until the task
//!   completes.
//!
//! Who may touch what follows from the state word ([`state`]), in three arguments.
//!
//! **The stage belongs to whoever set `RUNNING`.** `RUNNING` is set by `start` and by `cancel`, only where it and
//! `COMPLETE` are clear, in one atomic step: so there is one runner at a time. It polls, or drops the future and
//! stores the result, and then clears `RUNNING` by `pend` or `complete`. After `COMPLETE` nobody sets `RUNNING` again,
//! and the stage belongs to the handle if `HANDLE` was set when `COMPLETE` was, and to the runner otherwise. The two
//! bits are in one word, so exactly one of `complete` and `detach` is first, and the second one drops the result. A handle
//! that has taken the result does not detach: both are done.
//!
//! **A task is in at most one queue, once.** `SCHEDULED` goes from clear to set where the task enters a queue. A wake
//! during a poll sets the bit and does nothing else; `pend` sees it, and whoever called `Task::run` gets the task back and
//! must queue it: to drop it would lose it. So a wake is never lost:
//! before the poll's end it is seen by `pend`, after it by nobody but itself, and it queues the task. A task that is
//! cancelled while queued stays in its queue, and is skipped when it is taken out.
//!
//! **The join waker belongs to the handle while `JOIN_WAKER` is clear, and to the task while it is set.** The handle
//! writes the waker and offers it (sets the bit), or, once it has, claims it back (clears the bit) before it looks at it
//! again; both fail once `COMPLETE` is set. `complete` reads the bit in the very step that sets `COMPLETE`: if it was set, the
//! runner takes the waker and wakes it; if not, the handle has yet to offer, fails, and finds the result.
//!
//! **The count is never too low, and right while nobody runs the task.** A clone of its waker that a task makes in its own
//! poll, as it does for nearly every wait, is noted in a thread-local ([`context::lend`](crate::context::lend)): no atomic
//! operation. (So is a wake of itself, until the step that ends the poll sets `SCHEDULED`.) Such a waker may go to another
//! thread and be dropped there at once; so whoever sets `RUNNING` adds as many references as may be lent in one poll, in the
//! same step, and the step that clears it takes them off and adds those that were lent. A wake by value gives the waker's
//! reference to the queue where only the calling thread takes tasks out of that: the scheduler, which lives in the cell, is
//! not needed after it.
//!
//! An unfinished task is always in a queue, running, or in the live table, which refuses newcomers once it is closed:
//! that is how shutdown finds every one of them.
//!
//! Foreign code (the future, its output, wakers, the payload of a panic) runs with no lock and no borrow held, and
//! each call of it is guarded on its own: a panic ends that call and nothing else.

#[allow(unsafe_code)]
mod cell;
mod info;
#[allow(unsafe_code)]
mod join;
mod join_error;
mod live;
#[allow(unsafe_code)]
mod local;
#[allow(unsafe_code)]
mod reference;
mod state;
mod yield_now;

#[cfg(all(test, loom))]
mod model;

pub use self::info::{Id, Options, TaskInfo, TaskState};
pub use self::join::{AbortHandle, JoinHandle};
pub use self::join_error::JoinError;
pub use self::yield_now::{YieldNow, yield_now};

pub(crate) use self::cell::Schedule;
pub(crate) use self::live::Live;
pub(crate) use self::reference::Task;

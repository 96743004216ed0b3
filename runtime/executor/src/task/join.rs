//! The handles of a task: to await its output, and to abort it.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::info::Id;
use super::join_error::{Failure, JoinError};
use super::reference::Task;
use crate::unwind;

/// The right to the output of a task, which awaiting it yields.
///
/// Dropping the handle detaches the task: it goes on, and its output is dropped on the thread that runs it. A panic of
/// a detached task is reported on stderr.
///
/// # Cancel safety
///
/// A handle can be awaited by `&mut` in a select and again later; nothing is lost.
///
/// # Panics
///
/// Polling panics after the output has been yielded.
pub struct JoinHandle<T> {
    task: Task,
    /// The result has been moved out.
    taken: bool,
    output: PhantomData<T>,
}

// SAFETY: a shared handle gives access to the task, which is Sync, and never to the output.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// The one handle of a new task, whose output is a `T`.
    pub(super) fn new(task: Task) -> Self {
        Self { task, taken: false, output: PhantomData }
    }

    /// Asks for the task to be dropped instead of polled again.
    ///
    /// The future is dropped on its runtime's thread, soon; then the handle yields a cancelled [`JoinError`]. A task
    /// that completes before that yields its output.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// A handle that can abort the task and no more.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { task: self.task.clone() }
    }

    /// Tells whether the task has ended: awaiting the handle would yield at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_complete()
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.task.id()
    }

    /// Leaves a waker for the completion. `false`: it is there already.
    fn leave_waker(&self, cx: &mut Context<'_>) -> bool {
        let header = self.task.header();
        if !header.state.claim_join_waker() {
            return false;
        }
        // The waker is the handle's from here until it is offered. A panic in the clone leaves it so.
        let kept = self.swap_waker(None);
        let waker = match kept {
            Some(kept) if kept.will_wake(cx.waker()) => kept,
            kept => {
                unwind::dispose(kept);
                cx.waker().clone()
            }
        };
        self.swap_waker(Some(waker));
        if header.state.offer_join_waker() {
            return true;
        }
        unwind::dispose(self.swap_waker(None));
        false
    }

    /// Only while the waker is the handle's.
    fn swap_waker(&self, waker: Option<Waker>) -> Option<Waker> {
        // SAFETY: `calls` is the table of this cell's type, and the callers own the waker.
        unsafe { (self.task.header().calls.swap_waker)(self.task.cell, waker) }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.taken, "a JoinHandle was polled after it had yielded its output; keep what it yielded instead");
        if !self.is_finished() && self.leave_waker(cx) {
            return Poll::Pending;
        }
        self.taken = true;
        let header = self.task.header();
        let mut result: Option<Result<T, Failure>> = None;
        // SAFETY: `T` is the output of this cell's future (the pair is made in `Task::allocate`). COMPLETE was seen with
        // HANDLE set, so the stage is the handle's.
        unsafe { (header.calls.take)(self.task.cell, (&raw mut result).cast()) };
        match result {
            Some(result) => Poll::Ready(result.map_err(|failure| JoinError { id: header.id, failure })),
            // `taken` was false, and only the handle takes.
            None => unreachable!("a complete task without a result"),
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if self.taken {
            // Nothing is left of either: who completes a task looks at `HANDLE` once, before the result can be taken.
            return;
        }
        let header = self.task.header();
        let left = header.state.detach();
        if left.waker {
            unwind::dispose(self.swap_waker(None));
        }
        if left.output {
            // SAFETY: `calls` is the table of this cell's type. `detach` found COMPLETE, so the stage is the handle's.
            unsafe { (header.calls.discard)(self.task.cell) };
        }
    }
}

impl<T> Unpin for JoinHandle<T> {}
// What a panic could leave half-done behind the handle is the future, and that is dropped, never seen again.
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id()).field("finished", &self.is_finished()).finish()
    }
}

/// The right to abort a task; it keeps neither the future nor the output alive.
#[derive(Clone)]
pub struct AbortHandle {
    task: Task,
}

impl AbortHandle {
    /// Asks for the task to be dropped instead of polled again; see [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Tells whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_complete()
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.task.id()
    }
}

impl UnwindSafe for AbortHandle {}
impl RefUnwindSafe for AbortHandle {}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("id", &self.id()).field("finished", &self.is_finished()).finish()
    }
}

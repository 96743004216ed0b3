//! The handles of a task: to await its output, and to abort it.

use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::info::Id;
use super::join_error::JoinError;
use super::reference::{Join, Task};

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
    join: Join<T>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(join: Join<T>) -> Self {
        Self { join }
    }

    /// Asks for the task to be dropped instead of polled again.
    ///
    /// The future is dropped on its runtime's thread, soon; then the handle yields a cancelled [`JoinError`]. A task
    /// that completes before that yields its output.
    pub fn abort(&self) {
        self.join.task().abort();
    }

    /// A handle that can abort the task and no more.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle { task: self.join.task().clone() }
    }

    /// Tells whether the task has ended: awaiting the handle would yield at once.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.join.task().is_complete()
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.join.task().id()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.join.poll(cx)
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

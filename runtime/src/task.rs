//! Tasks: how they are started, awaited, aborted and named.

use std::future::Future;

use bourn_executor::Options;

use crate::runtime::Handle;

pub use bourn_executor::{
    AbortHandle, Id, JoinError, JoinHandle, TaskInfo, TaskState, YieldNow, yield_now,
};

/// Starts a task in the runtime of this thread.
///
/// It runs beside its starter, and goes on if the [`JoinHandle`] is dropped. A
/// panic in it ends the task alone; the handle returns it, or, if nobody awaits
/// the handle, one line on stderr says which task it was.
///
/// # Panics
/// If the thread is in no runtime.
///
/// # Examples
/// ```
/// # bourn::block_on(async {
/// let task = bourn::spawn(async { 6 * 7 });
/// assert_eq!(task.await.unwrap(), 42);
/// # });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Handle::current_for("spawn").spawn(future)
}

/// Starts a task whose future may not leave this thread, and so may hold an
/// [`Rc`](std::rc::Rc) across an `.await`. It is dropped before this thread's
/// [`block_on`](crate::runtime::Runtime::block_on) returns.
///
/// # Panics
/// If this thread is not inside `block_on`.
///
/// # Examples
/// ```
/// use std::rc::Rc;
///
/// # bourn::block_on(async {
/// let shared = Rc::new(7);
/// let task = bourn::spawn_local({
///     let shared = Rc::clone(&shared);
///     async move { *shared + 1 }
/// });
/// assert_eq!(task.await.unwrap(), 8);
/// # });
/// ```
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    Handle::current_for("spawn_local").spawn_local(future)
}

/// Starts tasks with more than a future: with a name.
///
/// # Examples
/// ```
/// # bourn::block_on(async {
/// let task = bourn::task::Builder::new().name("answer").spawn(async { 42 });
/// assert_eq!(task.await.unwrap(), 42);
/// # });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `spawn`"]
pub struct Builder {
    options: Options,
}

impl Builder {
    /// Starts with nothing set.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// The name under which messages and [`Handle::tasks`] show the task.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.options = self.options.name(name.into());
        self
    }

    /// As [`spawn`], in the runtime of this thread.
    ///
    /// # Panics
    /// If the thread is in no runtime.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Handle::current_for("task::Builder::spawn").spawn_with(self.options, future)
    }

    /// As [`spawn_local`].
    ///
    /// # Panics
    /// If this thread is not inside `block_on`.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        Handle::current_for("task::Builder::spawn_local").spawn_local_with(self.options, future)
    }
}

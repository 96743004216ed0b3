//! Tasks: how they are started, awaited, aborted and named.

mod join_set;
mod task_local;

use std::future::Future;

use bourn_executor::Options;

use crate::runtime::Handle;

pub use crate::task_local;
pub use join_set::JoinSet;
pub use task_local::{AccessError, LocalKey, TaskLocalFuture};

pub use bourn_executor::{AbortHandle, Id, JoinError, JoinHandle, TaskInfo, TaskState, YieldNow, yield_now};

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
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    Handle::current_for("spawn").spawn(future)
}

/// Starts a task whose future may not leave this thread, and so may hold an
/// [`Rc`](std::rc::Rc) across an `.await`. It is dropped before this thread's
/// [`block_on`](crate::runtime::Runtime::block_on) returns, or, on a worker, when the
/// runtime ends.
///
/// # Panics
/// If this thread is neither inside `block_on` nor a worker.
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
pub fn spawn_local<T: 'static>(future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    Handle::current_for("spawn_local").spawn_local(future)
}

/// Has `work` called on a thread that may block, of the runtime of this thread, and
/// returns the handle of its result.
///
/// For calls that have no other form: files, name look-ups, foreign libraries, long
/// computations. The threads start when they are needed
/// ([at most 512](crate::runtime::Builder::max_blocking_threads)) and end when they
/// are idle; they are in the runtime, so `work` can [`spawn`] and start further
/// calls. Calls begin in the order of their arrival.
///
/// Aborting the handle keeps a call from being made that has not begun; one that
/// has goes on to its end. When the runtime is dropped, it waits for these
/// [a while](crate::runtime::Builder::blocking_grace). If the system has no thread
/// for the call, and there is none already, the handle yields the system's error
/// ([`JoinError::is_refused`]).
///
/// # Panics
/// If the thread is in no runtime.
///
/// # Examples
/// ```
/// # bourn::block_on(async {
/// let hosts = bourn::task::spawn_blocking(|| std::fs::read_to_string("/etc/hosts"));
/// assert!(hosts.await.unwrap().is_ok());
/// # });
/// ```
#[track_caller]
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Handle::current_for("spawn_blocking").spawn_blocking(work)
}

/// Calls `work`, which may block, on this very thread, while another one stands in
/// for it: the tasks that this thread would run go on elsewhere.
///
/// Local tasks of this thread wait. In a runtime without workers all tasks do; use
/// [`spawn_blocking`] there.
///
/// # Panics
/// If the thread is in no runtime, and with the panic of `work`.
#[track_caller]
pub fn block_in_place<T>(work: impl FnOnce() -> T) -> T {
    Handle::current_for("block_in_place").executor.block_in_place(work)
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
    pub fn spawn<T: Send + 'static>(self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        Handle::current_for("task::Builder::spawn").executor.spawn_with(self.options, future)
    }

    /// As [`spawn_local`].
    ///
    /// # Panics
    /// If this thread is neither inside `block_on` nor a worker.
    #[track_caller]
    pub fn spawn_local<T: 'static>(self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        Handle::current_for("task::Builder::spawn_local").executor.spawn_local_with(self.options, future)
    }

    /// As [`spawn_blocking`].
    ///
    /// # Panics
    /// If the thread is in no runtime.
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        Handle::current_for("task::Builder::spawn_blocking").blocking.spawn_with(self.options, work)
    }
}

//! The owner of a current-thread runtime.

use std::{fmt, future::Future, panic::Location, sync::Arc, thread};

use super::{drive, handle::Handle, shared::Shared};
use crate::{context, misuse, park::Park, unhandled::UnhandledPanic, unwind};

/// A runtime whose tasks run on the thread that is inside [`block_on`](Self::block_on), and rest while there is none.
///
/// Dropping it shuts it down; see [`shutdown`](Self::shutdown).
///
/// # Panics
///
/// Dropping it on a thread that is inside a `block_on` shuts it down and panics; or, if the thread is panicking
/// already, says the same on stderr. One that was shut down before may be dropped anywhere.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use bourn_executor::{CurrentThread, ThreadPark};
///
/// let runtime = CurrentThread::new(Arc::new(ThreadPark::new()));
/// let handle = runtime.handle();
/// let sum = runtime.block_on(async move {
///     let left = handle.spawn(async { 1 });
///     let right = handle.spawn(async { 2 });
///     left.await.unwrap() + right.await.unwrap()
/// });
/// assert_eq!(sum, 3);
/// ```
pub struct CurrentThread<P: Park> {
    shared: Arc<Shared<P>>,
}

impl<P: Park> CurrentThread<P> {
    /// Makes a runtime that sleeps in `park`.
    ///
    /// Nobody else may wait in the same `park`: neither another runtime nor a turn of one's own that blocks.
    #[must_use]
    pub fn new(park: Arc<P>) -> Self {
        Self::with_policy(park, UnhandledPanic::default())
    }

    /// As [`new`](Self::new), with another policy for panics that nobody sees.
    #[must_use]
    pub fn with_policy(park: Arc<P>, policy: UnhandledPanic) -> Self {
        Self { shared: Arc::new(Shared::new(park, policy)) }
    }

    /// Panics as [`block_on`](Self::block_on) would on this thread, for whoever builds a runtime only to call it.
    ///
    /// # Panics
    ///
    /// If this thread is inside a `block_on` already.
    #[track_caller]
    pub fn refuse_nested() {
        drive::refuse_nested(Location::caller());
    }

    /// A handle to spawn tasks with, from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle<P> {
        Handle::new(Arc::clone(&self.shared))
    }

    /// Runs `future` to its end on this thread, and the runtime's tasks as long as it waits.
    ///
    /// Tasks that are left when the future ends stay, and go on in the next call; local tasks of this thread are
    /// dropped before it returns. Of several threads inside `block_on` of one runtime, one at a time runs the tasks.
    ///
    /// # Panics
    ///
    /// If this thread is inside a `block_on` already, of this runtime or another; if the wait for events fails; if the
    /// runtime was shut down by [`UnhandledPanic::Shutdown`]; and with the panic of the future, if it panics. A panic of a task is not passed on; its handle has it.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        drive::block_on(&self.shared, future, Location::caller())
    }

    /// Drops every task, and every one that is spawned later; their handles yield a cancelled error.
    ///
    /// Tasks that belong to a thread inside `block_on` (the local ones, and what its run queue holds) are dropped by
    /// that thread when its current poll returns; this does not wait for it. Its future goes on, without tasks and
    /// without events. Called again, it does nothing.
    pub fn shutdown(&self) {
        self.shared.shut_down();
    }
}

impl<P: Park> Drop for CurrentThread<P> {
    fn drop(&mut self) {
        let on_purpose = self.shared.awake.is_closed();
        self.shared.shut_down();
        if !on_purpose && let Some(outer) = context::entered_at() {
            let message = misuse::dropped_inside(outer);
            if thread::panicking() {
                unwind::report(format_args!("{message}"));
            } else {
                panic!("{message}");
            }
        }
    }
}

impl<P: Park> fmt::Debug for CurrentThread<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentThread").field("live", &self.shared.live.len()).finish_non_exhaustive()
    }
}

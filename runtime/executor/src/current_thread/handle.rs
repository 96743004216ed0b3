//! The way to spawn tasks from anywhere.

use std::{fmt, future::Future, panic::Location, sync::Arc};

use super::{seat::Seat, shared::Shared};
use crate::{
    context, misuse,
    park::Park,
    task::{JoinHandle, Options, Schedule, Task, TaskInfo},
};

/// A handle to a [`CurrentThread`](crate::CurrentThread) runtime, for any thread.
///
/// It keeps neither the runtime running nor its tasks alive, but what the runtime sleeps in (a reactor's descriptors,
/// say) is kept as long as there is a handle, a waker or an [`AbortHandle`](crate::AbortHandle). What is spawned after
/// the shutdown is dropped unpolled, at once or when the driving thread's current poll returns, and its handle yields
/// a cancelled error.
pub struct Handle<P: Park> {
    shared: Arc<Shared<P>>,
}

impl<P: Park> Handle<P> {
    pub(super) fn new(shared: Arc<Shared<P>>) -> Self {
        Self { shared }
    }

    /// Starts a task. It runs when a thread is inside `block_on` of the runtime.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_at(Options::new(), future, Location::caller())
    }

    /// Starts a task with [`Options`], such as a name.
    #[track_caller]
    pub fn spawn_with<F>(&self, options: Options, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_at(options, future, Location::caller())
    }

    /// Starts a task whose future may not leave this thread. It is dropped before this thread's `block_on` returns.
    ///
    /// # Panics
    ///
    /// If this thread is not inside `block_on` of this runtime.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.spawn_local_at(Options::new(), future, Location::caller())
    }

    /// Starts a task whose future may not leave this thread, with [`Options`], such as a name.
    ///
    /// # Panics
    ///
    /// If this thread is not inside `block_on` of this runtime.
    #[track_caller]
    pub fn spawn_local_with<F>(&self, options: Options, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.spawn_local_at(options, future, Location::caller())
    }

    /// The tasks that wait or run, in no particular order. A task is listed once it has been polled for the first
    /// time and has not ended there.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.shared.live.describe()
    }

    /// How many tasks [`tasks`](Self::tasks) would list.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.shared.live.len()
    }

    /// Tells whether the runtime has been shut down.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.awake.is_closed()
    }

    /// Does what the runtime's [`UnhandledPanic`](crate::UnhandledPanic) says about a panic elsewhere, which `line`
    /// describes.
    pub fn unhandled_panic(&self, line: &str) {
        self.shared.meet_panic(line);
    }

    /// What the runtime sleeps in.
    #[must_use]
    pub fn park(&self) -> &Arc<P> {
        &self.shared.park
    }

    fn spawn_at<F>(&self, options: Options, future: F, location: &'static Location<'static>) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (task, handle) = Task::new(future, Arc::clone(&self.shared), options, location);
        self.shared.schedule(task);
        handle
    }

    #[track_caller]
    fn spawn_local_at<F>(
        &self,
        options: Options,
        future: F,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let Some(seat) = context::seat_in::<Seat<P>>(self.shared.address()) else {
            panic!("{}", misuse::spawn_local_outside(location));
        };
        let (task, handle) = Task::new_local(future, Arc::clone(&seat), options, location);
        seat.host();
        seat.schedule(task);
        handle
    }
}

impl<P: Park> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<P: Park> fmt::Debug for Handle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("live", &self.task_count()).field("closed", &self.is_closed()).finish()
    }
}

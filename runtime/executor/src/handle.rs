//! The way to spawn tasks from anywhere, whatever runs them.

use std::{fmt, future::Future, panic::Location, slice, sync::Arc};

use crate::{
    context, current_thread, misuse,
    multi_thread::{self, Metrics},
    park::Park,
    seat::{House, Seat},
    task::{JoinHandle, Options, Schedule, Task, TaskInfo},
};

/// A handle to a runtime, for any thread.
///
/// It keeps neither the runtime running nor its tasks alive, but what the runtime sleeps in (a reactor's descriptors,
/// say) is kept as long as there is a handle, a waker or an [`AbortHandle`](crate::AbortHandle). What is spawned after
/// the shutdown is dropped unpolled, at once or when the driving thread's current poll returns, and its handle yields
/// a cancelled error.
pub struct Handle<P: Park> {
    flavour: Flavour<P>,
}

enum Flavour<P: Park> {
    Current(Arc<current_thread::Shared<P>>),
    Multi(Arc<multi_thread::Shared<P>>),
}

impl<P: Park> Handle<P> {
    pub(crate) fn of_current(shared: Arc<current_thread::Shared<P>>) -> Self {
        Self { flavour: Flavour::Current(shared) }
    }

    pub(crate) fn of_multi(shared: Arc<multi_thread::Shared<P>>) -> Self {
        Self { flavour: Flavour::Multi(shared) }
    }

    /// Starts a task. In a current-thread runtime it runs when a thread is inside `block_on`.
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

    /// Starts a task whose future may not leave this thread. It is dropped before this thread's `block_on` returns, or,
    /// on a thread of the runtime's own, at the shutdown.
    ///
    /// # Panics
    ///
    /// If this thread is neither inside `block_on` of this runtime nor one of its own.
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
    /// If this thread is neither inside `block_on` of this runtime nor one of its own.
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
        match &self.flavour {
            Flavour::Current(shared) => shared.live().describe(),
            Flavour::Multi(shared) => shared.live().describe(),
        }
    }

    /// How many tasks [`tasks`](Self::tasks) would list.
    #[must_use]
    pub fn task_count(&self) -> usize {
        match &self.flavour {
            Flavour::Current(shared) => shared.live().len(),
            Flavour::Multi(shared) => shared.live().len(),
        }
    }

    /// Tells whether the runtime has been shut down.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.flavour {
            Flavour::Current(shared) => shared.awake.is_closed(),
            Flavour::Multi(shared) => shared.is_closed(),
        }
    }

    /// Does what the runtime's [`UnhandledPanic`](crate::UnhandledPanic) says about a panic elsewhere, which `line`
    /// describes.
    pub fn unhandled_panic(&self, line: &str) {
        match &self.flavour {
            Flavour::Current(shared) => shared.meet_panic(line),
            Flavour::Multi(shared) => shared.meet_panic(line),
        }
    }

    /// What the runtime's workers have done; all zero where there are none.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        match &self.flavour {
            Flavour::Current(_) => Metrics::default(),
            Flavour::Multi(shared) => shared.metrics(),
        }
    }

    /// Calls `work`, which may block, and has the tasks that this thread would run meanwhile run by others.
    ///
    /// On a thread that runs tasks of a [`MultiThread`](crate::MultiThread) a spare stands in at once; local tasks of
    /// the thread wait. Elsewhere it is a plain call, and in a current-thread runtime the tasks wait.
    ///
    /// # Panics
    ///
    /// With the panic of `work`.
    pub fn block_in_place<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.flavour {
            Flavour::Current(_) => work(),
            Flavour::Multi(shared) => shared.block_in_place(work),
        }
    }

    /// What the runtime sleeps in; where it has several, one for each group of workers, the first.
    #[must_use]
    pub fn park(&self) -> &Arc<P> {
        &self.parks()[0]
    }

    /// All that the runtime sleeps in.
    #[must_use]
    pub fn parks(&self) -> &[Arc<P>] {
        match &self.flavour {
            Flavour::Current(shared) => slice::from_ref(&shared.park),
            Flavour::Multi(shared) => shared.parks(),
        }
    }

    fn spawn_at<F>(&self, options: Options, future: F, location: &'static Location<'static>) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.flavour {
            Flavour::Current(shared) => spawn_on(shared, options, future, location),
            Flavour::Multi(shared) => spawn_on(shared, options, future, location),
        }
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
        match &self.flavour {
            Flavour::Current(shared) => spawn_local_on(shared, options, future, location),
            Flavour::Multi(shared) => spawn_local_on(shared, options, future, location),
        }
    }
}

fn spawn_on<S, F>(
    shared: &Arc<S>,
    options: Options,
    future: F,
    location: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    Arc<S>: Schedule,
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (task, handle) = Task::new(future, Arc::clone(shared), options, location);
    shared.schedule(task);
    handle
}

#[track_caller]
fn spawn_local_on<H, F>(
    shared: &Arc<H>,
    options: Options,
    future: F,
    location: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    H: House,
    F: Future + 'static,
    F::Output: 'static,
{
    let Some(seat) = context::seat_in::<Seat<H>>(Arc::as_ptr(shared).addr()) else {
        panic!("{}", misuse::spawn_local_outside(location));
    };
    let (task, handle) = Task::new_local(future, Arc::clone(&seat), options, location);
    seat.host();
    seat.schedule(task);
    handle
}

impl<P: Park> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self {
            flavour: match &self.flavour {
                Flavour::Current(shared) => Flavour::Current(Arc::clone(shared)),
                Flavour::Multi(shared) => Flavour::Multi(Arc::clone(shared)),
            },
        }
    }
}

impl<P: Park> fmt::Debug for Handle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("live", &self.task_count()).field("closed", &self.is_closed()).finish()
    }
}

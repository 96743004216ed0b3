//! The owner of a multi-thread runtime.

use std::{fmt, future::Future, io, panic::Location, sync::Arc, thread, time::Duration};

use super::{enter, options::MultiThreadOptions, sentinel, shared::Shared};
use crate::{
    blocking::PoolHost, context, handle::Handle, misuse, park::Park, sync::start_thread, task::TaskInfo, unwind,
};

/// How long a runtime that is dropped waits for its threads.
const GRACE: Duration = Duration::from_secs(10);

/// A runtime with worker threads, which share the tasks.
///
/// Dropping it shuts it down and waits up to ten seconds for what is being polled; then it says on stderr which tasks
/// are left. See [`shutdown`](Self::shutdown).
///
/// # Panics
///
/// Dropping it on a thread that is inside a `block_on`, or on a worker, shuts it down without waiting and panics; or, if
/// the thread is panicking already, says the same on stderr.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use bourn_executor::{MultiThread, MultiThreadOptions, ThreadPark};
///
/// let options = MultiThreadOptions::new().workers(2);
/// let runtime = MultiThread::new(options, || Ok(Arc::new(ThreadPark::new())))?;
/// runtime.start(None)?;
/// let handle = runtime.handle();
/// let sum = runtime.block_on(async move {
///     let left = handle.spawn(async { 1 });
///     let right = handle.spawn(async { 2 });
///     left.await.unwrap() + right.await.unwrap()
/// });
/// assert_eq!(sum, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct MultiThread<P: Park> {
    shared: Arc<Shared<P>>,
}

impl<P: Park> MultiThread<P> {
    /// Makes a runtime, with a park from `make_park` for each group of workers. No thread is started yet.
    ///
    /// # Errors
    ///
    /// Those of `make_park`.
    #[track_caller]
    pub fn new(options: MultiThreadOptions, make_park: impl FnMut() -> io::Result<Arc<P>>) -> io::Result<Self> {
        let location = Location::caller();
        let mut make_park = make_park;
        let parks: io::Result<Box<[_]>> = (0..options.groups()).map(|_| make_park()).collect();
        Ok(Self { shared: Arc::new(Shared::new(parks?, options, location)) })
    }

    /// Starts the threads. Each of them, and each that is started later, runs inside `around` of `host`.
    ///
    /// # Errors
    ///
    /// What the system says when it can not start a thread (`EAGAIN`); the runtime should then be dropped.
    pub fn start(&self, host: Option<Arc<dyn PoolHost>>) -> io::Result<()> {
        let shared = &self.shared;
        for index in 0..shared.options.workers {
            let name = format!("{}-{index}", shared.options.thread_name);
            start(shared, name, host.clone(), move |shared| enter::work(shared, index))?;
        }
        if shared.options.rescue {
            let spares = host;
            start(shared, "bourn-sentinel".to_owned(), None, move |shared| sentinel::watch(shared, spares.as_ref()))?;
        }
        Ok(())
    }

    /// A handle to spawn tasks with, from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle<P> {
        Handle::of_multi(Arc::clone(&self.shared))
    }

    /// Runs `future` to its end on this thread, which also runs tasks as long as it waits.
    ///
    /// A task that blocks this thread delays the future, which cannot go on elsewhere; what must not be delayed belongs
    /// into a task. Local tasks of this thread are dropped before it returns. Up to four threads at a time run tasks in this way,
    /// beside the workers; any further one runs its future alone.
    ///
    /// # Panics
    ///
    /// If this thread is inside a `block_on` already, of this runtime or another, or is a worker; if the runtime was
    /// shut down by [`UnhandledPanic::Shutdown`](crate::UnhandledPanic::Shutdown); and with the panic of the future, if
    /// it panics. A panic of a task is not passed on; its handle has it.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        enter::block_on(&self.shared, future, Location::caller())
    }

    /// Drops every task, and every one that is spawned later; their handles yield a cancelled error.
    ///
    /// Waits for the polls that are under way until `grace` is over, and returns the tasks that are left even then: those
    /// being polled, and those that are local to such a thread. Each is dropped when its thread comes back, if ever.
    pub fn shutdown(&self, grace: Duration) -> Vec<TaskInfo> {
        self.shared.shut_down();
        self.shared.await_end(grace)
    }

    /// As [`shutdown`](Self::shutdown), but waits for nothing: the threads see to it.
    pub fn shutdown_background(&self) {
        self.shared.shut_down();
    }
}

/// Starts a thread of the runtime's own.
pub(super) fn start<P: Park>(
    shared: &Arc<Shared<P>>,
    name: String,
    host: Option<Arc<dyn PoolHost>>,
    body: impl FnOnce(&Arc<Shared<P>>) + Send + 'static,
) -> io::Result<()> {
    let enrolled = Enrolled::new(shared);
    let thread = move || {
        let mut body = Some(body);
        let mut run = || {
            if let Some(body) = body.take() {
                body(&enrolled.shared);
            }
        };
        match &host {
            Some(host) => host.around(&mut run),
            None => run(),
        }
        // The host's references go before the runtime is told that this thread has left.
        drop(host);
        drop(enrolled);
    };
    // The thread leaves by itself, and says so.
    start_thread(name, shared.options.stack_size, thread).map(drop)
}

/// A thread on the runtime's roll; dropping it takes the thread off.
struct Enrolled<P: Park> {
    shared: Arc<Shared<P>>,
}

impl<P: Park> Enrolled<P> {
    fn new(shared: &Arc<Shared<P>>) -> Self {
        shared.enroll_thread();
        Self { shared: Arc::clone(shared) }
    }
}

impl<P: Park> Drop for Enrolled<P> {
    fn drop(&mut self) {
        self.shared.dismiss_thread();
    }
}

impl<P: Park> Drop for MultiThread<P> {
    fn drop(&mut self) {
        if !self.shared.shut_down() {
            // Whoever did so has chosen how long to wait, and been told what is left.
            return;
        }
        if let Some(outer) = context::entered_at() {
            let message =
                if context::is_worker() { misuse::dropped_on_worker(outer) } else { misuse::dropped_inside(outer) };
            if thread::panicking() {
                unwind::report(format_args!("{message}"));
            } else {
                panic!("{message}");
            }
        }
        for task in self.shared.await_end(GRACE) {
            let name = task.name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
            unwind::report(format_args!(
                "bourn: a runtime was dropped, and {GRACE:?} later a task is still being polled, or waits for a thread that \
                 is: task {}{name} (spawned at {}). It is dropped when its thread comes back",
                task.id, task.location
            ));
        }
    }
}

impl<P: Park> fmt::Debug for MultiThread<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiThread")
            .field("options", &self.shared.options)
            .field("live", &self.shared.live.len())
            .finish_non_exhaustive()
    }
}

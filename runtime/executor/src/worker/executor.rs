//! The owner of an executor.

use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use std::{fmt, io, thread};

use super::enter;
use super::options::ExecutorOptions;
use super::seat::{Seat, Sitting};
use super::sentinel::{self, Sentinel};
use super::shared::Shared;
use crate::blocking::PoolHost;
use crate::handle::Handle;
use crate::park::Park;
use crate::sync::{now, start_thread};
use crate::task::{JoinHandle, Options, Schedule, Task, TaskInfo};
use crate::unhandled::Unhandled;
use crate::{context, misuse, sys, unwind};

/// How long an executor that is dropped waits for its threads.
const GRACE: Duration = Duration::from_secs(10);

/// Runs tasks: on worker threads that share them, on worker threads that share nothing, or, without workers, on the thread
/// that is inside [`block_on`](Self::block_on).
///
/// Dropping it shuts it down and waits up to ten seconds for what is being polled; then it says on stderr which tasks
/// are left. See [`shutdown`](Self::shutdown).
///
/// # Panics
///
/// Dropping it on a thread that is inside a `block_on`, on a worker, or in the hook for stalls, shuts it down without waiting
/// and panics; or, if the thread is panicking already, says the same on stderr. One that was shut down on purpose may be dropped anywhere.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use bourn_executor::{Executor, ExecutorOptions, ThreadPark};
///
/// let options = ExecutorOptions::multi_thread().workers(2);
/// let executor = Executor::new(options, || Ok(Arc::new(ThreadPark::new())))?;
/// executor.start(None)?;
/// let handle = executor.handle();
/// let sum = executor.block_on(async move {
///     let left = handle.spawn(async { 1 });
///     let right = handle.spawn(async { 2 });
///     left.await.unwrap() + right.await.unwrap()
/// });
/// assert_eq!(sum, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Executor<P: Park> {
    pub(super) shards: Arc<[Arc<Shared<P>>]>,
    /// Somebody has said how long to wait, and been told what is left.
    is_ended: AtomicBool,
}

impl<P: Park> Executor<P> {
    /// Makes an executor, with a park from `make_park` for each group of workers. No thread is started yet.
    ///
    /// Nobody else may wait in these parks: neither another executor nor a turn of one's own that blocks.
    ///
    /// # Errors
    ///
    /// Those of `make_park`.
    #[track_caller]
    pub fn new(options: ExecutorOptions, make_park: impl FnMut() -> io::Result<Arc<P>>) -> io::Result<Self> {
        let location = Location::caller();
        let mut make_park = make_park;
        let sentinel = Arc::new(Sentinel::new(options.is_watched()));
        let unhandled = Arc::new(Unhandled::new(options.unhandled_panic));
        let shards = (0..options.shards)
            .map(|shard| {
                let parks: io::Result<Box<[_]>> = (0..options.groups()).map(|_| make_park()).collect();
                let (unhandled, sentinel) = (Arc::clone(&unhandled), Arc::clone(&sentinel));
                Ok(Arc::new(Shared::new(parks?, options.clone(), shard, unhandled, sentinel, location)))
            })
            .collect::<io::Result<Arc<[_]>>>()?;
        for shared in &*shards {
            let _unset = shared.siblings.set(Arc::downgrade(&shards));
        }
        Ok(Self { shards, is_ended: AtomicBool::new(false) })
    }

    /// Makes one without workers, with the defaults of [`ExecutorOptions::current_thread`]. Nobody notices blocked threads
    /// until [`start`](Self::start) is called.
    #[must_use]
    #[track_caller]
    pub fn current_thread(park: Arc<P>) -> Self {
        let executor = Self::new(ExecutorOptions::current_thread(), || Ok(Arc::clone(&park)));
        executor.unwrap_or_else(|_| unreachable!("the park is there already"))
    }

    /// Starts the threads: the workers, and what notices blocked ones. Each of them, and each that is started later, runs
    /// inside `around` of `host`.
    ///
    /// # Errors
    ///
    /// What the system says when it can not start a thread (`EAGAIN`); the executor should then be dropped.
    pub fn start(&self, host: Option<Arc<dyn PoolHost>>) -> io::Result<()> {
        for shared in &*self.shards {
            shared.set_host(host.clone());
            for index in 0..shared.options.workers {
                let number = shared.shard + index;
                let name = format!("{}-{number}", shared.options.thread_name);
                start(shared, name, true, move |shared| {
                    if shared.options.pin_workers {
                        sys::pin_thread(number);
                    }
                    enter::work(shared, index);
                })?;
            }
        }
        if self.shards[0].options.is_watched() { sentinel::start(self.shards.to_vec()) } else { Ok(()) }
    }

    /// Panics as [`block_on`](Self::block_on) would on this thread, for whoever builds an executor only to call it.
    ///
    /// # Panics
    ///
    /// If this thread is inside a `block_on` already.
    #[track_caller]
    pub fn refuse_nested() {
        enter::refuse_nested(Location::caller());
    }

    /// A handle to spawn tasks with, from any thread.
    #[must_use]
    pub fn handle(&self) -> Handle<P> {
        Handle::new(Arc::clone(&self.shards))
    }

    /// Runs `future` to its end on this thread, which also runs tasks as long as it waits.
    ///
    /// Tasks that are left when the future ends stay; local tasks of this thread are dropped before it returns. A task
    /// that blocks this thread delays the future, which cannot go on elsewhere; what must not be delayed belongs into a
    /// task. Beside workers that share, up to four threads at a time run tasks in this way, above all those that they have
    /// spawned, for no spawn elsewhere wakes them; without workers one does, and beside workers that share nothing none. Any further one runs its future alone until one leaves.
    ///
    /// # Panics
    ///
    /// If this thread is inside a `block_on` already, of this executor or another, or is a worker; if, without workers,
    /// the wait for events fails; if the executor was shut down by
    /// [`UnhandledPanic::Shutdown`](crate::UnhandledPanic::Shutdown); and with the panic of the future, if
    /// it panics. A panic of a task is not passed on; its handle has it.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        enter::block_on(&self.shards[0], None, future, Location::caller())
    }

    /// Drops every task, and every one that is spawned later; their handles yield a cancelled error.
    ///
    /// Waits for the polls that are under way until `grace` is over, and returns the tasks that are left even then: those
    /// being polled, and those that belong to such a thread. Each is dropped when its thread comes back, if ever. The
    /// future of a `block_on` goes on, without tasks and without events.
    pub fn shutdown(&self, grace: Duration) -> Vec<TaskInfo> {
        let mut left = Vec::new();
        self.inside(&mut || {
            self.shutdown_background();
            left = self.await_end(grace);
        });
        left
    }

    /// As [`shutdown`](Self::shutdown), but waits for nothing: the threads see to it.
    pub fn shutdown_background(&self) {
        self.is_ended.store(true, Relaxed);
        self.inside(&mut || self.close());
    }

    /// Calls `end` inside the host, as long as there is one: destructors of tasks are foreign code.
    fn inside(&self, end: &mut dyn FnMut()) {
        inside(self.shards[0].host().as_ref(), end);
    }

    fn close(&self) {
        self.shards.iter().for_each(|shared| _ = shared.shut_down());
    }

    fn await_end(&self, grace: Duration) -> Vec<TaskInfo> {
        // A grace beyond the clock's range is one without end.
        let deadline = now().checked_add(grace);
        self.shards.iter().flat_map(|shared| shared.await_end(deadline)).collect()
    }

    fn end(&self) {
        self.close();
        if self.is_ended.load(Relaxed) {
            return;
        }
        if let Some(place) = context::place() {
            let message = misuse::dropped_inside(place);
            if thread::panicking() {
                unwind::report(format_args!("{message}"));
            } else {
                panic!("{message}");
            }
            return;
        }
        for task in self.await_end(GRACE) {
            let name = task.name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
            unwind::report(format_args!(
                "bourn: a runtime was dropped, and {GRACE:?} later a task is still being polled, or waits for a thread that \
                 is: task {}{name} (spawned at {}). It is dropped when its thread comes back",
                task.id, task.location
            ));
        }
    }
}

/// Calls `body` inside the host, if there is one.
pub(super) fn inside(host: Option<&Arc<dyn PoolHost>>, body: &mut dyn FnMut()) {
    match host {
        Some(host) => host.around(body),
        None => body(),
    }
}

/// Starts a thread of the executor's own; a runner runs tasks.
pub(super) fn start<P: Park>(
    shared: &Arc<Shared<P>>,
    name: String,
    is_runner: bool,
    body: impl FnOnce(&Arc<Shared<P>>) + Send + 'static,
) -> io::Result<()> {
    let host = if is_runner { shared.host() } else { None };
    let enrolled = Enrolled::new(shared, is_runner);
    let thread = move || {
        let mut body = Some(body);
        let mut run = || body.take().into_iter().for_each(|body| body(&enrolled.shared));
        inside(host.as_ref(), &mut run);
        // The host's references go before the executor is told that this thread has left.
        drop(host);
        drop(body);
        drop(enrolled);
    };
    // The thread leaves by itself, and says so.
    start_thread(name, shared.options.stack_size, thread).map(drop)
}

/// A thread on the roll; dropping it takes the thread off.
pub(super) struct Enrolled<P: Park> {
    pub(super) shared: Arc<Shared<P>>,
    is_runner: bool,
}

impl<P: Park> Enrolled<P> {
    pub(super) fn new(shared: &Arc<Shared<P>>, is_runner: bool) -> Self {
        shared.enroll_thread(is_runner);
        Self { shared: Arc::clone(shared), is_runner }
    }
}

impl<P: Park> Drop for Enrolled<P> {
    fn drop(&mut self) {
        self.shared.dismiss_thread(self.is_runner);
    }
}

impl<P: Park> Drop for Executor<P> {
    fn drop(&mut self) {
        self.inside(&mut || self.end());
    }
}

impl<P: Park> fmt::Debug for Executor<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("options", &self.shards[0].options).finish_non_exhaustive()
    }
}

/// An executor without workers that stays on its thread, and so keeps its local tasks from one `block_on` to the next.
///
/// Dropping it drops them, and all others.
///
/// # Examples
///
/// ```
/// use std::{rc::Rc, sync::Arc};
/// use bourn_executor::{Executor, LocalExecutor, ThreadPark, yield_now};
///
/// let executor = LocalExecutor::new(Executor::current_thread(Arc::new(ThreadPark::new())));
/// let task = executor.spawn_local(async {
///     yield_now().await;
///     Rc::new(1)
/// });
/// executor.block_on(yield_now());
/// assert_eq!(*executor.block_on(task).unwrap(), 1);
/// ```
pub struct LocalExecutor<P: Park> {
    sitting: Rc<Sitting<P>>,
    /// Dropped after the local tasks.
    executor: Executor<P>,
}

impl<P: Park> LocalExecutor<P> {
    /// Binds an executor without workers to this thread.
    #[must_use]
    pub fn new(executor: Executor<P>) -> Self {
        Self { sitting: Sitting::new(&executor.shards[0]), executor }
    }

    /// The executor that it is. Its own `block_on` drops the local tasks that are spawned in it.
    pub fn executor(&self) -> &Executor<P> {
        &self.executor
    }

    /// As [`Executor::block_on`], but keeps local tasks.
    ///
    /// # Panics
    ///
    /// As [`Executor::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        enter::block_on(&self.executor.shards[0], Some(&self.sitting), future, Location::caller())
    }

    /// Starts a task whose future may not leave this thread. It runs inside [`block_on`](Self::block_on).
    #[track_caller]
    pub fn spawn_local<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.sitting.seat.spawn_local(Options::new(), future, Location::caller())
    }
}

impl<P: Park> Drop for LocalExecutor<P> {
    fn drop(&mut self) {
        if !self.executor.shards[0].is_forked() {
            self.executor.inside(&mut || self.sitting.seat.end());
        }
    }
}

impl<P: Park> fmt::Debug for LocalExecutor<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalExecutor").field("executor", &self.executor).finish_non_exhaustive()
    }
}

impl<P: Park> Seat<P> {
    /// Starts a local task. On the seat's thread.
    pub(crate) fn spawn_local<T: 'static>(
        self: &Arc<Self>,
        options: Options,
        future: impl Future<Output = T> + 'static,
        location: &'static Location<'static>,
    ) -> JoinHandle<T> {
        let (task, handle) = Task::new_local(future, Arc::clone(self), options, location);
        self.home();
        self.schedule(task);
        handle
    }
}

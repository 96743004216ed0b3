//! Reaching a runtime from elsewhere.

use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use bourn_executor::{BlockingPool, OnEach, Park, PoolMetrics, TaskInfo};
use bourn_reactor::{Backend, SourceInfo};

use crate::context;
use crate::misuse;
use crate::park::{self, ReactorPark};
use crate::runtime::Metrics;
use crate::task::JoinHandle;

/// A handle to a runtime, for any thread.
///
/// It keeps neither the runtime running nor its tasks alive. What is spawned after
/// the runtime is gone is dropped at once, and its [`JoinHandle`] yields a
/// cancelled error.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) executor: bourn_executor::Handle<ReactorPark>,
    pub(crate) blocking: BlockingPool,
}

impl Handle {
    /// The runtime of this thread: the one whose
    /// [`block_on`](crate::runtime::Runtime::block_on) it is inside, or that it
    /// has [entered](Handle::enter).
    ///
    /// # Panics
    /// If the thread is in no runtime.
    #[track_caller]
    pub fn current() -> Handle {
        (*Handle::current_for("Handle::current")).clone()
    }

    /// The runtime of this thread, if it is in one.
    pub fn try_current() -> Option<Handle> {
        context::current().map(|handle| (*handle).clone())
    }

    /// That whose `block_on`, or whose worker, this thread is inside.
    pub(crate) fn of_block_on() -> Option<Handle> {
        let executor = bourn_executor::Handle::<ReactorPark>::current()?;
        Some(Handle { blocking: executor.park().blocking.clone(), executor })
    }

    /// The runtime of this thread, or a message that names what needed one.
    #[track_caller]
    pub(crate) fn current_for(what: &str) -> Rc<Handle> {
        match context::current() {
            Some(handle) => handle,
            None => panic!("{}", misuse::no_runtime(what, Location::caller())),
        }
    }

    /// Makes this the runtime of the thread, until the guard is dropped: tasks are
    /// [spawned](crate::spawn) there, and sockets and timers that wait on this
    /// thread register there. It runs no task; a thread inside
    /// [`block_on`](crate::runtime::Runtime::block_on) does.
    ///
    /// # Panics
    /// In a forked child of the process that made the runtime.
    pub fn enter(&self) -> EnterGuard {
        EnterGuard { _park: self.executor.park().enter(), _context: context::enter(Some(self.clone())) }
    }

    /// Runs `future` to its end on this thread, and the runtime's tasks as long as it
    /// waits: see [`Runtime::block_on`](crate::runtime::Runtime::block_on). When the
    /// runtime is gone, it has no tasks beside it, and its sockets fail; timers go on in
    /// the background.
    ///
    /// # Panics
    /// As `Runtime::block_on`; so it can not be called in async code, not even inside
    /// [`block_in_place`](crate::task::block_in_place).
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = context::enter(None);
        self.executor.block_on(future)
    }

    /// Starts a task. Without workers it runs when a thread is inside
    /// [`block_on`](crate::runtime::Runtime::block_on) of the runtime.
    ///
    /// # Panics
    /// In a forked child of the process that made the runtime.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.executor.spawn(future)
    }

    /// Starts a task whose future may not leave this thread: see
    /// [`spawn_local`](crate::spawn_local).
    ///
    /// # Panics
    /// If this thread is neither inside `block_on` of the runtime nor one of its workers.
    #[track_caller]
    pub fn spawn_local<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.executor.spawn_local(future)
    }

    /// Has `work` called on a thread that may block: see
    /// [`spawn_blocking`](crate::task::spawn_blocking).
    ///
    /// # Panics
    /// In a forked child of the process that made the runtime.
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.blocking.spawn(work)
    }

    /// The tasks that wait or run, in no particular order; from any thread, at any
    /// time, also while workers are stuck. One without a name is listed once it has
    /// been polled.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.executor.tasks()
    }

    /// What the runtime has done so far; from any thread, at any time.
    pub fn metrics(&self) -> Metrics {
        let bourn_executor::Metrics {
            workers, helpers, injected, live_tasks, stalls, rescues, refused_rescues, ..
        } = self.executor.metrics();
        let reactors = self.executor.parks().map(|park| park.reactor.metrics()).collect();
        let blocking = self.blocking.metrics();
        Metrics { workers, helpers, reactors, blocking, injected, live_tasks, stalls, rescues, refused_rescues }
    }

    /// Starts something on each worker: see
    /// [`Runtime::spawn_on_each`](crate::runtime::Runtime::spawn_on_each).
    #[track_caller]
    pub fn spawn_on_each<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        make: impl Fn(usize) -> F + Send + Sync + 'static,
    ) -> OnEach<T> {
        self.executor.spawn_on_each(make)
    }

    /// What the threads for blocking calls are doing.
    pub fn blocking_metrics(&self) -> PoolMetrics {
        self.blocking.metrics()
    }

    /// The blocking calls that are being made.
    pub fn blocking_tasks(&self) -> Vec<TaskInfo> {
        self.blocking.running()
    }

    /// The sockets that are registered at this runtime's reactors, and who waits
    /// for them. A socket registers when it first has to wait.
    pub fn sources(&self) -> Vec<SourceInfo> {
        self.executor.parks().flat_map(|park| park.reactor.sources()).collect()
    }

    /// The kernel call that the runtime's reactors wait in.
    pub fn backend(&self) -> Backend {
        self.executor.park().reactor.backend()
    }
}

/// The thread is in a runtime until this is dropped; made by [`Handle::enter`].
#[must_use = "dropping it leaves the runtime"]
#[derive(Debug)]
pub struct EnterGuard {
    _context: context::Entered,
    _park: park::Entered,
}

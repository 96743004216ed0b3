//! How a runtime is built.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bourn_executor::{BlockingPool, Executor, ExecutorOptions, PoolOptions, Stall, UnhandledPanic};
use bourn_reactor::{Backend, Reactor, RuntimeId};

use crate::blocking::DEFAULT_GRACE;
use crate::park::ReactorPark;
use crate::runtime::{LocalRuntime, Runtime};

/// Builds a [`Runtime`].
///
/// # Examples
/// ```
/// use bourn::Backend;
/// use bourn::runtime::Builder;
///
/// # fn main() -> std::io::Result<()> {
/// let runtime = Builder::new_current_thread().backend(Backend::Poll).build()?;
/// runtime.block_on(async { println!("waiting in poll(2)") });
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    backend: Option<Backend>,
    pool: PoolOptions,
    pub(super) blocking_grace: Duration,
    executor: ExecutorOptions,
}

impl Builder {
    /// A runtime whose tasks run on the thread that is inside
    /// [`block_on`](Runtime::block_on).
    pub fn new_current_thread() -> Builder {
        Builder {
            backend: None,
            pool: PoolOptions::default(),
            blocking_grace: DEFAULT_GRACE,
            executor: ExecutorOptions::current_thread(),
        }
    }

    /// A runtime with worker threads, which steal tasks from each other: one for
    /// each processor that the process may use, unless
    /// [`worker_threads`](Builder::worker_threads) says otherwise.
    ///
    /// A task that blocks its thread keeps nothing else waiting for long: after 4 to
    /// 8 ms a spare thread stands in for it, and a line on stderr names it. That is
    /// a safety net and no replacement for
    /// [`spawn_blocking`](crate::task::spawn_blocking).
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = bourn::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    /// let answer = runtime.block_on(async { bourn::spawn(async { 42 }).await.unwrap() });
    /// assert_eq!(answer, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new_multi_thread() -> Builder {
        Builder { executor: ExecutorOptions::multi_thread(), ..Builder::new_current_thread() }
    }

    /// A runtime with worker threads that share nothing: each has its own tasks and
    /// its own reactor. There is one for each processor that the process may use,
    /// unless [`worker_threads`](Builder::worker_threads) says otherwise.
    ///
    /// A task stays with the worker that spawns it; tasks from elsewhere are dealt
    /// out in turn. [`spawn_on_each`](Runtime::spawn_on_each) starts something on
    /// every worker, such as a listener. A task that blocks its thread keeps that
    /// worker's other tasks waiting, and is reported.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = bourn::runtime::Builder::new_thread_per_core().worker_threads(2).pin_workers(true).build()?;
    /// let sum = runtime.block_on(async { bourn::spawn(async { 1 }).await.unwrap() + bourn::spawn(async { 2 }).await.unwrap() });
    /// assert_eq!(sum, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn new_thread_per_core() -> Builder {
        Builder { executor: ExecutorOptions::thread_per_core(), ..Builder::new_current_thread() }
    }

    /// The number of workers, at least 1. Default: the number of processors that the
    /// process may use. Like the other options of workers, it does nothing in a
    /// runtime that has none.
    pub fn worker_threads(mut self, workers: usize) -> Builder {
        self.executor = self.executor.workers(workers);
        self
    }

    /// What the threads that the runtime starts are called, before a hyphen and a
    /// number; the kernel keeps 15 bytes of it all. They are the workers and those for
    /// blocking calls. Default: `bourn-worker` and `bourn-block`.
    pub fn thread_name(mut self, name: impl Into<Cow<'static, str>>) -> Builder {
        self.executor.thread_name = name.into();
        self.pool.name = self.executor.thread_name.clone();
        self
    }

    /// The size of those threads' stacks in bytes. Default: that of
    /// [`std::thread`].
    pub fn thread_stack_size(mut self, bytes: usize) -> Builder {
        (self.pool.stack_size, self.executor.stack_size) = (Some(bytes), Some(bytes));
        self
    }

    /// Builds the runtime, and starts its workers, if it has any.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if `BOURN_BACKEND` names no
    /// backend of this system (only asked if [`backend`](Builder::backend) was not
    /// called), [`Unsupported`](io::ErrorKind::Unsupported) if this system lacks
    /// the one that was asked for, and what the kernel says when it can not make
    /// the descriptors that the reactor needs (`EMFILE`, `ENFILE`, `ENOMEM`) or the
    /// threads (`EAGAIN`).
    #[track_caller]
    pub fn build(&self) -> io::Result<Runtime> {
        let backend = self.backend.map_or_else(Backend::from_env, Ok)?;
        let id = RuntimeId::new();
        let pool = BlockingPool::new(self.pool.clone());
        let make_park = || Ok(Arc::new(ReactorPark { reactor: Reactor::new(backend, id)?, blocking: pool.clone() }));
        let executor = Executor::new(self.executor.clone(), make_park)?;
        Runtime::start(executor, pool, self.blocking_grace)
    }

    /// Builds a runtime that stays on this thread and has no workers, whatever
    /// flavour the builder was for.
    ///
    /// # Errors
    /// As [`build`](Builder::build).
    #[track_caller]
    pub fn build_local(&self) -> io::Result<LocalRuntime> {
        let executor = self.executor.clone().without_workers();
        Ok(LocalRuntime::on_this_thread(Builder { executor, ..self.clone() }.build()?))
    }
}

/// What is told to a builder by one assignment to a field of it.
macro_rules! setters {
    ($($(#[doc = $about:literal])* $name:ident($value:ident: $of:ty): $($field:ident).+ = $to:expr;)*) => {
        impl Builder {$(
            $(#[doc = $about])*
            pub fn $name(mut self, $value: $of) -> Builder {
                self.$($field).+ = $to;
                self
            }
        )*}
    };
}

setters! {
    /// Whether each worker stays on one processor: the first on the first that the
    /// process may use, and so on, round and round. Default: no.
    pin_workers(pin: bool): executor.pin_workers = pin;
    /// How many workers share a reactor, at least 1. Default: 4. Workers that share
    /// nothing have one each.
    workers_per_reactor(workers: usize): executor.workers_per_park = workers;
    /// Whether threads that a task blocks are noticed, reported and, beside workers
    /// that share their tasks, stood in for. What notices them is a thread.
    ///
    /// Default: with workers, yes; without it, events and timers of the future in
    /// `block_on` may also have to wait for a worker's task. Without workers, where nobody could stand in:
    /// in debug builds, and where [`stall_threshold`](Builder::stall_threshold) or
    /// [`on_stall`](Builder::on_stall) was called. In other builds such a runtime starts no thread of its
    /// own, and a process of one thread pays some nanoseconds less for each system call: the
    /// kernel counts no references to descriptors that one thread has to itself.
    rescue(rescue: bool): executor.rescue = Some(rescue);
    /// The most threads that may stand in for blocked ones at a time. Default: the
    /// number of workers, but at least 4. (Call it after
    /// [`worker_threads`](Builder::worker_threads), which sets it too.)
    max_spare_threads(threads: usize): executor.spares = threads;
    /// How long a poll may take before it is reported, where that is (see
    /// [`rescue`](Builder::rescue)). Default: 10 ms.
    stall_threshold(threshold: Duration): executor.stall_threshold = threshold;
    /// Has `hook` called for each poll that takes too long, and again each time that
    /// it has taken twice as long, instead of a line on stderr. It should be quick:
    /// while it runs, no other blocked thread is noticed. (A line on stderr waits for
    /// no reader: what it does not take is left out, and counted in the next line.)
    ///
    /// As on a worker, [`Runtime::block_on`] panics in the hook, and so does dropping
    /// the runtime, which is then shut down without waiting.
    on_stall(hook: impl Fn(&Stall) + Send + Sync + 'static): executor.on_stall = Some(Arc::new(hook));
    /// The kernel call that the reactor waits in. Default: what the environment
    /// variable `BOURN_BACKEND` names, or else `epoll`.
    backend(backend: Backend): backend = Some(backend);
    /// The most threads for [blocking calls](crate::task::spawn_blocking) at a
    /// time, at least one; further calls wait for one. Default: 512.
    max_blocking_threads(threads: usize): pool.threads = threads;
    /// How long a thread for blocking calls waits for the next one before it ends.
    /// Default: 10 seconds.
    thread_keep_alive(limit: Duration): pool.idle = limit;
    /// How long the runtime, when it is dropped, waits for blocking calls that have
    /// begun; those that have not are dropped. A line on stderr names each that
    /// still runs then. Default: 10 seconds.
    blocking_grace(grace: Duration): blocking_grace = grace;
    /// What becomes of a panic in a task whose [`JoinHandle`](crate::JoinHandle)
    /// nobody holds; in a blocking call, too, also while the runtime is being
    /// dropped. Default: [`UnhandledPanic::Report`].
    unhandled_panic(policy: UnhandledPanic): executor.unhandled_panic = policy;
}

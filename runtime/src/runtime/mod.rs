//! Runtimes: how they are built, entered and reached from elsewhere.

mod builder;
mod handle;
mod local;
mod metrics;

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use bourn_executor::{BlockingPool, Executor, OnEach};

use crate::blocking::{self, Blocking};
use crate::context;
use crate::park::ReactorPark;
use crate::task::{JoinHandle, TaskInfo};

pub use bourn_executor::{PoolMetrics, Stall, StallCause, UnhandledPanic, WorkerMetrics};
pub use bourn_reactor::ReactorMetrics;
pub use builder::Builder;
pub use handle::{EnterGuard, Handle};
pub use local::LocalRuntime;
pub use metrics::Metrics;

/// An executor and a reactor, joined.
///
/// Tasks run on the [workers](Builder::new_multi_thread), or, if there are none,
/// on the thread that is inside [`block_on`](Runtime::block_on), and rest while
/// there is none. Dropping the runtime drops every task, waits for polls that are
/// under way, ten seconds at most, and then for blocking calls as long as
/// [`Builder::blocking_grace`] says
/// ([`shutdown_timeout`](Runtime::shutdown_timeout) and
/// [`shutdown_background`](Runtime::shutdown_background) say otherwise); sockets
/// that were used in it go on working elsewhere.
///
/// # Panics
/// Dropping it on a thread that is inside a `block_on`, on a worker or in a hook
/// of [`Builder::on_stall`] shuts it down and panics
/// with a message that says where; if that thread is panicking already, the same
/// is said on stderr. Using it in a forked child of its process panics too.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// use bourn::runtime::Runtime;
///
/// # fn main() -> std::io::Result<()> {
/// let runtime = Runtime::new()?;
/// let answer = runtime.block_on(async {
///     let task = bourn::spawn(async {
///         bourn::time::sleep(Duration::from_millis(1)).await;
///         42
///     });
///     task.await.unwrap()
/// });
/// assert_eq!(answer, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Runtime {
    /// Dropped before `blocking`: tasks that are left may start blocking calls.
    executor: Executor<ReactorPark>,
    blocking: Blocking,
    handle: Handle,
}

impl Runtime {
    /// A current-thread runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new_current_thread().build()
    }

    fn start(executor: Executor<ReactorPark>, pool: BlockingPool, grace: Duration) -> io::Result<Runtime> {
        let handle = Handle { executor: executor.handle(), blocking: pool.clone() };
        let runtime = Runtime { executor, blocking: Blocking::new(&handle, pool, grace), handle };
        runtime.executor.start(Some(blocking::host(&runtime.handle)))?;
        Ok(runtime)
    }

    /// Runs `future` to its end on this thread, and the runtime's tasks as long
    /// as it waits.
    ///
    /// Tasks that are left when the future ends stay, and go on in the next call;
    /// those of [`spawn_local`](crate::spawn_local) are dropped before it returns.
    /// Several threads may be inside `block_on` of one runtime. Without workers, one
    /// of them at a time runs the tasks; beside workers, up to four do. A task that
    /// blocks such a thread delays the thread's own future, which can not go on
    /// elsewhere; what must not wait for others' mistakes belongs into a task. (Calls
    /// of [`spawn_blocking`](crate::task::spawn_blocking) never run on it.)
    ///
    /// # Panics
    /// If this thread is inside a `block_on` already, of this runtime or another;
    /// if the wait for events fails; and with the panic of the future, if it
    /// panics. A panic of a task is not passed on; its [`JoinHandle`] has it.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = context::enter(None);
        self.executor.block_on(future)
    }

    /// Starts a task. Without workers it runs when a thread is inside
    /// [`block_on`](Runtime::block_on).
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn(future)
    }

    /// Calls `make` on each worker that shares nothing with the others, with its
    /// number from 0, and runs there the future that it returns, which may stay on
    /// that thread. Awaiting the result yields what each future yields. A runtime of
    /// another flavour is one worker, in this regard: there the future stays with
    /// whichever thread comes first, and if that is inside a
    /// [`block_on`](Runtime::block_on), it is dropped when that returns.
    ///
    /// # Examples
    /// A listener for each processor; the kernel deals the connections out:
    /// ```
    /// use bourn::net::{TcpSocket, TcpStream};
    /// use bourn::runtime::Builder;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = Builder::new_thread_per_core().worker_threads(2).build()?;
    /// # let probe = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let address = probe.local_addr()?;
    /// # drop(probe);
    /// let servers = runtime.spawn_on_each(move |_core| async move {
    ///     let socket = TcpSocket::new_v4()?;
    ///     socket.set_reuse_port(true)?;
    ///     socket.bind(address)?;
    ///     let listener = socket.listen(1024)?;
    ///     listener.accept().await.map(|(_stream, peer)| peer)
    /// });
    /// # runtime.block_on(async {
    /// #     // Which of the listeners a connection meets is the kernel's choice.
    /// #     while servers.finished() == 0 {
    /// #         let _ = TcpStream::connect(address).await;
    /// #         bourn::time::sleep(std::time::Duration::from_millis(1)).await;
    /// #     }
    /// #     servers.abort();
    /// #     assert_eq!(servers.await.len(), 2);
    /// # });
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn spawn_on_each<T: Send + 'static, F: Future<Output = T> + 'static>(
        &self,
        make: impl Fn(usize) -> F + Send + Sync + 'static,
    ) -> OnEach<T> {
        self.handle.spawn_on_each(make)
    }

    /// The tasks that wait or run: see [`Handle::tasks`].
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.handle.tasks()
    }

    /// Has `work` called on a thread that may block: see
    /// [`spawn_blocking`](crate::task::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.handle.spawn_blocking(work)
    }

    /// A handle for other threads.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Makes this the runtime of the thread, until the guard is dropped: see
    /// [`Handle::enter`].
    pub fn enter(&self) -> EnterGuard {
        self.handle.enter()
    }

    /// What the runtime has done so far.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Drops every task, and waits for polls and blocking calls that have begun no
    /// longer than `grace`. Returns what is left even then; nothing is written to
    /// stderr. The blocking call that this is called in is neither waited for nor
    /// returned.
    ///
    /// # Panics
    /// As dropping it does: on a thread that is inside a `block_on`, or a worker.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bourn::runtime::Runtime;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let runtime = Runtime::new()?;
    /// runtime.spawn_blocking(|| std::fs::metadata("/"));
    /// for call in runtime.shutdown_timeout(Duration::from_secs(5)) {
    ///     println!("{:?} from {} is not done", call.name, call.location);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown_timeout(self, grace: Duration) -> Vec<TaskInfo> {
        let Runtime { executor, blocking, .. } = self;
        let start = Instant::now();
        // Where it must not wait, dropping it says so.
        let mut left = if bourn_executor::is_inside() { Vec::new() } else { executor.shutdown(grace) };
        drop(executor);
        left.extend(blocking.shutdown(grace.saturating_sub(start.elapsed())));
        left
    }

    /// Drops the runtime without waiting for blocking calls or, with workers, for
    /// anything: they see to it. Returns the blocking calls that are still being
    /// made, or that ended a moment ago. It may be called inside a `block_on`, such
    /// as to drop a runtime in async code.
    pub fn shutdown_background(self) -> Vec<TaskInfo> {
        let Runtime { executor, blocking, .. } = self;
        // Said in so many words, so that the drop refuses nothing.
        executor.shutdown_background();
        drop(executor);
        blocking.shutdown(Duration::ZERO)
    }
}

/// Runs `future` to its end on a runtime of its own, with the defaults of
/// [`Builder`].
///
/// # Panics
/// If the runtime can not be built, and as [`Runtime::block_on`].
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    // Before there is a runtime, whose drop would be a second mistake.
    Executor::<ReactorPark>::refuse_nested();
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("bourn: the runtime can not be built: {error}"),
    }
}

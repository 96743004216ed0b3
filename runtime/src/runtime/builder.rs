//! How a runtime is built.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use bourn_executor::{BlockingPool, PoolOptions, UnhandledPanic};
use bourn_reactor::Backend;

use crate::blocking::DEFAULT_GRACE;
use crate::park::ReactorPark;
use crate::runtime::Runtime;

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
    pub(super) unhandled_panic: UnhandledPanic,
}

impl Builder {
    /// A runtime whose tasks run on the thread that is inside
    /// [`block_on`](Runtime::block_on).
    pub fn new_current_thread() -> Builder {
        Builder {
            backend: None,
            pool: PoolOptions::new(),
            blocking_grace: DEFAULT_GRACE,
            unhandled_panic: UnhandledPanic::default(),
        }
    }

    /// The kernel call that the reactor waits in. Default: what the environment
    /// variable `BOURN_BACKEND` names, or else `epoll` on Linux and `mio`
    /// elsewhere.
    pub fn backend(mut self, backend: Backend) -> Builder {
        self.backend = Some(backend);
        self
    }

    /// The most threads for [blocking calls](crate::task::spawn_blocking) at a
    /// time, at least one; further calls wait for one. Default: 512.
    pub fn max_blocking_threads(mut self, threads: usize) -> Builder {
        self.pool = self.pool.threads(threads);
        self
    }

    /// How long a thread for blocking calls waits for the next one before it ends.
    /// Default: 10 seconds.
    pub fn thread_keep_alive(mut self, limit: Duration) -> Builder {
        self.pool = self.pool.idle(limit);
        self
    }

    /// What the threads that the runtime starts are called, before a hyphen and a
    /// number; the kernel keeps 15 bytes of it all. They are those for blocking
    /// calls. Default: `bourn-block`.
    pub fn thread_name(mut self, name: impl Into<Cow<'static, str>>) -> Builder {
        self.pool = self.pool.name(name);
        self
    }

    /// The size of those threads' stacks in bytes. Default: that of
    /// [`std::thread`].
    pub fn thread_stack_size(mut self, bytes: usize) -> Builder {
        self.pool = self.pool.stack_size(bytes);
        self
    }

    /// How long the runtime, when it is dropped, waits for blocking calls that have
    /// begun; those that have not are dropped. A line on stderr names each that
    /// still runs then. Default: 10 seconds.
    pub fn blocking_grace(mut self, grace: Duration) -> Builder {
        self.blocking_grace = grace;
        self
    }

    /// What becomes of a panic in a task whose [`JoinHandle`](crate::JoinHandle)
    /// nobody holds; in a blocking call, too, also while the runtime is being
    /// dropped. Default: [`UnhandledPanic::Report`].
    pub fn unhandled_panic(mut self, policy: UnhandledPanic) -> Builder {
        self.unhandled_panic = policy;
        self
    }

    /// Builds the runtime. No thread is started.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if `BOURN_BACKEND` names no
    /// backend of this system (only asked if [`backend`](Builder::backend) was not
    /// called), [`Unsupported`](io::ErrorKind::Unsupported) if this system lacks
    /// the one that was asked for, and what the kernel says when it can not make
    /// the descriptors that the reactor needs (`EMFILE`, `ENFILE`, `ENOMEM`).
    pub fn build(&self) -> io::Result<Runtime> {
        let backend = match self.backend {
            Some(backend) => backend,
            None => Backend::from_env()?,
        };
        let pool = BlockingPool::new(self.pool.clone());
        let park = ReactorPark::new(backend, pool.clone())?;
        Ok(Runtime::build(self, park, pool))
    }
}

//! How a runtime is built.

use std::io;

use bourn_reactor::Backend;

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
}

impl Builder {
    /// A runtime whose tasks run on the thread that is inside
    /// [`block_on`](Runtime::block_on).
    pub fn new_current_thread() -> Builder {
        Builder { backend: None }
    }

    /// The kernel call that the reactor waits in. Default: what the environment
    /// variable `BOURN_BACKEND` names, or else `epoll` on Linux and `mio`
    /// elsewhere.
    pub fn backend(mut self, backend: Backend) -> Builder {
        self.backend = Some(backend);
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
        Ok(Runtime::with_park(ReactorPark::new(backend)?))
    }
}

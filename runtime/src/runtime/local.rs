//! A runtime that stays on its thread.

use std::future::Future;
use std::io;

use bourn_executor::LocalExecutor;

use crate::blocking::Blocking;
use crate::context;
use crate::park::ReactorPark;
use crate::runtime::{Builder, Handle, Runtime};
use crate::task::JoinHandle;

/// A runtime without workers that stays on its thread, so that tasks which may not
/// leave the thread outlive one [`block_on`](LocalRuntime::block_on).
///
/// Dropping it drops every task, and waits for blocking calls as a [`Runtime`] does.
///
/// # Examples
/// ```
/// use std::rc::Rc;
///
/// # fn main() -> std::io::Result<()> {
/// let runtime = bourn::runtime::LocalRuntime::new()?;
/// let task = runtime.spawn_local(async {
///     let kept = Rc::new(42);
///     bourn::task::yield_now().await;
///     *kept
/// });
/// runtime.block_on(bourn::task::yield_now());
/// assert_eq!(runtime.block_on(task).unwrap(), 42);
/// # Ok(())
/// # }
/// ```
///
/// It can not be moved to another thread:
/// ```compile_fail,E0277
/// let runtime = bourn::runtime::LocalRuntime::new().unwrap();
/// std::thread::spawn(move || drop(runtime));
/// ```
#[derive(Debug)]
pub struct LocalRuntime {
    executor: LocalExecutor<ReactorPark>,
    _blocking: Blocking,
    handle: Handle,
}

impl LocalRuntime {
    /// With the defaults of [`Builder`]; see [`Builder::build_local`].
    ///
    /// # Errors
    /// Those of [`Builder::build`].
    pub fn new() -> io::Result<LocalRuntime> {
        Builder::new_current_thread().build_local()
    }

    pub(super) fn on_this_thread(runtime: Runtime) -> LocalRuntime {
        let Runtime { executor, blocking, handle } = runtime;
        LocalRuntime { executor: LocalExecutor::new(executor), _blocking: blocking, handle }
    }

    /// As [`Runtime::block_on`], but local tasks that are left when the future ends
    /// stay, too.
    ///
    /// # Panics
    /// As [`Runtime::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = context::enter(None);
        self.executor.block_on(future)
    }

    /// Starts a task whose future may not leave this thread. It runs while the thread
    /// is inside [`block_on`](LocalRuntime::block_on).
    #[track_caller]
    pub fn spawn_local<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.executor.spawn_local(future)
    }

    /// A handle for other threads.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

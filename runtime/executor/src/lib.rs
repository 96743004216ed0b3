//! Tasks, and the executors that run them.
//!
//! This is the half of bourn that knows nothing about I/O. It has tasks with handles, names and a table; an executor,
//! for the current thread or with workers, whose blocked threads keep nothing else waiting; and one trait, [`Park`], for
//! whatever a thread without work sleeps in. A reactor implements it;
//! [`ThreadPark`] is the implementation for programs that have none. It is not a runtime by itself: sockets, timers and
//! `#[main]` are in the crate `bourn`, which is what most programs want.
//!
//! What happens on one thread (with workers, each has such a core):
//!
//! ```text
//!      spawn, wake                 spawn, wake
//!    on the driving thread      from other threads
//!            |                          |
//!            |                     [injector] --- unpark, only if asleep
//!            v                          |                |
//!       [run queue] <-- every 61 steps -'                |
//!            |                                           v
//!          poll --- Ready ---> JoinHandle       Park::turn(Forever)
//!            |                                           |
//!            '--- Pending ---> [live table] <---- wake --'
//! ```
//!
//! A task is one allocation. Waking one on the driving thread allocates nothing and takes no lock and no system call;
//! from another thread it is a push to a queue that allocates a block for every 31 of them.
//! A panic in a task, in its destructor, in its output's or in a waker ends that task and nothing else.
//!
//! # Examples
//!
//! ```
//! use std::sync::Arc;
//! use bourn_executor::{Executor, Options, ThreadPark, yield_now};
//!
//! let runtime = Executor::current_thread(Arc::new(ThreadPark::new()));
//! let handle = runtime.handle();
//! let names = runtime.block_on(async {
//!     let task = handle.spawn_with(Options::new().name("ticker"), async {
//!         loop {
//!             yield_now().await;
//!         }
//!     });
//!     yield_now().await;
//!     let names: Vec<_> = handle.tasks().into_iter().filter_map(|task| task.name).collect();
//!     task.abort();
//!     assert!(task.await.unwrap_err().is_cancelled());
//!     names
//! });
//! assert_eq!(&*names[0], "ticker");
//! ```

#![deny(unsafe_code)]

mod blocking;
mod context;
mod handle;
mod misuse;
mod park;
mod queue;
mod signal;
mod sync;
#[allow(unsafe_code)]
mod sys;
mod task;
mod unhandled;
mod unwind;
mod worker;

/// Tells whether the calling thread is inside a `block_on`, or is one of a runtime's own.
#[must_use]
pub fn is_inside() -> bool {
    context::place().is_some()
}

pub use crate::blocking::{BlockingPool, PoolHost, PoolMetrics, PoolOptions};
pub use crate::handle::{Handle, OnEach};
pub use crate::park::{Park, ThreadPark, Turn, Wait};
pub use crate::task::{AbortHandle, Id, JoinError, JoinHandle, Options, TaskInfo, TaskState, YieldNow, yield_now};
pub use crate::unhandled::UnhandledPanic;
pub use crate::worker::{Executor, ExecutorOptions, LocalExecutor, Metrics, Stall, StallCause, WorkerMetrics};

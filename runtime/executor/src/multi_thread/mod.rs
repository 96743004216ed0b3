//! The executor with workers of its own, which steal from each other.
//!
//! ```text
//!     spawn, wake on a core's thread              spawn, wake elsewhere
//!                 |                                       |
//!            [LIFO slot]                             [injector]
//!                 | displaced                             |
//!              [ring] ---- stolen, half of it ---> any other core
//! ```
//!
//! A *core* ([`core`]) is what a thread needs to run tasks: a ring, a LIFO slot, and the words by which others know how
//! the thread fares. There are cores for the workers, for callers inside `block_on`, and for spares, the threads that
//! stand in for stuck ones ([`sentinel`]). Workers are in *groups* that share one [`Park`](crate::Park): of a group, one
//! thread at a time waits in it, the others nap ([`sleeper`]). How a push finds somebody to run the task, and why it is
//! never forgotten, is argued in [`idle`].
//!
//! No lock is global on the way of a task: spawning and waking push to a ring or to the injector, which is lock-free,
//! and the live table is in parts, of which each core has its own.

#[allow(unsafe_code)]
mod core;
mod counters;
mod driver;
mod enter;
mod idle;
mod metrics;
mod options;
mod runtime;
mod sentinel;
mod shared;
mod sleeper;
mod spare;
mod stall;
#[allow(unsafe_code)]
mod watch;

#[cfg(all(test, loom))]
mod model;

pub(crate) use self::shared::Shared;
pub use self::{
    metrics::{Metrics, WorkerMetrics},
    options::MultiThreadOptions,
    runtime::MultiThread,
    stall::{Stall, StallCause},
};

//! The blocking pool: threads for calls that have no other form than one that blocks.
//!
//! ```text
//!     spawn -- an idle thread --> ring for the one that rested last
//!           |- below the cap ---> start a thread
//!           '- at the cap ------> the next thread that is done takes the oldest
//! ```
//!
//! A job is a task whose future makes the call in its only poll, so its handles are those of every task. Everything else
//! is plain data under one lock: a call that is worth a thread of its own is worth a lock.

mod pool;

#[cfg(all(test, loom))]
mod model;

pub use self::pool::{BlockingPool, PoolHost, PoolMetrics, PoolOptions};

//! The blocking pool: threads for calls that have no other form than one that blocks.
//!
//! ```text
//!     spawn -- an idle thread --> hand the job to the one that rested last
//!           |- below the cap ---> queue it, and start a thread
//!           '- at the cap ------> queue it; the next thread that is done takes the oldest
//! ```
//!
//! A job is a task whose future makes the call in its only poll, so its handles are those of every task. Everything else
//! is in [`crew`], plain data under one lock: a call that is worth a thread of its own is worth a lock.

mod crew;
mod pool;

#[cfg(all(test, loom))]
mod model;

pub use self::{
    crew::PoolMetrics,
    pool::{BlockingPool, PoolHost, PoolOptions},
};

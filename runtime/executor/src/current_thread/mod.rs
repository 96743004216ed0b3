//! The executor that runs on whatever thread calls `block_on`.
//!
//! One thread at a time *drives*: it has the core (the run queue) and turns the [`Park`](crate::Park). The others
//! inside `block_on` of the same runtime are *strangers*: each polls its own future and its own local tasks, sleeps in
//! its own thread's parker, and is knocked up when the core becomes free. A thread's place is its [`Seat`](crate::seat::Seat).

mod drive;
mod runtime;
mod shared;

#[cfg(all(test, loom))]
mod model;

pub use self::runtime::CurrentThread;
pub(crate) use self::{drive::refuse_nested, shared::Shared};

//! Where tasks wait for a thread.
//!
//! [`injector`]: one for all, for pushes from anywhere. [`ring`]: one for each core, pushed and popped by its owner,
//! stolen from by anyone. [`lifo`]: the one task that its owner has just made runnable.

pub(crate) mod injector;
#[allow(unsafe_code)]
pub(crate) mod lifo;
#[allow(unsafe_code)]
pub(crate) mod ring;

#[cfg(all(test, loom))]
#[allow(unsafe_code)]
pub(crate) mod model;

//! The queue through which other threads hand tasks over.

#[cfg(not(loom))]
pub(crate) use crossbeam_queue::SegQueue as Injector;

#[cfg(loom)]
mod model;
#[cfg(loom)]
pub(crate) use self::model::Injector;

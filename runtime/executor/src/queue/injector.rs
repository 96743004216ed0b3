//! The queue through which other threads hand tasks over.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use crossbeam_queue::SegQueue as Injector;

#[cfg(any(loom, shuttle))]
mod model;
#[cfg(any(loom, shuttle))]
pub(crate) use self::model::Injector;

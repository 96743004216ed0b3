//! The synchronisation primitives of this crate: loom's under `cfg(loom)`, so
//! that the models run the shipped types, and std's otherwise.

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(loom)]
use loom::sync::{Mutex as Inner, MutexGuard};

/// Thread-locals of loom's threads, which share one of the system's.
#[cfg(loom)]
macro_rules! per_thread {
    ($(static $name:ident: $value:ty = const { $init:expr };)+) => {
        $(loom::thread_local! { static $name: $value = $init; })+
    };
}
#[cfg(loom)]
pub(crate) use per_thread;

#[cfg(not(loom))]
pub(crate) use core::sync::atomic;
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::{Mutex as Inner, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::thread_local as per_thread;

/// A mutex whose poison is ignored: no foreign code runs under our locks, so a
/// panic can not leave the data half-changed.
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A cell whose accesses loom can check.
pub(crate) struct UnsafeCell<T>(#[cfg(loom)] loom::cell::UnsafeCell<T>, #[cfg(not(loom))] core::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    #[cfg(loom)]
    pub(crate) fn new(value: T) -> Self {
        Self(loom::cell::UnsafeCell::new(value))
    }

    #[cfg(not(loom))]
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[cfg(loom)]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        self.0.with_mut(access)
    }

    #[cfg(not(loom))]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

//! The synchronisation primitives of this crate: loom's under `cfg(loom)`, so
//! that the models run the shipped types, and std's otherwise.

#[cfg(loom)]
pub(crate) use loom::cell::UnsafeCell;
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex as Inner, MutexGuard, atomic};

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
pub(crate) use std::sync::{Mutex as Inner, MutexGuard, atomic};
use std::sync::{PoisonError, TryLockError};
#[cfg(not(loom))]
pub(crate) use std::thread_local as per_thread;

/// std's cell, with that method of loom's by which it sees how long an access lasts.
#[cfg(not(loom))]
pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

/// A mutex whose poison is ignored: no foreign code runs under our locks, so a
/// panic can not leave the data half-changed.
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock if nobody holds it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Ok(guard) => Some(guard),
        }
    }
}

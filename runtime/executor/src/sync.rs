//! The primitives that the models replace: std's in a build, loom's under `--cfg loom`.
//!
//! `Arc` stays std's in both: what is modelled are the words and the cells, and the references to a task are counted
//! in its own state word. Crossbeam's queue is unknown to loom; [`crate::injector`] brings its own stand-in.

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, fence},
    },
    thread,
};

/// loom's takes no `const` block.
#[cfg(loom)]
macro_rules! loom_thread_local {
    (static $name:ident: $type:ty = const $initial:block;) => {
        loom::thread_local! { static $name: $type = $initial; }
    };
}
#[cfg(loom)]
pub(crate) use loom_thread_local as thread_local;

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicUsize, fence},
    },
    thread, thread_local,
};

use std::sync::PoisonError;

/// Locks `mutex`, also after a panic under it: no code of ours leaves a half-made change behind a lock, and a runtime
/// that refuses to work on because one task panicked would be worse.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// std's cell with the closure-taking methods of loom's, which needs them to see how long an access lasts.
#[cfg(not(loom))]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

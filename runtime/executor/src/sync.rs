//! The primitives that the models replace: std's in a build, loom's under `--cfg loom`, shuttle's under `--cfg shuttle`.
//!
//! `Arc` stays std's in all: what is modelled are the words and the cells, and the references to a task are counted
//! in its own state word. Crossbeam's queue is unknown to both; [`crate::queue::injector`] brings its own stand-in.
//! Nor do they know of time: for what becomes of it, see `is_over` there.

#[cfg(any(loom, shuttle))]
mod model;
#[cfg(any(loom, shuttle))]
pub(crate) use self::model::*;

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence},
    },
    thread, thread_local,
};

#[cfg(not(any(loom, shuttle)))]
use std::io;
use std::sync::PoisonError;
use std::time::Instant;

/// Locks `mutex`, also after a panic under it: no code of ours leaves a half-made change behind a lock, and a runtime
/// that refuses to work on because one task panicked would be worse.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for `condition` until `deadline`, or, without one, until it is rung; it may return without a reason.
pub(crate) fn wait_until<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
) -> MutexGuard<'a, T> {
    let Some(deadline) = deadline else {
        return condition.wait(guard).unwrap_or_else(PoisonError::into_inner);
    };
    let left = deadline.saturating_duration_since(now());
    match condition.wait_timeout(guard, left) {
        Ok((guard, _)) => guard,
        Err(error) => error.into_inner().0,
    }
}

/// Waits as long as `condition` holds, but not beyond `deadline`.
pub(crate) fn wait_while<'a, T>(
    changed: &Condvar,
    mut guard: MutexGuard<'a, T>,
    deadline: Option<Instant>,
    condition: impl Fn(&T) -> bool,
) -> MutexGuard<'a, T> {
    while condition(&guard) && !is_over(deadline) {
        guard = wait_until(changed, guard, deadline);
    }
    guard
}

/// The time.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Tells whether the deadline has passed; without one it never does.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= now())
}

/// Starts a thread.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn start_thread(
    name: String,
    stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    let mut builder = thread::Builder::new().name(name);
    if let Some(bytes) = stack_size {
        builder = builder.stack_size(bytes);
    }
    builder.spawn(body)
}

/// std's cell with the closure-taking methods of loom's, which needs them to see how long an access lasts.
#[cfg(not(any(loom, shuttle)))]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(any(loom, shuttle)))]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline]
    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

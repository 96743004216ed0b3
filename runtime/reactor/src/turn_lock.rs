//! The lock that makes a turn exclusive: tried, never waited for.
//!
//! Whoever holds it may call the kernel wait; everybody else is told that the
//! reactor is busy. A turn therefore pays one swap to get in and one store to
//! get out, and nobody ever sleeps on it.

use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicBool, Ordering};

/// Exclusive access to a `T` for whoever wins [`try_lock`](TurnLock::try_lock).
pub(crate) struct TurnLock<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reachable only through `Held`, of which at most one
// exists at a time, so sharing the lock shares no `T` but moves it between
// threads: `T: Send` is what that takes.
unsafe impl<T: Send> Sync for TurnLock<T> {}

impl<T> TurnLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The lock if nobody holds it.
    pub(crate) fn try_lock(&self) -> Option<Held<'_, T>> {
        // Acquire: sees what the former holder did before its Release in `drop`.
        if self.held.swap(true, Ordering::Acquire) { None } else { Some(Held { lock: self }) }
    }
}

/// The turn lock, held; given back on drop.
pub(crate) struct Held<'a, T> {
    lock: &'a TurnLock<T>,
}

impl<T> Held<'_, T> {
    /// Runs `access` on the value.
    pub(crate) fn with<R>(&mut self, access: impl FnOnce(&mut T) -> R) -> R {
        self.lock.value.with_mut(|value| {
            // SAFETY: `self` is the only `Held` (the swap in `try_lock` let one
            // in) and is borrowed mutably, so no other reference to the value
            // lives during `access`.
            access(unsafe { &mut *value })
        })
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire of the next `try_lock`.
        self.lock.held.store(false, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn count(lock: &TurnLock<u32>) -> u32 {
        lock.try_lock().map_or(0, |mut held| {
            held.with(|turns| *turns += 1);
            1
        })
    }

    /// That two hold the lock at once, or one without what the other did, loom
    /// finds at the cell. Killed by it: `reactor-turn-lock-relaxed`,
    /// `reactor-turn-lock-in-two-steps`.
    #[test]
    fn loom_turn_lock_is_exclusive() {
        loom::model(|| {
            let lock = Arc::new(TurnLock::new(0));
            let other = {
                let lock = Arc::clone(&lock);
                thread::spawn(move || count(&lock) + count(&lock))
            };
            let turns = count(&lock) + other.join().unwrap();
            assert!(turns > 0);
            lock.value.with_mut(|seen| {
                // SAFETY: the other thread has ended, and `Held` with it.
                assert_eq!(unsafe { *seen }, turns);
            });
        });
    }
}

//! What a core's thread counts: each counter is stored by that thread alone, and read by anyone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that one thread counts up.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Only for the thread that owns it: it is no read-modify-write.
    #[inline]
    pub(super) fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug)]
pub(super) struct Counters {
    pub(super) polls: Counter,
    pub(super) lifo_polls: Counter,
    pub(super) steals: Counter,
    pub(super) stolen: Counter,
    pub(super) overflows: Counter,
    pub(super) parks: Counter,
    pub(super) turns: Counter,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            polls: Counter::default(),
            lifo_polls: Counter::default(),
            steals: Counter::default(),
            stolen: Counter::default(),
            overflows: Counter::default(),
            parks: Counter::default(),
            turns: Counter::default(),
        }
    }
}

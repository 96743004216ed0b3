//! What a core's thread counts: each counter is stored by that thread alone, and read by anyone.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// A number that one thread counts up.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Only for the thread that owns it: it is no read-modify-write.
    #[inline]
    pub(super) fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Only for the thread that owns it.
    pub(super) fn raise(&self, to: u64) {
        self.0.store(self.0.load(Relaxed).max(to), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) polls: Counter,
    pub(super) lifo_polls: Counter,
    pub(super) steals: Counter,
    pub(super) stolen: Counter,
    pub(super) overflows: Counter,
    pub(super) parks: Counter,
    pub(super) turns: Counter,
    /// In nanoseconds.
    pub(super) longest_step: Counter,
    /// In nanoseconds.
    pub(super) latency: Counter,
}

impl Counters {
    /// The last 61 steps took so long each, and as many tasks wait.
    pub(super) fn sample(&self, nanos_per_step: u64, queued: u64) {
        self.longest_step.raise(nanos_per_step);
        self.latency.0.store(nanos_per_step.saturating_mul(queued), Relaxed);
    }
}

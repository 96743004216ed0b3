//! What a core's thread counts: each counter but one is stored by that thread alone, and read by anyone.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// A number that one thread counts up.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Only for the thread that owns it: it is no read-modify-write.
    #[inline]
    pub(super) fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    pub(super) fn set(&self, count: u64) {
        self.0.store(count, Relaxed);
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
    /// See [`Driver`](super::driver::Driver), which keeps them here while nobody has the core.
    pub(super) steps: Counter,
    pub(super) skip: Counter,
    /// In nanoseconds. The sentinel stores it, too.
    pub(super) longest_poll: Counter,
    /// In nanoseconds.
    pub(super) latency: Counter,
}

impl Counters {
    /// A poll has taken so long. For any thread.
    pub(super) fn note_poll(&self, lasted: Duration) {
        self.longest_poll.0.fetch_max(nanos(lasted), Relaxed);
    }

    /// The steps since the last look around took so long each, and as many tasks wait.
    pub(super) fn sample(&self, per_step: Duration, queued: usize) {
        self.note_poll(per_step);
        self.latency.0.store(nanos(per_step).saturating_mul(queued as u64), Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

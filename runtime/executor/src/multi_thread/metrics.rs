//! What a multi-thread runtime counts.

use std::sync::atomic::Ordering::Relaxed;

use super::{core::Core, shared::Shared};
use crate::park::Park;

/// What a runtime with workers has done so far, and what is queued in it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The workers, by their numbers.
    pub workers: Vec<WorkerMetrics>,
    /// Threads inside `block_on` that run tasks, and spares, by their cores.
    pub helpers: Vec<WorkerMetrics>,
    /// Tasks in the queue that all share.
    pub injected: usize,
    /// Tasks that have waited and have not ended.
    pub live_tasks: usize,
    /// Reports of polls that took too long, written or not.
    pub stalls: u64,
    /// How often a spare was sent to stand in for a stuck thread.
    pub rescues: u64,
    /// How often none was free. It is asked again at each tick.
    pub refused_rescues: u64,
}

/// What one core has done so far. The numbers are not of one instant.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Polls of tasks.
    pub polls: u64,
    /// Of these, how many were of a task from the LIFO slot.
    pub lifo_polls: u64,
    /// How often it stole.
    pub steals: u64,
    /// How many tasks it stole.
    pub stolen: u64,
    /// How often its ring was full.
    pub overflows: u64,
    /// How often it rested.
    pub parks: u64,
    /// How often it turned a reactor.
    pub turns: u64,
    /// Tasks in its ring and its LIFO slot.
    pub queued: usize,
}

impl WorkerMetrics {
    fn of(core: &Core) -> Self {
        let counters = &core.counters;
        Self {
            polls: counters.polls.get(),
            lifo_polls: counters.lifo_polls.get(),
            steals: counters.steals.get(),
            stolen: counters.stolen.get(),
            overflows: counters.overflows.get(),
            parks: counters.parks.get(),
            turns: counters.turns.get(),
            queued: core.ring.len() + usize::from(!core.lifo.is_empty()),
        }
    }
}

impl<P: Park> Shared<P> {
    pub(crate) fn metrics(&self) -> Metrics {
        let (workers, helpers) = self.cores.split_at(self.options.workers);
        Metrics {
            workers: workers.iter().map(WorkerMetrics::of).collect(),
            helpers: helpers.iter().map(WorkerMetrics::of).collect(),
            injected: self.injector.len(),
            live_tasks: self.live.len(),
            stalls: self.sentinel.stalls.load(Relaxed),
            rescues: self.sentinel.rescues.load(Relaxed),
            refused_rescues: self.sentinel.refusals.load(Relaxed),
        }
    }
}

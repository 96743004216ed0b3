//! What an executor counts.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::core::Core;
use super::shared::Shared;
use crate::park::Park;

/// What an executor has done so far, and what is queued in it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The workers, by their numbers.
    pub workers: Vec<WorkerMetrics>,
    /// The cores for threads inside `block_on`, then those for spares.
    pub helpers: Vec<WorkerMetrics>,
    /// Tasks in the queue that all share.
    pub injected: usize,
    /// Tasks that have waited, or have a name, and have not ended.
    pub live_tasks: usize,
    /// Reports of polls that took too long, written or not.
    pub stalls: u64,
    /// How often a spare was sent to stand in for a stuck thread.
    pub rescues: u64,
    /// How often all were lent, or the system had no thread for one, and nobody else of the group got on: a message on
    /// stderr says which. It is asked again at each tick.
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
    /// Tasks in its ring and its LIFO slot. Those of a private core, which has neither, are not counted.
    pub queued: usize,
    /// The longest poll, as far as is known: the mean of up to 61 in a row, of whichever row it was greatest, and what the
    /// sentinel, if there is one, has noticed.
    pub longest_poll: Duration,
    /// How long a task that is queued now waits for its turn: the mean of the last polls (up to 61) for each that is before it.
    pub schedule_latency: Duration,
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
            longest_poll: Duration::from_nanos(counters.longest_poll.get()),
            schedule_latency: Duration::from_nanos(counters.latency.get()),
            queued: core.ring.len() + usize::from(!core.lifo.is_empty()),
        }
    }
}

impl Metrics {
    pub(crate) fn of<P: Park>(shards: &[Arc<Shared<P>>]) -> Self {
        let sentinel = &shards[0].sentinel;
        let mut metrics = Self {
            stalls: sentinel.stalls.load(Relaxed),
            rescues: sentinel.rescues.load(Relaxed),
            refused_rescues: sentinel.refusals.load(Relaxed),
            ..Self::default()
        };
        for shared in shards {
            let (workers, helpers) = shared.cores.split_at(shared.options.workers);
            metrics.workers.extend(workers.iter().map(WorkerMetrics::of));
            metrics.helpers.extend(helpers.iter().map(WorkerMetrics::of));
            metrics.injected += shared.injected();
            metrics.live_tasks += shared.live.len();
        }
        metrics
    }
}

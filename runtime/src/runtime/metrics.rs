//! What a runtime counts.

use bourn_executor::{PoolMetrics, WorkerMetrics};
use bourn_reactor::ReactorMetrics;

/// What a runtime has done so far, and what is queued in it.
///
/// They are read one after the other, so they are not of one instant. Numbers of events only grow.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The workers, by their numbers; none in a current-thread runtime.
    pub workers: Vec<WorkerMetrics>,
    /// The cores for threads inside `block_on`, then those for spare threads.
    pub helpers: Vec<WorkerMetrics>,
    /// The reactors.
    pub reactors: Vec<ReactorMetrics>,
    /// The threads for blocking calls.
    pub blocking: PoolMetrics,
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

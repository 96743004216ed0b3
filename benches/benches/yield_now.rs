//! Letting a thousand others go first, once.
//! Hypothesis: a push and a pop of a ring that nobody else writes, and two changes of the task's state.

mod harness;

use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use harness::Question;

/// So often for each time, that the start of the tasks, which is in the figure, hardly counts.
const YIELDS: u32 = 8;

#[derive(Clone, Copy)]
struct Yields;

impl Question for Yields {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        peer.run(async move {
            let task = move || async move {
                for _ in 0..times * u64::from(YIELDS) {
                    P::yield_now().await;
                }
            };
            let start = Instant::now();
            let tasks: Vec<_> = (0..1_000).map(|_| peer.spawn(task())).collect();
            for task in tasks {
                task.await;
            }
            start.elapsed() / YIELDS
        })
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "yield_now of 1000 tasks", Yields);
        harness::two_workers(criterion, "yield_now of 1000 tasks", Yields);
    });
}

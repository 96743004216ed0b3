//! What a task costs: started, run, its result taken; a thousand at a time.
//! Hypothesis: one allocation and a queue without a lock make it cheaper than the peers'.

mod harness;

use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use harness::Question;

const TASKS: u64 = 1_000;

/// Started by a task.
#[derive(Clone, Copy)]
struct Inside;

impl Question for Inside {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        peer.run(batches(peer, times))
    }
}

/// Started by a thread that is none of the runtime's.
#[derive(Clone, Copy)]
struct Outside;

impl Question for Outside {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        futures_lite::future::block_on(batches(peer, times))
    }
}

async fn batches<P: Peer>(peer: P, times: u64) -> Duration {
    let start = Instant::now();
    let mut tasks = Vec::with_capacity(TASKS as usize);
    for _ in 0..times {
        tasks.extend((0..TASKS).map(|number| peer.spawn(async move { number })));
        for (number, task) in (0..TASKS).zip(tasks.drain(..)) {
            assert_eq!(task.await, number);
        }
    }
    start.elapsed()
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "spawn+join x1000", Inside);
        harness::two_workers(criterion, "spawn+join x1000", Inside);
        harness::two_workers(criterion, "spawn+join x1000 from outside", Outside);
    });
}

//! Entering a runtime: for something that is ready, and for the result of a task.
//! Hypothesis: a value that is ready needs no core and no reactor; a task on a worker costs two wake-ups of threads
//! where the caller can not run it itself.

mod harness;

use std::future::ready;
use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use harness::Question;

#[derive(Clone, Copy)]
struct Ready;

impl Question for Ready {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        let start = Instant::now();
        for round in 0..times {
            assert_eq!(peer.block_on(ready(round)), round);
        }
        start.elapsed()
    }
}

#[derive(Clone, Copy)]
struct Spawned;

impl Question for Spawned {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        let start = Instant::now();
        for round in 0..times {
            assert_eq!(peer.block_on(peer.spawn(async move { round })), round);
        }
        start.elapsed()
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "block_on(ready)", Ready);
        harness::two_workers(criterion, "block_on(ready)", Ready);
        harness::one_thread(criterion, "block_on(spawn)", Spawned);
        harness::two_workers(criterion, "block_on(spawn)", Spawned);
    });
}

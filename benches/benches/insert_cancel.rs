//! A sleep is begun and given up.
//! Hypothesis: two short turns of an uncontended lock, no allocation, no system call.

mod harness;

use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use futures_lite::future::poll_once;
use harness::{LIMIT, Question};

#[derive(Clone, Copy)]
struct InsertCancel;

impl Question for InsertCancel {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        peer.run(async move {
            let start = Instant::now();
            for _ in 0..times {
                let sleep = pin!(P::sleep(LIMIT));
                assert!(poll_once(sleep).await.is_none());
            }
            start.elapsed()
        })
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "sleep begun and given up", InsertCancel);
        harness::two_workers(criterion, "sleep begun and given up", InsertCancel);
    });
}

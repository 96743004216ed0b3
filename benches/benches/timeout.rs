//! Time-outs that never fire, around something that takes one yield: alone, and while 10,000 sleeps are pending.
//! Hypothesis: an uncontended lock and O(1) links make this cheap enough for every request to have one.

mod harness;

use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use futures_lite::future::poll_once;
use harness::{LIMIT, Question};

#[derive(Clone, Copy)]
struct InTime {
    others: usize,
}

impl Question for InTime {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        peer.run(async move {
            let mut sleeps: Vec<_> = (0..self.others)
                .map(|number| Box::pin(P::sleep(LIMIT + Duration::from_millis(number as u64))))
                .collect();
            for sleep in &mut sleeps {
                assert!(poll_once(sleep).await.is_none());
            }
            let start = Instant::now();
            for _ in 0..times {
                P::in_time(LIMIT, P::yield_now()).await;
            }
            start.elapsed()
        })
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "timeout that never fires", InTime { others: 0 });
        harness::one_thread(criterion, "timeout that never fires, among 10000", InTime { others: 10_000 });
        harness::two_workers(criterion, "timeout that never fires", InTime { others: 0 });
    });
}

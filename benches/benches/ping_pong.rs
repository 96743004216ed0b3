//! Two tasks and the same two channels for all: a message there and back.
//! Hypothesis: the woken task is run next by the same worker, so two workers cost what one thread does.

mod harness;

use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use harness::Question;

#[derive(Clone, Copy)]
struct PingPong;

impl Question for PingPong {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        peer.run(async move {
            let (ping, pinged) = smol::channel::bounded(1);
            let (pong, ponged) = smol::channel::bounded(1);
            let other = peer.spawn(async move {
                while let Ok(round) = pinged.recv().await {
                    pong.send(round).await.expect("the other side");
                }
            });
            let start = Instant::now();
            for round in 0..times {
                ping.send(round).await.expect("the other side");
                assert_eq!(ponged.recv().await, Ok(round));
            }
            let elapsed = start.elapsed();
            drop(ping);
            other.await;
            elapsed
        })
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "ping-pong", PingPong);
        harness::two_workers(criterion, "ping-pong", PingPong);
    });
}

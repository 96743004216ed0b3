//! A thousand tasks that sleep, to deadlines over 20 ms, and are woken: **processor time**, for the rest is waiting.
//! Hypothesis: whoever keeps each deadline pays a wait for each; the peers round to milliseconds and fire many at once.

mod harness;

use std::time::Duration;

use bourn_bench::peers::{Peer, cpu_time};
use harness::Question;

const SLEEPS: u64 = 1_000;

#[derive(Clone, Copy)]
struct Sleeps;

impl Question for Sleeps {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        let before = cpu_time();
        peer.run(async move {
            for _ in 0..times {
                let sleep = |number| P::sleep(Duration::from_micros(1_000 + number * 7_919 % 20_000));
                let tasks: Vec<_> = (0..SLEEPS).map(|number| peer.spawn(sleep(number))).collect();
                for task in tasks {
                    task.await;
                }
            }
        });
        cpu_time() - before
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "sleeps x1000 (processor time)", Sleeps);
        harness::two_workers(criterion, "sleeps x1000 (processor time)", Sleeps);
    });
}

//! A thread wakes a task of a sleeping runtime, which wakes the thread: there and back.
//! Hypothesis: nearly all of it is the kernel's, two wake-ups of a sleeping thread.

mod harness;

use std::thread;
use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use harness::Question;

#[derive(Clone, Copy)]
struct ForeignWake;

impl Question for ForeignWake {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        let (wake, woken) = smol::channel::bounded(1);
        let (answer, answered) = std::sync::mpsc::channel();
        let thread = thread::spawn(move || {
            let start = Instant::now();
            for round in 0..times {
                wake.send_blocking(round).expect("the task");
                assert_eq!(answered.recv(), Ok(round));
            }
            start.elapsed()
        });
        peer.run(async move {
            while let Ok(round) = woken.recv().await {
                answer.send(round).expect("the thread");
            }
        });
        thread.join().expect("the thread")
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "wake from a thread and back", ForeignWake);
        harness::two_workers(criterion, "wake from a thread and back", ForeignWake);
    });
}

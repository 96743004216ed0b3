//! One message there and back over loopback, both ends in one runtime.
//! Hypothesis: with two system calls and a share of a wait per request, the kernel is nearly all of the cost, on any runtime.

mod harness;

use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use harness::Question;

const MESSAGE: [u8; 64] = [7; 64];

#[derive(Clone, Copy)]
struct Echo;

impl Question for Echo {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        peer.run(async move {
            let (listener, addr) = P::listen().await;
            let server = peer.spawn(async move {
                let mut stream = P::accept(&listener).await;
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = P::read(&mut stream, &mut buffer).await {
                    P::write_all(&mut stream, &buffer[..length]).await.expect("a client that reads");
                }
            });
            let mut client = P::connect(addr).await;
            let mut buffer = [0; MESSAGE.len()];
            let start = Instant::now();
            for _ in 0..times {
                P::write_all(&mut client, &MESSAGE).await.expect("a server that reads");
                let mut got = 0;
                while got < MESSAGE.len() {
                    let read = P::read(&mut client, &mut buffer[got..]).await.expect("an answer");
                    assert_ne!(read, 0, "the server closed");
                    got += read;
                }
            }
            let elapsed = start.elapsed();
            assert_eq!(buffer, MESSAGE);
            drop(client);
            server.await;
            elapsed
        })
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "echo of 64 bytes", Echo);
        harness::two_workers(criterion, "echo of 64 bytes", Echo);
    });
}

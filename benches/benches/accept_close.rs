//! A connection is there, is accepted, and both ends are closed.
//! Hypothesis: who registers no socket before it has to wait saves two `epoll_ctl` here.

mod harness;

use std::net::TcpStream;
use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use harness::Question;
use socket2::SockRef;

#[derive(Clone, Copy)]
struct AcceptClose;

impl Question for AcceptClose {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        peer.run(async move {
            let (listener, addr) = P::listen().await;
            let mut elapsed = Duration::ZERO;
            for _ in 0..times {
                let client = TcpStream::connect(addr).expect("a connection");
                // Or ports would run out: a reset leaves nothing in TIME_WAIT.
                SockRef::from(&client).set_linger(Some(Duration::ZERO)).expect("an option");
                let start = Instant::now();
                drop(P::accept(&listener).await);
                elapsed += start.elapsed();
                drop(client);
            }
            elapsed
        })
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "accept, close", AcceptClose);
    });
}

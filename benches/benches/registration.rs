//! A socket becomes one of the runtime's, waits once, and is closed: the way in and out of the reactor.
//! Hypothesis: `dup`, two `fcntl`, `epoll_ctl` and `close` are nearly all of it; who registers late pays no less here,
//! since this one does wait.

mod harness;

use std::net::{TcpListener, TcpStream};
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_bench::peers::Peer;
use futures_lite::future::poll_once;
use harness::Question;

#[derive(Clone, Copy)]
struct Registration {
    waits: bool,
}

impl Question for Registration {
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let socket = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
        socket.set_nonblocking(true).expect("an option");
        peer.run(async move {
            let mut buffer = [0; 64];
            let start = Instant::now();
            for _ in 0..times {
                let mut stream = P::adopt(socket.try_clone().expect("a descriptor"));
                if self.waits {
                    assert!(poll_once(pin!(P::read(&mut stream, &mut buffer))).await.is_none());
                }
            }
            start.elapsed()
        })
    }
}

fn main() {
    harness::ask(|criterion| {
        harness::one_thread(criterion, "adopt, wait once, close", Registration { waits: true });
        harness::one_thread(criterion, "adopt, close", Registration { waits: false });
    });
}

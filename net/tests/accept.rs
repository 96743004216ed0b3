//! A listener outlives the errors that a server meets.

mod harness;

use std::fs::File;
use std::io::{self, Write};
use std::net::{self, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_net::{Interest, TcpListener, TcpStream};
use socket2::SockRef;

use harness::{on_every_backend, pends};

/// Lets the process have `more` descriptors than it has, and takes them all.
fn exhaust() -> Vec<File> {
    let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
    // SAFETY: `limit` lives through the call, which only reads it.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(set, 0);
    let mut taken = Vec::new();
    let full = loop {
        match File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(error) => break error,
        }
    };
    assert_eq!(full.raw_os_error(), Some(libc::EMFILE));
    taken
}

/// A listener with which a first connection was made, so that all is set up that
/// is set up lazily, and connections that wait.
async fn with_waiting(count: usize) -> (TcpListener, TcpStream, Vec<net::TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let addr = listener.local_addr().expect("it is bound");
    let client;
    let accepted;
    {
        let mut accept = pin!(listener.accept());
        assert!(pends(accept.as_mut()).await);
        client = net::TcpStream::connect(addr).expect("it listens");
        accepted = accept.await.expect("one waits").0;
    }
    let mut clients = vec![client];
    clients.extend((0..count).map(|_| net::TcpStream::connect(addr).expect("it listens")));
    (listener, accepted, clients)
}

on_every_backend! {
    alone;

    async fn row_02_accept_tells_of_exhaustion_and_works_again() {
        let (listener, _first, clients) = with_waiting(1).await;
        let mut taken = exhaust();
        for _ in 0..3 {
            let error = listener.accept().await.expect_err("no descriptor is left");
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        }
        drop(taken.pop());
        let (stream, peer) = listener.accept().await.expect("a descriptor is free");
        assert_eq!(peer, clients[1].local_addr().expect("connected"));
        drop(stream);
    }

    /// The kernel says so of an empty queue, too.
    async fn row_02_nobody_lacks_a_descriptor_where_nobody_waits() {
        let (listener, _first, mut clients) = with_waiting(0).await;
        let mut taken = exhaust();
        let mut accept = pin!(listener.accept());
        assert!(pends(accept.as_mut()).await);
        drop(taken.pop());
        let addr = listener.local_addr().expect("it is bound");
        clients.push(net::TcpStream::connect(addr).expect("a descriptor for the client"));
        let error = accept.await.expect_err("none for the other end");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        drop(taken.pop());
        let (_second, peer) = listener.accept().await.expect("a descriptor is free");
        assert_eq!(peer, clients[1].local_addr().expect("connected"));
    }

    /// Each close of ours lets one more connection in, without the time-out of 100 ms. A busy
    /// machine may delay some as long, but not the half of them.
    async fn row_02_incoming_goes_on_when_a_socket_of_ours_is_closed() {
        let (listener, mut last, clients) = with_waiting(20).await;
        let _taken = exhaust();
        let mut incoming = listener.incoming();
        let mut took = Vec::new();
        for client in &clients[1..] {
            let start = Instant::now();
            let mut next = pin!(incoming.next());
            assert!(pends(next.as_mut()).await);
            // Waits until a waker is surely in place, and is not spun meanwhile.
            assert!(pends(next.as_mut()).await);
            drop(last);
            last = next.await.expect("exhaustion is survived");
            assert_eq!(last.peer_addr().ok(), client.local_addr().ok());
            took.push(start.elapsed());
        }
        took.sort_unstable();
        assert!(took[10] < Duration::from_millis(90), "{took:?}");
    }

    async fn incoming_goes_on_when_another_descriptor_is_closed() {
        let (listener, _first, clients) = with_waiting(1).await;
        // To be told takes a descriptor too.
        let (cpu, polls) = (harness::cpu_time(), harness::polls());
        let mut taken = exhaust();
        let mut incoming = listener.incoming();
        let mut next = pin!(incoming.next());
        assert!(pends(next.as_mut()).await);
        drop(taken.pop());
        let stream = next.await.expect("exhaustion is survived");
        assert_eq!(stream.peer_addr().ok(), clients[1].local_addr().ok());
        drop(taken);
        assert!(harness::polls() - polls < 10, "it was spun");
        assert!(harness::cpu_time() - cpu < Duration::from_millis(50), "it was spun");
    }
}

mod together {
    use super::*;

    on_every_backend! {
        async fn every_connection_is_accepted() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let addr = listener.local_addr().expect("it is bound");
            let clients = std::thread::spawn(move || {
                (0..200)
                    .map(|_| net::TcpStream::connect(addr).expect("it listens"))
                    .collect::<Vec<_>>()
            });
            let mut incoming = listener.incoming();
            let mut peers: Vec<SocketAddr> = Vec::new();
            for _ in 0..200 {
                let stream = incoming.next().await.expect("a connection");
                peers.push(stream.peer_addr().expect("connected"));
            }
            let clients = clients.join().expect("they connected");
            for client in clients {
                assert!(peers.contains(&client.local_addr().expect("connected")));
            }
        }

        /// One that resets before it is accepted harms no other.
        async fn a_connection_that_is_gone_already_is_no_end() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let addr = listener.local_addr().expect("it is bound");
            let gone = net::TcpStream::connect(addr).expect("it listens");
            SockRef::from(&gone).set_linger(Some(Duration::ZERO)).expect("an option");
            drop(gone);
            let mut stays = net::TcpStream::connect(addr).expect("it listens");
            stays.write_all(b"x").expect("still connected");
            let mut incoming = listener.incoming();
            loop {
                // Linux accepts one that was reset; reading says so.
                let stream = incoming.next().await.expect("a connection");
                match stream.read(&mut [0]).await {
                    Ok(length) => break assert_eq!(length, 1),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
                }
            }
        }

        async fn a_fatal_error_is_returned() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            SockRef::from(&listener).shutdown(net::Shutdown::Both).expect("Linux unlistens");
            let error = listener.incoming().next().await.expect_err("it listens no more");
            assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        }

        async fn two_that_wait_get_one_each() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let addr = listener.local_addr().expect("it is bound");
            let (mut left, mut right) = (listener.incoming(), listener.incoming());
            let (mut left, mut right) = (Box::pin(left.next()), Box::pin(right.next()));
            assert!(pends(left.as_mut()).await && pends(right.as_mut()).await);
            let _clients = [(); 2].map(|()| net::TcpStream::connect(addr).expect("it listens"));
            let (left, right) = harness::both(left, right).await;
            assert!(left.is_ok() && right.is_ok());
        }

        async fn std_s_sockets_come_and_go() {
            let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
            let addr = listener.local_addr().expect("it is bound");
            let listener = TcpListener::from_std(listener).expect("an option");
            let mut accept = pin!(listener.accept());
            // A blocking one would never return.
            assert!(pends(accept.as_mut()).await);
            let client = net::TcpStream::connect(addr).expect("it listens");
            let client = TcpStream::from_std(client).expect("an option");
            let (server, _) = accept.await.expect("a connection");
            assert!(server.nodelay().expect("an option"));
            let mut server = server.into_std();
            server.set_nonblocking(false).expect("an option");
            {
                let mut byte = [0];
                let mut read = pin!(client.read(&mut byte));
                assert!(pends(read.as_mut()).await);
                server.write_all(b"x").expect("still connected");
                assert_eq!(read.await.expect("a byte"), 1);
            }
            assert_eq!(client.ready(Interest::WRITE).await.ok(), Some(Interest::WRITE));
            // Moved to another life while registered, and back.
            let client = TcpStream::from_std(client.into_std()).expect("an option");
            server.write_all(b"y").expect("still connected");
            assert_eq!(client.read(&mut [0; 8]).await.expect("a byte"), 1);
        }
    }
}

//! Connecting ends in one exact result, and leaves nothing behind.

mod harness;

use std::io::{self, Read};
use std::net::{self, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_net::{ConnectError, TcpListener, TcpSocket, TcpStream, lookup_host};
use socket2::SockRef;

use harness::{descriptors, on_every_backend, pends};

/// An address at which nobody listens.
fn vacant() -> SocketAddr {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// A listener whose queue is full, so that the kernel drops further SYNs, and who
/// fills it.
async fn full() -> (net::TcpListener, Vec<TcpStream>) {
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    listener.bind(&any.into()).expect("a port is free");
    listener.listen(0).expect("it is bound");
    let listener = net::TcpListener::from(listener);
    let addr = listener.local_addr().expect("it is bound");
    // Linux lets one more wait than it was asked to.
    let only = TcpStream::connect(addr).await.expect("there is a place");
    (listener, vec![only])
}

on_every_backend! {
    alone;

    async fn row_14_refused() {
        let addr = vacant();
        let warm = TcpStream::connect(addr).await;
        drop(warm);
        let before = descriptors();
        for _ in 0..20 {
            let error = TcpStream::connect(addr).await.expect_err("nobody listens");
            assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        }
        assert_eq!(descriptors(), before);
    }

    async fn row_14_unreachable() {
        let before = descriptors();
        // A broadcast address has a route, but none for TCP.
        let error = TcpStream::connect("127.255.255.255:9").await.expect_err("no such host");
        assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
        assert_eq!(descriptors(), before);
    }

    async fn row_14_timed_out() {
        let (listener, waiting) = full().await;
        let before = descriptors();
        let socket = TcpSocket::new_v4().expect("a socket");
        SockRef::from(&socket)
            .set_tcp_user_timeout(Some(Duration::from_millis(100)))
            .expect("an option");
        let addr = listener.local_addr().expect("it is bound");
        let error = socket.connect(addr).await.expect_err("nobody answers");
        assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
        assert_eq!(descriptors(), before);
        drop(waiting);
    }

    async fn row_14_a_dropped_connect_closes_its_descriptor() {
        let (listener, waiting) = full().await;
        let addr = listener.local_addr().expect("it is bound");
        let before = descriptors();
        {
            let mut connecting = pin!(TcpStream::connect(addr));
            assert!(pends(connecting.as_mut()).await);
            assert_eq!(descriptors(), before + 1);
        }
        assert_eq!(descriptors(), before);
        drop(waiting);
    }

    async fn a_connect_goes_on_when_there_is_room() {
        let (listener, waiting) = full().await;
        let addr = listener.local_addr().expect("it is bound");
        let mut connecting = pin!(TcpStream::connect(addr));
        assert!(pends(connecting.as_mut()).await);
        let (mut first, _) = listener.accept().expect("one waits");
        drop(waiting);
        first.read_exact(&mut [0]).expect_err("it was dropped");
        let stream = connecting.await.expect("there is room");
        let (_second, peer) = listener.accept().expect("one waits");
        assert_eq!(stream.local_addr().expect("connected"), peer);
    }

    async fn the_first_address_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        drop(TcpStream::connect(addr).await.expect("it listens"));
        let before = descriptors();
        let stream = TcpStream::connect([vacant(), addr]).await.expect("the second answers");
        assert_eq!(stream.peer_addr().expect("connected"), addr);
        drop(stream);
        assert_eq!(descriptors(), before);
    }

    async fn row_15_an_error_of_several_addresses_tells_of_each() {
        let unreachable = "127.255.255.255:9".parse().expect("an address");
        let refusing = vacant();
        let error = TcpStream::connect([unreachable, refusing]).await.expect_err("neither answers");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let payload = error.get_ref().and_then(|payload| payload.downcast_ref::<ConnectError>());
        let attempts = payload.expect("the attempts").attempts();
        let told: Vec<_> = attempts
            .iter()
            .map(|attempt| (attempt.addr(), attempt.error().raw_os_error()))
            .collect();
        let expected =
            [(unreachable, Some(libc::ENETUNREACH)), (refusing, Some(libc::ECONNREFUSED))];
        assert_eq!(told, expected);
        assert!(error.to_string().contains(&refusing.to_string()), "{error}");
    }

    async fn row_15_a_black_hole_hides_no_healthy_address() {
        let (silent, waiting) = full().await;
        let healthy = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addrs = [silent.local_addr().expect("it is bound"), healthy.local_addr().expect("it is bound")];
        let before = descriptors();
        let start = Instant::now();
        let stream = TcpStream::connect(addrs).await.expect("the second answers");
        assert!(start.elapsed() >= Duration::from_millis(250), "the first had no head start");
        assert_eq!(stream.peer_addr().expect("connected"), addrs[1]);
        drop(stream);
        assert_eq!(descriptors(), before, "the loser is still there");
        drop(waiting);
    }

    async fn a_failure_starts_the_next_attempt_at_once() {
        let healthy = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let mut addrs = vec![vacant(); 40];
        addrs.push(healthy.local_addr().expect("it is bound"));
        let start = Instant::now();
        TcpStream::connect(addrs).await.expect("the last answers");
        // Ten seconds, were each given its head start.
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }

    async fn an_attempt_that_was_overtaken_may_still_win() {
        let (first, waiting) = full().await;
        let (second, waiting_too) = full().await;
        let addrs = [first.local_addr().expect("it is bound"), second.local_addr().expect("it is bound")];
        let mut connecting = pin!(TcpStream::connect(addrs));
        // Both are under way.
        let before = descriptors();
        while descriptors() < before + 2 {
            assert!(pends(connecting.as_mut()).await);
            bourn_reactor::Sleep::after(Duration::from_millis(10)).await;
        }
        drop(first.accept().expect("one waits"));
        let stream = connecting.await.expect("there is room");
        assert_eq!(stream.peer_addr().expect("connected"), addrs[0]);
        drop((waiting, waiting_too));
    }

    async fn a_connect_that_is_dropped_drops_every_attempt() {
        let (first, waiting) = full().await;
        let (second, waiting_too) = full().await;
        let addrs = [first.local_addr().expect("it is bound"), second.local_addr().expect("it is bound")];
        let before = descriptors();
        {
            let mut connecting = pin!(TcpStream::connect(addrs));
            while descriptors() < before + 2 {
                assert!(pends(connecting.as_mut()).await);
                bourn_reactor::Sleep::after(Duration::from_millis(10)).await;
            }
        }
        assert_eq!(descriptors(), before);
        drop((waiting, waiting_too));
    }

    async fn names_are_looked_up_and_raced() {
        let addrs = lookup_host("localhost:9").await.expect("every host has one");
        assert!(addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 9), "{addrs:?}");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        // Where the name also stands for ::1, that refuses.
        let stream = TcpStream::connect(("localhost", addr.port())).await.expect("one answers");
        assert_eq!(stream.peer_addr().expect("connected"), addr);
        let error = lookup_host("no.such.name.invalid:9").await.expect_err("RFC 2606 reserves it");
        assert!(error.to_string().contains("no.such.name.invalid"), "{error}");
    }

    async fn no_address_is_an_error() {
        let error = TcpStream::connect(Vec::new()).await.expect_err("nothing to connect to");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

/// Where nobody listens at a port that connections are made from, the kernel at
/// times gives that very port to the client, and joins it to itself. std's connect
/// says how many attempts that takes; ours has to survive twice as many.
#[test]
fn a_socket_is_never_connected_to_itself() {
    harness::watched("a_socket_is_never_connected_to_itself", || {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
        let range = range.expect("procfs");
        let low: u16 = range.split_whitespace().next().and_then(|low| low.parse().ok()).expect("two numbers");
        // Linux prefers ports of the parity of the lower end.
        let addr = SocketAddr::from(([127, 0, 0, 1], low + 2048));
        let mut attempts = 0;
        loop {
            attempts += 1;
            if let Ok(stream) = net::TcpStream::connect(addr) {
                assert_eq!(stream.local_addr().ok(), Some(addr), "the port is in use");
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
                break;
            }
        }
        println!("std connected to itself at attempt {attempts}");
        futures_lite::future::block_on(async {
            for _ in 0..attempts * 2 + 1000 {
                let error = TcpStream::connect(addr).await.expect_err("nobody listens");
                assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
            }
        });
    });
}

//! Options: what is on by default, and that what is set is what is read back.

mod harness;

use std::time::Duration;

use bourn_net::{Keepalive, TcpListener, TcpSocket, TcpStream};

use harness::pair;

fn block_on(test: impl Future<Output = ()>) {
    harness::watched("options", || futures_lite::future::block_on(test));
}

#[test]
fn nodelay_is_on_at_both_ends() {
    block_on(async {
        let (client, server) = pair().await;
        for stream in [&client, &server] {
            assert!(stream.nodelay().expect("an option"));
            stream.set_nodelay(false).expect("an option");
            assert!(!stream.nodelay().expect("an option"));
        }
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_nodelay(false).expect("an option");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let listener = socket.listen(8).expect("it is bound");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("one waits");
        assert!(!server.nodelay().expect("an option"), "inherited from the listener");
    });
}

#[test]
fn streams_read_back_what_was_set() {
    block_on(async {
        let (stream, _peer) = pair().await;
        stream.set_ttl(9).expect("an option");
        assert_eq!(stream.ttl().expect("an option"), 9);
        stream.set_send_buffer_size(20_000).expect("an option");
        assert!(stream.send_buffer_size().expect("an option") >= 20_000);
        stream.set_recv_buffer_size(20_000).expect("an option");
        assert!(stream.recv_buffer_size().expect("an option") >= 20_000);
        assert_eq!(stream.keepalive().expect("an option"), None);
        let keepalive = Keepalive { idle: Duration::from_millis(1500), interval: Duration::from_secs(3), count: 4 };
        stream.set_keepalive(Some(keepalive)).expect("an option");
        let rounded = Keepalive { idle: Duration::from_secs(2), ..keepalive };
        assert_eq!(stream.keepalive().expect("an option"), Some(rounded));
        stream.set_keepalive(None).expect("an option");
        assert_eq!(stream.keepalive().expect("an option"), None);
        assert!(stream.set_ttl(0).is_err());
    });
}

#[test]
fn sockets_read_back_what_was_set_and_hand_it_on() {
    block_on(async {
        for (socket, any) in [(TcpSocket::new_v4(), "127.0.0.1:0"), (TcpSocket::new_v6(), "[::1]:0")] {
            let socket = socket.expect("a socket");
            socket.set_reuse_addr(true).expect("an option");
            assert!(socket.reuse_addr().expect("an option"));
            socket.set_reuse_port(true).expect("an option");
            assert!(socket.reuse_port().expect("an option"));
            socket.set_ttl(9).expect("an option");
            assert_eq!(socket.ttl().expect("an option"), 9);
            socket.set_keepalive(Some(Keepalive::default())).expect("an option");
            socket.set_recv_buffer_size(30_000).expect("an option");
            let size = socket.recv_buffer_size().expect("an option");
            socket.bind(any.parse().expect("an address")).expect("a port is free");
            let addr = socket.local_addr().expect("it is bound");
            let listener = socket.listen(8).expect("it is bound");

            let twin = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
            let twin = twin.expect("a socket");
            twin.set_reuse_port(true).expect("an option");
            twin.bind(addr).expect("both allow it");
            drop(twin);

            let _client = TcpStream::connect(addr).await.expect("it listens");
            let (server, _) = listener.accept().await.expect("one waits");
            assert_eq!(server.recv_buffer_size().expect("an option"), size);
            assert_eq!(server.keepalive().expect("an option"), Some(Keepalive::default()));
        }
    });
}

#[test]
fn listeners_may_start_again_at_once() {
    block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        listener.set_ttl(9).expect("an option");
        assert_eq!(listener.ttl().expect("an option"), 9);
        let client = TcpStream::connect(addr).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("one waits");
        // The end that closes first is left with the port (TIME_WAIT).
        server.shutdown(std::net::Shutdown::Write).expect("still connected");
        assert_eq!(client.read(&mut [0]).await.expect("the end"), 0);
        drop(client);
        assert_eq!(server.read(&mut [0]).await.expect("the end"), 0);
        drop((server, listener));
        TcpListener::bind(addr).await.expect("SO_REUSEADDR is set");
    });
}

/// The queue is the kernel's limit, not the 128 of std: more connections than
/// that are made before any is accepted.
#[test]
fn the_backlog_is_the_kernel_s_limit() {
    block_on(async {
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("procfs");
        let limit: usize = limit.trim().parse().expect("a number");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let wanted = limit.min(300);
        let mut clients = Vec::new();
        for _ in 0..wanted {
            clients.push(TcpStream::connect(addr).await.expect("there is a place"));
        }
        for _ in 0..wanted {
            listener.try_accept().expect("one waits");
        }
    });
}

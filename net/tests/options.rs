//! Options: what is on by default, and that what is set is what is read back.

mod harness;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::time::Duration;

use bourn_net::{Keepalive, TcpListener, TcpSocket, TcpStream};

use harness::{kind, on_every_backend, pair, pair_with_std, pends};

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

/// What the kernel says to getsockopt(2).
fn raw(socket: &impl AsRawFd, level: libc::c_int, name: libc::c_int) -> libc::c_int {
    let mut value: libc::c_int = -77;
    let mut len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    value
}

/// Sets an option, looks what the kernel then says, sets it back, and looks again.
macro_rules! there_and_back {
    ($socket:ident; $($get:ident $set:ident: $there:expr, $back:expr, $level:ident $name:ident $raw:expr;)*) => {$(
        let before = raw($socket, libc::$level, libc::$name);
        $socket.$set($there).expect(stringify!($set));
        assert_eq!(raw($socket, libc::$level, libc::$name), $raw, stringify!($set));
        assert_eq!($socket.$get().expect("an option"), $there, stringify!($get));
        $socket.$set($back).expect(stringify!($set));
        assert_eq!($socket.$get().expect("an option"), $back, stringify!($get));
        assert_eq!(raw($socket, libc::$level, libc::$name), before, stringify!($set));
    )*};
}

macro_rules! of_every_tcp_socket {
    ($socket:ident) => {
        there_and_back! { $socket;
            nodelay set_nodelay: false, true, IPPROTO_TCP TCP_NODELAY 0;
            ttl set_ttl: 9, 64, IPPROTO_IP IP_TTL 9;
            tos set_tos: 0xb8, 0, IPPROTO_IP IP_TOS 0xb8;
            mark set_mark: 7, 0, SOL_SOCKET SO_MARK 7;
            busy_poll set_busy_poll: Duration::from_micros(50), Duration::ZERO, SOL_SOCKET SO_BUSY_POLL 50;
            zerocopy set_zerocopy: true, false, SOL_SOCKET SO_ZEROCOPY 1;
            user_timeout set_user_timeout: Some(Duration::from_millis(1234)), None, IPPROTO_TCP TCP_USER_TIMEOUT 1234;
            notsent_lowat set_notsent_lowat: 7777, 0, IPPROTO_TCP TCP_NOTSENT_LOWAT 7777;
            zero_linger set_zero_linger: true, false, SOL_SOCKET SO_LINGER 1;
            keepalive set_keepalive: Some(Keepalive::default()), None, SOL_SOCKET SO_KEEPALIVE 1;
        }
    };
}

#[test]
fn row_75_every_option_reaches_the_kernel() {
    block_on(async {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let any: SocketAddr = any.parse().expect("an address");
            let socket = &if any.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
            of_every_tcp_socket!(socket);
            there_and_back! { socket;
                defer_accept set_defer_accept: Duration::from_secs(3), Duration::ZERO, IPPROTO_TCP TCP_DEFER_ACCEPT 3;
                fastopen set_fastopen: 16, 0, IPPROTO_TCP TCP_FASTOPEN 16;
                fastopen_connect set_fastopen_connect: true, false, IPPROTO_TCP TCP_FASTOPEN_CONNECT 1;
                incoming_cpu set_incoming_cpu: Some(0), None, SOL_SOCKET SO_INCOMING_CPU 0;
                reuse_addr set_reuse_addr: true, false, SOL_SOCKET SO_REUSEADDR 1;
                reuse_port set_reuse_port: true, false, SOL_SOCKET SO_REUSEPORT 1;
            }
            socket.bind_device(Some(b"lo")).expect("root");
            assert_eq!(socket.device().expect("an option").as_deref(), Some(&b"lo"[..]));
            socket.bind_device(None).expect("root");
            assert_eq!(socket.device().expect("an option"), None);
            assert!(socket.bind_device(Some(b"no-such-device")).is_err());

            let listener = TcpListener::bind(any).await.expect("a port is free");
            let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
            let (server, _) = listener.accept().await.expect("one waits");
            let (listener, client, server) = (&listener, &client, &server);
            of_every_tcp_socket!(listener);
            of_every_tcp_socket!(client);
            of_every_tcp_socket!(server);
            // Whoever reads it as 0 turns it off.
            client.set_user_timeout(Some(Duration::from_micros(1))).expect("an option");
            assert_eq!(raw(client, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT), 1);
            client.set_quickack(false).expect("an option");
            assert!(!client.quickack().expect("an option"));
            client.set_quickack(true).expect("an option");
            assert_eq!(raw(client, libc::IPPROTO_TCP, libc::TCP_QUICKACK), 1);
        }
    });
}

/// The list in the documentation, and what does not travel.
#[test]
fn row_75_accepted_streams_inherit_what_the_listener_has() {
    block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let listener = socket.listen(8).expect("it is bound");
        // After it began to listen is early enough.
        listener.set_nodelay(false).expect("an option");
        listener.set_ttl(9).expect("an option");
        listener.set_tos(0xb8).expect("an option");
        listener.set_mark(7).expect("root");
        listener.set_busy_poll(Duration::from_micros(50)).expect("root");
        listener.set_zerocopy(true).expect("an option");
        listener.set_user_timeout(Some(Duration::from_secs(3))).expect("an option");
        listener.set_notsent_lowat(7777).expect("an option");
        listener.set_keepalive(Some(Keepalive::default())).expect("an option");
        listener.set_send_buffer_size(30_000).expect("an option");
        listener.set_recv_buffer_size(30_000).expect("an option");
        listener.set_zero_linger(true).expect("an option");
        listener.set_fastopen(5).expect("an option");
        listener.set_defer_accept(Duration::from_secs(3)).expect("an option");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        client.write_all(b"x").await.expect("there is room");
        let (server, _) = listener.accept().await.expect("one waits");
        assert!(!server.nodelay().expect("an option"));
        assert_eq!(server.ttl().expect("an option"), 9);
        assert_eq!(server.tos().expect("an option"), 0xb8);
        assert_eq!(server.mark().expect("an option"), 7);
        assert_eq!(server.busy_poll().expect("an option"), Duration::from_micros(50));
        assert!(server.zerocopy().expect("an option"));
        assert_eq!(server.user_timeout().expect("an option"), Some(Duration::from_secs(3)));
        assert_eq!(server.notsent_lowat().expect("an option"), 7777);
        assert_eq!(server.keepalive().expect("an option"), Some(Keepalive::default()));
        assert_eq!(server.send_buffer_size().expect("an option"), 60_000);
        assert_eq!(server.recv_buffer_size().expect("an option"), 60_000);
        assert!(server.zero_linger().expect("an option"));
        assert_eq!(raw(&server, libc::IPPROTO_TCP, libc::TCP_FASTOPEN), 0);
        assert_eq!(raw(&server, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT), 0);
    });
}

#[test]
fn a_value_that_no_int_holds_is_refused() {
    let socket = TcpSocket::new_v4().expect("a socket");
    assert_eq!(kind(socket.set_fastopen(u32::MAX)), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(socket.set_defer_accept(Duration::MAX)), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(socket.set_ttl(256)), Err(ErrorKind::InvalidInput));
    assert_eq!(kind(socket.set_user_timeout(Some(Duration::MAX))), Err(ErrorKind::InvalidInput));
}

on_every_backend! {
    async fn row_70_a_deferred_connection_waits_for_its_first_byte() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_defer_accept(Duration::from_secs(60)).expect("an option");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let listener = socket.listen(8).expect("it is bound");
        let mut accept = pin!(listener.accept());
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        // For the client it is established; the kernel of the listener holds it back.
        assert_eq!(raw_state(&client), 1);
        assert!(pends(accept.as_mut()).await);
        client.write_all(b"x").await.expect("there is room");
        let (server, _) = accept.await.expect("now it is handed over");
        assert_eq!(server.try_read(&mut [0; 8]).expect("a byte"), 1);
    }

    async fn row_74_a_peer_that_has_stopped_reading_is_given_up() {
        let (ours, _peer) = pair_with_std().await;
        ours.set_user_timeout(Some(Duration::from_millis(200))).expect("an option");
        let error = ours.write_all(&vec![1; 32 << 20]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}

/// The first byte of TCP_INFO.
fn raw_state(stream: &TcpStream) -> libc::c_int {
    raw(stream, libc::IPPROTO_TCP, libc::TCP_INFO) & 0xff
}

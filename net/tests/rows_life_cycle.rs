//! Rows 10 to 28 of docs/sockets.md: the calls in a socket's life.

mod harness;

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::pin;

use bourn_net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixStream};
use socket2::{Domain, SockRef, Socket, Type};

use harness::kernel::{self, state};
use harness::{both, descriptors, is_calm, on_every_backend, pair, pair_with_std, pends};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// An address at which nobody listens.
fn vacant() -> SocketAddr {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it is bound")
}

/// A listener that lets `backlog` connections wait, and one.
fn narrow(backlog: u32) -> (TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(any()).expect("a port is free");
    let addr = socket.local_addr().expect("it is bound");
    (socket.listen(backlog).expect("it is bound"), addr)
}

/// A socket of std's making that is bound and listens.
fn plain(addr: SocketAddr, reuse: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(reuse)?;
    socket.bind(&addr.into())?;
    socket.listen(8)?;
    Ok(socket)
}

/// Leaves the port of `listener` with a connection in TIME_WAIT, and nobody at it.
fn linger(listener: Socket) -> SocketAddr {
    let listener = net::TcpListener::from(listener);
    let addr = listener.local_addr().expect("it is bound");
    let mut client = net::TcpStream::connect(addr).expect("it listens");
    let (mut server, _) = listener.accept().expect("one waits");
    server.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(client.read(&mut [0]).expect("the end"), 0);
    drop(client);
    assert_eq!(server.read(&mut [0]).expect("the end"), 0);
    addr
}

on_every_backend! {
    async fn row_10_a_socket_has_a_family_a_kind_and_a_protocol() {
        let is = |fd: BorrowedFd<'_>, expected: [i32; 3]| {
            let asked = [libc::SO_DOMAIN, libc::SO_TYPE, libc::SO_PROTOCOL];
            assert_eq!(asked.map(|name| kernel::int(fd, libc::SOL_SOCKET, name)), expected);
            assert!(kernel::is_nonblocking(fd) && kernel::is_close_on_exec(fd));
        };
        use libc::{AF_INET, AF_INET6, AF_UNIX, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_STREAM};
        is(TcpSocket::new_v4().expect("a socket").as_fd(), [AF_INET, SOCK_STREAM, IPPROTO_TCP]);
        is(TcpSocket::new_v6().expect("a socket").as_fd(), [AF_INET6, SOCK_STREAM, IPPROTO_TCP]);
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        is(udp.as_fd(), [AF_INET, SOCK_DGRAM, IPPROTO_UDP]);
        let udp = UdpSocket::bind("[::1]:0").await.expect("a port is free");
        is(udp.as_fd(), [AF_INET6, SOCK_DGRAM, IPPROTO_UDP]);
        let (one, other) = UnixStream::pair().expect("a pair");
        is(one.as_fd(), [AF_UNIX, SOCK_STREAM, 0]);
        is(other.as_fd(), [AF_UNIX, SOCK_STREAM, 0]);
        is(UnixDatagram::unbound().expect("a socket").as_fd(), [AF_UNIX, SOCK_DGRAM, 0]);
        let (client, server) = pair().await;
        is(client.as_fd(), [AF_INET, SOCK_STREAM, IPPROTO_TCP]);
        is(server.as_fd(), [AF_INET, SOCK_STREAM, IPPROTO_TCP]);
    }

    /// The privileged port is in `alone`.
    async fn row_11_bind_says_what_is_wrong() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0 is any");
        let addr = listener.local_addr().expect("it is bound");
        assert_ne!(addr.port(), 0);
        let error = TcpListener::bind(addr).await.expect_err("it is taken");
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        // TEST-NET-3 (RFC 5737): nobody's.
        let error = TcpListener::bind("203.0.113.1:0").await.expect_err("not of this host");
        assert_eq!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL));
        // Longer than any name (RFC 1035, 2.3.4): nobody is asked.
        TcpListener::bind(("x".repeat(300).as_str(), 80)).await.expect_err("a name without an address");
        TcpListener::bind("127.0.0.1:65536").await.expect_err("ports end at 65,535");
        // The wildcard is reached at every address of this host.
        let all = TcpListener::bind("0.0.0.0:0").await.expect("a port is free");
        let port = all.local_addr().expect("it is bound").port();
        let client = TcpStream::connect(("127.0.0.2", port)).await.expect("it listens there too");
        let (server, _) = all.accept().await.expect("one waits");
        assert_eq!(server.local_addr().ok(), client.peer_addr().ok());
    }

    async fn row_12_a_server_starts_again_beside_its_lingering_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = linger(listener.into_std().into_blocking());
        kernel::until(|| kernel::table(addr.port()).iter().any(|line| line.local == addr && line.state == state::TIME_WAIT)).await;
        let error = plain(addr, false).expect_err("without the option");
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        TcpListener::bind(addr).await.expect("SO_REUSEADDR is set");
    }

    /// A myth: that the new listener's option is enough. The old one must have had
    /// it too.
    async fn row_12_the_option_is_asked_of_the_earlier_listener_as_well() {
        let addr = linger(plain(any(), false).expect("a port is free"));
        let error = TcpListener::bind(addr).await.expect_err("the earlier one had it not");
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    }

    async fn row_13_the_backlog_is_the_kernel_s_limit() {
        let limit = std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("procfs");
        let limit: u32 = limit.trim().parse().expect("a number");
        // For a listener, these say how long its queue may be, and how long it is.
        let queue = |listener: &TcpListener| {
            let info = kernel::info(listener);
            (info.tcpi_sacked, info.tcpi_unacked)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        assert_eq!(queue(&listener), (limit, 0));
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(any()).expect("a port is free");
        assert_eq!(kernel::state_of(&socket), state::CLOSE);
        let listener = socket.listen(limit + 1).expect("it is bound");
        assert_eq!(kernel::state_of(&listener), state::LISTEN);
        assert_eq!(queue(&listener), (limit, 0), "cut");
        assert_eq!(queue(&narrow(7).0), (7, 0));
        // More than the 128 of std wait.
        let addr = listener.local_addr().expect("it is bound");
        let wanted = limit.min(150);
        let mut clients = Vec::new();
        for _ in 0..wanted {
            clients.push(TcpStream::connect(addr).await.expect("there is a place"));
        }
        assert_eq!(queue(&listener), (limit, wanted));
        for _ in 0..wanted {
            listener.try_accept().expect("one waits");
        }
    }

    /// What else it can end in is in `connect.rs`.
    async fn row_14_connect_begins_the_handshake_and_waits_for_its_end() {
        let (listener, addr) = narrow(0);
        let _first = TcpStream::connect(addr).await.expect("a place");
        let socket = TcpSocket::new_v4().expect("a socket");
        let watched = socket.as_fd().try_clone_to_owned().expect("a descriptor");
        assert_eq!(kernel::state_of(&watched), state::CLOSE);
        let mut connecting = pin!(socket.connect(addr));
        assert!(pends(connecting.as_mut()).await);
        assert_eq!(kernel::state_of(&watched), state::SYN_SENT, "the queue has no room");
        drop(listener.accept().await.expect("one waits"));
        let client = connecting.await.expect("there is room");
        assert_eq!(kernel::state_of(&client), state::ESTABLISHED);
        assert_eq!(kernel::int(&client, libc::SOL_SOCKET, libc::SO_ERROR), 0);
        // Nobody bound it: the kernel chose a port.
        let (_server, peer) = listener.accept().await.expect("one waits");
        assert!(peer.port() != 0 && client.local_addr().ok() == Some(peer));
    }

    async fn row_14_a_client_may_choose_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.3:0".parse().expect("an address")).expect("a port is free");
        let own = socket.local_addr().expect("it is bound");
        let _client = socket.connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (_server, peer) = listener.accept().await.expect("one waits");
        assert_eq!(peer, own);
    }

    async fn row_16_a_client_before_the_server_is_refused() {
        let addr = vacant();
        for _ in 0..3 {
            let error = TcpStream::connect(addr).await.expect_err("nobody listens");
            assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        }
        // Bound is not enough.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuse_addr(true).expect("an option");
        socket.bind(addr).expect("it is free");
        let error = TcpStream::connect(addr).await.expect_err("nobody listens");
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        let _listener = socket.listen(8).expect("it is bound");
        TcpStream::connect(addr).await.expect("it listens");
    }

    async fn row_17_accept_takes_the_first_that_is_complete_and_has_no_part_in_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        is_calm(listener.accept()).await;
        let addr = listener.local_addr().expect("it is bound");
        let mut clients = Vec::new();
        for number in 0..3 {
            let client = TcpStream::connect(addr).await.expect("there is a place");
            client.write_all(&[number]).await.expect("there is room");
            // Sent, and acknowledged by the kernel: nobody has accepted yet.
            kernel::until(|| kernel::unacknowledged(&client) == 0).await;
            clients.push(client);
        }
        for (number, client) in clients.iter().enumerate() {
            let (server, peer) = listener.accept().await.expect("one waits");
            assert_eq!(client.local_addr().ok(), Some(peer), "in their order");
            let mut byte = [0];
            server.read_exact(&mut byte).await.expect("it has arrived");
            assert_eq!(byte, [number as u8]);
            assert_ne!(server.as_raw_fd(), listener.as_raw_fd());
            assert!(kernel::is_nonblocking(&server) && kernel::is_close_on_exec(&server));
        }
        let error = listener.try_accept().expect_err("nobody waits");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    async fn row_18_connections_are_made_without_accept_until_the_queue_is_full() {
        let overflows = kernel::counter("ListenOverflows");
        let (listener, addr) = narrow(2);
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(TcpStream::connect(addr).await.expect("there is a place"));
        }
        let info = kernel::info(&listener);
        assert_eq!((info.tcpi_unacked, info.tcpi_sacked), (3, 2), "one more than asked for");
        let mut fourth = pin!(TcpStream::connect(addr));
        assert!(pends(fourth.as_mut()).await);
        kernel::until(|| kernel::counter("ListenOverflows") > overflows).await;
        kernel::until(|| kernel::table(addr.port()).iter().any(|line| line.remote == addr && line.state == state::SYN_SENT)).await;
        assert_eq!(kernel::info(&listener).tcpi_unacked, 3);
    }

    async fn row_19_several_listeners_are_waited_for_at_once() {
        let mut listeners = Vec::new();
        for _ in 0..8 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port is free"));
        }
        let addrs: Vec<_> = listeners.iter().map(|listener| listener.local_addr().expect("bound")).collect();
        let clients = harness::elsewhere(move || {
            let order = [5, 0, 7, 7, 3, 1, 6, 2, 4];
            order.map(|number| (number, net::TcpStream::connect(addrs[number]).expect("it listens")))
        });
        let accepts = async {
            let mut accepted = [0; 8];
            for _ in 0..9 {
                let (number, _) = std::future::poll_fn(|cx| {
                    for (number, listener) in listeners.iter().enumerate() {
                        if let std::task::Poll::Ready(result) = listener.poll_accept(cx) {
                            return std::task::Poll::Ready((number, result.expect("one waits")));
                        }
                    }
                    std::task::Poll::Pending
                })
                .await;
                accepted[number] += 1;
            }
            accepted
        };
        let (accepted, _clients) = both(accepts, clients).await;
        assert_eq!(accepted, [1, 1, 1, 1, 1, 1, 1, 2]);
    }

    /// A myth: that send is more efficient than write. Both take the same way,
    /// and differ in flags alone.
    async fn row_20_send_and_write_do_the_same() {
        let (sends, mut one) = pair_with_std().await;
        let (writes, mut other) = pair_with_std().await;
        let mut file = File::from(writes.as_fd().try_clone_to_owned().expect("a descriptor"));
        for number in 0..50 {
            let data = harness::noise(number, 1000);
            sends.write_all(&data).await.expect("there is room");
            file.write_all(&data).expect("there is room");
            let (mut sent, mut written) = ([0; 1000], [0; 1000]);
            one.read_exact(&mut sent).expect("it arrives");
            other.read_exact(&mut written).expect("it arrives");
            assert!(sent == data[..] && written == data[..]);
        }
        kernel::until(|| kernel::unacknowledged(&sends) + kernel::unacknowledged(&writes) == 0).await;
        let (sends, writes) = (kernel::info(&sends), kernel::info(&writes));
        assert_eq!(sends.tcpi_data_segs_out, writes.tcpi_data_segs_out);
        assert_eq!(sends.tcpi_bytes_sent, writes.tcpi_bytes_sent);
    }

    /// A myth: that send loses what does not fit. It says how much it took.
    /// (What `write_all` says after progress is in `closing.rs`.)
    async fn row_21_a_short_write_loses_nothing() {
        let (ours, mut peer) = pair_with_std().await;
        ours.set_send_buffer_size(4096).expect("an option");
        let data = harness::noise(21, 4 << 20);
        let taken = ours.write(&data).await.expect("there is room");
        assert!(0 < taken && taken < data.len(), "{taken}");
        let mut all = vec![0; data.len()];
        let reader = harness::elsewhere(move || peer.read_exact(&mut all).map(|()| all));
        let writer = async {
            let (mut left, mut calls) = (&data[taken..], 1);
            while !left.is_empty() {
                left = &left[ours.write(left).await.expect("there is room in the end")..];
                calls += 1;
            }
            calls
        };
        let (calls, all) = both(writer, reader).await;
        assert!(calls > 2, "{calls} calls");
        assert!(all.expect("all of it arrives") == data);
    }

    async fn row_22_a_read_returns_0_at_the_end() {
        let (ours, mut peer) = pair_with_std().await;
        peer.write_all(b"abc").expect("there is room");
        peer.shutdown(Shutdown::Write).expect("connected");
        let mut buf = [0; 2];
        assert_eq!(ours.read(&mut buf).await.expect("at most what was asked for"), 2);
        assert_eq!(ours.read(&mut buf).await.expect("the rest"), 1);
        for _ in 0..3 {
            assert_eq!(ours.read(&mut buf).await.expect("the end, again and again"), 0);
        }
        assert_eq!(kernel::state_of(&ours), state::CLOSE_WAIT);
        kernel::until(|| kernel::state_of(&peer) == state::FIN_WAIT2).await;
    }

    async fn row_24_names_are_the_kernel_s() {
        let (ours, peer) = pair_with_std().await;
        let (local, remote) = (ours.local_addr().expect("a name"), ours.peer_addr().expect("a name"));
        assert_eq!((peer.peer_addr().ok(), peer.local_addr().ok()), (Some(local), Some(remote)));
        let asked = SockRef::from(&ours);
        assert_eq!(asked.local_addr().expect("a name").as_socket(), Some(local));
        assert_eq!(asked.peer_addr().expect("a name").as_socket(), Some(remote));
        assert!(kernel::line(local, remote).is_some() && kernel::line(remote, local).is_some());
    }

    async fn row_25_a_duplicate_keeps_the_connection_open() {
        let (ours, peer) = pair().await;
        let duplicate = net::TcpStream::from(ours.as_fd().try_clone_to_owned().expect("a descriptor"));
        assert_ne!(duplicate.as_raw_fd(), ours.as_raw_fd());
        assert_eq!(kernel::file(&duplicate), kernel::file(&ours));
        let mut byte = [0];
        let mut read = pin!(peer.read(&mut byte));
        assert!(pends(read.as_mut()).await);
        drop(ours);
        is_calm(&mut read).await;
        (&duplicate).write_all(b"x").expect("still connected");
        assert_eq!(read.await.expect("a byte"), 1);
        drop(duplicate);
        assert_eq!(peer.read(&mut [0]).await.expect("the end"), 0);
    }

    async fn row_25_a_stream_goes_to_std_and_comes_back() {
        let (ours, mut peer) = pair_with_std().await;
        {
            // Registered.
            let mut byte = [0];
            let mut read = pin!(ours.read(&mut byte));
            assert!(pends(read.as_mut()).await);
        }
        let (number, name) = (ours.as_raw_fd(), kernel::file(&ours));
        let detached = ours.into_std();
        assert_eq!((detached.as_raw_fd(), kernel::file(&detached)), (number, name));
        peer.write_all(b"ab").expect("there is room");
        let ours = TcpStream::from_std(detached).expect("an option");
        let mut buf = [0; 2];
        ours.read_exact(&mut buf).await.expect("it arrives");
        assert_eq!(&buf, b"ab");
    }

    /// Taking over sets it, where others err; so no blocking descriptor can stop a
    /// thread.
    async fn row_26_non_blocking_is_set_beside_the_other_flags() {
        let (client, peer) = pair_with_std().await;
        let blocking = client.into_std();
        blocking.set_nonblocking(false).expect("an option");
        let flags = kernel::flags(&blocking, libc::F_GETFL);
        // SAFETY: takes no pointer.
        let set = unsafe { libc::fcntl(blocking.as_raw_fd(), libc::F_SETFL, flags | libc::O_APPEND) };
        assert_eq!(set, 0);
        let ours = TcpStream::from_std(blocking).expect("an option");
        let expected = flags | libc::O_APPEND | libc::O_NONBLOCK;
        assert_eq!(kernel::flags(&ours, libc::F_GETFL), expected);
        let error = ours.try_read(&mut [0]).expect_err("nothing is there");
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        drop(peer);
    }

    /// `states.rs` has all that come between.
    async fn row_27_a_close_is_two_of_the_four_waves() {
        let (ours, peer) = pair().await;
        let (local, remote) = (ours.local_addr().expect("a name"), ours.peer_addr().expect("a name"));
        let state_of_ours = || kernel::line(local, remote).map(|line| line.state);
        drop(ours);
        assert_eq!(peer.read(&mut [0]).await.expect("the end"), 0);
        // No descriptor has it any more, and the kernel still does.
        kernel::until(|| state_of_ours() == Some(state::FIN_WAIT2)).await;
        assert_eq!(kernel::state_of(&peer), state::CLOSE_WAIT);
        drop(peer);
        kernel::until(|| state_of_ours() == Some(state::TIME_WAIT)).await;
        assert!(kernel::line(remote, local).is_none());
    }
}

/// A listener that blocks again, as std's do.
trait IntoBlocking {
    fn into_blocking(self) -> Socket;
}

impl IntoBlocking for net::TcpListener {
    fn into_blocking(self) -> Socket {
        self.set_nonblocking(false).expect("an option");
        self.into()
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        async fn row_11_a_privileged_port_is_not_for_everybody() {
            let start = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("procfs");
            let start: u16 = start.trim().parse().expect("a number");
            assert!(start > 1, "no port of this system is privileged");
            // SAFETY: takes no pointer.
            if unsafe { libc::geteuid() } == 0 {
                // SAFETY: takes no pointer.
                assert_eq!(unsafe { libc::seteuid(65_534) }, 0, "{}", io::Error::last_os_error());
            }
            let error = TcpListener::bind(("127.0.0.1", start - 1)).await.expect_err("it is privileged");
            assert_eq!(error.raw_os_error(), Some(libc::EACCES));
        }

        async fn row_28_every_open_connection_costs_the_system_until_it_is_closed() {
            drop(pair().await);
            let before = descriptors();
            let mut pairs = Vec::new();
            for number in 1..=50 {
                pairs.push(pair().await);
                assert_eq!(descriptors(), before + 2 * number);
            }
            let (client, server) = &pairs[0];
            let name = (client.local_addr().expect("a name"), server.local_addr().expect("a name"));
            assert!(kernel::line(name.0, name.1).is_some());
            pairs.clear();
            assert_eq!(descriptors(), before);
        }
    }
}

//! Rows 64 to 76 of docs/sockets.md: options, by what they do.

mod harness;

use std::io::Read;
use std::net::{self, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use bourn_net::{Keepalive, TcpListener, TcpSocket, TcpStream};

use harness::kernel::{self, state};
use harness::{on_every_backend, pair, pair_with_std};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

on_every_backend! {
    async fn row_64_addresses_are_used_again_by_listeners_and_not_by_others() {
        let is_set = |fd: std::os::fd::BorrowedFd<'_>| kernel::int(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR) != 0;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        assert!(is_set(listener.as_fd()), "by default");
        let socket = TcpSocket::new_v4().expect("a socket");
        assert!(!is_set(socket.as_fd()));
        socket.set_reuse_addr(true).expect("an option");
        assert!(is_set(socket.as_fd()) && socket.reuse_addr().expect("an option"));
        // Two may be bound to one address, as long as neither listens.
        socket.bind(any()).expect("a port is free");
        let addr = socket.local_addr().expect("it is bound");
        let twin = TcpSocket::new_v4().expect("a socket");
        twin.set_reuse_addr(true).expect("an option");
        twin.bind(addr).expect("both allow it");
        let _listener = socket.listen(8).expect("it is the first");
        let error = twin.listen(8).expect_err("one listens");
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
    }

    async fn row_65_the_kernel_spreads_connections_among_the_listeners_of_a_port() {
        let listen = |addr| {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuse_port(true).expect("an option");
            socket.bind(addr).expect("the others allow it");
            socket.listen(128).expect("the others allow it")
        };
        let first = listen(any());
        let addr = first.local_addr().expect("it is bound");
        let listeners = [first, listen(addr), listen(addr), listen(addr)];
        let refusing = TcpSocket::new_v4().expect("a socket");
        let error = refusing.bind(addr).expect_err("it does not allow it itself");
        assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE));
        let mut clients = Vec::new();
        for _ in 0..96 {
            clients.push(TcpStream::connect(addr).await.expect("a place"));
        }
        let counts = listeners.map(|listener| std::iter::from_fn(|| listener.try_accept().ok()).count());
        assert_eq!(counts.iter().sum::<usize>(), 96);
        // Each of 4 gets none of 96 once in 10^12 runs.
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    /// That a dead peer is found is in `tests/heavy`.
    async fn row_66_keep_alive_sets_a_timer_in_the_kernel() {
        let (ours, peer) = pair().await;
        let (local, remote) = (ours.local_addr().expect("a name"), ours.peer_addr().expect("a name"));
        let timer = || kernel::line(local, remote).expect("connected").timer;
        let times = || {
            [libc::TCP_KEEPIDLE, libc::TCP_KEEPINTVL, libc::TCP_KEEPCNT]
                .map(|name| kernel::int(&ours, libc::IPPROTO_TCP, name))
        };
        assert_eq!((kernel::int(&ours, libc::SOL_SOCKET, libc::SO_KEEPALIVE), timer()), (0, 0), "off by default");
        assert_eq!(times(), [7200, 75, 9], "the kernel's: two hours");
        ours.set_keepalive(Some(Keepalive::default())).expect("an option");
        assert_eq!((kernel::int(&ours, libc::SOL_SOCKET, libc::SO_KEEPALIVE), timer()), (1, 2));
        assert_eq!(times(), [60, 10, 6], "ours: two minutes");
        // Probes go out, and are answered.
        let often = Keepalive { idle: Duration::from_secs(1), interval: Duration::from_secs(1), count: 3 };
        let before = kernel::info(&peer).tcpi_segs_out;
        ours.set_keepalive(Some(often)).expect("an option");
        kernel::until(|| kernel::info(&peer).tcpi_segs_out > before).await;
        assert_eq!(kernel::unread(&peer), 0, "without data");
        ours.set_keepalive(None).expect("an option");
        kernel::until(|| timer() == 0).await;
    }

    async fn row_66_accepted_streams_inherit_keep_alive() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_keepalive(Some(Keepalive::default())).expect("an option");
        socket.bind(any()).expect("a port is free");
        let listener = socket.listen(8).expect("it is bound");
        let _client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("one waits");
        assert_eq!(kernel::int(&server, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
        assert_eq!(kernel::int(&server, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), 60);
    }

    async fn row_67_small_segments_are_sent_at_once_by_default() {
        let (ours, mut peer) = pair_with_std().await;
        assert_eq!(kernel::int(&ours, libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
        for round in 1..=20 {
            ours.write_all(b"x").await.expect("there is room");
            let info = kernel::info(&ours);
            assert_eq!((info.tcpi_data_segs_out, info.tcpi_notsent_bytes), (round, 0));
        }
        peer.read_exact(&mut [0; 20]).expect("they arrive");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let _client = net::TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (server, _) = listener.accept().await.expect("one waits");
        assert_eq!(kernel::int(&server, libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
    }

    /// Nagle's algorithm: of small segments one is unacknowledged at a time.
    async fn row_68_without_nodelay_a_small_segment_waits_for_the_acknowledgement() {
        let (ours, peer) = pair_with_std().await;
        ours.set_nodelay(false).expect("an option");
        // The peer takes its time to acknowledge.
        let held = async || {
            kernel::set(&peer, libc::IPPROTO_TCP, libc::TCP_QUICKACK, 0).expect("an option");
            let before = kernel::info(&ours).tcpi_data_segs_out;
            ours.write_all(b"a").await.expect("there is room");
            ours.write_all(b"b").await.expect("there is room");
            ours.write_all(b"c").await.expect("there is room");
            let held = (kernel::info(&ours).tcpi_data_segs_out - before, kernel::unsent(&ours));
            kernel::until(|| kernel::unacknowledged(&ours) == 0).await;
            assert_eq!(kernel::info(&ours).tcpi_data_segs_out - before, 2, "the rest went in one");
            held
        };
        // The kernel may acknowledge at once all the same, at times.
        let mut attempts = 0;
        while held().await != (1, 2) {
            attempts += 1;
            assert!(attempts < 20, "nothing is ever held back");
        }
    }

    /// That no time can be set but zero is in row 56, what zero does in row 57.
    async fn row_71_linger_is_off_and_zero_is_all_there_is() {
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[repr(C)]
        struct Linger(i32, i32);
        let (ours, _peer) = pair().await;
        let linger = || kernel::get::<Linger>(&ours, libc::SOL_SOCKET, libc::SO_LINGER).expect("an option");
        assert_eq!(linger().0, 0);
        ours.set_zero_linger(true).expect("an option");
        assert_eq!(linger(), Linger(1, 0));
        ours.set_zero_linger(false).expect("an option");
        assert_eq!(linger().0, 0);
    }

    /// What Linux doubles for its bookkeeping bounds what is under way.
    async fn row_72_buffers_bound_what_is_on_its_way() {
        let listen = TcpSocket::new_v4().expect("a socket");
        listen.set_recv_buffer_size(8192).expect("an option");
        listen.bind(any()).expect("a port is free");
        let listener = listen.listen(8).expect("it is bound");
        let client = TcpSocket::new_v4().expect("a socket");
        client.set_send_buffer_size(8192).expect("an option");
        assert_eq!(kernel::int(&client, libc::SOL_SOCKET, libc::SO_SNDBUF), 16_384);
        let client = client.connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("one waits");
        assert_eq!(kernel::int(&server, libc::SOL_SOCKET, libc::SO_RCVBUF), 16_384, "inherited");
        let fill = async |from: &TcpStream| {
            let mut accepted = 0;
            kernel::until(|| {
                let before = accepted;
                while let Ok(length) = from.try_write(&[7; 1000]) {
                    accepted += length;
                }
                accepted == before && kernel::unsent(from) > 0
            })
            .await;
            accepted
        };
        let small = fill(&client).await;
        assert!(small <= 40_000, "{small} bytes in two buffers of 8 KiB");
        let (client, _server) = pair().await;
        let large = fill(&client).await;
        assert!(large > 4 * small, "{large} by default, {small}");
    }

    /// Row 45 says why they are of no use here.
    async fn row_73_the_kernel_s_time_outs_are_not_set() {
        let (ours, _peer) = pair().await;
        for name in [libc::SO_RCVTIMEO, libc::SO_SNDTIMEO] {
            let time: libc::timeval = kernel::get(&ours, libc::SOL_SOCKET, name).expect("an option");
            assert_eq!((time.tv_sec, time.tv_usec), (0, 0));
        }
        assert_eq!(kernel::state_of(&ours), state::ESTABLISHED);
    }
}

//! What the kernel tells of connections, against what the peer and procfs say; and
//! what `close` reports of their bytes.

mod harness;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_net::{TcpListener, TcpSocket, TcpState, TcpStream};
use bourn_reactor::Sleep;
use socket2::SockRef;

use harness::{both, elsewhere, kind, on_every_backend, pair, pair_with_std, pends};

/// Waits, in short steps, until `holds`; the watchdog says so if it never does.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        Sleep::after(Duration::from_millis(1)).await;
    }
}

/// The state of the connection between two ports in /proc/net/tcp.
fn state_in_procfs(local: SocketAddr, peer: SocketAddr) -> Option<u8> {
    let (local, peer) = (format!(":{:04X}", local.port()), format!(":{:04X}", peer.port()));
    let text = fs::read_to_string("/proc/net/tcp").expect("procfs");
    let state = text.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (here, there) = (fields.next()?, fields.next()?);
        (here.ends_with(&local) && there.ends_with(&peer)).then(|| fields.next().map(str::to_owned))?
    })?;
    u8::from_str_radix(&state, 16).ok()
}

/// Writes until there is no room; returns how much went.
fn fill(stream: &TcpStream) -> u64 {
    let mut filled = 0;
    while let Ok(written) = stream.try_write(&[7; 65_536]) {
        filled += written as u64;
    }
    filled
}

async fn small_pair() -> (TcpStream, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    SockRef::from(&listener).set_recv_buffer_size(20_000).expect("an option");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_send_buffer_size(200_000).expect("an option");
    let ours = socket.connect(listener.local_addr().expect("bound")).await.expect("it listens");
    (ours, listener.accept().expect("it connected").0)
}

on_every_backend! {
    async fn row_29_states_are_told_as_the_kernel_lists_them() {
        let (one, other) = pair().await;
        let addrs = (one.local_addr().expect("bound"), other.local_addr().expect("bound"));
        let listed = |stream: &TcpStream| {
            let (here, there) = if stream.local_addr().expect("bound") == addrs.0 { addrs } else { (addrs.1, addrs.0) };
            state_in_procfs(here, there)
        };
        assert_eq!(one.state().expect("connected"), TcpState::Established);
        // The list is not read in one piece, so it may lack a line.
        until(|| listed(&one) == Some(1)).await;
        one.shutdown(Shutdown::Write).expect("connected");
        until(|| one.state().expect("open") == TcpState::FinWait2).await;
        until(|| listed(&one) == Some(5)).await;
        assert_eq!(other.state().expect("open"), TcpState::CloseWait);
        until(|| listed(&other) == Some(8)).await;
        other.shutdown(Shutdown::Write).expect("connected");
        until(|| other.state().expect("open") == TcpState::Closed).await;
        // The kernel keeps its port, but no longer for this socket.
        until(|| one.state().expect("open") == TcpState::Closed).await;
    }

    async fn row_47_counters_follow_what_is_sent() {
        let (one, other) = pair().await;
        let before = (one.info().expect("connected"), other.info().expect("connected"));
        one.write_all(&[1; 50_000]).await.expect("it is read");
        other.read_exact(&mut [0; 50_000]).await.expect("it comes");
        until(|| one.queues().expect("connected").unacknowledged == 0).await;
        let after = (one.info().expect("connected"), other.info().expect("connected"));
        assert_eq!(after.0.bytes_acked - before.0.bytes_acked, 50_000);
        assert_eq!(after.0.bytes_sent - before.0.bytes_sent, 50_000);
        assert_eq!(after.1.bytes_received - before.1.bytes_received, 50_000);
        assert!(after.0.segs_out > before.0.segs_out && after.1.segs_in > before.1.segs_in);
        assert_eq!((after.0.total_retrans, after.0.unacked, after.0.notsent_bytes), (0, 0, 0));
        assert_eq!(after.0.pmtu, 65_535, "of the loopback");
        assert!(after.0.snd_mss > 1000 && after.0.snd_cwnd > 0 && after.0.snd_wnd > 0);
        assert!(!after.0.rtt.is_zero() && after.0.rtt < Duration::from_secs(5), "{:?}", after.0.rtt);
        assert!(after.0.rto >= Duration::from_millis(1) && after.0.min_rtt <= after.0.rtt * 2);
    }

    async fn row_07_queues_tell_where_the_bytes_are() {
        let (ours, mut peer) = small_pair().await;
        let filled = fill(&ours);
        // Until the peer's window is closed.
        until(|| ours.info().expect("connected").unacked == 0).await;
        let theirs = TcpStream::from_std(peer.try_clone().expect("a descriptor")).expect("an option");
        let (here, there) = (ours.queues().expect("connected"), theirs.queues().expect("connected"));
        assert_eq!(here.unacknowledged as u64 + there.unread as u64, filled);
        assert_eq!(here.unsent, here.unacknowledged, "no window");
        assert!(there.unread > 0 && here.unread == 0 && here.unsent > 0);
        drop(theirs);
        peer.set_nonblocking(false).expect("an option");
        let drain = elsewhere(move || peer.read_exact(&mut vec![0; filled as usize]).map(|()| peer));
        let (drained, acknowledged) = both(drain, ours.acknowledged()).await;
        acknowledged.expect("all of it");
        let _peer = drained.expect("all of it");
        assert_eq!(ours.queues().expect("connected").unacknowledged, 0);
    }

    async fn row_18_the_queue_of_a_listener_is_seen() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let listener = socket.listen(2).expect("it is bound");
        let addr = listener.local_addr().expect("bound");
        let before = listener.queue().expect("it listens");
        assert_eq!((before.length, before.limit), (0, 2));
        let mut clients = Vec::new();
        for length in 1..=3 {
            clients.push(TcpStream::connect(addr).await.expect("there is a place"));
            until(|| listener.queue().expect("it listens").length == length).await;
        }
        // One more than the limit, and no other: its packets are dropped, and counted.
        {
            let mut fourth = pin!(TcpStream::connect(addr));
            assert!(pends(fourth.as_mut()).await);
            until(|| listener.queue().expect("it listens").overflows > before.overflows).await;
        }
        listener.accept().await.expect("one waits");
        assert_eq!(listener.queue().expect("it listens").length, 2);
    }

    async fn row_54_a_close_tells_what_became_of_the_bytes() {
        let (ours, mut peer) = pair_with_std().await;
        ours.write_all(b"question").await.expect("room");
        peer.write_all(b"unread answer").expect("room");
        let peer = elsewhere(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).expect("no reset");
            peer.write_all(b", and more").expect("no reset");
            all
        });
        let (report, all) = both(ours.close(), peer).await;
        let report = report.expect("counts");
        assert_eq!(all, b"question");
        assert_eq!((report.unread, report.unsent, report.unacknowledged, report.acknowledged), (23, 0, 0, 8));
        assert!(report.peer_closed && report.error.is_none() && !report.is_complete());

        // The end that accepted, and nothing unread.
        let (one, other) = pair().await;
        other.write_all(b"x").await.expect("room");
        one.read_exact(&mut [0]).await.expect("a byte");
        let (one, other) = both(one.close(), other.close()).await;
        let (one, other) = (one.expect("counts"), other.expect("counts"));
        assert_eq!((one.acknowledged, other.acknowledged), (0, 1));
        assert!(one.is_complete() && other.is_complete(), "{one:?} {other:?}");
    }

    /// The same after a half-close, and when the peer was first.
    async fn a_close_after_a_half_close_counts_the_same() {
        let (one, other) = pair().await;
        one.write_all(b"12345").await.expect("room");
        one.shutdown(Shutdown::Write).expect("connected");
        other.read_exact(&mut [0; 5]).await.expect("bytes");
        other.write_all(b"123").await.expect("room");
        let other = other.close_within(Duration::from_millis(1)).await.expect("counts");
        let report = one.close().await.expect("counts");
        assert_eq!((report.acknowledged, report.unread, report.unacknowledged), (5, 3, 0));
        assert!(report.peer_closed && other.peer_closed);
        assert_eq!(other.acknowledged + other.unacknowledged, 3);
    }

    async fn row_54_a_close_tells_the_truth_of_a_peer_that_has_stopped_reading() {
        let (ours, mut peer) = small_pair().await;
        let filled = fill(&ours);
        until(|| ours.info().expect("connected").unacked == 0).await;
        let start = Instant::now();
        let report = ours.close_within(Duration::from_millis(100)).await.expect("counts");
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert!(!report.peer_closed && report.error.is_none(), "{report:?}");
        assert_eq!(report.acknowledged + report.unacknowledged, filled, "{report:?}");
        assert!(report.unsent > 0 && report.acknowledged > 0 && !report.is_complete(), "{report:?}");
        // What was acknowledged is exactly what the peer's kernel has; the rest follows
        // when it reads on.
        let theirs = TcpStream::from_std(peer.try_clone().expect("a descriptor")).expect("an option");
        assert_eq!(theirs.queues().expect("connected").unread as u64, report.acknowledged);
        drop(theirs);
        peer.set_nonblocking(false).expect("an option");
        let all = elsewhere(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all.len() as u64)
        });
        assert_eq!(all.await.expect("no reset"), filled);
    }

    async fn row_63_a_close_tells_of_a_reset() {
        let (ours, peer) = small_pair().await;
        let filled = fill(&ours);
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(peer);
        until(|| ours.state().expect("open") == TcpState::Closed).await;
        let report = ours.close().await.expect("counts");
        assert_eq!(report.error.as_ref().map(|error| error.kind()), Some(ErrorKind::ConnectionReset), "{report:?}");
        assert!(!report.peer_closed && report.acknowledged + report.unacknowledged <= filled, "{report:?}");
    }

    async fn row_46_who_waits_for_acknowledgements_is_told_of_a_reset() {
        let (ours, peer) = small_pair().await;
        fill(&ours);
        let mut wait = pin!(ours.acknowledged());
        assert!(pends(wait.as_mut()).await);
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(peer);
        assert_eq!(kind(wait.await), Err(ErrorKind::NotConnected));
    }

    async fn row_69_a_cork_makes_few_packets_of_many_writes() {
        let (ours, mut peer) = pair_with_std().await;
        let mut sent = Vec::new();
        for corked in [false, true] {
            let before = ours.info().expect("connected").segs_out;
            let cork = corked.then(|| ours.cork().expect("an option"));
            for _ in 0..10 {
                ours.write_all(b"piece").await.expect("room");
            }
            drop(cork);
            peer.read_exact(&mut [0; 50]).expect("all of it, at once");
            sent.push(ours.info().expect("connected").segs_out - before);
        }
        assert!(sent[0] >= 10 && sent[1] <= 2, "{sent:?}");
    }
}

/// What listens has no bytes, and says so.
#[test]
fn a_listener_that_was_never_connected_to_has_no_queue_of_bytes() {
    harness::watched("listener", || {
        futures_lite::future::block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let somaxconn = fs::read_to_string("/proc/sys/net/core/somaxconn").expect("procfs");
            assert_eq!(listener.queue().expect("it listens").limit.to_string(), somaxconn.trim());
        });
    });
}

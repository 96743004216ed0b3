//! Datagrams arrive whole, one by one or in batches, and errors are told once.

mod harness;

use std::io::ErrorKind;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_net::{Interest, RecvBatch, UdpSocket};

use harness::{both, kind, on_every_backend, pends};

async fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    let addr = socket.local_addr().expect("it is bound");
    (socket, addr)
}

on_every_backend! {
    async fn row_23_datagrams_keep_their_boundaries() {
        let ((first, first_addr), (second, second_addr)) = (bound().await, bound().await);
        let mut buf = [0; 100];
        {
            // Waits first, so that it is the report that ends it.
            let mut receive = pin!(second.recv_from(&mut buf));
            assert!(pends(receive.as_mut()).await);
            assert_eq!(first.send_to(b"one", second_addr).await.expect("room"), 3);
            assert_eq!(receive.await.expect("a datagram"), (3, first_addr));
        }
        for datagram in [&b"two"[..], b"", b"three"] {
            assert_eq!(first.send_to(datagram, second_addr).await.expect("room"), datagram.len());
        }
        assert_eq!(second.recv_from(&mut buf).await.expect("a datagram"), (3, first_addr));
        assert_eq!(second.recv_from(&mut buf).await.expect("a datagram"), (0, first_addr));
        // What does not fit is lost, and only that.
        assert_eq!(second.peek_from(&mut buf[..2]).await.expect("a datagram"), (2, first_addr));
        assert_eq!(second.try_peek_from(&mut buf).expect("a datagram"), (5, first_addr));
        assert_eq!(second.recv(&mut buf[..4]).await.expect("a datagram"), 4);
        assert_eq!(&buf[..4], b"thre");
        assert_eq!(kind(second.try_recv(&mut buf)), Err(ErrorKind::WouldBlock));
        assert_eq!(kind(second.try_recv_from(&mut buf)), Err(ErrorKind::WouldBlock));
    }

    async fn an_empty_buffer_takes_a_datagram() {
        let ((first, _), (second, second_addr)) = (bound().await, bound().await);
        first.send_to(b"gone", second_addr).await.expect("room");
        first.send_to(b"next", second_addr).await.expect("room");
        assert_eq!(second.recv(&mut []).await.expect("a datagram"), 0);
        let mut buf = [0; 10];
        assert_eq!(second.recv(&mut buf).await.expect("a datagram"), 4);
        assert_eq!(&buf[..4], b"next");
    }

    async fn row_23_a_connected_socket_hears_its_peer_alone() {
        let ((first, first_addr), (second, second_addr), (stranger, _)) =
            (bound().await, bound().await, bound().await);
        assert_eq!(kind(first.peer_addr()), Err(ErrorKind::NotConnected));
        let error = first.send(b"to whom?").await.expect_err("no peer");
        assert_eq!(error.raw_os_error(), Some(libc::EDESTADDRREQ));
        first.connect(second_addr).await.expect("an address");
        assert_eq!(first.peer_addr().expect("connected"), second_addr);
        stranger.send_to(b"strange", first_addr).await.expect("room");
        second.send_to(b"familiar", first_addr).await.expect("room");
        let mut buf = [0; 20];
        assert_eq!(first.peek(&mut buf).await.expect("a datagram"), 8);
        assert_eq!(first.recv(&mut buf).await.expect("a datagram"), 8);
        assert_eq!(first.try_send(b"answer").expect("room"), 6);
        assert_eq!(second.recv_from(&mut buf).await.expect("a datagram"), (6, first_addr));
    }

    async fn row_23_a_refusal_is_told_at_once_and_once() {
        let (socket, addr) = bound().await;
        // An address of its own, so that no other test takes the port.
        let gone = UdpSocket::bind("127.0.0.77:0").await.expect("a port");
        let gone_addr = gone.local_addr().expect("an address");
        drop(gone);
        socket.connect(gone_addr).await.expect("an address");
        let mut buf = [0; 10];
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let start = Instant::now();
            {
                let mut receive = pin!(socket.recv(&mut buf));
                assert!(pends(receive.as_mut()).await);
                assert_eq!(socket.try_send(b"anybody?").expect("room"), 8);
                assert_eq!(kind(receive.await), Err(ErrorKind::ConnectionRefused));
            }
            fastest = fastest.min(start.elapsed());
            assert_eq!(kind(socket.try_recv(&mut buf)), Err(ErrorKind::WouldBlock));
        }
        // One of three, for the machine may have something else to do.
        assert!(fastest < Duration::from_millis(100), "{fastest:?}");
        // Batches of one tell it, too; of more, see the docs.
        let one: [(&[u8], _); 1] = [(b"anybody?", None)];
        assert_eq!(socket.send_batch(&one).await.expect("room"), 1);
        let refused = loop {
            // Until the answer of the kernel is there.
            if let Err(error) = socket.send_batch(&one).await {
                break error.kind();
            }
        };
        assert_eq!(refused, ErrorKind::ConnectionRefused);
        while socket.take_error().expect("an answer").is_some() {}
        let peer = net::UdpSocket::bind(gone_addr).expect("the port is free again");
        socket.send(b"there you are").await.expect("room");
        peer.send_to(b"yes", addr).expect("room");
        assert_eq!(socket.recv(&mut buf).await.expect("a datagram"), 3);
    }

    async fn readiness_is_waited_for() {
        let ((first, first_addr), (second, second_addr)) = (bound().await, bound().await);
        {
            let mut readable = pin!(second.readable());
            assert!(pends(readable.as_mut()).await);
            first.send_to(b"x", second_addr).await.expect("room");
            readable.await.expect("a datagram");
        }
        second.writable().await.expect("room");
        let ready = second.ready(Interest::READ | Interest::WRITE).await.expect("both");
        assert_eq!(ready, Interest::READ | Interest::WRITE);
        let mut buf = [0; 10];
        assert_eq!(second.try_recv_from(&mut buf).expect("a datagram"), (1, first_addr));
        assert_eq!(kind(second.try_recv(&mut buf)), Err(ErrorKind::WouldBlock));
        assert!(pends(pin!(second.readable())).await);
    }

    async fn row_23_batches_carry_what_single_calls_do() {
        let ((first, first_addr), (second, second_addr)) = (bound().await, bound().await);
        let mut batch = RecvBatch::new(1000, 16);
        let texts: Vec<String> = (0..100).map(|number| "x".repeat(number % 20)).collect();
        let datagrams: Vec<_> = texts
            .iter()
            .map(|text| (text.as_bytes(), Some(second_addr)))
            .collect();
        let send = async {
            let mut sent = 0;
            while sent < datagrams.len() {
                let now = first.send_batch(&datagrams[sent..]).await.expect("room");
                assert!((1..=32).contains(&now));
                sent += now;
            }
        };
        let receive = async {
            let mut seen = 0;
            while seen < texts.len() {
                let received = second.recv_batch(&mut batch).await.expect("datagrams");
                assert_eq!(received, batch.iter().len());
                for (datagram, text) in batch.iter().zip(&texts[seen..]) {
                    assert_eq!(datagram.sender, first_addr);
                    assert_eq!(datagram.bytes, &text.as_bytes()[..text.len().min(16)]);
                    assert_eq!(datagram.truncated, text.len() > 16);
                }
                seen += received;
            }
        };
        // The receiver waits first.
        both(receive, send).await;
        assert_eq!(first.send_batch(&[]).await.expect("nothing to do"), 0);
        assert!(pends(pin!(second.recv_batch(&mut batch))).await);
        assert_eq!(batch.iter().len(), 0, "what was there is gone");
        // Through a connection, and no further than the first that can not go.
        first.connect(second_addr).await.expect("an address");
        let long = vec![0; 70_000];
        let mixed = [(&b"fits"[..], None), (&long, None), (b"after", None)];
        assert_eq!(first.send_batch(&mixed).await.expect("one"), 1);
        let error = first.send_batch(&mixed[1..]).await.expect_err("too long");
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        let mut buf = [0; 16];
        assert_eq!(second.recv(&mut buf).await.expect("a datagram"), 4);
    }

    async fn batches_are_tried_and_polled() {
        let ((first, _), (second, second_addr)) = (bound().await, bound().await);
        let mut batch = RecvBatch::new(4, 16);
        assert_eq!(kind(second.try_recv_batch(&mut batch)), Err(ErrorKind::WouldBlock));
        assert!(pends(pin!(std::future::poll_fn(|cx| second.poll_recv_batch(cx, &mut batch)))).await);
        let datagrams = [(&b"one"[..], Some(second_addr)), (b"two", Some(second_addr))];
        assert_eq!(first.try_send_batch(&[]).expect("nothing to do"), 0);
        assert_eq!(first.try_send_batch(&datagrams).expect("room"), 2);
        let received = std::future::poll_fn(|cx| second.poll_recv_batch(cx, &mut batch)).await;
        assert_eq!(received.expect("they are there"), 2);
        let sent = std::future::poll_fn(|cx| first.poll_send_batch(cx, &datagrams)).await;
        assert_eq!(sent.expect("room"), 2);
        second.readable().await.expect("they come");
        assert_eq!(second.try_recv_batch(&mut batch).expect("they are there"), 2);
        assert!(batch.iter().map(|datagram| datagram.bytes).eq([b"one", b"two"]));
    }

    async fn options_reach_the_kernel() {
        let (socket, _) = bound().await;
        let destination = SocketAddr::from(([255, 255, 255, 255], 9));
        assert_eq!(kind(socket.send_to(b"all", destination).await), Err(ErrorKind::PermissionDenied));
        assert!(!socket.broadcast().expect("an option"));
        socket.set_broadcast(true).expect("an option");
        assert!(socket.broadcast().expect("an option"));
        // A host without a route is no longer told that it may not.
        assert_ne!(kind(socket.send_to(b"all", destination).await), Err(ErrorKind::PermissionDenied));
        socket.set_ttl(7).expect("an option");
        assert_eq!(socket.ttl().expect("an option"), 7);
        for beyond in [256, u32::MAX] {
            let refused = [socket.set_ttl(beyond), socket.set_multicast_ttl_v4(beyond)];
            for refused in refused {
                assert_eq!(kind(refused), Err(ErrorKind::InvalidInput));
            }
        }
        socket.set_multicast_ttl_v4(3).expect("an option");
        assert_eq!(socket.multicast_ttl_v4().expect("an option"), 3);
        socket.set_recv_buffer_size(9000).expect("an option");
        assert_eq!(socket.recv_buffer_size().expect("an option"), 18_000);
        let six = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.expect("a port is free");
        six.set_multicast_hops_v6(4).expect("an option");
        six.set_multicast_loop_v6(false).expect("an option");
        assert_eq!(six.multicast_hops_v6().expect("an option"), 4);
        assert!(!six.multicast_loop_v6().expect("an option"));
    }

    async fn row_83_a_group_hears_what_is_sent_to_it() {
        let group = Ipv4Addr::new(239, 7, 7, 7);
        let member = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.expect("a port is free");
        member.join_multicast_v4(group, Ipv4Addr::LOCALHOST).expect("the loopback interface");
        assert_eq!(
            kind(member.join_multicast_v4(group, Ipv4Addr::LOCALHOST)),
            Err(ErrorKind::AddrInUse)
        );
        let port = member.local_addr().expect("it is bound").port();
        let (sender, sender_addr) = bound().await;
        sender.set_multicast_if_v4(Ipv4Addr::LOCALHOST).expect("an option");
        assert_eq!(sender.multicast_if_v4().expect("an option"), Ipv4Addr::LOCALHOST);
        let mut buf = [0; 10];
        {
            let mut receive = pin!(member.recv_from(&mut buf));
            assert!(pends(receive.as_mut()).await);
            sender.send_to(b"all", (group, port).into()).await.expect("room");
            assert_eq!(receive.await.expect("a datagram"), (3, sender_addr));
        }
        sender.set_multicast_loop_v4(false).expect("an option");
        assert!(!sender.multicast_loop_v4().expect("an option"));
        member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST).expect("a member");
        assert_eq!(
            kind(member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)),
            Err(ErrorKind::AddrNotAvailable)
        );
        sender.send_to(b"nobody", (group, port).into()).await.expect("room");
        assert_eq!(kind(member.try_recv(&mut buf)), Err(ErrorKind::WouldBlock));
    }

    async fn sockets_go_to_std_and_come_back() {
        let (first, first_addr) = bound().await;
        let mut buf = [0; 10];
        assert!(pends(pin!(first.recv(&mut buf))).await);
        let std = first.into_std();
        let second = UdpSocket::from_std(net::UdpSocket::bind("127.0.0.1:0").expect("a port"))
            .expect("an option");
        std.connect(second.local_addr().expect("it is bound")).expect("an address");
        std.send(b"std").expect("room");
        assert_eq!(second.recv_from(&mut buf).await.expect("a datagram"), (3, first_addr));
        let first = UdpSocket::from_std(std).expect("an option");
        second.send_to(b"back", first_addr).await.expect("room");
        assert_eq!(first.recv(&mut buf).await.expect("a datagram"), 4);
    }
}

//! Urgent data (tcp(7), `MSG_OOB`) in mid-stream: a read stops at its mark with
//! more behind it, so a short read proves nothing; and unread urgent data must not
//! spin a level-triggered wait.

mod harness;

use std::io::{Read, Write};
use std::net;
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_net::TcpStream;
use bourn_reactor::Sleep;
use socket2::SockRef;

use harness::{cpu_time, on_every_backend, pair_with_std, pends, polls};

fn send_urgent(mut peer: &net::TcpStream) {
    peer.write_all(b"aaaa").expect("still connected");
    let sent = SockRef::from(peer).send_out_of_band(b"!").expect("still connected");
    assert_eq!(sent, 1);
    peer.write_all(b"bbbb").expect("still connected");
}

on_every_backend! {
    async fn row_20_urgent_data_hides_no_byte() {
        let (ours, peer) = pair_with_std().await;
        let mut seen = Vec::new();
        let mut buf = [0; 64];
        for round in 1..=3 {
            let before = polls();
            {
                let mut read = pin!(ours.read(&mut buf));
                assert!(pends(read.as_mut()).await);
            }
            send_urgent(&peer);
            let mut reads = 0;
            while seen.len() < 8 * round {
                let length = ours.read(&mut buf).await.expect("more is there");
                seen.extend_from_slice(&buf[..length]);
                reads += 1;
            }
            assert!(reads <= 8, "{reads} reads for 8 bytes");
            assert!(polls() - before <= 16, "{} polls for 8 bytes", polls() - before);
        }
        assert_eq!(seen, b"aaaabbbb".repeat(3));
    }

    /// Whoever asks for it gets the urgent byte in its place; reads stop in front
    /// of it and behind.
    async fn urgent_bytes_may_be_part_of_the_stream() {
        let (ours, peer) = pair_with_std().await;
        SockRef::from(&ours).set_out_of_band_inline(true).expect("an option");
        let ours = TcpStream::from_std(ours.into_std()).expect("an option");
        let mut buf = [0; 64];
        assert!(pends(pin!(ours.read(&mut buf))).await);
        send_urgent(&peer);
        let mut seen = Vec::new();
        while seen.len() < 9 {
            let length = ours.read(&mut buf).await.expect("more is there");
            seen.extend_from_slice(&buf[..length]);
        }
        assert_eq!(seen, b"aaaa!bbbb");
    }

    /// The byte at the side is received before its report, after it, and not twice;
    /// the stream loses nothing by that.
    async fn the_urgent_byte_is_received_at_the_side() {
        let (ours, peer) = pair_with_std().await;
        let mut seen = Vec::new();
        let mut buf = [0; 64];
        assert_eq!(ours.try_recv_oob().expect("connected"), None);
        // Before any report: nothing is registered.
        send_urgent(&peer);
        assert_eq!(ours.try_recv_oob().expect("it is there"), Some(b'!'));
        assert_eq!(ours.try_recv_oob().expect("once"), None);
        for round in 1..=3 {
            while seen.len() < 8 * round {
                let length = ours.read(&mut buf).await.expect("more is there");
                seen.extend_from_slice(&buf[..length]);
            }
            {
                let mut read = pin!(ours.read(&mut buf));
                assert!(pends(read.as_mut()).await);
            }
            send_urgent(&peer);
            // After the report.
            ours.readable().await.expect("a report");
            assert_eq!(ours.try_recv_oob().expect("it is there"), Some(b'!'));
        }
        drop(peer);
        ours.read_to_end(&mut seen).await.expect("it ends");
        assert_eq!(seen, b"aaaabbbb".repeat(4));
    }

    async fn the_urgent_byte_is_left_in_the_stream_on_demand() {
        let (ours, peer) = pair_with_std().await;
        assert!(!ours.oob_inline().expect("an option"));
        // Set on a stream that has been read from already.
        let mut buf = [0; 64];
        assert!(pends(pin!(ours.read(&mut buf))).await);
        ours.set_oob_inline(true).expect("an option");
        assert!(ours.oob_inline().expect("an option"));
        let mut seen = Vec::new();
        for round in 1..=3 {
            send_urgent(&peer);
            while seen.len() < 9 * round {
                let length = ours.read(&mut buf).await.expect("more is there");
                seen.extend_from_slice(&buf[..length]);
            }
        }
        assert_eq!(seen, b"aaaa!bbbb".repeat(3));
    }

    async fn the_peer_gets_what_is_sent_as_urgent() {
        let (ours, peer) = pair_with_std().await;
        assert_eq!(ours.send_oob(b"plain!").await.expect("room"), 6);
        ours.write_all(b"more").await.expect("room");
        drop(ours);
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        while SockRef::from(&peer).recv_out_of_band(&mut byte).is_err() {}
        // SAFETY: it was received.
        assert_eq!(unsafe { byte[0].assume_init() }, b'!');
        let mut all = Vec::new();
        (&peer).read_to_end(&mut all).expect("the end");
        assert_eq!(all, b"plainmore");
    }

    async fn it_arrives_when_nothing_was_registered_before() {
        let (ours, peer) = pair_with_std().await;
        send_urgent(&peer);
        drop(peer);
        let mut seen = Vec::new();
        ours.read_to_end(&mut seen).await.expect("it ends");
        assert_eq!(seen, b"aaaabbbb");
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;
        async fn unread_urgent_data_costs_no_time() {
            let (ours, peer) = pair_with_std().await;
            SockRef::from(&peer).send_out_of_band(b"!").expect("still connected");
            let mut buf = [0; 8];
            let mut read = pin!(ours.read(&mut buf));
            assert!(pends(read.as_mut()).await);
            let (start, cpu) = (Instant::now(), cpu_time());
            let mut sleep = pin!(Sleep::after(Duration::from_millis(200)));
            futures_lite::future::or(&mut sleep, async {
                panic!("nothing was to be read: {:?}", (&mut read).await);
            })
            .await;
            let (spent, passed) = (cpu_time() - cpu, start.elapsed());
            assert!(spent * 10 < passed, "{spent:?} of {passed:?}");
            (&peer).write_all(b"x").expect("still connected");
            assert_eq!(read.await.expect("a byte"), 1);
        }
    }
}

//! The futures of methods that are documented as cancel safe are dropped after
//! every number of polls, and no byte and no connection is lost.

mod harness;

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Waker};
use std::thread;

use bourn_net::{TcpListener, TcpStream};

use harness::{both, cut_after, elsewhere, noise, on_every_backend, pair, pair_with_std};

/// Numbers of polls to drop after; 2 and more mean that a wake-up was waited for.
fn cuts() -> impl Iterator<Item = usize> {
    [0, 1, 2, 1, 3, 2].into_iter().cycle()
}

/// A peer that sends `data` in small pieces and lets others run in between.
fn trickle(mut peer: net::TcpStream, data: Vec<u8>) {
    thread::spawn(move || {
        for piece in data.chunks(7) {
            peer.write_all(piece).expect("the reader reads");
            thread::yield_now();
        }
    });
}

const LENGTH: usize = 20_000;

on_every_backend! {
    async fn read() {
        let (ours, peer) = pair_with_std().await;
        let data = noise(1, LENGTH);
        trickle(peer, data.clone());
        let mut seen = Vec::new();
        for cut in cuts() {
            let mut buf = [0; 16];
            if let Some(length) = cut_after(cut, ours.read(&mut buf)).await {
                match length.expect("the writer writes") {
                    0 => break,
                    length => seen.extend_from_slice(&buf[..length]),
                }
            }
        }
        assert!(seen == data);
    }

    async fn read_vectored() {
        let (ours, peer) = pair_with_std().await;
        let data = noise(2, LENGTH);
        trickle(peer, data.clone());
        let mut seen = Vec::new();
        for cut in cuts() {
            let (mut first, mut second) = ([0; 3], [0; 16]);
            let mut bufs = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
            if let Some(length) = cut_after(cut, ours.read_vectored(&mut bufs)).await {
                let length = length.expect("the writer writes");
                if length == 0 {
                    break;
                }
                let filled = [&first[..], &second[..]].concat();
                seen.extend_from_slice(&filled[..length]);
            }
        }
        assert!(seen == data);
    }

    async fn read_to_end() {
        let (ours, peer) = pair_with_std().await;
        let data = noise(3, LENGTH);
        trickle(peer, data.clone());
        let mut seen = Vec::new();
        for cut in cuts() {
            if let Some(length) = cut_after(cut, ours.read_to_end(&mut seen)).await {
                length.expect("the writer writes");
                break;
            }
        }
        assert!(seen == data);
    }

    async fn peek_and_the_waits() {
        let (ours, peer) = pair_with_std().await;
        let data = noise(4, LENGTH);
        trickle(peer, data.clone());
        let mut seen = Vec::new();
        for cut in cuts() {
            let mut ahead = [0; 4];
            if let Some(peeked) = cut_after(cut, ours.peek(&mut ahead)).await {
                let peeked = peeked.expect("the writer writes");
                let mut buf = [0; 16];
                let length = ours.read(&mut buf).await.expect("something was peeked at");
                assert!(length >= peeked && buf[..peeked] == ahead[..peeked]);
                if length == 0 {
                    break;
                }
                seen.extend_from_slice(&buf[..length]);
            }
            if let Some(ready) = cut_after(cut, ours.readable()).await {
                ready.expect("it can be waited for");
            }
        }
        assert!(seen == data);
    }

    async fn write() {
        let (ours, mut peer) = pair_with_std().await;
        let data = noise(5, 12 << 20);
        let expected = data.clone();
        let read = elsewhere(move || {
            let mut seen = Vec::new();
            peer.read_to_end(&mut seen).expect("the writer writes");
            assert!(seen == expected);
        });
        let write = async {
            let mut rest = &data[..];
            let mut cuts = cuts();
            while !rest.is_empty() {
                let cut = cuts.next().expect("without end");
                if let Some(length) = cut_after(cut, ours.write(rest)).await {
                    rest = &rest[length.expect("the reader reads")..];
                }
            }
            drop(ours);
        };
        both(read, write).await;
    }

    async fn write_vectored_all_and_not() {
        let (ours, mut peer) = pair_with_std().await;
        let data = noise(6, 12 << 20);
        let expected = data.repeat(2);
        let read = elsewhere(move || {
            let mut seen = Vec::new();
            peer.read_to_end(&mut seen).expect("the writer writes");
            assert!(seen == expected);
        });
        let write = async {
            let mut slices: Vec<_> = data.chunks(70_001).map(IoSlice::new).collect();
            let mut rest = &mut slices[..];
            let mut cuts = cuts();
            while !rest.is_empty() {
                let cut = cuts.next().expect("without end");
                if let Some(length) = cut_after(cut, ours.write_vectored(rest)).await {
                    IoSlice::advance_slices(&mut rest, length.expect("the reader reads"));
                }
            }
            let mut slices: Vec<_> = data.chunks(70_001).map(IoSlice::new).collect();
            for cut in cuts {
                if let Some(written) = cut_after(cut, ours.write_all_vectored(&mut slices)).await {
                    written.expect("the reader reads");
                    break;
                }
            }
            drop(ours);
        };
        both(read, write).await;
    }

    async fn what_is_done_is_not_done_again() {
        let (ours, mut peer) = pair_with_std().await;
        let mut write = Box::pin(ours.write(b"x"));
        assert_eq!(write.as_mut().await.expect("there is room"), 1);
        let mut cx = Context::from_waker(Waker::noop());
        let again = catch_unwind(AssertUnwindSafe(|| write.as_mut().poll(&mut cx).is_ready()));
        assert!(again.is_err(), "it has to panic");
        drop(write);
        drop(ours);
        let mut seen = Vec::new();
        peer.read_to_end(&mut seen).expect("the end comes");
        assert_eq!(seen, b"x");
    }

    /// The halves have methods and places of their own.
    async fn owned_halves() {
        let (ours, peer) = pair_with_std().await;
        let data = noise(8, LENGTH);
        trickle(peer.try_clone().expect("a second descriptor"), data.clone());
        let (mut reader, mut writer) = ours.into_split();
        let mut seen = Vec::new();
        for cut in cuts() {
            if let Some(ready) = cut_after(cut, reader.readable()).await {
                ready.expect("the writer writes");
            }
            let mut buf = [0; 16];
            if let Some(length) = cut_after(cut, reader.read(&mut buf)).await {
                seen.extend_from_slice(&buf[..length.expect("the writer writes")]);
            }
            if seen.len() == LENGTH {
                break;
            }
        }
        assert!(seen == data);

        let taken = elsewhere(move || {
            let mut taken = vec![0; LENGTH];
            (&peer).read_exact(&mut taken).map(|()| taken)
        });
        let mut sent = 0;
        for cut in cuts() {
            if let Some(ready) = cut_after(cut, writer.writable()).await {
                ready.expect("the reader reads");
            }
            let end = LENGTH.min(sent + 1000);
            if let Some(length) = cut_after(cut, writer.write(&data[sent..end])).await {
                sent += length.expect("the reader reads");
            }
            if sent == LENGTH {
                break;
            }
        }
        assert!(taken.await.expect("everything") == data);
    }

    async fn borrowed_halves() {
        let (ours, peer) = pair_with_std().await;
        let data = noise(9, LENGTH);
        trickle(peer, data.clone());
        let (mut reader, _writer) = ours.split();
        let mut seen = Vec::new();
        for cut in cuts() {
            let mut buf = [0; 16];
            drop(cut_after(cut, reader.peek(&mut buf)).await);
            if let Some(length) = cut_after(cut, reader.read(&mut buf)).await {
                match length.expect("the writer writes") {
                    0 => break,
                    length => seen.extend_from_slice(&buf[..length]),
                }
            }
        }
        assert!(seen == data);
    }

    /// What waits for the end of the stream, or for any readiness, takes nothing
    /// with it.
    async fn waits_for_the_end() {
        let (ours, peer) = pair_with_std().await;
        let data = noise(10, 500);
        // Nothing comes yet that would wake for a second poll.
        for cut in [0, 1, 1] {
            assert!(cut_after(cut, ours.read_closed()).await.is_none());
            drop(cut_after(cut, ours.ready(bourn_net::Interest::READ)).await);
        }
        trickle(peer, data.clone());
        ours.read_closed().await.expect("the peer closes");
        for cut in 1..4 {
            // It stays so.
            let closed = cut_after(cut, ours.read_closed()).await;
            closed.expect("at once").expect("closed");
        }
        let mut seen = Vec::new();
        ours.read_to_end(&mut seen).await.expect("the data");
        assert!(seen == data);
    }

    async fn accept_and_incoming() {
        const CLIENTS: u8 = 100;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let clients = thread::spawn(move || {
            (0..CLIENTS)
                .map(|number| {
                    let mut stream = net::TcpStream::connect(addr).expect("it listens");
                    stream.write_all(&[number]).expect("still connected");
                    thread::yield_now();
                    stream
                })
                .collect::<Vec<_>>()
        });
        let mut seen = Vec::new();
        let mut incoming = listener.incoming();
        for cut in cuts() {
            let mut streams: Vec<TcpStream> = Vec::new();
            if let Some(accepted) = cut_after(cut, listener.accept()).await {
                streams.push(accepted.expect("a connection").0);
            }
            if seen.len() + streams.len() < CLIENTS.into()
                && let Some(accepted) = cut_after(cut, incoming.next()).await
            {
                streams.push(accepted.expect("a connection"));
            }
            for stream in streams {
                let mut number = [0];
                stream.read_exact(&mut number).await.expect("its number");
                seen.push(number[0]);
            }
            if seen.len() == CLIENTS.into() {
                break;
            }
        }
        assert_eq!(seen, (0..CLIENTS).collect::<Vec<_>>());
        drop(clients.join().expect("they connected"));
    }

    /// A dropped future takes its place among the waiters with it, and leaves the
    /// others theirs.
    async fn who_waits_on_is_woken() {
        let (ours, peer) = pair().await;
        let mut buf = [0; 8];
        let mut stays = std::pin::pin!(ours.read(&mut buf));
        assert!(harness::pends(stays.as_mut()).await);
        for _ in 0..3 {
            assert!(cut_after(1, ours.readable()).await.is_none());
        }
        if let Some(reactor) = harness::reactor() {
            let waits: usize = reactor
                .sources()
                .iter()
                .map(|source| source.readers.len())
                .sum();
            assert_eq!(waits, 1, "places were left behind");
        }
        let (read, written) = both(stays, peer.write_all(b"x")).await;
        written.expect("there is room");
        assert_eq!(read.expect("a byte"), 1);
    }
}

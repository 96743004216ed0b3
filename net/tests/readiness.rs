//! Waiting without reading: `readable`, `writable`, `ready`, and the `try_*` that
//! go with them.

mod harness;

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bourn_net::{Interest, TcpListener};
use bourn_reactor::budget;

use harness::{both, elsewhere, kind, on_every_backend, pair, pair_with_std, pends};

const WOULD_BLOCK: Result<usize, io::ErrorKind> = Err(io::ErrorKind::WouldBlock);

on_every_backend! {
    async fn try_read_says_would_block_and_readable_waits_it_out() {
        let (ours, mut peer) = pair_with_std().await;
        let mut buf = [0; 8];
        for _ in 0..3 {
            assert_eq!(kind(ours.try_read(&mut buf)), WOULD_BLOCK);
            let mut readable = pin!(ours.readable());
            assert!(pends(readable.as_mut()).await);
            peer.write_all(b"abc").expect("still connected");
            readable.await.expect("it can be waited for");
            let mut ahead = [0; 2];
            assert_eq!(kind(ours.try_peek(&mut ahead)), Ok(2));
            assert_eq!(kind(ours.try_read(&mut buf)), Ok(3));
            assert_eq!((&buf[..3], &ahead), (&b"abc"[..], b"ab"));
        }
    }

    async fn readable_answers_from_what_was_there_before() {
        let (ours, mut peer) = pair_with_std().await;
        peer.write_all(b"abc").expect("still connected");
        ours.readable().await.expect("data was there");
        assert_eq!(kind(ours.try_read(&mut [0; 8])), Ok(3));
    }

    async fn try_write_says_would_block_and_writable_waits_it_out() {
        let (ours, mut peer) = pair_with_std().await;
        let piece = vec![7; 1 << 20];
        let mut written = 0;
        let full = loop {
            match kind(ours.try_write(&piece)) {
                Ok(length) => written += length,
                Err(error) => break error,
            }
        };
        assert_eq!(full, io::ErrorKind::WouldBlock);
        let mut writable = pin!(ours.writable());
        assert!(pends(writable.as_mut()).await);
        let drain = elsewhere(move || {
            let mut seen = vec![0; written];
            peer.read_exact(&mut seen).expect("it was written");
            peer
        });
        let (writable, _peer) = both(writable, drain).await;
        writable.expect("there is room");
        assert!(ours.try_write(b"x").is_ok());
    }

    async fn several_tasks_that_wait_are_all_woken() {
        let (ours, mut peer) = pair_with_std().await;
        let mut waits: Vec<_> = (0..5).map(|_| Box::pin(ours.readable())).collect();
        for wait in &mut waits {
            assert!(pends(wait.as_mut()).await);
        }
        let write = elsewhere(move || {
            peer.write_all(b"x").expect("still connected");
            peer
        });
        let all = poll_fn(|cx| {
            waits.retain_mut(|wait| match wait.as_mut().poll(cx) {
                Poll::Ready(ready) => {
                    ready.expect("it can be waited for");
                    false
                }
                Poll::Pending => true,
            });
            if waits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        both(all, write).await;
    }

    /// As the one before, each from a thread with a waker of its own.
    async fn tasks_of_several_threads_are_all_woken() {
        let (ours, mut peer) = pair_with_std().await;
        let ours = Arc::new(ours);
        let mut waits: Vec<_> = (0..4)
            .map(|_| {
                let ours = Arc::clone(&ours);
                Box::pin(elsewhere(move || futures_lite::future::block_on(ours.readable())))
            })
            .collect();
        peer.write_all(b"x").expect("still connected");
        for wait in &mut waits {
            wait.await.expect("it can be waited for");
        }
    }

    async fn ready_says_which() {
        let (ours, mut peer) = pair_with_std().await;
        assert_eq!(kind(ours.try_read(&mut [0; 8])), WOULD_BLOCK);
        let both_ways = Interest::READ | Interest::WRITE;
        // Nothing is to be read, but there is room.
        let mut read = pin!(ours.readable());
        assert!(pends(read.as_mut()).await);
        assert_eq!(ours.ready(both_ways).await.expect("it waits"), Interest::WRITE);
        peer.write_all(b"abc").expect("still connected");
        read.await.expect("it can be waited for");
        assert_eq!(ours.ready(Interest::READ).await.expect("it waits"), Interest::READ);
        assert_eq!(ours.ready(both_ways).await.expect("it waits"), both_ways);
        let mut closed = pin!(ours.ready(Interest::CLOSED));
        assert!(pends(closed.as_mut()).await);
        peer.shutdown(Shutdown::Write).expect("still connected");
        assert_eq!(closed.await.expect("it waits"), Interest::CLOSED);
    }

    async fn try_io_clears_only_what_it_was_told() {
        let (ours, mut peer) = pair_with_std().await;
        ours.writable().await.expect("there is room");
        let dry = || -> io::Result<()> { Err(io::ErrorKind::WouldBlock.into()) };
        peer.write_all(b"x").expect("still connected");
        ours.readable().await.expect("data");
        let blocked = ours.try_io(Interest::WRITE, dry).expect_err("it says so");
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        assert!(!pends(pin!(ours.readable())).await, "reading was cleared as well");
        // The operation is the caller's; its other results pass through.
        assert_eq!(ours.try_io(Interest::READ, || ours.try_read(&mut [0; 8])).expect("data"), 1);
    }

    async fn try_accept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let none = listener.try_accept().expect_err("nobody connects");
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        let addr = listener.local_addr().expect("it is bound");
        let client = std::net::TcpStream::connect(addr).expect("it listens");
        let (_, peer) = listener.try_accept().expect("one waits");
        assert_eq!(client.local_addr().expect("connected"), peer);
        let client = std::net::TcpStream::connect(addr).expect("it listens");
        let (_, peer) = poll_fn(|cx| listener.poll_accept(cx)).await.expect("one waits");
        assert_eq!(client.local_addr().expect("connected"), peer);
    }

    /// A task that always finds something to do gives way when its budget is spent.
    async fn the_budget_ends_a_run_of_operations() {
        let (ours, peer) = pair().await;
        peer.write_all(&[1; 1000]).await.expect("there is room");
        let mut ahead = [0; 1000];
        while ours.peek(&mut ahead).await.expect("data") < 1000 {}
        budget::reset();
        let mut read = 0;
        let mut all = pin!(async {
            while read < 1000 {
                read += ours.read(&mut [0]).await.expect("data");
            }
        });
        assert!(pends(all.as_mut()).await);
        budget::lift();
        all.await;
        budget::reset();
        peer.write_all(&[1; 1000]).await.expect("there is room");
        let mut done = 0;
        {
            let mut all = pin!(async {
                loop {
                    ours.peek(&mut ahead).await.expect("data");
                    done += 1;
                }
            });
            let _: Option<()> = futures_lite::future::poll_once(&mut all).await;
        }
        budget::lift();
        assert!(done < budget::PER_POLL, "{done} operations in one poll");
    }
}

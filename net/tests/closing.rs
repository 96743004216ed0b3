//! How connections end: dropped, reset, or closed by somebody else.

mod harness;

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bourn_net::{TcpStream, WriteAllError};
use bourn_reactor::Sleep;

use harness::{cpu_time, elsewhere, kind, on_every_backend, pair, pair_with_std, pends};

/// The system calls in which a reactor waits.
const WAITS: [i64; 7] = [
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_select,
    libc::SYS_pselect6,
];

on_every_backend! {
    /// poll and select keep the file alive while they wait, so their wait has to
    /// be ended for the FIN to go out.
    async fn a_stream_dropped_while_its_home_waits_sends_the_end_at_once() {
        let (ours, mut peer) = pair_with_std().await;
        let ours = Arc::new(ours);
        let mut readable = Box::pin({
            let ours = Arc::clone(&ours);
            async move { ours.readable().await }
        });
        assert!(pends(readable.as_mut()).await);
        drop(readable);
        let home = harness::turning_thread();
        // Nothing else ends the wait of this test's reactor.
        elsewhere(move || {
            harness::wait_until_inside(&home, &WAITS);
            drop(ours);
            peer.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
            assert_eq!(peer.read(&mut [0]).expect("the end, at once"), 0);
        })
        .await;
    }

    /// FIN goes out with the last descriptor, and each has readiness of its own.
    async fn a_duplicate_keeps_the_connection_open() {
        let (ours, mut peer) = pair_with_std().await;
        let twin = TcpStream::try_from(ours.as_fd().try_clone_to_owned().expect("a descriptor")).expect("an option");
        let mut byte = [0];
        {
            let mut read = pin!(twin.read(&mut byte));
            assert!(pends(read.as_mut()).await);
            assert!(pends(pin!(ours.readable())).await);
            drop(ours);
            peer.write_all(b"x").expect("still connected");
            assert_eq!(read.await.expect("a byte"), 1);
        }
        twin.write_all(b"y").await.expect("still connected");
        peer.read_exact(&mut byte).expect("a byte");
        peer.set_nonblocking(true).expect("an option");
        assert_eq!(kind(peer.read(&mut byte)), Err(io::ErrorKind::WouldBlock), "no FIN");
        peer.set_nonblocking(false).expect("an option");
        drop(twin);
        assert_eq!(peer.read(&mut byte).expect("the end"), 0);
    }

    async fn a_reset_tells_the_peer() {
        let (ours, peer) = pair().await;
        let mut byte = [0];
        let mut read = pin!(peer.read(&mut byte));
        assert!(pends(read.as_mut()).await);
        ours.reset().expect("an option");
        let error = read.await.expect_err("it was reset");
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    }

    async fn row_21_a_writer_that_waits_is_told_how_much_went() {
        let (ours, peer) = pair().await;
        let data = vec![1; 64 << 20];
        let mut write = pin!(ours.write_all(&data));
        assert!(pends(write.as_mut()).await);
        peer.reset().expect("an option");
        let error = write.await.expect_err("it was reset");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let payload = error.get_ref().and_then(|payload| payload.downcast_ref::<WriteAllError>());
        let payload = payload.expect("how much was written");
        assert!(0 < payload.written() && payload.written() < data.len());
        assert_eq!(payload.error().raw_os_error(), Some(libc::ECONNRESET));
        // Nothing went before this one fails: the bare error.
        let error = ours.write_all(b"more").await.expect_err("it was reset");
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    }

    async fn a_pending_error_is_told_once() {
        let (ours, peer) = pair().await;
        assert!(ours.take_error().expect("connected").is_none());
        {
            let mut closed = pin!(ours.read_closed());
            assert!(pends(closed.as_mut()).await);
            peer.reset().expect("an option");
            closed.await.expect("it can be waited for");
        }
        let error = ours.take_error().expect("it is asked for").expect("it was reset");
        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
        assert!(ours.take_error().expect("it is asked for").is_none());
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        async fn a_writer_to_a_reset_peer_lives_with_the_default_sigpipe() {
            // SAFETY: the default action is no handler that could be unsound.
            let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            assert_ne!(before, libc::SIG_ERR);
            let (ours, peer) = pair().await;
            peer.reset().expect("an option");
            let error = loop {
                match ours.write_vectored(&[io::IoSlice::new(b"x")]).await {
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
            assert!(gone.contains(&error.kind()), "{error}");
            for _ in 0..3 {
                // The kernel signals from the second one on.
                let error = ours.write(b"x").await.expect_err("it was reset");
                assert!(gone.contains(&error.kind()), "{error}");
                let error = ours.write_vectored(&[io::IoSlice::new(b"x")]).await;
                let error = error.expect_err("it was reset");
                assert!(gone.contains(&error.kind()), "{error}");
            }
        }

        /// Whoever closes the descriptor of a stream breaks that stream, and no other.
        async fn a_descriptor_closed_behind_the_reactor_s_back_harms_no_other() {
            let (broken, _peer) = pair_with_std().await;
            let (healthy, mut other) = pair_with_std().await;
            {
                let mut lost = pin!(broken.readable());
                assert!(pends(lost.as_mut()).await);
            }
            let mut buf = [0; 8];
            let mut read = pin!(healthy.read(&mut buf));
            assert!(pends(read.as_mut()).await);
            let number = broken.as_raw_fd();
            // SAFETY: nothing uses the descriptor until another one is put in its
            // place below.
            assert_eq!(unsafe { libc::close(number) }, 0);

            let (start, cpu) = (Instant::now(), cpu_time());
            Sleep::after(Duration::from_millis(200)).await;
            let (spent, passed) = (cpu_time() - cpu, start.elapsed());
            assert!(spent * 10 < passed, "{spent:?} of {passed:?}");
            other.write_all(b"x").expect("still connected");
            assert_eq!(read.await.expect("a byte"), 1);
            // So that the owner closes a descriptor of its own in the end.
            let null = std::fs::File::open("/dev/null").expect("the null device");
            // SAFETY: the number is free, or `null` itself has it.
            assert_eq!(unsafe { libc::dup2(null.as_raw_fd(), number) }, number);
            if null.as_raw_fd() == number {
                std::mem::forget(null);
            }
            drop(broken);
        }
    }
}

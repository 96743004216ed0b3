//! Rows 48 to 63 of docs/sockets.md: closing, half and whole.

mod harness;

use std::io::{self, Read, Write};
use std::net::{self, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_net::{TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use bourn_reactor::Sleep;
use socket2::SockRef;

use harness::kernel::{self, state};
use harness::{both, elsewhere, is_calm, on_every_backend, pair, pair_with_std, pends};

fn duplicate(stream: &TcpStream) -> net::TcpStream {
    stream.as_fd().try_clone_to_owned().expect("a descriptor").into()
}

fn ends(stream: &TcpStream) -> (SocketAddr, SocketAddr) {
    (stream.local_addr().expect("a name"), stream.peer_addr().expect("a name"))
}

fn code<T>(result: io::Result<T>) -> Option<i32> {
    result.map(|_| ()).expect_err("an error").raw_os_error()
}

/// Reads to the end.
async fn rest(stream: &TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.expect("no error");
    all
}

on_every_backend! {
    async fn row_48_only_the_last_descriptor_closes_the_connection() {
        let (ours, peer) = pair().await;
        let other = duplicate(&ours);
        drop(ours);
        is_calm(peer.read(&mut [0])).await;
        assert_eq!(kernel::state_of(&other), state::ESTABLISHED);
        drop(other);
        assert_eq!(peer.read(&mut [0]).await.expect("the end"), 0);
    }

    async fn row_48_no_program_that_is_started_has_a_descriptor_of_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let (client, server) = pair().await;
        let (one, other) = UnixStream::pair().expect("a pair");
        let (datagram, _datagram) = UnixDatagram::pair().expect("a pair");
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        let socket = TcpSocket::new_v4().expect("a socket");
        let path = std::env::temp_dir().join(format!("bourn-row-48-{}-{:?}", std::process::id(), std::thread::current().id()));
        let unix = UnixListener::bind(&path).expect("a new path");
        let connected = UnixStream::connect(&path).await.expect("it listens");
        std::fs::remove_file(&path).expect("the path is ours");
        let (accepted, _) = unix.accept().await.expect("one waits");
        let all: [BorrowedFd<'_>; 12] = [
            listener.as_fd(), client.as_fd(), server.as_fd(), one.as_fd(), other.as_fd(), datagram.as_fd(),
            _datagram.as_fd(), udp.as_fd(), socket.as_fd(), unix.as_fd(), connected.as_fd(), accepted.as_fd(),
        ];
        assert!(all.iter().all(kernel::is_close_on_exec));
        // The kernel's view, from a program that was started now.
        let list = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().expect("ls");
        let list = String::from_utf8(list.stdout).expect("text");
        for fd in all {
            assert!(!list.contains(&kernel::file(fd)), "{list}");
        }
        assert!(!list.contains("eventpoll") && !list.contains("eventfd"), "{list}");
    }

    async fn row_49_shutdown_ends_the_connection_of_all_descriptors() {
        let (ours, peer) = pair().await;
        let other = duplicate(&ours);
        ours.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(peer.read(&mut [0]).await.expect("the end"), 0);
        assert_eq!(code((&other).write(b"x")), Some(libc::EPIPE));
        // Rust's std ignores SIGPIPE, or that were the end of this process.
    }

    async fn row_50_a_half_is_closed_after_what_was_written() {
        let (ours, peer) = pair().await;
        // More than fits: the end comes behind all of it.
        let data = harness::noise(50, 2 << 20);
        let writing = async {
            ours.write_all(&data).await.expect("there is room in the end");
            ours.shutdown(Shutdown::Write).expect("connected");
        };
        let ((), all) = both(writing, rest(&peer)).await;
        assert!(all == data);
        assert_eq!(code(ours.write(b"x").await), Some(libc::EPIPE));
        peer.write_all(b"answer").await.expect("the other half is open");
        drop(peer);
        assert_eq!(rest(&ours).await, b"answer");
    }

    /// A myth: that closing the reading half tells the peer, or stops the data.
    async fn row_51_closing_the_reading_half_sends_nothing_and_refuses_nothing() {
        let (ours, peer) = pair().await;
        let sent = kernel::info(&ours).tcpi_segs_out;
        peer.write_all(b"before").await.expect("there is room");
        kernel::until(|| kernel::unread(&ours) == 6).await;
        let acknowledgements = kernel::info(&ours).tcpi_segs_out - sent;
        ours.shutdown(Shutdown::Read).expect("connected");
        is_calm(peer.read(&mut [0])).await;
        assert_eq!(kernel::state_of(&peer), state::ESTABLISHED);
        let more = kernel::info(&ours).tcpi_segs_out - sent - acknowledgements;
        assert!(more <= 1, "{more} segments, where a delayed acknowledgement may be one");
        peer.write_all(b"still works").await.expect("it is accepted");
        kernel::until(|| kernel::unread(&ours) == 17).await;
        let mut all = [0; 17];
        ours.read_exact(&mut all).await.expect("it is there");
        assert_eq!(&all, b"beforestill works");
        assert_eq!(ours.read(&mut [0]).await.expect("no more: the end"), 0);
    }

    async fn row_52_both_halves_at_once() {
        let (ours, peer) = pair().await;
        let mut byte = [0];
        let mut waiting = pin!(ours.read(&mut byte));
        assert!(pends(waiting.as_mut()).await);
        ours.shutdown(Shutdown::Both).expect("connected");
        assert_eq!(waiting.await.expect("the end"), 0);
        assert_eq!(code(ours.write(b"x").await), Some(libc::EPIPE));
        assert_eq!(peer.read(&mut [0]).await.expect("the end"), 0);
        kernel::until(|| kernel::state_of(&ours) == state::FIN_WAIT2).await;
        assert_eq!(kernel::state_of(&peer), state::CLOSE_WAIT);
    }

    /// A myth: that each close sends FIN.
    async fn row_53_closing_with_unread_data_resets() {
        let (ours, mut peer) = pair_with_std().await;
        peer.write_all(b"unread").expect("there is room");
        kernel::until(|| kernel::unread(&ours) == 6).await;
        let (local, remote) = ends(&ours);
        drop(ours);
        assert_eq!(code(peer.read(&mut [0])), Some(libc::ECONNRESET));
        assert!(kernel::line(local, remote).is_none(), "and no TIME_WAIT");
        // And what was read in time is no reason.
        let (ours, mut peer) = pair_with_std().await;
        peer.write_all(b"read").expect("there is room");
        ours.read_exact(&mut [0; 4]).await.expect("it arrives");
        drop(ours);
        assert_eq!(peer.read(&mut [0]).expect("the end"), 0);
    }

    /// The peer is in the middle of its answer, and gets its end.
    async fn row_53_a_lingering_close_resets_nobody() {
        let (ours, mut peer) = pair_with_std().await;
        let (begun, go) = std::sync::mpsc::channel();
        let answer = elsewhere(move || {
            peer.read_exact(&mut [0; 8]).expect("a question");
            begun.send(()).expect("it waits");
            peer.write_all(&vec![1; 3 << 20]).expect("somebody takes it");
            let end = peer.read(&mut [0]).expect("the end, and no reset");
            assert_eq!(end, 0);
        });
        let close = async {
            ours.write_all(b"question").await.expect("there is room");
            elsewhere(move || go.recv().expect("it answers")).await;
            ours.close().await.expect("the kernel's counts")
        };
        let (report, ()) = both(close, answer).await;
        assert_eq!((report.acknowledged, report.unread, report.unacknowledged), (8, 3 << 20, 0));
        assert!(report.peer_closed && report.error.is_none(), "{report:?}");
    }

    async fn row_54_closing_loses_what_came_and_sends_what_went() {
        let (ours, peer) = pair().await;
        let mut accepted = 0;
        kernel::until(|| {
            let before = accepted;
            while let Ok(length) = ours.try_write(&[7; 50_000]) {
                accepted += length;
            }
            accepted == before && kernel::unsent(&ours) > 0
        })
        .await;
        drop(ours);
        let all = rest(&peer).await;
        assert!(all.len() == accepted && all.iter().all(|byte| *byte == 7));
    }

    async fn row_55_a_close_does_not_wait_for_the_peer() {
        let (ours, peer) = pair().await;
        let mut accepted = 0;
        while let Ok(length) = ours.try_write(&[7; 50_000]) {
            accepted += length;
        }
        let (local, remote) = ends(&ours);
        drop(ours);
        // It is closed, and the peer has read nothing: the kernel goes on.
        // (A thread that is inside poll or select owns it until it has left.)
        let line = loop {
            let line = kernel::line(local, remote).expect("the kernel has it");
            if line.inode == 0 {
                break line;
            }
        };
        assert_eq!(line.state, state::FIN_WAIT1, "without an owner");
        assert_eq!(rest(&peer).await.len(), accepted);
    }

    /// No such time can be set here: closing would block the thread, `O_NONBLOCK`
    /// or not.
    /// Blocked is who lets go of the file last: the one who closes it, or the thread of the background reactor, if
    /// that is in poll(2) or select(2) with it just then. A timer waits for either.
    async fn row_56_a_positive_linger_time_blocks_a_close_that_may_not_block() {
        let close = async |linger: Option<Duration>| {
            let (ours, peer) = pair().await;
            SockRef::from(&ours).set_linger(linger).expect("an option");
            while ours.try_write(&[7; 50_000]).is_ok() {}
            let start = Instant::now();
            drop(ours);
            Sleep::after(Duration::from_millis(1)).await;
            (start.elapsed(), peer)
        };
        let (lingering, _peer) = close(Some(Duration::from_secs(1))).await;
        assert!(lingering > Duration::from_millis(900), "{lingering:?}");
        let (plain, _peer) = close(None).await;
        assert!(plain < lingering / 2, "{plain:?}");
    }

    async fn row_57_a_reset_leaves_no_time_wait() {
        let (ours, peer) = pair().await;
        let (local, remote) = ends(&ours);
        let mut byte = [0];
        let mut read = pin!(peer.read(&mut byte));
        assert!(pends(read.as_mut()).await);
        ours.reset().expect("an option");
        assert_eq!(code(read.await), Some(libc::ECONNRESET));
        assert!(kernel::line(local, remote).is_none() && kernel::line(remote, local).is_none());
    }

    async fn row_57_a_reset_throws_away_what_is_unsent() {
        let (ours, peer) = pair().await;
        while ours.try_write(&[7; 50_000]).is_ok() {}
        ours.reset().expect("an option");
        let mut all = Vec::new();
        assert_eq!(code(peer.read_to_end(&mut all).await), Some(libc::ECONNRESET));
    }

    async fn row_58_close_has_no_news_of_the_connection() {
        let (ours, peer) = pair().await;
        ours.write_all(b"lost").await.expect("there is room");
        peer.reset().expect("an option");
        let fd = OwnedFd::from(ours).into_raw_fd();
        // SAFETY: it was taken out of its owner.
        assert_eq!(unsafe { libc::close(fd) }, 0, "though nothing was delivered");
    }

    async fn row_59_the_first_write_to_a_closed_peer_succeeds() {
        let (ours, peer) = pair().await;
        drop(peer);
        ours.read_closed().await.expect("it can be waited for");
        assert_eq!(ours.write(b"x").await.expect("the peer may still read"), 1);
        // It answers with a reset.
        kernel::until(|| kernel::state_of(&ours) == state::CLOSE).await;
        assert_eq!(code(ours.write(b"x").await), Some(libc::EPIPE));
        assert_eq!(code(ours.write(b"x").await), Some(libc::EPIPE));
    }

    async fn row_61_an_end_says_only_that_the_peer_sends_no_more() {
        let (ours, mut peer) = pair_with_std().await;
        peer.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(ours.read(&mut [0]).await.expect("the end"), 0);
        let data = harness::noise(61, 1 << 20);
        let reader = elsewhere(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all)
        });
        let writer = async {
            ours.write_all(&data).await.expect("the peer reads");
            ours.shutdown(Shutdown::Write).expect("connected");
        };
        let ((), all) = both(writer, reader).await;
        assert!(all.expect("all of it") == data);
    }

    /// As a netcat has to: after the end of its input it goes on reading.
    async fn row_62_who_has_sent_all_reads_to_the_end() {
        let (ours, mut peer) = pair_with_std().await;
        let input = harness::noise(62, 300_000);
        let server = elsewhere(move || {
            // Answers only when it has the whole question.
            let mut all = Vec::new();
            peer.read_to_end(&mut all).expect("a question");
            peer.write_all(&all).expect("still connected");
        });
        let client = async {
            let send = async {
                ours.write_all(&input).await.expect("there is room in the end");
                ours.shutdown(Shutdown::Write).expect("connected");
            };
            both(send, rest(&ours)).await.1
        };
        let (output, ()) = both(client, server).await;
        assert!(output == input);
    }

    async fn row_63_a_reset_is_told_to_whoever_reads_or_writes_or_waits() {
        let (ours, peer) = pair().await;
        ours.write_all(b"unread").await.expect("there is room");
        let mut byte = [0];
        let mut read = pin!(ours.read(&mut byte));
        let mut closed = pin!(ours.read_closed());
        assert!(pends(read.as_mut()).await && pends(closed.as_mut()).await);
        kernel::until(|| kernel::unread(&peer) == 6).await;
        drop(peer);
        assert_eq!(code(read.await), Some(libc::ECONNRESET), "the kernel's own error, once");
        closed.await.expect("it is over");
        assert_eq!(ours.read(&mut [0]).await.expect("then the end"), 0);
        assert_eq!(code(ours.write(b"x").await), Some(libc::EPIPE));
        assert_eq!(kernel::state_of(&ours), state::CLOSE);
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        /// A forked child has every descriptor: the end comes when it has ended too.
        async fn row_48_a_forked_child_keeps_the_connection_open() {
            let (ours, peer) = pair().await;
            // SAFETY: the child only makes a call that is async-signal-safe.
            let child = unsafe { libc::fork() };
            assert_ne!(child, -1);
            if child == 0 {
                loop {
                    // SAFETY: takes nothing, and returns when a signal comes.
                    unsafe { libc::pause() };
                }
            }
            drop(ours);
            is_calm(peer.read(&mut [0])).await;
            // SAFETY: it is our child, and not waited for yet.
            assert_eq!(unsafe { libc::kill(child, libc::SIGKILL) }, 0);
            let mut status = 0;
            // SAFETY: `status` is written to.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(peer.read(&mut [0]).await.expect("the end"), 0);
        }

        async fn row_60_no_write_raises_sigpipe() {
            // SAFETY: the default action is no handler that could be unsound.
            let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            assert_ne!(before, libc::SIG_ERR);
            let (ours, peer) = pair().await;
            peer.reset().expect("an option");
            ours.read_closed().await.expect("it is over");
            // The first tells of the reset; the kernel signals from the second on.
            for _ in 0..4 {
                ours.write(b"x").await.expect_err("it was reset");
                ours.write_vectored(&[io::IoSlice::new(b"x")]).await.expect_err("it was reset");
            }
            let (one, other) = UnixStream::pair().expect("a pair");
            drop(other);
            for _ in 0..4 {
                assert_eq!(code(one.write(b"x").await), Some(libc::EPIPE));
                assert_eq!(code(one.write_vectored(&[io::IoSlice::new(b"x")]).await), Some(libc::EPIPE));
            }
        }
    }
}

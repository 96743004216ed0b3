//! Rows 38 to 47 of docs/sockets.md: blocking, not blocking, and being told.

mod harness;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{self, Shutdown};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bourn_net::{TcpListener, TcpStream};
use bourn_reactor::{Backend, Sleep};
use socket2::SockRef;

use harness::kernel;
use harness::{cpu_time, is_calm, on_every_backend, pair, pair_with_std, pends};

/// A thread of this process that runs `work`, and its id.
fn thread_of<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> (String, thread::JoinHandle<R>) {
    let (told, id) = mpsc::channel();
    let thread = thread::spawn(move || {
        let own = fs::read_link("/proc/thread-self").expect("procfs");
        told.send(own.file_name().expect("an id").to_str().expect("a number").to_owned()).expect("it is waited for");
        work()
    });
    (id.recv().expect("the thread says"), thread)
}

/// Returns when the thread sleeps inside the system call.
fn wait_until_asleep(id: &str, call: i64) {
    harness::wait_until_inside(id, &[call]);
    loop {
        let stat = fs::read_to_string(format!("/proc/self/task/{id}/stat")).expect("the thread lives");
        // After the name in parentheses.
        if stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')) {
            return;
        }
        thread::yield_now();
    }
}

on_every_backend! {
    /// Two threads of std's, asleep in the kernel; and two waits of ours that
    /// leave the thread to a third.
    async fn row_38_a_blocking_call_puts_its_thread_to_sleep() {
        let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let (id, accepting) = thread_of(move || listener.accept().expect("one connects").0);
        wait_until_asleep(&id, libc::SYS_accept4);
        let ours = TcpStream::connect(addr).await.expect("it listens");
        let mut theirs = accepting.join().expect("no panic");
        let (id, reading) = thread_of(move || theirs.read(&mut [0; 8]).expect("a byte"));
        wait_until_asleep(&id, libc::SYS_recvfrom);

        let ours_too = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let mut accept = pin!(ours_too.accept());
        let mut byte = [0];
        let mut read = pin!(ours.read(&mut byte));
        assert!(pends(accept.as_mut()).await && pends(read.as_mut()).await);
        ours.write_all(b"x").await.expect("this thread goes on");
        assert_eq!(reading.join().expect("no panic"), 1);
    }

    async fn row_39_a_call_that_would_block_says_so_at_once() {
        let (ours, mut peer) = pair_with_std().await;
        for _ in 0..3 {
            let error = ours.try_read(&mut [0; 8]).expect_err("nothing is there");
            assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::WouldBlock, Some(libc::EAGAIN)));
        }
        peer.write_all(b"12345").expect("there is room");
        loop {
            ours.readable().await.expect("it can be waited for");
            match ours.try_read(&mut [0; 8]) {
                Ok(length) => break assert_eq!(length, 5),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    /// Until the data is there: one call after the other, or one wait.
    async fn row_40_waiting_costs_nothing_and_asking_again_and_again_does() {
        let (ours, mut peer) = pair_with_std().await;
        let mut asked = 0_u64;
        let end = Instant::now() + Duration::from_millis(20);
        while Instant::now() < end {
            ours.try_read(&mut [0]).expect_err("nothing is there");
            asked += 1;
        }
        assert!(asked > 50, "{asked} calls for nothing");
        is_calm(ours.readable()).await;
        peer.write_all(b"x").expect("there is room");
        ours.readable().await.expect("it can be waited for");
        assert_eq!(ours.read(&mut [0]).await.expect("a byte"), 1);
    }

    /// Readiness says that the data is in the kernel; the async call comes back
    /// when it is in the buffer.
    async fn row_43_an_async_call_is_done_when_the_data_is_copied() {
        let (ours, mut peer) = pair_with_std().await;
        peer.write_all(b"12345678").expect("there is room");
        ours.readable().await.expect("it can be waited for");
        assert_eq!(kernel::unread(&ours), 8, "told, and not copied");
        let mut buf = [0; 8];
        ours.read_exact(&mut buf).await.expect("it is there");
        assert_eq!((&buf, kernel::unread(&ours)), (b"12345678", 0));
    }

    async fn row_44_a_blocking_send_copies_all_and_another_what_fits() {
        const LENGTH: usize = 16 << 20;
        let (ours, peer) = pair_with_std().await;
        let taken = ours.try_write(&vec![1; LENGTH]).expect("there is room");
        assert!(0 < taken && taken < LENGTH, "{taken}");
        // The other way round, from a thread that blocks.
        let mut back = peer.try_clone().expect("a descriptor");
        let (id, sending) = thread_of(move || back.write(&vec![1; LENGTH]).expect("all of it"));
        wait_until_asleep(&id, libc::SYS_sendto);
        let mut left = LENGTH;
        let mut buf = vec![0; 1 << 16];
        while left > 0 {
            left -= ours.read(&mut buf).await.expect("more is sent");
        }
        assert_eq!(sending.join().expect("no panic"), LENGTH, "one call, and all");
    }

    async fn row_45_the_kernel_s_time_outs_are_for_calls_that_block() {
        let short = Some(Duration::from_millis(20));
        let (ours, theirs) = pair_with_std().await;
        theirs.set_read_timeout(short).expect("an option");
        let error = (&theirs).read(&mut [0]).expect_err("nothing is there");
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        // Ours never blocks in the kernel.
        SockRef::from(&ours).set_read_timeout(short).expect("an option");
        is_calm(ours.read(&mut [0])).await;
    }

    async fn row_46_written_is_not_arrived() {
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
        // The peer does not read: each write was a success, and much is still here.
        let waiting = kernel::unacknowledged(&ours);
        assert!(0 < waiting && waiting < accepted, "{waiting} of {accepted}");
        ours.shutdown(Shutdown::Write).expect("connected");
        let mut all = Vec::new();
        assert_eq!(peer.read_to_end(&mut all).await.expect("all of it"), accepted);
        kernel::until(|| kernel::unacknowledged(&ours) == 0).await;
    }

    /// From the write to the wire: cut into segments, queued, held back by the
    /// peer's window.
    async fn row_47_the_kernel_sends_what_the_window_allows() {
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
        kernel::until(|| {
            let info = kernel::info(&ours);
            info.tcpi_notsent_bytes as usize == kernel::unsent(&ours)
                && kernel::unacknowledged(&ours) + kernel::unread(&peer) == accepted
        })
        .await;
        let info = kernel::info(&ours);
        assert!(info.tcpi_snd_cwnd > 0 && info.tcpi_data_segs_out > 1);
        let flown = info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
        assert_eq!(flown as usize, accepted - kernel::unsent(&ours));
        assert!(info.tcpi_rwnd_limited > 0, "it is the window that holds it");
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        async fn row_40_a_wait_takes_no_processor_time() {
            let (ours, _peer) = pair().await;
            let mut byte = [0];
            let mut read = pin!(ours.read(&mut byte));
            assert!(pends(read.as_mut()).await);
            let (start, cpu) = (Instant::now(), cpu_time());
            Sleep::after(Duration::from_millis(300)).await;
            let (spent, passed) = (cpu_time() - cpu, start.elapsed());
            assert!(spent * 50 < passed, "{spent:?} of {passed:?}");
        }

        /// epoll and poll have no such limit. mio is epoll here.
        async fn row_41_select_ends_at_descriptor_1023() {
            let limit = libc::rlimit { rlim_cur: 2048, rlim_max: 2048 };
            // SAFETY: `limit` is read.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            let (ours, mut peer) = pair_with_std().await;
            // SAFETY: takes no pointer; the new descriptor is nobody's.
            let high = unsafe { libc::fcntl(ours.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 1500) };
            assert!(high >= 1500, "{}", io::Error::last_os_error());
            // SAFETY: as above.
            let high: net::TcpStream = unsafe { std::os::fd::FromRawFd::from_raw_fd(high) };
            let high = TcpStream::from_std(high).expect("an option");
            // The background reactor's is that of the environment.
            let backend = harness::backend().unwrap_or_else(|| Backend::from_env().expect("a backend"));
            if backend == Backend::Select {
                high.readable().await.expect_err("no set of select has room for it");
                // And nothing else is harmed.
                let mut byte = [0];
                let mut read = pin!(ours.read(&mut byte));
                assert!(pends(read.as_mut()).await);
                peer.write_all(b"x").expect("there is room");
                assert_eq!(read.await.expect("a byte"), 1);
            } else {
                let mut byte = [0];
                let mut read = pin!(high.read(&mut byte));
                assert!(pends(read.as_mut()).await);
                peer.write_all(b"x").expect("there is room");
                assert_eq!(read.await.expect("a byte"), 1);
            }
        }
    }
}

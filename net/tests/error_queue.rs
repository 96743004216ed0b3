//! Transmit timestamps put entries into the error queue, which raises `EPOLLERR`
//! on a connection that is well: whoever takes that for readiness spins.

mod harness;

use std::io::Read;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_reactor::Sleep;

use harness::{both, cpu_time, elsewhere, on_every_backend, pair_with_std, pends, polls};

on_every_backend! {
    alone;

    async fn a_full_buffer_with_transmit_timestamps_costs_no_time() {
        let (ours, mut peer) = pair_with_std().await;
        // SOF_TIMESTAMPING_TX_SOFTWARE, _TX_ACK, _SOFTWARE (linux/net_tstamp.h).
        let flags: libc::c_int = 1 << 1 | 1 << 9 | 1 << 4;
        // SAFETY: `flags` lives through the call, which reads an int.
        let set = unsafe {
            libc::setsockopt(
                ours.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPING,
                (&raw const flags).cast(),
                size_of_val(&flags) as libc::socklen_t,
            )
        };
        assert_eq!(set, 0);
        let error_is_reported = || {
            let mut asked = libc::pollfd { fd: ours.as_raw_fd(), events: 0, revents: 0 };
            // SAFETY: one entry, which lives through the call.
            let answered = unsafe { libc::poll(&raw mut asked, 1, 0) };
            answered == 1 && asked.revents & libc::POLLERR != 0
        };
        assert!(!error_is_reported());
        // A stamp is made when the last byte of a write is sent; of this one it is,
        // and nobody takes it out of the queue.
        ours.write_all(b"x").await.expect("there is room");
        assert!(error_is_reported(), "the test tests nothing");
        let data = vec![1; 16 << 20];
        let mut write = pin!(ours.write_all(&data));
        let mut byte = [0];
        let mut read = pin!(ours.read(&mut byte));
        assert!(pends(write.as_mut()).await);
        assert!(pends(read.as_mut()).await);
        let (start, cpu, before) = (Instant::now(), cpu_time(), polls());
        let mut sleep = pin!(Sleep::after(Duration::from_secs(1)));
        futures_lite::future::or(&mut sleep, async {
            let _ = futures_lite::future::or(
                async { write.as_mut().await.map(|()| 0) },
                read.as_mut(),
            )
            .await;
            panic!("nobody reads, and nobody writes");
        })
        .await;
        let (spent, passed) = (cpu_time() - cpu, start.elapsed());
        assert!(spent * 20 < passed, "{spent:?} of {passed:?}");
        assert!(polls() - before < 100, "{} polls", polls() - before);
        let drain = elsewhere(move || peer.read_exact(&mut vec![0; 1 + (16 << 20)]));
        let (written, drained) = both(write, drain).await;
        written.and(drained).expect("it goes on when the peer reads");
    }
}

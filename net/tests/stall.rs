//! Time-outs of streams that stall: progress refreshes them, and nothing is lost.

mod harness;

use std::io::{ErrorKind, Read, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_reactor::Sleep;
use futures_lite::AsyncReadExt;
use futures_lite::future::or;

use harness::{both, elsewhere, kind, on_every_backend, pair_with_std, pends};

const LIMIT: Duration = Duration::from_millis(150);

on_every_backend! {
    async fn row_45_a_read_that_stalls_fails_and_the_stream_works_on() {
        let (mut ours, mut peer) = pair_with_std().await;
        assert_eq!(ours.read_timeout(), None);
        ours.set_read_timeout(Some(LIMIT));
        assert_eq!((ours.read_timeout(), ours.write_timeout()), (Some(LIMIT), None));
        let mut buf = [0; 8];
        for _ in 0..2 {
            let start = Instant::now();
            assert_eq!(kind(ours.read(&mut buf).await), Err(ErrorKind::TimedOut));
            assert!(start.elapsed() >= LIMIT);
        }
        // Through the traits as well.
        assert_eq!(kind(AsyncReadExt::read(&mut ours, &mut buf).await), Err(ErrorKind::TimedOut));
        peer.write_all(b"late").expect("still connected");
        assert_eq!(ours.read(&mut buf).await.expect("it works on"), 4);
        ours.set_read_timeout(None);
        let mut read = pin!(ours.read(&mut buf));
        assert!(pends(read.as_mut()).await);
        or(async { panic!("{:?}", (&mut read).await) }, Sleep::after(LIMIT * 2)).await;
    }

    /// The whole takes longer than the limit, no pause does.
    async fn row_45_progress_refreshes_the_time_out() {
        let (ours, mut peer) = pair_with_std().await;
        // Pauses of a tenth, for a machine that is busy.
        ours.set_read_timeout(Some(LIMIT * 10));
        let start = Instant::now();
        let trickle = elsewhere(move || {
            for _ in 0..20 {
                std::thread::sleep(LIMIT);
                peer.write_all(b"x").expect("still connected");
            }
            peer
        });
        let mut buf = [0; 20];
        let (peer, read) = both(trickle, ours.read_exact(&mut buf)).await;
        read.expect("never silent for so long");
        assert!(start.elapsed() > LIMIT * 10);
        drop(peer);
    }

    /// A reader that is dropped and made anew, as in a `select`, stalls all the same.
    async fn reads_given_up_in_between_change_nothing() {
        let (ours, _peer) = pair_with_std().await;
        ours.set_read_timeout(Some(LIMIT));
        let start = Instant::now();
        let mut buf = [0; 8];
        let error = loop {
            let tick = async {
                Sleep::after(LIMIT / 10).await;
                Ok(0)
            };
            match or(ours.read(&mut buf), tick).await {
                Ok(read) => assert_eq!(read, 0),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= LIMIT);
    }

    async fn row_44_a_write_that_stalls_fails_and_tells_how_far_it_came() {
        let (ours, mut peer) = pair_with_std().await;
        ours.set_write_timeout(Some(LIMIT));
        let data = vec![1; 32 << 20];
        let error = ours.write_all(&data).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let progress = error.get_ref().and_then(|inner| inner.downcast_ref::<bourn_net::WriteAllError>());
        let written = progress.expect("some was").written();
        let drain = elsewhere(move || peer.read_exact(&mut vec![0; written]).map(|()| peer));
        drain.await.expect("what was written arrives");
        assert_eq!(ours.write(b"x").await.expect("room again"), 1);
    }
}

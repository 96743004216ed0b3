//! Each direction of a connection is closed by itself.

mod harness;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::pin;

use harness::{both, elsewhere, noise, on_every_backend, pair, pair_with_std, pends};

on_every_backend! {
    async fn a_client_that_has_sent_all_still_gets_its_answer() {
        let (client, server) = pair().await;
        let data = noise(1, 300_000);
        let serve = async {
            let mut request = Vec::new();
            server.read_to_end(&mut request).await.expect("a request");
            assert_eq!(request, b"request");
            // The end stays the end.
            assert_eq!(server.read(&mut [0; 8]).await.expect("the end"), 0);
            server.write_all(&data).await.expect("the client reads");
            server.shutdown(Shutdown::Write).expect("still connected");
        };
        let ask = async {
            client.write_all(b"request").await.expect("the server reads");
            client.shutdown(Shutdown::Write).expect("still connected");
            let refused = client.write(b"more").await.expect_err("it was closed");
            assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("an answer");
            assert!(answer == data);
        };
        both(serve, ask).await;
    }

    /// A short read must not forget that the end was reported with the data.
    async fn row_22_data_and_the_end_may_share_one_report() {
        let (reader, mut peer) = pair_with_std().await;
        let mut buf = [0; 64];
        {
            let mut read = pin!(reader.read(&mut buf));
            assert!(pends(read.as_mut()).await);
            peer.write_all(b"12345").expect("still connected");
            peer.shutdown(Shutdown::Write).expect("still connected");
            assert_eq!(read.await.expect("data is there"), 5);
        }
        assert_eq!(reader.read(&mut buf).await.expect("the end"), 0);
    }

    async fn row_50_dropping_the_owned_write_half_sends_the_end() {
        let (ours, peer) = pair().await;
        let (mut read, write) = ours.into_split();
        drop(write);
        assert_eq!(peer.read(&mut [0; 8]).await.expect("the end"), 0);
        peer.write_all(b"answer").await.expect("reading goes on");
        let mut answer = [0; 6];
        read.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"answer");
        drop(read);
    }

    async fn dropping_the_owned_read_half_first_tells_the_peer_nothing() {
        let (ours, peer) = pair().await;
        let (read, mut write) = ours.into_split();
        drop(read);
        write.write_all(b"still here").await.expect("writing goes on");
        let mut seen = [0; 10];
        peer.read_exact(&mut seen).await.expect("data");
        let mut byte = [0];
        let mut end = pin!(peer.read(&mut byte));
        assert!(pends(end.as_mut()).await);
        drop(write);
        assert_eq!(end.await.expect("the end"), 0);
    }

    async fn row_50_a_forgotten_write_half_sends_no_end() {
        let (ours, peer) = pair().await;
        let (mut read, write) = ours.into_split();
        write.forget();
        // The end would have arrived before the answer to this.
        peer.write_all(b"?").await.expect("still connected");
        read.read_exact(&mut [0]).await.expect("a question");
        let mut byte = [0];
        let mut end = pin!(peer.read(&mut byte));
        assert!(pends(end.as_mut()).await);
        drop(read);
        assert_eq!(end.await.expect("the end"), 0);
    }

    async fn halves_reunite_and_only_with_their_own() {
        let (left, right) = pair().await;
        let (left_read, left_write) = left.into_split();
        let (right_read, right_write) = right.into_split();
        let error = left_read.reunite(right_write).expect_err("of different streams");
        let left = error.0.reunite(left_write).expect("of one stream");
        let right = right_read.reunite(error.1).expect("of one stream");
        // Nothing was closed on the way.
        left.write_all(b"whole").await.expect("still connected");
        right.read_exact(&mut [0; 5]).await.expect("still connected");
    }

    async fn borrowed_halves_work_at_once() {
        let (left, right) = pair().await;
        let (mut left_read, mut left_write) = left.split();
        let mut buf = [0; 5];
        let (read, written) = both(left_read.read_exact(&mut buf), async {
            left_write.write_all(b"there").await?;
            right.read_exact(&mut [0; 5]).await?;
            right.write_all(b"back!").await
        })
        .await;
        read.and(written).expect("still connected");
        assert_eq!(&buf, b"back!");
        left_write.shutdown().expect("still connected");
        assert_eq!(right.read(&mut buf).await.expect("the end"), 0);
    }

    async fn row_61_read_closed_sees_the_end_behind_unread_data() {
        let (ours, mut peer) = pair_with_std().await;
        let mut closed = pin!(ours.read_closed());
        assert!(pends(closed.as_mut()).await);
        peer.write_all(b"unread").expect("still connected");
        // Data alone is no end, and while it is unread the end is still watched for.
        ours.readable().await.expect("data");
        assert!(pends(closed.as_mut()).await);
        let close = elsewhere(move || {
            peer.shutdown(Shutdown::Write).expect("still connected");
            peer
        });
        let (closed, mut peer) = both(closed, close).await;
        closed.expect("it was closed");
        let mut seen = Vec::new();
        ours.read_to_end(&mut seen).await.expect("data");
        assert_eq!(seen, b"unread");
        ours.write_all(b"answer").await.expect("writing goes on");
        peer.read_exact(&mut [0; 6]).expect("an answer");
    }

    async fn shutdown_of_reading_ends_a_wait() {
        let (ours, _peer) = pair().await;
        let mut byte = [0];
        let mut read = pin!(ours.read(&mut byte));
        assert!(pends(read.as_mut()).await);
        ours.shutdown(Shutdown::Read).expect("still connected");
        assert_eq!(read.await.expect("the end"), 0);
    }
}

//! The traits of tokio and of hyper, on streams and halves of either family.

mod harness;

use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use bourn_net::UnixStream;
use futures_lite::AsyncWrite;
use hyper::rt::{Read as HyperRead, Write as HyperWrite};
use tokio::io::{AsyncRead as TokioRead, AsyncWrite as TokioWrite};

use harness::{both, noise, on_every_backend, pair, pair_with_std, polls};

/// Reads once with tokio's trait, into room that is not initialised; returns what
/// came, and how much of the room was initialised afterwards.
async fn read_with_tokio(reader: &mut (impl TokioRead + Unpin), room: usize) -> io::Result<(Vec<u8>, usize)> {
    let mut room = vec![MaybeUninit::uninit(); room];
    let mut buf = tokio::io::ReadBuf::uninit(&mut room);
    poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, &mut buf)).await?;
    Ok((buf.filled().to_vec(), buf.initialized().len()))
}

async fn read_with_hyper(reader: &mut (impl HyperRead + Unpin), room: usize) -> io::Result<Vec<u8>> {
    let mut room = vec![MaybeUninit::uninit(); room];
    let mut buf = hyper::rt::ReadBuf::uninit(&mut room);
    poll_fn(|cx| Pin::new(&mut *reader).poll_read(cx, buf.unfilled())).await?;
    Ok(buf.filled().to_vec())
}

/// What tokio's and hyper's writers have in common.
trait Writer: Unpin {
    fn write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
    fn write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
    fn is_vectored(&self) -> bool;
    fn finish(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

macro_rules! writer {
    ($name:ident, $of:path) => {
        struct $name<T>(T);

        impl<T: $of + Unpin> Writer for $name<T> {
            fn write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(cx, buf)
            }

            fn write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
            }

            fn is_vectored(&self) -> bool {
                self.0.is_write_vectored()
            }

            fn finish(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match Pin::new(&mut self.0).poll_flush(cx) {
                    Poll::Ready(Ok(())) => Pin::new(&mut self.0).poll_shutdown(cx),
                    other => other,
                }
            }
        }
    };
}

writer!(Tokio, TokioWrite);
writer!(Hyper, HyperWrite);

/// Writes all of `data`, its first two thirds by two slices at a time, and the end.
async fn send(mut writer: impl Writer, data: &[u8]) {
    assert!(writer.is_vectored());
    let mut rest = data;
    while rest.len() > data.len() / 3 {
        let (one, two) = rest[..rest.len().min(10_000)].split_at(rest.len().min(10_000) / 2);
        let slices = [IoSlice::new(one), IoSlice::new(two)];
        let sent = poll_fn(|cx| Pin::new(&mut writer).write_vectored(cx, &slices)).await.expect("the peer reads");
        rest = &rest[sent..];
    }
    while !rest.is_empty() {
        let sent = poll_fn(|cx| Pin::new(&mut writer).write(cx, rest)).await.expect("the peer reads");
        rest = &rest[sent..];
    }
    // The second time there is nothing to close.
    for _ in 0..2 {
        poll_fn(|cx| Pin::new(&mut writer).finish(cx)).await.expect("still connected");
    }
}

async fn receive_with_tokio(mut reader: impl TokioRead + Unpin) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let (some, _) = read_with_tokio(&mut reader, 7_777).await.expect("the peer writes");
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

async fn receive_with_hyper(mut reader: impl HyperRead + Unpin) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let some = read_with_hyper(&mut reader, 7_777).await.expect("the peer writes");
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

on_every_backend! {
    async fn whole_streams_carry_all_bytes_both_ways_at_once() {
        let (there, back) = (noise(1, 600_000), noise(2, 700_000));
        let (client, server) = pair().await;
        let ask = both(send(Tokio(&client), &there), receive_with_tokio(&client));
        let answer = both(send(Hyper(&server), &back), receive_with_hyper(&server));
        let (((), received_back), ((), received_there)) = both(ask, answer).await;
        assert!(received_there == there && received_back == back);

        let (client, server) = UnixStream::pair().expect("a pair");
        let ask = both(send(Hyper(&client), &there), receive_with_hyper(&client));
        let answer = both(send(Tokio(&server), &back), receive_with_tokio(&server));
        let (((), received_back), ((), received_there)) = both(ask, answer).await;
        assert!(received_there == there && received_back == back);
    }

    async fn halves_carry_all_bytes_and_close_one_direction() {
        let (there, back) = (noise(3, 600_000), noise(4, 700_000));
        let (client, server) = pair().await;
        let (client_reads, client_writes) = client.into_split();
        let (server_reads, server_writes) = server.split();
        let ask = both(send(Hyper(client_writes), &there), receive_with_hyper(client_reads));
        let answer = async {
            // The answer begins when the question has ended.
            let received = receive_with_tokio(server_reads).await;
            send(Tokio(server_writes), &back).await;
            received
        };
        let (((), received_back), received_there) = both(ask, answer).await;
        assert!(received_there == there && received_back == back);
    }

    async fn reading_initialises_nothing_but_what_came() {
        let (mut reader, mut peer) = pair_with_std().await;
        peer.write_all(b"12345").expect("it is connected");
        reader.readable().await.expect("data comes");
        let (came, initialised) = read_with_tokio(&mut reader, 4096).await.expect("data is there");
        assert_eq!((&came[..], initialised), (&b"12345"[..], 5));
    }

    async fn what_a_buffer_holds_already_stays() {
        let (mut reader, mut peer) = pair_with_std().await;
        peer.write_all(b"67890").expect("it is connected");
        let mut room = [MaybeUninit::uninit(); 8];
        let mut buf = tokio::io::ReadBuf::uninit(&mut room);
        buf.put_slice(b"12345");
        poll_fn(|cx| TokioRead::poll_read(Pin::new(&mut reader), cx, &mut buf)).await.expect("data comes");
        assert_eq!(buf.filled(), b"12345678");
        // No room is not the end, and takes nothing away.
        poll_fn(|cx| TokioRead::poll_read(Pin::new(&mut reader), cx, &mut buf)).await.expect("nothing is asked");
        assert_eq!(read_with_hyper(&mut reader, 8).await.expect("data is there"), b"90");
    }

    async fn a_read_that_has_to_wait_is_woken() {
        let (mut reader, mut peer) = pair_with_std().await;
        for round in 0..3_u8 {
            let before = polls();
            let read = async { read_with_tokio(&mut reader, 64).await.expect("data comes").0 };
            let write = async { peer.write_all(&[round]).expect("it is connected") };
            let (came, ()) = both(read, write).await;
            assert_eq!(came, [round]);
            assert!(polls() > before, "the reader was polled first, and had to wait");
        }
    }

    async fn closing_what_the_peer_has_reset_is_no_error() {
        for _ in 0..2 {
            let (mut ours, peer) = pair().await;
            peer.reset().expect("it is connected");
            read_with_tokio(&mut ours, 8).await.expect_err("it was reset");
            let not_connected = ours.shutdown(Shutdown::Write).expect_err("it is over");
            assert_eq!(not_connected.kind(), io::ErrorKind::NotConnected);
            poll_fn(|cx| TokioWrite::poll_shutdown(Pin::new(&mut ours), cx)).await.expect("it is closed");
            poll_fn(|cx| HyperWrite::poll_shutdown(Pin::new(&mut ours), cx)).await.expect("it is closed");
            futures_lite::AsyncWriteExt::close(&mut ours).await.expect("it is closed, too, by the trait of futures-io");
        }
    }

    async fn closing_by_any_trait_leaves_reading_open() {
        type Close = fn(Pin<&mut bourn_net::TcpStream>, &mut Context<'_>) -> Poll<io::Result<()>>;
        for close in [TokioWrite::poll_shutdown as Close, HyperWrite::poll_shutdown, AsyncWrite::poll_close] {
            let (mut ours, mut peer) = pair_with_std().await;
            poll_fn(|cx| close(Pin::new(&mut ours), cx)).await.expect("it is connected");
            assert_eq!(peer.read(&mut [0; 8]).expect("the end"), 0);
            peer.write_all(b"answer").expect("reading goes on");
            assert_eq!(read_with_tokio(&mut ours, 8).await.expect("data comes").0, b"answer");
        }
    }
}

//! What is written at one end is read at the other, in order and whole, whatever
//! the sizes and the speeds.

mod harness;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::pin::pin;

use bourn_net::{TcpListener, TcpSocket, TcpStream};
use futures_lite::{AsyncReadExt, AsyncWriteExt};

use harness::{both, elsewhere, noise, on_every_backend, pair, pair_with_std, pends, polls};

/// Writes and reads all at once, in pieces of changing sizes.
async fn exchange(stream: &TcpStream, out: &[u8], expected: &[u8]) {
    let write = async {
        let mut rest = out;
        while !rest.is_empty() {
            let piece = rest.len().min(1 + rest.len() % 70_000);
            let written = stream.write(&rest[..piece]).await.expect("the peer reads");
            assert!(0 < written && written <= piece);
            rest = &rest[written..];
        }
        stream.shutdown(Shutdown::Write).expect("still connected");
    };
    let read = async {
        let mut seen = 0;
        let mut buf = vec![0; 50_000];
        while let length @ 1.. = stream.read(&mut buf).await.expect("the peer writes") {
            assert!(buf[..length] == expected[seen..seen + length], "changed near byte {seen}");
            seen += length;
        }
        assert_eq!(seen, expected.len());
    };
    both(write, read).await;
}

on_every_backend! {
    async fn echo() {
        let (client, server) = pair().await;
        let serve = async {
            let mut buf = [0; 100];
            while let length @ 1.. = server.read(&mut buf).await.expect("a request") {
                server.write_all(&buf[..length]).await.expect("an answer");
            }
        };
        let ask = async {
            for round in 0..100_u8 {
                let request = [round; 64];
                client.write_all(&request).await.expect("a request");
                let mut answer = [0; 64];
                client.read_exact(&mut answer).await.expect("an answer");
                assert_eq!(answer, request);
            }
            client.shutdown(Shutdown::Write).expect("still connected");
        };
        both(serve, ask).await;
    }

    async fn eight_mebibytes_each_way_through_small_buffers() {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(32 * 1024).expect("an option");
        socket.set_send_buffer_size(32 * 1024).expect("an option");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let listener = socket.listen(16).expect("it is bound");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(32 * 1024).expect("an option");
        socket.set_send_buffer_size(32 * 1024).expect("an option");
        let addr = listener.local_addr().expect("it is bound");
        let client = socket.connect(addr).await.expect("somebody listens");
        let (server, _) = listener.accept().await.expect("somebody connects");

        let (to, fro) = (noise(1, 8 << 20), noise(2, 8 << 20));
        both(exchange(&client, &to, &fro), exchange(&server, &fro, &to)).await;
    }

    async fn a_slow_reader_makes_the_writer_wait() {
        let (writer, mut reader) = pair_with_std().await;
        let data = noise(3, 16 << 20);
        let expected = data.clone();
        let mut write = pin!(writer.write_all(&data));
        assert!(pends(write.as_mut()).await, "more was taken than the kernel buffers");
        let before = polls();
        let read = elsewhere(move || {
            let mut seen = vec![0; expected.len()];
            reader.read_exact(&mut seen).expect("the writer writes");
            assert!(seen == expected);
        });
        let (written, ()) = both(write, read).await;
        written.expect("the reader reads");
        // Each wake-up stands for room of some kilobytes at least.
        assert!(polls() - before < 32 * 1024, "{} polls", polls() - before);
    }

    async fn one_stream_is_read_and_written_at_once() {
        let (stream, mut peer) = pair_with_std().await;
        let mut read_buf = [0; 8];
        let mut read = pin!(stream.read(&mut read_buf));
        assert!(pends(read.as_mut()).await);
        let data = noise(4, 16 << 20);
        let mut write = pin!(stream.write_all(&data));
        assert!(pends(write.as_mut()).await);
        // Each is woken by its own event, the other still waits.
        peer.write_all(b"x").expect("still connected");
        assert_eq!(read.await.expect("a byte is there"), 1);
        let drained = elsewhere(move || {
            let mut seen = vec![0; 16 << 20];
            peer.read_exact(&mut seen).expect("the writer writes");
            seen
        });
        let (written, seen) = both(write, drained).await;
        written.expect("the reader reads");
        assert!(seen == data);
    }

    async fn empty_buffers_never_wait() {
        let (stream, _peer) = pair().await;
        assert_eq!(stream.read(&mut []).await.expect("nothing to do"), 0);
        assert_eq!(stream.write(&[]).await.expect("nothing to do"), 0);
        assert_eq!(stream.peek(&mut []).await.expect("nothing to do"), 0);
        assert_eq!(stream.read_vectored(&mut [IoSliceMut::new(&mut [])]).await.expect("nothing"), 0);
        assert_eq!(stream.write_vectored(&[IoSlice::new(&[])]).await.expect("nothing"), 0);
        stream.write_all_vectored(&mut [IoSlice::new(&[])]).await.expect("nothing to do");
    }

    /// From no slice to many more than the kernel takes, with empty ones between, and more
    /// of these in front and in the midst than it takes.
    async fn any_number_of_slices_loses_nothing_whichever_are_empty() {
        let (writer, reader) = pair().await;
        for count in [0, 1, 2, 7, 1023, 1024, 1025, 2500, 5000] {
            for pattern in [|_: usize| 1, |place: usize| place % 5 * 40, |place: usize| usize::from(place % 2 == 1), |place: usize| place / 1_500 % 2 * 9] {
                let lengths: Vec<usize> = (0..count).map(pattern).collect();
                let total: usize = lengths.iter().sum();
                let sent = noise(count as u64, total);
                let mut rest = sent.as_slice();
                let mut out: Vec<_> = lengths.iter().map(|length| IoSlice::new(rest.split_off(..*length).unwrap())).collect();
                let write = async {
                    // Some by one call, some without waiting, and the rest.
                    let mut out = out.as_mut_slice();
                    let written = writer.write_vectored(out).await.expect("there is room");
                    assert_eq!(written == 0, total == 0);
                    IoSlice::advance_slices(&mut out, written);
                    match writer.try_write_vectored(out) {
                        Ok(written) => IoSlice::advance_slices(&mut out, written),
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                    writer.write_all_vectored(out).await.expect("the peer reads");
                };
                let mut received = vec![0; total];
                let mut rest = received.as_mut_slice();
                // The other way round, so that slices and what they are filled with differ.
                let bufs = lengths.iter().rev().map(|length| IoSliceMut::new(rest.split_off_mut(..*length).unwrap()));
                let mut bufs: Vec<_> = bufs.collect();
                let read = async {
                    let (mut bufs, mut left) = (bufs.as_mut_slice(), total);
                    while left > 0 {
                        let length = match reader.try_read_vectored(bufs) {
                            Err(error) if error.kind() == ErrorKind::WouldBlock => reader.read_vectored(bufs).await,
                            done => done,
                        };
                        let length = length.expect("the peer writes");
                        assert!(length > 0, "{left} of {total} bytes in {count} slices are missing");
                        IoSliceMut::advance_slices(&mut bufs, length);
                        left -= length;
                    }
                    assert_eq!(reader.read_vectored(bufs).await.expect("no room"), 0);
                };
                both(write, read).await;
                assert!(received == sent, "{total} bytes in {count} slices are not what was sent");
            }
        }
    }

    /// Above 1,024 slices the kernel sees less than it was given: a read that
    /// fills those was not short, and more is there.
    async fn row_20_vectored_io_has_the_limit_of_the_kernel_and_loses_nothing() {
        let (writer, reader) = pair().await;
        // Registered, or the first wait would ask anew what is there.
        assert!(pends(pin!(reader.read(&mut [0]))).await);
        let data = noise(5, 2000);
        let mut slices: Vec<_> = data.chunks(1).map(IoSlice::new).collect();
        assert_eq!(writer.write_vectored(&slices).await.expect("there is room"), 1024);
        writer.write_all_vectored(&mut slices[1024..]).await.expect("there is room");

        let mut seen = vec![0; 2000];
        let mut peeked = [0; 2000];
        while reader.peek(&mut peeked).await.expect("data is there") < 2000 {}
        let mut slices: Vec<_> = seen.chunks_mut(1).map(IoSliceMut::new).collect();
        assert_eq!(reader.read_vectored(&mut slices).await.expect("data is there"), 1024);
        assert_eq!(reader.read_vectored(&mut slices[1024..]).await.expect("data is there"), 976);
        assert!(seen == data && peeked[..] == data[..]);
    }

    /// What was peeked at is still there, and no further report of it is owed.
    async fn a_short_peek_concludes_nothing() {
        let (writer, reader) = pair().await;
        assert!(pends(pin!(reader.read(&mut [0]))).await);
        writer.write_all(b"abc").await.expect("there is room");
        let mut buf = [0; 64];
        for _ in 0..3 {
            let peeked = reader.peek(&mut buf).await.expect("data is there");
            assert_eq!(&buf[..peeked], b"abc");
        }
        assert_eq!(reader.read(&mut buf).await.expect("data is there"), 3);
    }

    async fn empty_slices_in_front_are_no_end_of_the_stream() {
        let (writer, reader) = pair().await;
        let empty = [];
        let mut out = vec![IoSlice::new(&empty); 1030];
        out.push(IoSlice::new(b"x"));
        assert_eq!(writer.write_vectored(&out).await.expect("there is room"), 1);
        let mut byte = [0];
        let mut slices: Vec<_> = (0..1030).map(|_| IoSliceMut::new(&mut [])).collect();
        slices.push(IoSliceMut::new(&mut byte));
        assert_eq!(reader.read_vectored(&mut slices).await.expect("a byte is there"), 1);
        assert_eq!(&byte, b"x");
    }

    async fn read_to_end_appends_what_there_is() {
        let (writer, reader) = pair().await;
        let data = noise(6, 1 << 20);
        let write = async {
            writer.write_all(&data).await.expect("the reader reads");
            drop(writer);
        };
        let mut buf = b"before".to_vec();
        let ((), read) = both(write, reader.read_to_end(&mut buf)).await;
        assert_eq!(read.expect("it ends"), data.len());
        assert!(buf[..6] == *b"before" && buf[6..] == data);
    }

    async fn read_exact_says_that_the_end_came_too_early() {
        let (writer, reader) = pair().await;
        writer.write_all(b"abc").await.expect("there is room");
        drop(writer);
        let mut buf = [0; 4];
        let error = reader.read_exact(&mut buf).await.expect_err("a byte is missing");
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
        assert_eq!(&buf[..3], b"abc");
    }

    async fn generic_code_uses_the_traits_of_futures_io() {
        async fn copy(
            mut from: impl futures_lite::AsyncRead + Unpin,
            mut to: impl futures_lite::AsyncWrite + Unpin,
        ) {
            futures_lite::io::copy(&mut from, &mut to).await.expect("both ends live");
            to.close().await.expect("still connected");
        }
        let (client, server) = pair().await;
        let (mut asking, answering) = (client, server);
        let (read, write) = answering.into_split();
        let ask = async {
            let data = noise(7, 100_000);
            let mut seen = Vec::new();
            let (stream, data) = (&asking, &data);
            both(
                async {
                    let mut stream = stream;
                    AsyncWriteExt::write_all(&mut stream, data).await.expect("the peer reads");
                    AsyncWriteExt::close(&mut stream).await.expect("still connected");
                },
                async {
                    let mut stream = stream;
                    AsyncReadExt::read_to_end(&mut stream, &mut seen).await.expect("it answers");
                },
            )
            .await;
            assert!(seen == *data);
        };
        both(copy(read, write), ask).await;
        // Closing what is closed is what was wanted.
        AsyncWriteExt::close(&mut asking).await.expect("no error");
        assert!(AsyncWriteExt::flush(&mut asking).await.is_ok());
    }

    async fn a_listener_of_several_addresses_binds_the_first_that_it_can() {
        let foreign = "192.0.2.1:0".parse().expect("an address");
        let own = "127.0.0.1:0".parse().expect("an address");
        let listener = TcpListener::bind([foreign, own]).await.expect("the second is ours");
        assert!(listener.local_addr().expect("it is bound").ip().is_loopback());
        let error = TcpListener::bind(foreign).await.expect_err("not of this host");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    }

    async fn names_resolve() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let client = TcpStream::connect(format!("localhost:{port}")).await.expect("it listens");
        let (server, peer) = listener.accept().await.expect("somebody connects");
        assert_eq!(client.local_addr().expect("connected"), peer);
        assert_eq!(server.local_addr().expect("connected"), client.peer_addr().expect("connected"));
    }
}

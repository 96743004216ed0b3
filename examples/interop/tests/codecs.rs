//! The codecs of tokio-util over our streams: a stream of bytes has no messages, a codec
//! finds them again, and their size has a limit.

use std::future::Future;
use std::io;
use std::time::Duration;

use bourn::Backend;
use bourn::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use bourn::runtime::Builder;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::codec::{Framed, FramedRead, FramedWrite, LengthDelimitedCodec, LinesCodec, LinesCodecError};

/// Runs `test` on either backend, on one thread and on four.
fn on_every_setup<F: Future<Output = ()>>(test: impl Fn() -> F) {
    for backend in [Backend::Epoll, Backend::Poll] {
        for builder in [Builder::new_current_thread(), Builder::new_multi_thread().worker_threads(4)] {
            let runtime = builder.backend(backend).build().expect("a runtime");
            let limited = runtime.block_on(async { bourn::time::timeout(Duration::from_secs(60), test()).await });
            limited.expect("the test hangs");
        }
    }
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let client = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");
    let (server, _) = listener.accept().await.expect("somebody connects");
    (client, server)
}

fn lines() -> LinesCodec {
    LinesCodec::new_with_max_length(16)
}

fn frames() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(100_000).new_codec()
}

async fn next_line<T: AsyncRead + Unpin>(lines: &mut FramedRead<T, LinesCodec>) -> Result<String, LinesCodecError> {
    lines.next().await.expect("the stream goes on")
}

/// Writes that stick together, and writes that are split, are the same lines.
#[test]
fn lines_are_found_however_they_arrive() {
    on_every_setup(|| async {
        let (client, server) = pair().await;
        let mut lines = FramedRead::new(server, lines());
        client.write_all(b"aaa\nbbb\r\n\nccc\n").await.expect("it reads");
        for line in ["aaa", "bbb", "", "ccc"] {
            assert_eq!(next_line(&mut lines).await.expect("a line"), line);
        }
        let split = async {
            for byte in "grüße\n".bytes() {
                client.write_all(&[byte]).await.expect("it reads");
                bourn::task::yield_now().await;
            }
        };
        let (line, ()) = futures_util::future::join(next_line(&mut lines), split).await;
        assert_eq!(line.expect("a line"), "grüße");
        client.write_all(b"no end").await.expect("it reads");
        drop(client);
        assert_eq!(next_line(&mut lines).await.expect("the rest"), "no end");
        assert!(lines.next().await.is_none());
    });
}

#[test]
fn a_line_that_is_too_long_is_refused_before_it_is_there() {
    on_every_setup(|| async {
        let (client, server) = pair().await;
        let mut lines = FramedRead::new(server, lines());
        client.write_all(&[b'x'; 17]).await.expect("it reads");
        let error = next_line(&mut lines).await.expect_err("too long");
        assert!(matches!(error, LinesCodecError::MaxLineLengthExceeded));
        // The reader held no more than the limit; its rest goes past, and the next line counts again.
        client.write_all(&[b'x'; 70_000]).await.expect("it reads");
        client.write_all(b"\nshort\n").await.expect("it reads");
        // After an error, one `None` says so: see `FramedRead`.
        assert!(lines.next().await.is_none());
        assert_eq!(next_line(&mut lines).await.expect("a line"), "short");
    });
}

async fn frames_both_ways(one: impl AsyncRead + AsyncWrite + Unpin, other: impl AsyncRead + AsyncWrite + Unpin) {
    let sizes = [0, 1, 3, 100_000, 0, 70_000, 5];
    let frame = |size: usize| Bytes::from(vec![size as u8; size]);
    let (mut one, other) = (Framed::new(one, frames()), Framed::new(other, frames()));
    let send = async {
        for size in sizes {
            one.feed(frame(size)).await.expect("it reads");
        }
        SinkExt::<Bytes>::flush(&mut one).await.expect("it reads");
        // Closing the sink closes this half only.
        SinkExt::<Bytes>::close(&mut one).await.expect("it is connected");
        one.map_ok(|frame| frame.len()).try_collect::<Vec<_>>().await.expect("frames")
    };
    let echo = async {
        let (sink, stream) = StreamExt::split::<Bytes>(other);
        stream.map_ok(|frame| frame.freeze()).forward(sink).await
    };
    let (echoed, forwarded) = futures_util::future::join(send, echo).await;
    forwarded.expect("it is connected");
    assert_eq!(echoed, sizes);
}

#[test]
fn frames_keep_their_borders_on_streams_of_either_family() {
    on_every_setup(|| async {
        let (client, server) = pair().await;
        frames_both_ways(client, server).await;
        let (client, server) = UnixStream::pair().expect("a pair");
        frames_both_ways(client, server).await;
    });
}

#[test]
fn a_frame_that_is_too_long_is_refused_by_its_head() {
    on_every_setup(|| async {
        let (client, server) = pair().await;
        let mut server = Framed::new(server, frames());
        let refused = server.send(Bytes::from(vec![0; 100_001])).await.expect_err("too long to send");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        // Four bytes say that 4 GiB follow. None of them has to be read, or have room.
        client.write_all(&u32::MAX.to_be_bytes()).await.expect("it reads");
        let refused = server.next().await.expect("an error").expect_err("too long to receive");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    });
}

/// Requests and answers with types, over the halves of a stream.
#[test]
fn what_was_serialised_comes_back() {
    type Request = (u64, String, Vec<i32>);
    on_every_setup(|| async {
        let (client, server) = pair().await;
        let serving = bourn::spawn(async move {
            let (read, write) = server.into_split();
            let (mut requests, mut answers) = (FramedRead::new(read, frames()), FramedWrite::new(write, frames()));
            while let Some(frame) = requests.try_next().await.expect("a frame") {
                let (id, _, numbers): Request = serde_json::from_slice(&frame).expect("a request");
                let answer = serde_json::to_vec(&(id, numbers.iter().sum::<i32>())).expect("it is plain data");
                answers.send(Bytes::from(answer)).await.expect("it reads");
            }
        });
        let mut client = Framed::new(client, frames());
        for id in 0..100 {
            let request: Request = (id, "Σ \"quoted\" \n".into(), (0..id as i32).collect());
            client.feed(Bytes::from(serde_json::to_vec(&request).expect("it is plain data"))).await.expect("it reads");
        }
        SinkExt::<Bytes>::flush(&mut client).await.expect("it reads");
        for id in 0..100 {
            let frame = client.try_next().await.expect("a frame").expect("an answer");
            let (answered, sum): (u64, i32) = serde_json::from_slice(&frame).expect("an answer");
            assert_eq!((answered, sum), (id, (0..id as i32).sum()));
        }
        drop(client);
        serving.await.expect("no panic");
    });
}

/// Two uploads on one connection, cut at random places by the sender: an empty frame
/// ends each.
#[test]
fn an_upload_ends_where_it_ends() {
    on_every_setup(|| async {
        let files: [(&str, Vec<u8>); 2] =
            [("one", (0..300_000_u32).map(|byte| byte as u8).collect()), ("two", vec![7; 12_345])];
        let (client, server) = pair().await;
        let sent = files.clone();
        let sending = bourn::spawn(async move {
            let mut sink = FramedWrite::new(client, frames());
            for (name, content) in sent {
                sink.send(Bytes::from(name)).await.expect("it reads");
                for (index, chunk) in content.chunks(4_099).enumerate() {
                    let (left, right) = chunk.split_at(index * 37 % chunk.len());
                    for part in [left, right] {
                        if !part.is_empty() {
                            sink.feed(Bytes::copy_from_slice(part)).await.expect("it reads");
                        }
                    }
                }
                sink.send(Bytes::new()).await.expect("it reads");
            }
        });
        let mut stream = FramedRead::new(server, frames());
        for (name, content) in files {
            assert_eq!(stream.try_next().await.expect("a frame").expect("a name"), name.as_bytes());
            let mut received = Vec::new();
            loop {
                match stream.try_next().await.expect("a frame").expect("it ends by a frame") {
                    end if end.is_empty() => break,
                    chunk => received.extend_from_slice(&chunk),
                }
            }
            assert!(received == content);
        }
        sending.await.expect("no panic");
    });
}

/// What datagrams do by themselves.
#[test]
fn datagrams_keep_their_borders_without_a_codec() {
    on_every_setup(|| async {
        let server = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        client.connect(server.local_addr().expect("it is bound")).await.expect("loopback");
        for message in ["aaa", "bbb", "ccc"] {
            client.send(message.as_bytes()).await.expect("room");
        }
        let mut buf = [0; 64];
        for message in ["aaa", "bbb", "ccc"] {
            let length = server.recv(&mut buf).await.expect("a datagram");
            assert_eq!(&buf[..length], message.as_bytes());
        }
    });
}

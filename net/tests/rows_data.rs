//! Rows 77 to 85 of docs/sockets.md: data, and programs around it.

mod harness;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::time::Duration;

use bourn_net::{TcpListener, TcpStream, UdpSocket};
use bourn_reactor::Sleep;
use futures_lite::future::or;

use harness::kernel;
use harness::{both, descriptors, on_every_backend, pair, pair_with_std, pends};

/// Loses about `percent` of what arrives, by a filter in the kernel
/// (`SO_ATTACH_FILTER`, `SKF_AD_RANDOM`; Documentation/networking/filter.rst).
fn lose(fd: impl AsFd, percent: u32) {
    let filter = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let ancillary = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
    let mut program = [
        filter(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, ancillary),
        filter(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, 100),
        filter(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, percent),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
        filter(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `program` and the filter that it points to live through the call.
    let set = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

async fn udp_pair() -> (UdpSocket, UdpSocket) {
    let one = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    let other = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
    one.connect(other.local_addr().expect("bound")).await.expect("an address");
    other.connect(one.local_addr().expect("bound")).await.expect("an address");
    (one, other)
}

/// Writes each message behind its length.
async fn send(stream: &TcpStream, message: &[u8]) {
    stream.write_all(&(message.len() as u32).to_be_bytes()).await.expect("there is room");
    stream.write_all(message).await.expect("there is room");
}

async fn receive(stream: &TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.expect("a length");
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut message).await.expect("a message");
    message
}

/// Answers one request: a sum.
async fn serve(stream: TcpStream) {
    while let Ok(length @ 1..) = stream.peek(&mut [0]).await {
        assert_eq!(length, 1);
        let numbers = receive(&stream).await;
        send(&stream, &[numbers.iter().sum()]).await;
    }
}

on_every_backend! {
    async fn row_77_a_stream_has_no_messages() {
        let (ours, peer) = pair().await;
        for piece in [b"aaa", b"bbb", b"ccc"] {
            peer.write_all(piece).await.expect("there is room");
        }
        kernel::until(|| kernel::unread(&ours) == 9).await;
        let mut buf = [0; 6];
        assert_eq!(ours.read(&mut buf).await.expect("two of them"), 6);
        assert_eq!(&buf, b"aaabbb");
        assert_eq!(ours.read(&mut buf).await.expect("the rest"), 3);
        // And one write may take many reads.
        let data = harness::noise(77, 500_000);
        let read = async {
            let (mut all, mut reads) = (Vec::new(), 0);
            let mut buf = [0; 8192];
            while all.len() < data.len() {
                let length = ours.read(&mut buf).await.expect("more was sent");
                all.extend_from_slice(&buf[..length]);
                reads += 1;
            }
            assert!(all == data);
            reads
        };
        let (reads, written) = both(read, peer.write_all(&data)).await;
        written.expect("there is room in the end");
        assert!(reads > 50, "{reads}");
    }

    async fn row_77_lengths_make_messages_of_a_stream() {
        let (ours, peer) = pair().await;
        for message in [&b"aaa"[..], b"", b"cc"] {
            send(&peer, message).await;
        }
        assert_eq!(receive(&ours).await, b"aaa");
        assert_eq!(receive(&ours).await, b"");
        assert_eq!(receive(&ours).await, b"cc");
    }

    async fn row_77_datagrams_keep_their_boundaries() {
        let (one, other) = udp_pair().await;
        for piece in [&b"aaa"[..], b"bbb", b"", b"ccc"] {
            assert_eq!(one.send(piece).await.expect("there is room"), piece.len());
        }
        let mut buf = [0; 64];
        for piece in [&b"aaa"[..], b"bbb", b"", b"ccc"] {
            let length = other.recv(&mut buf).await.expect("a datagram");
            assert_eq!(&buf[..length], piece);
        }
    }

    async fn row_80_an_iterative_server_has_one_client_at_a_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let server = async {
            loop {
                let (stream, _) = listener.accept().await.expect("somebody connects");
                serve(stream).await;
            }
        };
        let clients = async {
            let first = TcpStream::connect(addr).await.expect("it listens");
            let second = TcpStream::connect(addr).await.expect("it listens");
            send(&second, &[1, 2]).await;
            send(&first, &[3, 4]).await;
            assert_eq!(receive(&first).await, [7]);
            {
                let mut answer = pin!(receive(&second));
                assert!(pends(answer.as_mut()).await);
                drop(first);
                assert_eq!(answer.await, [3], "now that the first has gone");
            }
        };
        or(server, clients).await;
    }

    async fn row_80_one_thread_serves_several_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let server = async {
            let mut tasks: Vec<std::pin::Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
            std::future::poll_fn::<(), _>(|cx| {
                while let std::task::Poll::Ready(accepted) = listener.poll_accept(cx) {
                    tasks.push(Box::pin(serve(accepted.expect("somebody connects").0)));
                }
                tasks.retain_mut(|task| task.as_mut().poll(cx).is_pending());
                std::task::Poll::Pending
            })
            .await;
        };
        let clients = async {
            let mut all = Vec::new();
            for _ in 0..20 {
                all.push(TcpStream::connect(addr).await.expect("it listens"));
            }
            // The first is the last to ask.
            for (number, client) in all.iter().enumerate().rev() {
                send(client, &[number as u8, 1]).await;
                assert_eq!(receive(client).await, [number as u8 + 1]);
            }
        };
        or(server, clients).await;
    }

    async fn row_81_one_reads_while_the_other_works() {
        let (ours, mut peer) = pair_with_std().await;
        let (told, work) = std::sync::mpsc::channel();
        let worker = harness::elsewhere(move || {
            use std::io::Read;
            for round in 0..10_u8 {
                peer.read_exact(&mut [0]).expect("a request");
                work.recv().expect("a turn");
                peer.write_all(&[round]).expect("there is room");
            }
        });
        let asking = async {
            for round in 0..10 {
                ours.write_all(b"?").await.expect("there is room");
                let mut answer = [0];
                {
                    let mut read = pin!(ours.read_exact(&mut answer));
                    assert!(pends(read.as_mut()).await, "the other works");
                    told.send(()).expect("it waits");
                    read.await.expect("an answer");
                }
                assert_eq!(answer, [round]);
            }
        };
        both(asking, worker).await;
    }

    async fn row_82_under_loss_a_stream_is_whole_and_datagrams_are_not() {
        let (one, other) = udp_pair().await;
        lose(&other, 20);
        let mut seen = Vec::new();
        let mut buf = [0; 8];
        for number in 0..500_u32 {
            one.send(&number.to_be_bytes()).await.expect("there is room");
            while let Ok(4) = other.try_recv(&mut buf) {
                seen.push(u32::from_be_bytes(buf[..4].try_into().expect("four bytes")));
            }
        }
        assert!((300..480).contains(&seen.len()), "{} of 500", seen.len());
        assert!(seen.is_sorted(), "on one path");

        let (ours, peer) = pair().await;
        lose(&peer, 20);
        // Many of them may go in few segments, none of which need be lost.
        for _ in 0..100 {
            let write = async {
                for number in 0..500_u32 {
                    ours.write_all(&number.to_be_bytes()).await.expect("there is room");
                }
            };
            let read = async {
                for number in 0..500_u32 {
                    let mut buf = [0; 4];
                    peer.read_exact(&mut buf).await.expect("all of them");
                    assert_eq!(u32::from_be_bytes(buf), number);
                }
            };
            both(write, read).await;
            if kernel::info(&ours).tcpi_total_retrans > 0 {
                return;
            }
        }
        panic!("nothing was lost");
    }

    async fn row_83_an_application_asks_again_for_what_was_lost() {
        let (one, other) = udp_pair().await;
        lose(&one, 30);
        lose(&other, 30);
        let echo = async {
            let mut buf = [0; 16];
            loop {
                let length = other.recv(&mut buf).await.expect("a datagram");
                other.send(&buf[..length]).await.expect("there is room");
            }
        };
        let ask = async {
            let mut sent = 0;
            for number in 0..40_u32 {
                loop {
                    one.send(&number.to_be_bytes()).await.expect("there is room");
                    sent += 1;
                    let answered = async {
                        let mut buf = [0; 16];
                        // An answer to an earlier question is none.
                        while one.recv(&mut buf).await.expect("a datagram") != 4 || buf[..4] != number.to_be_bytes() {}
                        true
                    };
                    let late = async {
                        Sleep::after(Duration::from_millis(10)).await;
                        false
                    };
                    if or(answered, late).await {
                        break;
                    }
                }
            }
            assert!(sent > 40, "nothing was lost");
        };
        or(echo, ask).await;
    }

    async fn row_83_a_broadcast_has_to_be_allowed() {
        let receiver = UdpSocket::bind("0.0.0.0:0").await.expect("a port is free");
        let port = receiver.local_addr().expect("it is bound").port();
        let sender = UdpSocket::bind("0.0.0.0:0").await.expect("a port is free");
        // The broadcast address of the loopback network.
        let all = SocketAddr::from(([127, 255, 255, 255], port));
        let error = sender.send_to(b"x", all).await.expect_err("not by default");
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
        sender.set_broadcast(true).expect("an option");
        sender.send_to(b"x", all).await.expect("allowed");
        let mut buf = [0; 8];
        let (length, from) = receiver.recv_from(&mut buf).await.expect("a datagram");
        assert_eq!((&buf[..length], from.port()), (&b"x"[..], sender.local_addr().expect("bound").port()));
    }

    /// What the uploads of two files are to a reader without their lengths: one.
    async fn row_84_chunks_say_nothing_of_where_a_file_ends() {
        let files = [harness::noise(84, 123_457), harness::noise(85, 54_321)];
        let (ours, peer) = pair().await;
        let upload = async {
            for file in &files {
                for chunk in file.chunks(7_001) {
                    peer.write_all(chunk).await.expect("there is room");
                }
            }
            peer.shutdown(std::net::Shutdown::Write).expect("connected");
        };
        let download = async {
            let mut chunks = Vec::new();
            let mut buf = vec![0; 10_000];
            while let length @ 1.. = ours.read(&mut buf).await.expect("no error") {
                chunks.push(buf[..length].to_vec());
            }
            chunks
        };
        let ((), chunks) = both(upload, download).await;
        assert!(chunks.concat() == files.concat());
        let sent: Vec<_> = files.iter().flat_map(|file| file.chunks(7_001)).map(<[u8]>::len).collect();
        let read: Vec<_> = chunks.iter().map(Vec::len).collect();
        assert_ne!(sent, read, "the reader's chunks are its own");

        let (ours, peer) = pair().await;
        let upload = async {
            for file in &files {
                send(&peer, file).await;
            }
        };
        let download = async {
            for file in &files {
                assert!(receive(&ours).await == *file);
            }
        };
        both(upload, download).await;
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        async fn row_85_what_a_connection_takes_is_given_back() {
            drop(pair().await);
            let before = descriptors();
            let sources = || harness::reactor().map(|reactor| reactor.sources().len());
            let registered = sources();
            for round in 0..100 {
                let (ours, peer) = pair().await;
                let mut byte = [0];
                let mut read = pin!(ours.read(&mut byte));
                assert!(pends(read.as_mut()).await);
                match round % 3 {
                    0 => drop(peer),
                    1 => peer.reset().expect("an option"),
                    _ => peer.write_all(b"x").await.expect("there is room"),
                }
                drop(read.await);
            }
            assert_eq!(descriptors(), before);
            assert_eq!(sources(), registered);
        }
    }
}

//! Two waits for room that the kernel never reports: they end when there is some,
//! and cost next to nothing until then.

mod harness;

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_net::{UnixDatagram, UnixListener, UnixStream};
use bourn_reactor::Sleep;
use futures_lite::future::or;
use socket2::{Domain, SockAddr, Socket, Type};

use harness::{both, cpu_time, on_every_backend};

fn name(text: &str) -> SocketAddr {
    let unique = format!("bourn-room-{text}-{}", std::process::id());
    SocketAddr::from_abstract_name(unique).expect("it is short")
}

/// Lets `wait` wait for a second, in which it must neither end nor work.
async fn is_idle<R>(wait: impl Future<Output = R>) {
    let (start, cpu) = (Instant::now(), cpu_time());
    or(
        async {
            wait.await;
            panic!("there is no room");
        },
        Sleep::after(Duration::from_secs(1)),
    )
    .await;
    let (spent, passed) = (cpu_time() - cpu, start.elapsed());
    assert!(spent * 50 < passed, "{spent:?} of {passed:?}");
}

on_every_backend! {
    alone;

    async fn an_unconnected_sender_waits_for_a_full_peer() {
        let name = name("datagram");
        let receiver = UnixDatagram::bind_addr(&name).expect("a new name");
        let sender = UnixDatagram::unbound().expect("a descriptor");
        let mut filled = 0_u32;
        while sender.try_send_to_addr(&filled.to_ne_bytes(), &name).is_ok() {
            filled += 1;
        }
        let mut send = pin!(async {
            for number in filled..filled + 10 {
                sender.send_to_addr(&number.to_ne_bytes(), &name).await.expect("a peer");
            }
        });
        is_idle(&mut send).await;
        let receive = async {
            for number in 0..filled + 10 {
                let mut buf = [0; 4];
                receiver.recv(&mut buf).await.expect("a datagram");
                assert_eq!(u32::from_ne_bytes(buf), number);
            }
        };
        both(send, receive).await;
    }

    async fn a_stream_waits_for_a_full_backlog() {
        let name = name("stream");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor");
        let raw = [b"\0", name.as_abstract_name().expect("one")].concat();
        let raw = String::from_utf8(raw).expect("text");
        socket.bind(&SockAddr::unix(raw).expect("it is short")).expect("a new name");
        socket.listen(1).expect("it is bound");
        let listener = UnixListener::from_std(socket.into()).expect("an option");
        // As many as the backlog, and one (unix(7)).
        let first = UnixStream::connect_addr(&name).await.expect("room");
        let second = UnixStream::connect_addr(&name).await.expect("room");
        let mut third = pin!(UnixStream::connect_addr(&name));
        is_idle(&mut third).await;
        let serve = async {
            for expected in *b"123" {
                let (stream, _) = listener.accept().await.expect("somebody connects");
                let mut byte = [0];
                stream.read_exact(&mut byte).await.expect("the peer writes");
                assert_eq!(byte, [expected]);
            }
        };
        let ask = async {
            first.write_all(b"1").await.expect("room");
            second.write_all(b"2").await.expect("room");
            third.await.expect("room, in the end").write_all(b"3").await.expect("room");
        };
        both(serve, ask).await;
    }
}

//! Rows 1 to 9 of docs/sockets.md: what a socket is.

mod harness;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::pin::pin;

use bourn_net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use futures_lite::future::or;

use harness::kernel::{self, state};
use harness::{both, descriptors, on_every_backend, pair, pair_with_std, pends};

on_every_backend! {
    async fn row_01_a_socket_is_a_file() {
        let (ours, mut peer) = pair_with_std().await;
        let name = kernel::file(&ours);
        assert!(name.starts_with("socket:[") && name.ends_with(']'), "{name}");
        // read(2) and write(2) do, beside the calls of sockets.
        let mut file = File::from(ours.as_fd().try_clone_to_owned().expect("a descriptor"));
        assert_eq!(kernel::file(&file), name, "the same socket");
        file.write_all(b"written").expect("there is room");
        let mut seen = [0; 7];
        peer.read_exact(&mut seen).expect("still connected");
        assert_eq!(&seen, b"written");
        let mut byte = [0; 1];
        {
            let mut read = pin!(ours.read(&mut byte));
            assert!(pends(read.as_mut()).await);
            peer.write_all(b"12345").expect("still connected");
            assert_eq!(read.await.expect("a byte"), 1);
        }
        let mut rest = [0; 4];
        file.read_exact(&mut rest).expect("it has arrived");
        assert_eq!((&byte, &rest), (b"1", b"2345"));
    }

    async fn row_03_bind_gives_three_of_five_and_the_handshake_the_rest() {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = "0.0.0.0:0".parse().expect("an address");
        assert_eq!(socket.local_addr().expect("a name"), any, "nothing but the protocol");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
        let local = socket.local_addr().expect("it is bound");
        assert_ne!(local.port(), 0);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let remote = listener.local_addr().expect("it is bound");
        let client = socket.connect(remote).await.expect("it listens");
        let (server, peer) = listener.accept().await.expect("one waits");
        assert_eq!((client.local_addr().ok(), client.peer_addr().ok()), (Some(local), Some(remote)));
        assert_eq!((server.local_addr().ok(), server.peer_addr().ok(), peer), (Some(remote), Some(local), local));
        // The kernel has the connection twice, once from each end.
        for (stream, local, remote) in [(&client, local, remote), (&server, remote, local)] {
            let line = kernel::line(local, remote).expect("a connection");
            assert_eq!(kernel::file(stream), format!("socket:[{}]", line.inode));
        }
    }

    async fn row_04_several_services_are_several_sockets() {
        let one = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let two = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let (first, second) = (one.local_addr().expect("bound"), two.local_addr().expect("bound"));
        assert_ne!(first.port(), second.port(), "the port tells the services of a host apart");
        let text = format!("bourn-row-04-{}-{}", std::process::id(), first.port());
        let name = UnixAddr::from_abstract_name(text).expect("it is short");
        let local = UnixListener::bind_addr(&name).expect("a new name");
        let serve = async {
            for _ in 0..3 {
                let tcp = |(stream, _): (TcpStream, _)| async move { stream.write_all(b"hello").await };
                let unix = |(stream, _): (UnixStream, _)| async move { stream.write_all(b"hello").await };
                let of_one = async { tcp(one.accept().await.expect("somebody connects")).await };
                let of_two = async { tcp(two.accept().await.expect("somebody connects")).await };
                let of_local = async { unix(local.accept().await.expect("somebody connects")).await };
                or(of_one, or(of_two, of_local)).await.expect("there is room");
            }
        };
        let ask = async {
            let mut all = Vec::new();
            let stream = UnixStream::connect_addr(&name).await.expect("it listens");
            stream.read_to_end(&mut all).await.expect("an answer");
            for addr in [second, first] {
                let stream = TcpStream::connect(addr).await.expect("it listens");
                stream.read_to_end(&mut all).await.expect("an answer");
            }
            all
        };
        let ((), all) = both(serve, ask).await;
        assert_eq!(all, b"hellohellohello");
    }

    async fn row_05_a_segment_never_exceeds_the_mss() {
        let (ours, mut peer) = pair_with_std().await;
        // For one's own machine the MTU is that of the loopback interface.
        let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").expect("sysfs");
        let mtu: u32 = mtu.trim().parse().expect("a number");
        let at_first = kernel::info(&ours);
        assert!(at_first.tcpi_snd_mss + 40 <= mtu, "{} of {mtu}", at_first.tcpi_snd_mss);
        assert!(at_first.tcpi_pmtu <= mtu, "{} of {mtu}", at_first.tcpi_pmtu);
        let data = vec![1; 1 << 20];
        let drain = harness::elsewhere(move || peer.read_exact(&mut vec![0; 1 << 20]));
        let (written, drained) = both(ours.write_all(&data), drain).await;
        written.and(drained).expect("all of it arrives");
        let info = kernel::info(&ours);
        assert_eq!(info.tcpi_bytes_sent - info.tcpi_bytes_retrans, 1 << 20);
        let most = u64::from(info.tcpi_data_segs_out) * u64::from(info.tcpi_snd_mss.max(at_first.tcpi_snd_mss));
        assert!(info.tcpi_bytes_sent <= most, "{} bytes in segments for {most}", info.tcpi_bytes_sent);
    }

    /// That neither does the other's work, the compiler sees to
    /// (`runtime/tests/ui/listener_read.rs`).
    async fn row_06_listening_and_connected_sockets_are_different_objects() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        let (server, _) = listener.accept().await.expect("one waits");
        assert_ne!(kernel::file(&listener), kernel::file(&server));
        assert_eq!(kernel::state_of(&listener), state::LISTEN);
        assert_eq!(kernel::state_of(&server), state::ESTABLISHED);
        assert_eq!(kernel::state_of(&client), state::ESTABLISHED);
        assert_eq!(listener.local_addr().ok(), server.local_addr().ok(), "at the same port");
        drop(listener);
        client.write_all(b"x").await.expect("connections outlive their listener");
        assert_eq!(server.read(&mut [0]).await.expect("a byte"), 1);
    }

    async fn row_07_each_socket_has_two_buffers_of_its_own() {
        let (ours, peer) = pair().await;
        let mut accepted = 0;
        // Until neither end has room: what arrives late makes some again.
        kernel::until(|| {
            let before = accepted;
            while let Ok(length) = ours.try_write(&[7; 50_000]) {
                accepted += length;
            }
            accepted == before && kernel::unacknowledged(&ours) + kernel::unread(&peer) == accepted
        })
        .await;
        assert!(kernel::unread(&peer) > 0 && kernel::unsent(&ours) > 0);
        assert_eq!(kernel::unread(&ours), 0);
        assert_eq!(kernel::unacknowledged(&peer), 0, "the other direction has buffers of its own");
        let mut left = accepted;
        let mut buf = vec![0; 1 << 16];
        while left > 0 {
            left -= peer.read(&mut buf).await.expect("more was sent");
        }
        kernel::until(|| kernel::unacknowledged(&ours) == 0).await;
        assert_eq!(kernel::unread(&peer), 0);
    }

    async fn row_09_full_duplex_one_stream_is_read_and_written_at_once() {
        let (ours, mut theirs) = pair_with_std().await;
        let writer = theirs.try_clone().expect("a descriptor");
        let data = harness::noise(9, 3 << 20);
        let (there, back) = (data.clone(), data.clone());
        // The peer does not read before its own data has gone.
        let peer = harness::elsewhere(move || {
            (&writer).write_all(&back).expect("still connected");
            let mut all = vec![0; 3 << 20];
            theirs.read_exact(&mut all).expect("still connected");
            all
        });
        let mut all = vec![0; 3 << 20];
        let exchange = both(ours.write_all(&there), ours.read_exact(&mut all));
        let ((written, read), seen) = both(exchange, peer).await;
        written.expect("the peer reads in the end");
        read.expect("the peer writes");
        assert!(all == data && seen == data);
    }
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        /// A connection takes one at each end; the limit is tested in
        /// `accept.rs`.
        async fn row_02_a_descriptor_is_the_lowest_free_number() {
            use std::os::fd::AsRawFd;
            drop(pair().await);
            let before = descriptors();
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
            let (server, _) = listener.accept().await.expect("one waits");
            assert_eq!(descriptors(), before + 3);
            let lowest = [listener.as_raw_fd(), client.as_raw_fd(), server.as_raw_fd()];
            drop(client);
            let again = TcpSocket::new_v4().expect("a socket");
            assert_eq!(again.as_raw_fd(), lowest[1]);
            drop((again, server, listener));
            assert_eq!(descriptors(), before);
        }
    }
}

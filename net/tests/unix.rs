//! Unix sockets: what is written arrives, wherever it is written to.

mod harness;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use bourn_net::{Interest, UnixDatagram, UnixListener, UnixStream, inspect};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use socket2::{Domain, SockAddr, Socket, Type};

use harness::{both, elsewhere, kind, noise, on_every_backend, pends};

/// A path that nobody else uses, removed in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Place(std::env::temp_dir().join(format!("bourn-unix-{}-{number}", std::process::id())))
    }
}

impl AsRef<Path> for Place {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Binds to a path of 108 bytes.
fn bind_to_longest(socket: &impl AsRawFd) -> Place {
    let mut place = Place::new();
    let rest = 108 - place.0.as_os_str().len();
    place.0.as_mut_os_string().push("x".repeat(rest));
    let mut addr = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
    for (to, from) in addr.sun_path.iter_mut().zip(place.0.as_os_str().as_encoded_bytes()) {
        *to = *from as libc::c_char;
    }
    // SAFETY: the address is readable for its length.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const addr).cast(), size_of_val(&addr) as _) };
    assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
    place
}

/// A name in the abstract namespace that nobody else uses.
fn name() -> SocketAddr {
    let Place(path) = &Place::new();
    SocketAddr::from_abstract_name(path.as_os_str().as_encoded_bytes()).expect("it is short")
}

/// Sends `data` there and back, through halves, until each end is closed.
async fn echo(client: UnixStream, server: UnixStream, data: &[u8]) {
    let (mut client_read, mut client_write) = client.into_split();
    let write = async {
        client_write.write_all(data).await.expect("the peer reads");
        drop(client_write); // "that was all"
    };
    let read = async {
        let mut all = Vec::new();
        client_read.read_to_end(&mut all).await.expect("the peer writes");
        assert!(all == data, "changed on the way");
    };
    let serve = async {
        let (mut read, mut write) = server.split();
        let mut buf = vec![0; 50_000];
        while let length @ 1.. = read.read(&mut buf).await.expect("the peer writes") {
            write.write_all(&buf[..length]).await.expect("the peer reads");
        }
        server.shutdown(Shutdown::Write).expect("connected");
    };
    both(both(write, read), serve).await;
}

on_every_backend! {
    async fn a_path_is_listened_at_and_connected_to() {
        let place = Place::new();
        assert_eq!(kind(UnixStream::connect(&place).await.map(drop)), Err(ErrorKind::NotFound));
        let listener = UnixListener::bind(&place).expect("a new path");
        assert_eq!(listener.local_addr().expect("bound").as_pathname(), Some(place.as_ref()));
        assert_eq!(kind(UnixListener::bind(&place).map(drop)), Err(ErrorKind::AddrInUse));
        assert_eq!(kind(listener.try_accept().map(drop)), Err(ErrorKind::WouldBlock));
        let (server, client) = {
            let mut accept = pin!(listener.accept());
            assert!(pends(accept.as_mut()).await);
            let client = UnixStream::connect(&place).await.expect("somebody listens");
            let (server, peer) = accept.await.expect("somebody connects");
            assert!(peer.is_unnamed(), "{peer:?}");
            (server, client)
        };
        assert_eq!(client.peer_addr().expect("connected").as_pathname(), Some(place.as_ref()));
        assert!(client.local_addr().expect("connected").is_unnamed());
        echo(client, server, &noise(1, 4 << 20)).await;
        drop(listener);
        // A thread that is inside poll or select holds the listener until it has left.
        let refused = loop {
            if let Err(error) = UnixStream::connect(&place).await {
                break error;
            }
        };
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let long = UnixListener::bind("x".repeat(200)).map(drop);
        assert_eq!(kind(long), Err(ErrorKind::InvalidInput));
    }

    async fn an_abstract_name_needs_no_file() {
        let name = name();
        let listener = UnixListener::bind_addr(&name).expect("a new name");
        let bound = listener.local_addr().expect("bound");
        assert_eq!(bound.as_abstract_name(), name.as_abstract_name());
        let client = UnixStream::connect_addr(&name).await.expect("somebody listens");
        assert_eq!(
            client.peer_addr().expect("connected").as_abstract_name(),
            name.as_abstract_name()
        );
        let (server, _) = listener.accept().await.expect("somebody connects");
        echo(client, server, &noise(2, 100_000)).await;
    }

    async fn row_03_the_peer_s_credentials_are_told() {
        let name = name();
        let listener = UnixListener::bind_addr(&name).expect("a new name");
        let client = UnixStream::connect_addr(&name).await.expect("somebody listens");
        let (server, _) = listener.accept().await.expect("somebody connects");
        let status = fs::read_to_string("/proc/self/status").expect("procfs");
        let effective = |field| {
            let line = status.lines().find(|line| line.starts_with(field)).expect("a line");
            line.split_whitespace().nth(2).expect("an id").to_owned()
        };
        for credentials in [server.peer_cred(), client.peer_cred()] {
            let credentials = credentials.expect("an option");
            assert_eq!(credentials.pid, std::process::id());
            assert_eq!(credentials.uid.to_string(), effective("Uid:"));
            assert_eq!(credentials.gid.to_string(), effective("Gid:"));
        }
    }

    async fn a_half_is_closed_while_the_other_goes_on() {
        let (one, other) = UnixStream::pair().expect("descriptors");
        one.write_all(b"question").await.expect("room");
        {
            let mut closed = pin!(other.read_closed());
            assert!(pends(closed.as_mut()).await);
            one.shutdown(Shutdown::Write).expect("connected");
            closed.await.expect("the half is closed");
        }
        let mut all = Vec::new();
        other.read_to_end(&mut all).await.expect("the peer writes");
        assert_eq!(all, b"question");
        other.write_all(b"answer").await.expect("room");
        let mut buf = [0; 6];
        one.read_exact(&mut buf).await.expect("the peer writes");
        drop(one);
        assert_eq!(kind(other.write_all(b"more").await), Err(ErrorKind::BrokenPipe));
    }

    async fn halves_are_put_together_again() {
        let (one, other) = UnixStream::pair().expect("descriptors");
        let (stranger, _) = UnixStream::pair().expect("descriptors");
        let (read, write) = one.into_split();
        let (strange_read, strange_write) = stranger.into_split();
        let error = read.reunite(strange_write).expect_err("two streams");
        let one = error.0.reunite(write).expect("one stream");
        drop((strange_read, error.1));
        let (mut read, write) = one.into_split();
        write.forget();
        other.write_all(b"still open").await.expect("room");
        let mut buf = [0; 10];
        read.read_exact(&mut buf).await.expect("the peer writes");
        assert_eq!(kind(other.try_read(&mut buf)), Err(ErrorKind::WouldBlock));
        drop(read);
        assert_eq!(other.read(&mut buf).await.expect("the end"), 0);
    }

    async fn generic_code_reads_and_writes() {
        let (mut one, mut other) = UnixStream::pair().expect("descriptors");
        let data = noise(3, 1 << 20);
        let write = async {
            AsyncWriteExt::write_all(&mut one, &data).await.expect("room");
            AsyncWriteExt::close(&mut one).await.expect("connected");
            AsyncWriteExt::close(&mut one).await.expect("closed already");
        };
        let read = async {
            let mut all = Vec::new();
            AsyncReadExt::read_to_end(&mut other, &mut all).await.expect("the peer writes");
            assert!(all == data, "changed on the way");
        };
        both(write, read).await;
    }

    async fn descriptors_passed_along_hide_no_byte() {
        let (theirs, ours) = net::UnixStream::pair().expect("descriptors");
        let ours = UnixStream::from_std(ours).expect("an option");
        let mut buf = [0; 100];
        assert!(pends(pin!(ours.read(&mut buf))).await);
        // Each ends the read in front of it, with more behind.
        let send = elsewhere(move || {
            for _ in 0..50 {
                send_with_descriptor(&theirs, b"some");
                send_with_descriptor(&theirs, b"more");
            }
        });
        let receive = async {
            let mut all = Vec::new();
            ours.read_to_end(&mut all).await.expect("the peer writes");
            assert_eq!(all, b"somemore".repeat(50));
        };
        both(send, receive).await;
    }

    /// The peer gets what it can use, and both ends of what was passed are one file.
    async fn descriptors_are_passed_to_the_peer() {
        let (one, other) = UnixStream::pair().expect("descriptors");
        let (one_datagram, other_datagram) = UnixDatagram::pair().expect("descriptors");
        let mut buf = [0; 10];
        for round in 0..3 {
            let (mut reader, writer) = std::io::pipe().expect("descriptors");
            let (length, fds) = if round == 0 {
                let mut receive = pin!(other.recv_with_fds(&mut buf));
                assert!(pends(receive.as_mut()).await);
                let sent = one.send_with_fds(b"two", &[writer.as_fd(), reader.as_fd()]).await;
                assert_eq!(sent.expect("room"), 3);
                receive.await.expect("they come")
            } else {
                let sent = one_datagram.send_with_fds(b"two", &[writer.as_fd(), reader.as_fd()]).await;
                assert_eq!(sent.expect("room"), 3);
                other_datagram.recv_with_fds(&mut buf).await.expect("they come")
            };
            assert_eq!((&buf[..length], fds.len()), (&b"two"[..], 2));
            for fd in &fds {
                // SAFETY: no memory is passed.
                let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
                assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC, "no child inherits it");
            }
            drop(writer);
            let mut fds = fds.into_iter();
            File::from(fds.next().expect("the writer")).write_all(b"hello").expect("the reader lives");
            let mut all = Vec::new();
            reader.read_to_end(&mut all).expect("all writers are gone");
            assert_eq!(all, b"hello");
        }
        // Without any, they are ordinary calls.
        assert_eq!(one.send_with_fds(b"none", &[]).await.expect("room"), 4);
        let (length, fds) = other.recv_with_fds(&mut buf).await.expect("they come");
        assert_eq!((length, fds.len()), (4, 0));
        assert_eq!(one_datagram.send_with_fds(b"", &[one.as_fd()]).await.expect("room"), 0);
        let (length, fds) = other_datagram.recv_with_fds(&mut buf).await.expect("they come");
        assert_eq!((length, fds.len()), (0, 1));
        // A stream needs a byte for them to travel beside.
        assert_eq!(kind(one.send_with_fds(b"", &[one.as_fd()]).await), Err(ErrorKind::InvalidInput));
        assert_eq!(kind(one.send_with_fds(b"x", &[one.as_fd(); 254]).await), Err(ErrorKind::InvalidInput));
        assert_eq!(one.send_with_fds(b"x", &[one.as_fd(); 253]).await.expect("as many as go"), 1);
        let (length, fds) = other.recv_with_fds(&mut buf).await.expect("they come");
        assert_eq!((length, fds.len()), (1, 253));
    }

    async fn descriptors_travel_beside_their_bytes() {
        let (one, other) = UnixStream::pair().expect("descriptors");
        let send = async {
            for round in 0..200_u32 {
                one.write_all(b"plain").await.expect("room");
                let passed = one.send_with_fds(b"passed", &[other.as_fd()]).await.expect("room");
                one.write_all(&b"passed"[passed..]).await.expect("room");
                if round % 50 == 0 {
                    futures_lite::future::yield_now().await;
                }
            }
            one.shutdown(Shutdown::Write).expect("connected");
        };
        let receive = async {
            let (mut all, mut passed) = (Vec::new(), 0);
            let mut buf = [0; 64];
            loop {
                let (length, fds) = other.recv_with_fds(&mut buf).await.expect("they come");
                if length == 0 {
                    break;
                }
                // They arrive with the first byte of what they were sent with.
                assert!(fds.is_empty() || buf.starts_with(b"passed") || buf[..length].ends_with(b"passed"));
                passed += fds.len();
                all.extend_from_slice(&buf[..length]);
            }
            assert_eq!(all, b"plainpassed".repeat(200));
            assert_eq!(passed, 200);
        };
        both(send, receive).await;
    }

    async fn row_77_unix_datagrams_keep_their_boundaries() {
        let (place, other) = (Place::new(), name());
        let first = UnixDatagram::bind(&place).expect("a new path");
        let second = UnixDatagram::bind_addr(&other).expect("a new name");
        let mut buf = [0; 10];
        {
            let mut receive = pin!(second.recv_from(&mut buf));
            assert!(pends(receive.as_mut()).await);
            assert_eq!(first.send_to_addr(b"one", &other).await.expect("room"), 3);
            let (length, sender) = receive.await.expect("a datagram");
            assert_eq!((length, sender.as_pathname()), (3, Some(place.as_ref())));
        }
        assert_eq!(second.send_to(b"", &place).await.expect("room"), 0);
        assert_eq!(second.try_send_to(b"two", &place).expect("room"), 3);
        let (length, sender) = first.recv_from(&mut buf).await.expect("a datagram");
        assert_eq!((length, sender.as_abstract_name()), (0, other.as_abstract_name()));
        assert_eq!(first.peek(&mut buf).await.expect("a datagram"), 3);
        assert_eq!(first.recv(&mut buf).await.expect("a datagram"), 3);
        let nobody = UnixDatagram::unbound().expect("a descriptor");
        nobody.send_to(b"who?", &place).await.expect("room");
        let (length, sender) = first.recv_from(&mut buf).await.expect("a datagram");
        assert!((length, sender.is_unnamed()) == (4, true), "{length} of {sender:?}");
        drop(second);
        let gone = first.send_to_addr(b"gone", &other).await;
        assert_eq!(kind(gone), Err(ErrorKind::ConnectionRefused));
    }

    async fn connected_datagram_sockets_are_told_of_room() {
        let name = name();
        let receiver = UnixDatagram::bind_addr(&name).expect("a new name");
        let sender = UnixDatagram::unbound().expect("a descriptor");
        assert_eq!(kind(sender.peer_addr().map(drop)), Err(ErrorKind::NotConnected));
        sender.connect_addr(&name).expect("somebody receives");
        pass_many(&sender, &receiver).await;
        let (sender, receiver) = UnixDatagram::pair().expect("descriptors");
        assert_eq!(sender.ready(Interest::WRITE).await.expect("room"), Interest::WRITE);
        pass_many(&sender, &receiver).await;
        sender.shutdown(Shutdown::Write).expect("connected");
        assert_eq!(kind(sender.send(b"x").await), Err(ErrorKind::BrokenPipe));
    }

    /// The kernel takes a path of 108 bytes, which no address of std can hold.
    async fn a_peer_with_the_longest_path_loses_nothing() {
        let (place, other) = (Place::new(), name());
        let listener = UnixListener::bind(&place).expect("a new path");
        let client = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a descriptor");
        let longest = bind_to_longest(&client);
        client.connect(&SockAddr::unix(&place).expect("it is short")).expect("it listens");
        let (stream, peer) = listener.accept().await.expect("it is connected");
        assert!(peer.is_unnamed() && stream.peer_addr().expect("connected").is_unnamed());
        let receiver = UnixDatagram::bind_addr(&other).expect("a new name");
        let sender = net::UnixDatagram::unbound().expect("a descriptor");
        let _longest = bind_to_longest(&sender);
        sender.send_to_addr(b"datagram", &other).expect("room");
        let (length, sender) = receiver.recv_from(&mut [0; 10]).await.expect("a datagram");
        assert!((length, sender.is_unnamed()) == (8, true), "{length} of {sender:?}");

        let sockets = inspect::sockets().expect("procfs");
        let seen = |fd: RawFd| sockets.iter().find(|socket| socket.fd == fd).expect("it is open");
        assert_eq!(seen(stream.as_raw_fd()).peer, format!("{:?} (pathname)", longest.as_ref()));
        assert_eq!(seen(receiver.as_raw_fd()).local, format!("{other:?}"));
    }

    async fn sockets_go_to_std_and_come_back() {
        let (one, other) = UnixStream::pair().expect("descriptors");
        let mut buf = [0; 10];
        assert!(pends(pin!(one.read(&mut buf))).await);
        let one = UnixStream::from_std(one.into_std()).expect("an option");
        other.write_all(b"stream").await.expect("room");
        assert_eq!(one.read(&mut buf).await.expect("the peer writes"), 6);
        let (one, other) = UnixDatagram::pair().expect("descriptors");
        let one = UnixDatagram::from_std(one.into_std()).expect("an option");
        other.send(b"datagram").await.expect("room");
        assert_eq!(one.recv(&mut buf).await.expect("a datagram"), 8);
        let name = name();
        let listener = UnixListener::bind_addr(&name).expect("a new name");
        let listener = UnixListener::from_std(listener.into_std()).expect("an option");
        let _client = UnixStream::connect_addr(&name).await.expect("somebody listens");
        listener.accept().await.expect("somebody connects");
    }
}

/// More datagrams than there is room for, in order; the sender has to wait.
async fn pass_many(sender: &UnixDatagram, receiver: &UnixDatagram) {
    let mut filled = 0_u32;
    while sender.try_send(&filled.to_ne_bytes()).is_ok() {
        filled += 1;
    }
    let send = async {
        for number in filled..filled + 2000 {
            sender.send(&number.to_ne_bytes()).await.expect("a peer");
        }
    };
    {
        let mut send = pin!(send);
        assert!(pends(send.as_mut()).await, "there is no room");
        let receive = async {
            for number in 0..filled + 2000 {
                let mut buf = [0; 4];
                assert_eq!(receiver.recv(&mut buf).await.expect("a datagram"), 4);
                assert_eq!(u32::from_ne_bytes(buf), number);
            }
        };
        both(send, receive).await;
    }
}

/// Sends `bytes` with one descriptor beside them (SCM_RIGHTS, unix(7)).
fn send_with_descriptor(stream: &net::UnixStream, bytes: &[u8]) {
    const SPACE: usize = size_of::<libc::cmsghdr>() + 8;
    // A `cmsghdr` (length, level, type) and the descriptor, in native order.
    let halves = |[a, b, c, d]: [u8; 4], [e, f, g, h]: [u8; 4]| u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
    let mut control: [u64; SPACE / 8] = [
        (size_of::<libc::cmsghdr>() + size_of::<i32>()) as u64,
        halves(libc::SOL_SOCKET.to_ne_bytes(), libc::SCM_RIGHTS.to_ne_bytes()),
        halves(stream.as_raw_fd().to_ne_bytes(), [0; 4]),
    ];
    let mut slice = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = SPACE as _;
    // SAFETY: the message points to readable bytes and a control message of the
    // length that it says.
    let sent = unsafe { libc::sendmsg(stream.as_raw_fd(), &raw const message, 0) };
    assert_eq!(usize::try_from(sent), Ok(bytes.len()), "{}", std::io::Error::last_os_error());
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        /// A descriptor of the sender's process, for who asks the kernel for it, is not left open.
        async fn the_sender_s_own_descriptor_is_closed() {
            const SO_PASSPIDFD: libc::c_int = 76;
            let (one, other) = UnixStream::pair().expect("descriptors");
            let on: libc::c_int = 1;
            let len = size_of::<libc::c_int>() as libc::socklen_t;
            // SAFETY: the value lives through the call.
            let set = unsafe {
                libc::setsockopt(other.as_raw_fd(), libc::SOL_SOCKET, SO_PASSPIDFD, (&raw const on).cast(), len)
            };
            assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
            // Whatever the reactor needs is open then.
            assert!(pends(pin!(other.readable())).await);
            let before = harness::descriptors();
            for _ in 0..3 {
                one.send_with_fds(b"x", &[one.as_fd(); 2]).await.expect("room");
                let (length, passed) = other.recv_with_fds(&mut [0; 8]).await.expect("a byte");
                assert_eq!((length, passed.len()), (1, 2));
                assert_eq!(harness::descriptors(), before + 2);
            }
        }

        /// What does not fit the table of descriptors is an error, and what did is closed.
        async fn descriptors_without_room_are_an_error() {
            let (one, other) = UnixStream::pair().expect("descriptors");
            one.send_with_fds(b"x", &[one.as_fd(); 5]).await.expect("room");
            one.write_all(b"y").await.expect("room");
            other.readable().await.expect("bytes");
            // Whatever the reactor needs is open now.
            let before = harness::descriptors();
            // There is room for one more: others may have left gaps in the table.
            let lowest = File::open("/dev/null").expect("room").as_raw_fd() as u64;
            let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: the limit lives through the call.
            assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut old) }, 0);
            let low = libc::rlimit { rlim_cur: lowest + 1, ..old };
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const low) }, 0);
            let mut buf = [0; 8];
            let lost = other.recv_with_fds(&mut buf).await;
            // SAFETY: as above.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const old) }, 0);
            let error = lost.expect_err("no room for 5");
            assert!(error.to_string().contains("descriptors"), "{error}");
            assert_eq!(harness::descriptors(), before);
            assert_eq!(other.recv_with_fds(&mut buf).await.expect("the next byte").0, 1);
        }
    }
}

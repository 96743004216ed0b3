//! However a connection ends: the exact bytes, then the end or an error once, and
//! no wait that returns again and again because of it.

mod harness;

use std::fs;
use std::io::{self, Write};
use std::net::{self, Shutdown};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::pin;
use std::time::Duration;

use bourn_net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use socket2::{Domain, SockRef, Socket, Type};

use harness::{is_calm, kernel, on_every_backend, pair, pair_with_std, pends};

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The peer sends FIN.
    Fin,
    /// The peer resets.
    Reset,
    /// We shut both halves.
    Shutdown,
    /// The peer sends FIN, and we shut both halves.
    Both,
}

/// Asks poll(2) until a read would do something.
async fn until_readable(fd: impl AsFd) {
    let fd = fd.as_fd();
    kernel::until(|| kernel::events(fd, libc::POLLIN | libc::POLLRDHUP) != 0).await;
}

/// Reads after `end`: `data`, then the end, in front of which there may be one error.
async fn reads(mut read: impl AsyncFnMut(&mut [u8]) -> io::Result<usize>, data: &[u8], error: Option<i32>) {
    let mut seen = Vec::new();
    let mut buf = [0; 3];
    while seen.len() < data.len() {
        let length = read(&mut buf).await.expect("what was sent before");
        seen.extend_from_slice(&buf[..length]);
    }
    assert_eq!(seen, data);
    if error.is_some() {
        assert_eq!(read(&mut buf).await.expect_err("how it ended").raw_os_error(), error);
    }
    for _ in 0..3 {
        assert_eq!(read(&mut buf).await.expect("the end, for ever"), 0);
    }
}

async fn ends(end: End, data: &[u8]) {
    println!("{end:?} behind {data:?}");
    let (ours, mut peer) = pair_with_std().await;
    let (bystander, _other) = pair_with_std().await;
    assert!(pends(pin!(ours.read(&mut [0; 3]))).await, "registered");
    peer.write_all(data).expect("there is room");
    if end == End::Reset {
        SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("an option");
        drop(peer);
        until_readable(&ours).await;
    } else {
        kernel::until(|| kernel::unread(&ours) == data.len()).await;
        if end != End::Shutdown {
            peer.shutdown(Shutdown::Write).expect("connected");
            until_readable(&ours).await;
        }
        if end != End::Fin {
            ours.shutdown(Shutdown::Both).expect("connected");
        }
        until_readable(&ours).await;
    }
    // Whether anybody asks or not.
    is_calm(bystander.read(&mut [0])).await;
    ours.readable().await.expect("there is news");
    reads(async |buf| ours.read(buf).await, data, (end == End::Reset).then_some(libc::ECONNRESET)).await;
    ours.read_closed().await.expect("it is over");
    is_calm(bystander.read(&mut [0])).await;
}

on_every_backend! {
    async fn a_fin_is_one_end() {
        ends(End::Fin, b"").await;
        ends(End::Fin, b"before it").await;
    }

    async fn a_reset_is_one_error() {
        ends(End::Reset, b"").await;
        ends(End::Reset, b"before it").await;
    }

    async fn a_shutdown_of_our_own_is_one_end() {
        ends(End::Shutdown, b"").await;
        ends(End::Shutdown, b"before it").await;
    }

    async fn a_shutdown_of_both_sides_is_one_end() {
        ends(End::Both, b"").await;
        ends(End::Both, b"before it").await;
    }

    async fn unix_streams_end_likewise() {
        for data in [&b""[..], b"before it"] {
            for end in [End::Fin, End::Shutdown, End::Both] {
                let (ours, peer) = UnixStream::pair().expect("a pair");
                let (bystander, _other) = pair_with_std().await;
                assert!(pends(pin!(ours.read(&mut [0; 3]))).await, "registered");
                peer.write_all(data).await.expect("there is room");
                if end != End::Shutdown {
                    drop(peer);
                }
                if end != End::Fin {
                    ours.shutdown(Shutdown::Both).expect("connected");
                }
                is_calm(bystander.read(&mut [0])).await;
                reads(async |buf| ours.read(buf).await, data, None).await;
                is_calm(bystander.read(&mut [0])).await;
            }
            // What the peer has not read makes it an error.
            let (ours, peer) = UnixStream::pair().expect("a pair");
            let (bystander, _other) = pair_with_std().await;
            assert!(pends(pin!(ours.read(&mut [0; 3]))).await, "registered");
            ours.write_all(b"unread").await.expect("there is room");
            peer.write_all(data).await.expect("there is room");
            drop(peer);
            is_calm(bystander.read(&mut [0])).await;
            // Linux tells that before it gives what is there.
            let mut seen = Vec::new();
            let mut errors = 0;
            loop {
                let mut buf = [0; 3];
                match ours.read(&mut buf).await {
                    Ok(0) => break,
                    Ok(length) => seen.extend_from_slice(&buf[..length]),
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
                        errors += 1;
                    }
                }
            }
            assert_eq!((&seen[..], errors), (data, 1));
            is_calm(bystander.read(&mut [0])).await;
        }
    }

    /// Its descriptor is hung up from the start.
    async fn a_socket_without_a_connection_says_so() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let ours = TcpStream::from_std(socket.into()).expect("an option");
        let (bystander, _other) = pair_with_std().await;
        ours.readable().await.expect("it can be waited for");
        is_calm(bystander.read(&mut [0])).await;
        for _ in 0..3 {
            let error = ours.read(&mut [0]).await.expect_err("nobody is there");
            assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
            let error = ours.write(b"x").await.expect_err("nobody is there");
            assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
        }
        is_calm(bystander.read(&mut [0])).await;
        let datagrams = UdpSocket::bind("127.0.0.1:0").await.expect("a port is free");
        is_calm(datagrams.recv(&mut [0])).await;
    }

    /// Its registration ends with our socket, though the kernel's file lives on.
    async fn a_duplicate_that_outlives_its_socket_wakes_nobody() {
        let (ours, mut peer) = pair_with_std().await;
        let (bystander, _other) = pair_with_std().await;
        assert!(pends(pin!(ours.read(&mut [0]))).await, "registered");
        let duplicate = ours.as_fd().try_clone_to_owned().expect("a descriptor");
        drop(ours);
        peer.write_all(b"x").expect("the duplicate is connected");
        until_readable(&duplicate).await;
        is_calm(bystander.read(&mut [0])).await;
        drop(peer);
        is_calm(bystander.read(&mut [0])).await;
        // The number may be another socket's by now, which is not disturbed either.
        let again = TcpStream::from_std(net::TcpStream::from(duplicate)).expect("an option");
        assert_eq!(again.read(&mut [0]).await.expect("a byte"), 1);
        assert_eq!(again.read(&mut [0]).await.expect("the end"), 0);
    }
}

/// Forks; the child waits for a byte in its pipe, or the end of it, and exits.
fn fork() -> (libc::pid_t, io::PipeWriter) {
    let (reader, writer) = io::pipe().expect("a pipe");
    // SAFETY: the child only makes calls that are async-signal-safe.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child == 0 {
        let mut byte = 0_u8;
        // SAFETY: closing what nobody uses in the child.
        unsafe { libc::close(writer.as_raw_fd()) };
        // SAFETY: `byte` is writable.
        unsafe { libc::read(reader.as_raw_fd(), (&raw mut byte).cast(), 1) };
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) };
    }
    (child, writer)
}

fn reap(child: libc::pid_t) {
    let mut status = 0;
    // SAFETY: `status` is written to.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
}

mod alone {
    use super::*;

    on_every_backend! {
        alone;

        async fn a_fork_disturbs_nobody_while_it_lives_and_when_it_exits() {
            let (ours, mut peer) = pair_with_std().await;
            let (dropped, mut other) = pair_with_std().await;
            let (bystander, mut last) = pair_with_std().await;
            let mut byte = [0];
            let mut read = pin!(ours.read(&mut byte));
            assert!(pends(read.as_mut()).await);
            assert!(pends(pin!(dropped.read(&mut [0]))).await, "registered");
            let (child, pipe) = fork();
            // The child holds what we drop, and the kernel's list with it.
            drop(dropped);
            other.write_all(b"x").expect("the child has the socket");
            is_calm(bystander.read(&mut [0])).await;
            is_calm(&mut read).await;
            drop(pipe);
            reap(child);
            is_calm(&mut read).await;
            peer.write_all(b"x").expect("connected");
            assert_eq!(read.await.expect("a byte"), 1);
            last.write_all(b"x").expect("connected");
            assert_eq!(bystander.read(&mut [0]).await.expect("a byte"), 1);
            // And new ones are registered as ever.
            let (one, another) = pair().await;
            let mut read = pin!(one.read_closed());
            assert!(pends(read.as_mut()).await);
            drop(another);
            read.await.expect("the end");
        }

        async fn every_descriptor_of_ours_is_closed_on_exec() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            assert!(pends(pin!(listener.accept())).await, "registered");
            let (_one, _other) = pair().await;
            let mut checked = 0;
            for entry in fs::read_dir("/proc/self/fd").expect("procfs") {
                let entry = entry.expect("an entry");
                let Ok(file) = fs::read_link(entry.path()) else { continue };
                let file = file.to_str().expect("text");
                // Others may have been inherited.
                if !file.starts_with("socket:") && !file.starts_with("anon_inode:") {
                    continue;
                }
                let number = entry.file_name().to_str().and_then(|name| name.parse().ok()).expect("a number");
                // SAFETY: it was open a moment ago, and nothing here closes any.
                let fd = unsafe { BorrowedFd::borrow_raw(number) };
                assert!(kernel::is_close_on_exec(fd), "{number} is {file}");
                checked += 1;
            }
            // Three sockets, and at least two of a reactor.
            assert!(checked >= 5, "{checked}");
        }
    }
}

//! What a nonblocking socket answers, call by call: EINPROGRESS, EAGAIN, a short count, and the same through bourn.
//!
//! Rows 14, 21, 26, 39 and 40 of the sockets checklist.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use bourn::net::Interest;
use socket2::{Domain, Socket, Type};

/// Prints a call and its outcome, and returns the number of the error, 0 if there is none.
fn told(call: &str, outcome: Result<String, io::Error>) -> i32 {
    match outcome {
        Ok(value) => {
            println!("   {call:<42} = {value}");
            0
        }
        Err(error) => {
            println!("   {call:<42} = -1  {error}");
            error.raw_os_error().unwrap_or(-1)
        }
    }
}

fn main() -> io::Result<()> {
    println!("1. O_NONBLOCK is a flag of the open file; F_SETFL replaces all flags, so read them first");
    let client = OwnedFd::from(Socket::new(Domain::IPV4, Type::STREAM, None)?);
    let fd = client.as_raw_fd();
    // SAFETY: the descriptor is open.
    let before = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    // SAFETY: the descriptor is open.
    let set = unsafe { libc::fcntl(fd, libc::F_SETFL, before | libc::O_NONBLOCK) };
    assert_eq!(told(&format!("fcntl(F_SETFL, {before:#o} | O_NONBLOCK)"), Ok(set.to_string())), 0);

    println!("2. connect starts the handshake and does not wait for its end");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let accepted = |call| told(call, listener.accept().map(|(_, peer)| peer.to_string()));
    assert_eq!(accepted("accept()   before anybody has come"), libc::EAGAIN);
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: listener.local_addr()?.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    // SAFETY: `to` is a whole address of the stated length.
    let outcome = unsafe { libc::connect(fd, (&raw const to).cast(), size_of_val(&to) as u32) };
    assert_eq!(outcome, -1);
    assert_eq!(told("connect()", Err(io::Error::last_os_error())), libc::EINPROGRESS);

    println!("3. writable means that it has ended; SO_ERROR tells how");
    let mut wait = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one entry, as said.
    assert_eq!(unsafe { libc::poll(&raw mut wait, 1, 5_000) }, 1);
    let mut client = TcpStream::from(client);
    told("poll(POLLOUT)", Ok(format!("revents {:#x} (POLLOUT = {:#x})", wait.revents, libc::POLLOUT)));
    let error = client.take_error()?;
    assert!(error.is_none());
    told("getsockopt(SO_ERROR)", Ok("0".to_string()));
    let (mut server, _) = listener.accept()?;
    server.set_nonblocking(true)?;

    println!("4. recv with nothing there answers at once");
    let mut buf = [0; 65536];
    assert_eq!(told("recv()", server.read(&mut buf).map(|length| length.to_string())), libc::EAGAIN);
    client.write_all(b"hello")?;
    // SAFETY: as above.
    unsafe { libc::poll(&mut libc::pollfd { fd: server.as_raw_fd(), events: libc::POLLIN, revents: 0 }, 1, 5_000) };
    assert_eq!(told("recv()     after poll(POLLIN)", server.read(&mut buf).map(|length| length.to_string())), 0);

    println!("5. send takes what fits: whole, whole, ... short, EAGAIN. Nothing is lost, the count says what went");
    let (mut sent, mut calls, mut short) = (0, 0, 0);
    let full = loop {
        match server.write(&buf) {
            Ok(length) => (sent, calls, short) = (sent + length, calls + 1, short + usize::from(length < buf.len())),
            Err(error) => break error,
        }
    };
    assert_eq!(told(&format!("send() x {}", calls + 1), Err(full)), libc::EAGAIN);
    println!(
        "   {calls} calls took {sent} bytes, {short} of them a part only; then the buffers of both sides were full"
    );

    println!("6. the peer reads, the kernel says POLLOUT, send goes on");
    let mut arrived = 0;
    client.set_nonblocking(false)?;
    while arrived < sent {
        arrived += client.read(&mut buf)?;
    }
    assert_eq!(arrived, sent);
    assert_eq!(told("send()", server.write(b"more").map(|length| length.to_string())), 0);

    println!("7. the same with bourn: try_* shows EAGAIN, the async methods wait instead");
    bourn::block_on(async {
        let listener = bourn::net::TcpListener::bind("127.0.0.1:0").await?;
        assert_eq!(told("listener.try_accept()", listener.try_accept().map(|_| String::new())), libc::EAGAIN);
        let client = bourn::net::TcpStream::connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;
        assert_eq!(told("stream.try_read()", server.try_read(&mut buf).map(|n| n.to_string())), libc::EAGAIN);
        let later = bourn::spawn(async move {
            bourn::time::sleep(Duration::from_millis(20)).await;
            client.write_all(b"hello").await.map(|()| client)
        });
        let ready = server.ready(Interest::READ).await?;
        told("stream.ready(READ).await", Ok(format!("{ready:?}")));
        assert_eq!(told("stream.try_read()", server.try_read(&mut buf).map(|n| n.to_string())), 0);
        let again = server.try_read(&mut buf);
        assert_eq!(again.as_ref().map_err(io::Error::kind), Err(ErrorKind::WouldBlock));
        told("stream.try_read()", again.map(|n| n.to_string()));
        let client = later.await.expect("no panic")?;
        bourn::spawn(async move { client.write_all(b"world").await.map(|()| client) }); // while we wait in read
        let length = server.read(&mut buf).await?;
        assert_eq!(&buf[..length], b"world");
        told("stream.read().await   (waited)", Ok(length.to_string()));
        io::Result::Ok(())
    })?;
    println!("8. holds: every errno was the one that the manual names");
    Ok(())
}

//! Writing to a peer that has gone: the first write succeeds, the second raises SIGPIPE or says EPIPE. And a server that is
//! stopped, whose clients connect all the same, for it is the kernel that shakes hands.
//!
//! Rows 33, 58 to 60 and 63 of the sockets checklist.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

/// A stream whose peer has closed in good order; the peer has no descriptor any more.
fn deserted() -> io::Result<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let stream = TcpStream::connect(listener.local_addr()?)?;
    drop(listener.accept()?);
    assert_eq!((&stream).read(&mut [0])?, 0, "the peer's FIN");
    Ok(stream)
}

/// After a write into the void: until the peer's kernel has answered with RST.
fn reset_has_come(stream: &impl AsRawFd) {
    let mut wait = libc::pollfd { fd: stream.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one entry, as said. POLLERR and POLLHUP are always reported.
    assert_eq!(unsafe { libc::poll(&mut wait, 1, 5_000) }, 1, "the RST");
}

/// SIGPIPE as C programs find it. Rust's `main` has set it to "ignore".
fn default_sigpipe() {
    // SAFETY: it installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

fn main() -> io::Result<()> {
    match env::args().nth(1).as_deref() {
        Some("C") => return like_c(),
        Some("bourn") => return like_bourn(),
        Some("serve") => return serve(),
        _ => {}
    }
    println!("1. std, where Rust ignores SIGPIPE");
    let mut stream = deserted()?;
    println!("   read         = 0 (FIN: the peer will send no more, which is no reason not to write)");
    let taken = stream.write(b"hello")?;
    println!("   first write  = {taken} bytes: the kernel took them, and the peer's kernel answers RST");
    reset_has_come(&stream);
    let error = stream.write(b"hello").expect_err("the connection is no more");
    println!("   second write = {error}");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);

    println!("2. a reader who finds the RST: ECONNRESET, once");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    (&near).write_all(b"never read")?;
    while far.peek(&mut [0])? == 0 {}
    drop(far); // with unread data: RST instead of FIN
    let (first, second) = ((&near).read(&mut [0]), (&near).read(&mut [0]));
    println!("   first read  = {first:?}\n   second read = {second:?}");
    assert_eq!(first.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    assert_eq!(second?, 0);

    println!("3. a program that does as C programs do");
    let me = env::current_exe()?;
    let status = Command::new(&me).arg("C").status()?;
    println!("   {status} (a shell says {})", 128 + status.signal().unwrap_or(0));
    assert_eq!(status.signal(), Some(libc::SIGPIPE));

    println!("4. bourn in the same program: MSG_NOSIGNAL on every send");
    let status = Command::new(&me).arg("bourn").status()?;
    println!("   {status}");
    assert!(status.success());

    println!("5. a server that is stopped (SIGSTOP)");
    let mut server = Command::new(&me).arg("serve").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut line)?;
    let process = server.id() as i32;
    // SAFETY: our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(process, libc::SIGSTOP) }, 0);
    while !std::fs::read_to_string(format!("/proc/{process}/stat"))?.contains(") T ") {
        thread::sleep(Duration::from_millis(1));
    }
    let mut clients = Vec::new();
    for number in 0..5 {
        let mut client = TcpStream::connect(line.trim())?;
        writeln!(client, "client {number}")?;
        client.set_nonblocking(true)?;
        assert_eq!(client.read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
        client.set_nonblocking(false)?;
        clients.push(client);
    }
    println!("   5 clients have connected and sent a line; state of the server: T (stopped)");
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(process, libc::SIGCONT) }, 0);
    for client in &mut clients {
        let mut answer = String::new();
        BufReader::new(client).read_line(&mut answer)?;
        print!("   after SIGCONT: {answer}");
        assert!(answer.starts_with("welcome, client "));
    }
    server.kill()?;
    server.wait()?;
    println!("6. holds: a successful write promises nothing, and a connection needs no living process");
    Ok(())
}

fn like_c() -> io::Result<()> {
    default_sigpipe();
    let stream = deserted()?;
    for _ in 0..2 {
        // SAFETY: five bytes that live long enough, and an open descriptor.
        unsafe { libc::write(stream.as_raw_fd(), b"hello".as_ptr().cast(), 5) };
        reset_has_come(&stream);
    }
    unreachable!("SIGPIPE has ended this process")
}

fn like_bourn() -> io::Result<()> {
    default_sigpipe();
    let stream = deserted()?;
    stream.set_nonblocking(true)?;
    bourn::block_on(async {
        let stream = bourn::net::TcpStream::from_std(stream)?;
        stream.write_all(b"hello").await?;
        reset_has_come(&stream);
        let error = stream.write_all(b"hello").await.expect_err("the connection is no more");
        println!("   second write = {error}, and the process lives on");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        Ok(())
    })
}

fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let mut word = String::new();
        let stream = stream?;
        BufReader::new(&stream).read_line(&mut word)?;
        write!(&stream, "welcome, {word}")?;
    }
    Ok(())
}

//! The servers without bourn: threads that sleep in `recv`.

use std::convert::Infallible;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use super::{BACKLOG, LINGER};
use crate::http::{Connection, Next};

/// A thread for each connection: the kernel switches between them.
pub fn run_thread_each(
    addr: SocketAddr,
    announce: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<Infallible> {
    let listener = listen(addr)?;
    announce(listener.local_addr()?)?;
    loop {
        let stream = accept(&listener)?;
        let started = thread::Builder::new().spawn(move || {
            let _broke_off = serve(stream);
        });
        // The stream went down with the thread that was to serve it; the next client may have more luck.
        if let Err(error) = started {
            eprintln!("no thread for a client: {error}");
        }
    }
}

/// Everyone waits until the one before has left.
pub fn run_one_at_a_time(
    addr: SocketAddr,
    announce: impl FnOnce(SocketAddr) -> io::Result<()>,
) -> io::Result<Infallible> {
    let listener = listen(addr)?;
    announce(listener.local_addr()?)?;
    loop {
        let _broke_off = serve(accept(&listener)?);
    }
}

/// `TcpListener::bind(addr)` with a backlog of our choice.
fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG as i32)?;
    Ok(socket.into())
}

/// The next client who is still there.
fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                // bourn's streams have it from the start.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The same as `serve` in `bourn.rs`, without `async` and `await`.
fn serve(mut stream: TcpStream) -> io::Result<()> {
    let mut connection = Connection::new();
    loop {
        let length = stream.read(connection.space())?;
        if length == 0 {
            return Ok(());
        }
        let next = connection.receive(length);
        stream.write_all(connection.output())?;
        if next == Next::Close {
            break;
        }
    }

    stream.shutdown(Shutdown::Write)?;
    let mut unread = [0; 4096];
    let deadline = Instant::now() + LINGER;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        stream.set_read_timeout(Some(left))?;
        if stream.read(&mut unread)? == 0 {
            return Ok(());
        }
    }
}

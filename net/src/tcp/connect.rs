//! Connecting: one address, or one after the other.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use bourn_reactor::{Direction, Kind};

use crate::socket::Socket;
use crate::sys::{self, Connecting};
use crate::tcp::TcpStream;

/// Connects `fd` to `addr`: connect(2) first, then the wait for its end. Dropping
/// the future closes the descriptor.
pub(super) async fn connect(fd: OwnedFd, addr: SocketAddr) -> io::Result<TcpStream> {
    match sys::connect(fd.as_fd(), &addr)? {
        Connecting::Done => Ok(TcpStream::new(Socket::new(fd, Kind::Stream))),
        Connecting::UnderWay => {
            let socket = Socket::new(fd, Kind::Connecting);
            socket.wait(Direction::Write, |cx, ticket| socket.poll_connect(cx, ticket)).await?;
            Ok(TcpStream::new(socket))
        }
    }
}

/// Connects to the first of `addrs` that answers.
pub(super) async fn connect_any(addrs: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut attempts = Vec::new();
    for &addr in addrs {
        // Not the clock of timers: this is told to people, nothing waits for it.
        let start = Instant::now();
        match connect_to(addr).await {
            Ok(stream) => return Ok(stream),
            Err(error) => attempts.push(ConnectAttempt { addr, error, elapsed: start.elapsed() }),
        }
    }
    Err(ConnectError { attempts }.into_io_error())
}

async fn connect_to(addr: SocketAddr) -> io::Result<TcpStream> {
    let fd = sys::tcp_socket(&addr)?;
    sys::set_nodelay(fd.as_fd(), true)?;
    let stream = connect(fd, addr).await?;
    // A peer that is gone already is told by the first read, as ever.
    if stream.peer_addr().ok() == Some(stream.local_addr()?) {
        // The kernel gave us the very port that we asked for, where nobody
        // listens, and joined the socket to itself (RFC 9293, 3.5, simultaneous
        // open). A reset leaves no TIME_WAIT to keep a server from that port.
        stream.reset()?;
        return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
    }
    Ok(stream)
}

/// One address that did not answer.
#[derive(Debug)]
pub struct ConnectAttempt {
    addr: SocketAddr,
    error: io::Error,
    elapsed: Duration,
}

impl ConnectAttempt {
    /// The address that was tried.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the kernel said.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// How long it took to say so.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// None of several addresses answered: the payload
/// ([`get_ref`](io::Error::get_ref)) of the [`io::Error`] that
/// [`TcpStream::connect`] returns then. Its kind is the last attempt's.
#[derive(Debug)]
pub struct ConnectError {
    attempts: Vec<ConnectAttempt>,
}

impl ConnectError {
    /// Every attempt, in the order in which they were made.
    pub fn attempts(&self) -> &[ConnectAttempt] {
        &self.attempts
    }

    /// One attempt is its bare error, as the kernel gave it.
    fn into_io_error(mut self) -> io::Error {
        match self.attempts.pop() {
            Some(only) if self.attempts.is_empty() => only.error,
            Some(last) => {
                let kind = last.error.kind();
                self.attempts.push(last);
                io::Error::new(kind, self)
            }
            None => io::ErrorKind::InvalidInput.into(),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "none of {} addresses answered", self.attempts.len())?;
        for (place, attempt) in self.attempts.iter().enumerate() {
            let mark = if place == 0 { ": " } else { "; " };
            write!(formatter, "{mark}{} after {:?}: {}", attempt.addr, attempt.elapsed, attempt.error)?;
        }
        Ok(())
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.attempts.last().map(|last| &last.error as _)
    }
}

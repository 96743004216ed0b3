//! A connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bourn_reactor::{Direction, Kind};

use crate::addr::{ToSocketAddrs, lookup_host};
use crate::socket::{Socket, Write};
use crate::sys;
use crate::tcp::connect;

/// A TCP connection.
///
/// All methods take `&self`: several tasks can read and write at once, without
/// [splitting](TcpStream::into_split) the stream. `TCP_NODELAY` is on for streams
/// that this crate connected or accepted.
///
/// Dropping a stream closes it at once; what is sent already is still delivered,
/// unless there is unread data, in which case the kernel resets the connection
/// (RFC 2525, 2.17).
///
/// The [rules of all sockets](crate#rules-of-all-sockets) hold.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::{TcpListener, TcpStream};
/// use std::net::Shutdown;
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, _) = listener.accept().await?;
///
/// client.write_all(b"question").await?;
/// client.shutdown(Shutdown::Write)?; // "that was all"
/// let mut question = Vec::new();
/// server.read_to_end(&mut question).await?;
/// server.write_all(b"answer").await?;
///
/// let mut answer = [0; 6];
/// client.read_exact(&mut answer).await?;
/// assert_eq!((&question[..], &answer), (&b"question"[..], b"answer"));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct TcpStream {
    pub(crate) socket: Socket,
}

impl TcpStream {
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<TcpStream> {
        let kind = if sys::is_plain_tcp(fd.as_fd()) { Kind::Stream } else { Kind::Other };
        Ok(TcpStream { socket: Socket::new(fd, kind) })
    }

    /// Connects to the first of the addresses that `addr` stands for that
    /// answers.
    ///
    /// Several are raced (RFC 8305): their families take turns, each address is
    /// tried 250 ms after the one before it, or as soon as one fails, and the first
    /// connection wins. So an address that swallows packets hides no other one.
    ///
    /// # Errors
    /// Those of [`lookup_host`]. If one address was tried, what the kernel said:
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) (also if the kernel
    /// joined the socket to itself, for want of a listener),
    /// [`TimedOut`](io::ErrorKind::TimedOut) (after 2 minutes on Linux, tcp(7),
    /// `tcp_syn_retries`), [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable)
    /// and others of connect(2). If several were tried, an error of the last
    /// one's kind whose payload is a [`ConnectError`](crate::ConnectError) with
    /// all of them.
    ///
    /// # Cancel safety
    /// Dropping the future closes the sockets that were connecting.
    pub async fn connect(addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        connect::connect_any(&lookup_host(addr).await?).await
    }

    /// Closes one direction of the connection, or both, whoever else holds the
    /// descriptor (shutdown(2)).
    ///
    /// [`Write`](Shutdown::Write) sends FIN after what was written; the peer then
    /// reads to the end, and can go on writing. [`Read`](Shutdown::Read) sends
    /// nothing: on Linux it makes reads that find no data return 0, and what
    /// still arrives is read.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection is over.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        sys::shutdown(self.as_fd(), how)
    }

    /// Closes the stream with RST: the peer's reads and writes fail with
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset), data that is unsent or
    /// unread at either end may be lost, and there is no TIME_WAIT.
    ///
    /// # Errors
    /// What the kernel says to the option that does it; the stream is closed even
    /// so.
    pub fn reset(self) -> io::Result<()> {
        self.set_zero_linger(true)
    }

    /// Sets for how long reading may stall: a read that finds nothing fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut) when no byte has come since a read first
    /// found none, whoever reads, and however often its future was dropped and made anew.
    /// Each byte that is read begins it anew, so does the error; the stream works on.
    /// None by default, which costs nothing.
    ///
    /// Timers do it, not `SO_RCVTIMEO`, which does nothing to a non-blocking socket. If
    /// several tasks read at once, the one that was polled last is told, and it alone. A
    /// read that waits already takes over the new limit, from now on, unless there was
    /// none when it began to wait.
    pub fn set_read_timeout(&self, limit: Option<Duration>) {
        self.socket.set_limit(Direction::Read, limit);
    }

    /// For how long reading may stall.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.socket.limit(Direction::Read)
    }

    /// Sets for how long writing may stall: a write that finds no room fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut) when there has been none since a write first
    /// found none. Otherwise as [`set_read_timeout`](TcpStream::set_read_timeout).
    pub fn set_write_timeout(&self, limit: Option<Duration>) {
        self.socket.set_limit(Direction::Write, limit);
    }

    /// For how long writing may stall.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.socket.limit(Direction::Write)
    }

    /// Sends `buf`, at least one byte of it, whose last byte is urgent (`MSG_OOB`;
    /// RFC 6093 advises against it); returns how many bytes were sent.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    /// Nothing is sent unless the future completes.
    pub async fn send_oob(&self, buf: &[u8]) -> io::Result<usize> {
        self.socket.operate(Write, |fd| sys::send_flagged(fd, buf, libc::MSG_OOB)).await
    }

    /// Receives the urgent byte, if there is one that was not received yet; it is at
    /// the side of the stream, and reads skip it. One that arrives makes the stream
    /// [`readable`](Self::readable). Linux keeps the last one alone. Before waiting for
    /// another, read to `WouldBlock`: what was reported stays until then.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it was announced and has not arrived;
    /// otherwise as [`read`](Self::read).
    pub fn try_recv_oob(&self) -> io::Result<Option<u8>> {
        self.socket.distrust_short_reads();
        sys::recv_urgent(self.as_fd())
    }

    /// Sets whether urgent bytes are left in the stream, where reads stop before and
    /// after each (`SO_OOBINLINE`). Off by default.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_oob_inline(&self, inline: bool) -> io::Result<()> {
        self.socket.distrust_short_reads();
        sys::option(self)?.set_out_of_band_inline(inline)
    }
}

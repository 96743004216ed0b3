//! Datagrams within one host.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, Type};

use crate::socket::Socket;
use crate::sys;

/// A Unix socket for datagrams, which neither get lost nor change their order.
///
/// The [rules of all sockets](crate#rules-of-all-sockets) hold.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::UnixDatagram;
///
/// let (one, other) = UnixDatagram::pair()?;
/// one.send(b"hello").await?;
/// let mut buf = [0; 16];
/// assert_eq!(other.recv(&mut buf).await?, 5);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct UnixDatagram {
    pub(crate) socket: Socket,
}

impl UnixDatagram {
    /// Binds a socket to `path`, which must not exist yet.
    ///
    /// # Errors
    /// As [`UnixListener::bind`](crate::UnixListener::bind).
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        sys::open_at(&SockAddr::unix(path)?, Type::DGRAM).map(UnixDatagram::new)
    }

    /// Binds a socket to an address, which may be an abstract name.
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind).
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixDatagram> {
        sys::open_at(&sys::unix_addr(addr)?, Type::DGRAM).map(UnixDatagram::new)
    }

    /// A socket without an address, to which nobody can answer unless it is
    /// connected to.
    ///
    /// # Errors
    /// What the kernel says (socket(2)).
    pub fn unbound() -> io::Result<UnixDatagram> {
        sys::open(Domain::UNIX, Type::DGRAM).map(UnixDatagram::new)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// What the kernel says (socketpair(2)).
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = sys::unix_pair(Type::DGRAM)?;
        Ok((UnixDatagram::new(one), UnixDatagram::new(other)))
    }

    /// Sends to, and receives from, only the socket at `path` from now on.
    ///
    /// # Errors
    /// As [`UnixStream::connect`](crate::UnixStream::connect).
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        sys::connect_at_once(self.as_fd(), &SockAddr::unix(path)?)
    }

    /// Sends to, and receives from, only the socket at this address from now on,
    /// which may be an abstract name.
    ///
    /// # Errors
    /// As [`connect`](UnixDatagram::connect).
    pub fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        sys::connect_at_once(self.as_fd(), &sys::unix_addr(addr)?)
    }

    /// Ends receiving, sending, or both (shutdown(2)).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        sys::shutdown(self.as_fd(), how)
    }

    /// Sends a datagram, which may be empty, to the socket at `path`; returns its
    /// length.
    ///
    /// While that socket has no room, this tries again after 1 ms, doubling to
    /// 50 ms: the kernel reports it to connected senders alone
    /// ([`send`](UnixDatagram::send)).
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such path,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if nobody receives
    /// there, `EMSGSIZE` if it is too long, and others of sendto(2).
    ///
    /// # Cancel safety
    /// Nothing is sent unless the future completes.
    pub async fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_when_room(buf, &SockAddr::unix(path)?).await
    }

    /// Sends a datagram to the socket at this address, which may be an abstract
    /// name; see [`send_to`](UnixDatagram::send_to).
    ///
    /// # Errors
    /// As `send_to`.
    ///
    /// # Cancel safety
    /// As with `send_to`.
    pub async fn send_to_addr(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        self.send_when_room(buf, &sys::unix_addr(addr)?).await
    }

    async fn send_when_room(&self, buf: &[u8], addr: &SockAddr) -> io::Result<usize> {
        self.socket.until_room(|fd| sys::send_to(fd, buf, Some(addr))).await
    }

    /// Sends a datagram to the socket at `path` if there is room for it now.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if there is none, which no wait for
    /// [`writable`](UnixDatagram::writable) can change; otherwise as
    /// [`send_to`](UnixDatagram::send_to).
    pub fn try_send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        sys::send_to(self.as_fd(), buf, Some(&SockAddr::unix(path)?))
    }

    /// Sends a datagram to the socket at this address if there is room for it now.
    ///
    /// # Errors
    /// As [`try_send_to`](UnixDatagram::try_send_to).
    pub fn try_send_to_addr(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        sys::send_to(self.as_fd(), buf, Some(&sys::unix_addr(addr)?))
    }
}

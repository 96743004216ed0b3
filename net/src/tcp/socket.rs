//! A socket that neither listens nor is connected yet.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::sys;
use crate::tcp::{Keepalive, TcpListener, TcpStream, connect};

/// A TCP socket on which options are set before it listens or connects.
///
/// `TCP_NODELAY` is on from the start; accepted streams inherit it from their
/// listener.
///
/// # Errors
/// Every method returns what the kernel says (tcp(7), socket(7), ip(7)).
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::TcpSocket;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuse_addr(true)?;
/// socket.set_recv_buffer_size(64 * 1024)?;
/// socket.bind("127.0.0.1:0".parse().unwrap())?;
/// let listener = socket.listen(1024)?;
///
/// let client = TcpSocket::new_v4()?.connect(listener.local_addr()?).await?;
/// let (server, _) = listener.accept().await?;
/// assert!(client.nodelay()? && server.nodelay()?);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct TcpSocket {
    fd: OwnedFd,
}

impl TcpSocket {
    /// Makes a socket for IPv4.
    ///
    /// # Errors
    /// As above: no descriptor is left.
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::of_family(&(Ipv4Addr::UNSPECIFIED, 0).into())
    }

    /// Makes a socket for IPv6.
    ///
    /// # Errors
    /// As above: no descriptor is left, or the system has no IPv6.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::of_family(&(Ipv6Addr::UNSPECIFIED, 0).into())
    }

    pub(super) fn of_family(addr: &SocketAddr) -> io::Result<TcpSocket> {
        let socket = TcpSocket { fd: sys::tcp_socket(addr)? };
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    /// Binds to `addr` (bind(2)). Port 0 lets the kernel choose.
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for an address that
    /// is not of this host, [`PermissionDenied`](io::ErrorKind::PermissionDenied)
    /// for a privileged port.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        sys::bind(self.fd.as_fd(), &addr.into())
    }

    /// Listens (listen(2)) for connections, of which up to `backlog` wait to be
    /// accepted; the kernel cuts that at its own limit (`net.core.somaxconn`,
    /// 4,096 by default).
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if another socket listens there.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        sys::listen(self.fd.as_fd(), backlog)?;
        Ok(TcpListener::new(self.fd))
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    /// What the kernel says: [`ConnectionRefused`](io::ErrorKind::ConnectionRefused),
    /// [`TimedOut`](io::ErrorKind::TimedOut),
    /// [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable) and others of
    /// connect(2).
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket, whatever has become of the
    /// connection.
    pub async fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        connect::connect(self.fd, addr).await
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// As above.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::local_addr(self.fd.as_fd())
    }

    /// Allows binding while connections of an earlier listener linger
    /// (`SO_REUSEADDR`). Off by default here; on for [`TcpListener::bind`].
    ///
    /// # Platform notes
    /// Linux asks this of the earlier listener as well.
    ///
    /// # Errors
    /// As above.
    pub fn set_reuse_addr(&self, reuse: bool) -> io::Result<()> {
        sys::set_reuse_addr(self.fd.as_fd(), reuse)
    }

    /// Whether `SO_REUSEADDR` is set.
    ///
    /// # Errors
    /// As above.
    pub fn reuse_addr(&self) -> io::Result<bool> {
        sys::reuse_addr(self.fd.as_fd())
    }

    /// Allows several listeners of one user on the same address, among which the
    /// kernel spreads connections (`SO_REUSEPORT`). Off by default.
    ///
    /// # Errors
    /// As above.
    pub fn set_reuse_port(&self, reuse: bool) -> io::Result<()> {
        sys::set_reuse_port(self.fd.as_fd(), reuse)
    }

    /// Whether `SO_REUSEPORT` is set.
    ///
    /// # Errors
    /// As above.
    pub fn reuse_port(&self) -> io::Result<bool> {
        sys::reuse_port(self.fd.as_fd())
    }

    /// Sets `TCP_NODELAY`, see [`TcpStream::set_nodelay`]. On by default.
    ///
    /// # Errors
    /// As above.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        sys::set_nodelay(self.fd.as_fd(), nodelay)
    }

    /// Whether `TCP_NODELAY` is set.
    ///
    /// # Errors
    /// As above.
    pub fn nodelay(&self) -> io::Result<bool> {
        sys::nodelay(self.fd.as_fd())
    }

    /// Sets how many routers may forward a packet, see [`TcpStream::set_ttl`].
    ///
    /// # Errors
    /// As above.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        sys::set_ttl(self.fd.as_fd(), hops)
    }

    /// How many routers may forward a packet.
    ///
    /// # Errors
    /// As above.
    pub fn ttl(&self) -> io::Result<u32> {
        sys::ttl(self.fd.as_fd())
    }

    /// Lets the connection be reset when it is dropped, see
    /// [`TcpStream::set_zero_linger`].
    ///
    /// # Errors
    /// As above.
    pub fn set_zero_linger(&self, zero: bool) -> io::Result<()> {
        sys::set_zero_linger(self.fd.as_fd(), zero)
    }

    /// Sets the size of the send buffer in bytes, see
    /// [`TcpStream::set_send_buffer_size`]. Accepted streams inherit it.
    ///
    /// # Errors
    /// As above.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        sys::set_send_buffer_size(self.fd.as_fd(), bytes)
    }

    /// The size of the send buffer in bytes.
    ///
    /// # Errors
    /// As above.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        sys::send_buffer_size(self.fd.as_fd())
    }

    /// Sets the size of the receive buffer in bytes, see
    /// [`TcpStream::set_recv_buffer_size`]. Accepted streams inherit it.
    ///
    /// # Errors
    /// As above.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        sys::set_recv_buffer_size(self.fd.as_fd(), bytes)
    }

    /// The size of the receive buffer in bytes.
    ///
    /// # Errors
    /// As above.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        sys::recv_buffer_size(self.fd.as_fd())
    }

    /// Sets when a silent connection is probed. Off by default; accepted streams
    /// inherit it.
    ///
    /// # Errors
    /// As above.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        Keepalive::set(keepalive, self.fd.as_fd())
    }

    /// When a silent connection is probed, if it is.
    ///
    /// # Errors
    /// As above.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        Keepalive::get(self.fd.as_fd())
    }
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<TcpSocket> for OwnedFd {
    fn from(socket: TcpSocket) -> OwnedFd {
        socket.fd
    }
}

//! A socket that neither listens nor is connected yet.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use bourn_reactor::Kind;
use socket2::{Domain, Type};

use crate::socket::{Socket, Write};
use crate::sys;
use crate::tcp::{TcpListener, TcpStream};

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
    pub(crate) socket: OwnedFd,
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
        let socket = TcpSocket { socket: sys::open(Domain::for_address(*addr), Type::STREAM)? };
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
        sys::option(self)?.bind(&addr.into())
    }

    /// Listens (listen(2)) for connections, of which up to `backlog` wait to be
    /// accepted; the kernel cuts that at its own limit (`net.core.somaxconn`,
    /// 4,096 by default).
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if another socket listens there.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        sys::listen(self.socket.as_fd(), backlog)?;
        Ok(TcpListener::new(self.socket))
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
        let kind = sys::connect(self.as_fd(), &addr)?;
        let socket = Socket::new(self.socket, kind);
        if kind == Kind::Connecting {
            socket.operate(Write, sys::connected).await?;
        }
        Ok(TcpStream { socket })
    }
}

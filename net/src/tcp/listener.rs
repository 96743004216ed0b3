//! A socket that listens for connections.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use bourn_reactor::Kind;

use crate::addr::{ToSocketAddrs, first_of};
use crate::operation::operations;
use crate::socket::Socket;
use crate::sys;
use crate::tcp::{Incoming, TcpSocket, TcpStream};

/// A socket that listens for TCP connections.
///
/// Accepted streams have `TCP_NODELAY` set; they inherit it from the listener, so
/// it costs nothing per connection. One that was std's is given it, too.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, peer) = listener.accept().await?;
/// assert_eq!(client.local_addr()?, peer);
/// # drop(server);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct TcpListener {
    pub(crate) socket: Socket,
}

impl TcpListener {
    /// With `TCP_NODELAY`, for the streams to inherit.
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<TcpListener> {
        sys::option(&fd)?.set_tcp_nodelay(true)?;
        Ok(TcpListener::new(fd))
    }

    /// Listens at the first of the addresses that `addr` stands for to which a
    /// socket can be bound. Port 0 lets the kernel choose.
    ///
    /// `SO_REUSEADDR` is set, so that a server can start again while connections
    /// of its last run linger. As many connections wait to be accepted as the
    /// kernel allows (`net.core.somaxconn`, 4,096 by default); for a smaller
    /// backlog use [`TcpSocket::listen`].
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::lookup_host); for the last address,
    /// [`AddrInUse`](io::ErrorKind::AddrInUse),
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable),
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) for a privileged
    /// port, and others of bind(2).
    ///
    /// # Cancel safety
    /// Nothing is bound unless the future completes.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_of(addr, TcpListener::bind_to).await
    }

    fn bind_to(addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = TcpSocket::of_family(&addr)?;
        socket.set_reuse_addr(true)?;
        socket.bind(addr)?;
        // The kernel cuts it.
        socket.listen(u32::MAX)
    }

    /// Connections, one after the other, without the errors that a server has to
    /// survive.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::new(self)
    }
}

operations! {
    /// Accepting.
    TcpListener {
        /// Accepts a connection: the stream, and the address of its peer.
        ///
        /// # Errors
        /// Every error of accept(2), and the listener works on after each: some
        /// concern one connection that is gone already
        /// ([`ConnectionAborted`](io::ErrorKind::ConnectionAborted)), some say that
        /// there is no descriptor left for one that waits, or no memory, which comes again until
        /// there is. [`incoming`](TcpListener::incoming) sorts them out.
        ///
        /// # Cancel safety
        /// No connection is lost: it is accepted only when the future completes.
        accept, poll_accept, try_accept() -> (TcpStream, SocketAddr) = Read, accept;
    }
}

pub(super) fn accept(fd: BorrowedFd<'_>) -> io::Result<(TcpStream, SocketAddr)> {
    let (fd, peer) = sys::accept(fd)?;
    let stream = TcpStream { socket: Socket::new(fd, Kind::Stream) };
    Ok((stream, sys::internet(&peer)?))
}

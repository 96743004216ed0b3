//! A connection.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{Domain, SockAddr, Type};

use crate::socket::Socket;
use crate::sys;

/// A connection of two Unix sockets.
///
/// All methods take `&self`: several tasks can read and write at once, without
/// [splitting](UnixStream::into_split) the stream. Dropping it closes it at once;
/// what was written before is still delivered. Descriptors that the peer passes
/// along are closed by the kernel unless [`recv_with_fds`](UnixStream::recv_with_fds)
/// receives them.
///
/// The [rules of all sockets](crate#rules-of-all-sockets) hold.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::UnixStream;
///
/// let (one, other) = UnixStream::pair()?;
/// one.write_all(b"hello").await?;
/// drop(one);
/// let mut all = Vec::new();
/// other.read_to_end(&mut all).await?;
/// assert_eq!(all, b"hello");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct UnixStream {
    pub(crate) socket: Socket,
}

/// Who the peer was when it connected, or began to listen, or made the pair
/// (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Credentials {
    /// The process; 0 if it is of another namespace.
    pub pid: u32,
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
}

impl UnixStream {
    /// Connects to the listener at `path`.
    ///
    /// While the listener has no room for another connection, this tries again after
    /// 1 ms, doubling to 50 ms: the kernel does not report that there is some.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such path,
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused) if nobody listens
    /// there, [`PermissionDenied`](io::ErrorKind::PermissionDenied), and others of
    /// connect(2).
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket, which is not connected then.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_to(SockAddr::unix(path)?).await
    }

    /// Connects to the listener at an address, which may be an abstract name.
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect).
    ///
    /// # Cancel safety
    /// As with `connect`.
    pub async fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        UnixStream::connect_to(sys::unix_addr(addr)?).await
    }

    async fn connect_to(addr: SockAddr) -> io::Result<UnixStream> {
        let stream = UnixStream::new(sys::open(Domain::UNIX, Type::STREAM)?);
        stream.socket.until_room(|fd| sys::connect_at_once(fd, &addr)).await?;
        Ok(stream)
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    /// What the kernel says (socketpair(2)).
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = sys::unix_pair(Type::STREAM)?;
        Ok((UnixStream::new(one), UnixStream::new(other)))
    }

    /// Process, user and group of the peer, as they were when it connected.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        let [pid, uid, gid] = sys::peer_credentials(self.as_fd())?;
        Ok(Credentials { pid, uid, gid })
    }

    /// Closes one direction of the connection, or both, whoever else holds the
    /// descriptor (shutdown(2)). After [`Write`](Shutdown::Write) the peer reads to
    /// the end, and can go on writing.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if it never was connected.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        sys::shutdown(self.as_fd(), how)
    }
}

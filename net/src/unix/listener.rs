//! A socket that listens for connections.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;

use socket2::{SockAddr, Type};

use crate::operation::operations;
use crate::socket::Socket;
use crate::sys;
use crate::unix::UnixStream;

/// A Unix socket that listens for connections.
///
/// Its path stays when it is dropped.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("bourn-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let client = UnixStream::connect(&path).await?;
/// let (server, _) = listener.accept().await?;
/// client.write_all(b"hello").await?;
/// let mut buf = [0; 5];
/// server.read_exact(&mut buf).await?;
/// assert_eq!(&buf, b"hello");
/// std::fs::remove_file(&path)?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct UnixListener {
    pub(crate) socket: Socket,
}

impl UnixListener {
    /// Listens at `path`, which must not exist yet. As many connections wait to be
    /// accepted as the kernel allows (`net.core.somaxconn`).
    ///
    /// # Errors
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if the path exists,
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if it is longer than 107
    /// bytes, and others of bind(2).
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_to(&SockAddr::unix(path)?)
    }

    /// Listens at an address, which may be an abstract name.
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind).
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        UnixListener::bind_to(&sys::unix_addr(addr)?)
    }

    fn bind_to(addr: &SockAddr) -> io::Result<UnixListener> {
        let fd = sys::open_at(addr, Type::STREAM)?;
        // The kernel cuts it.
        sys::listen(fd.as_fd(), u32::MAX)?;
        Ok(UnixListener::new(fd))
    }
}

operations! {
    /// Accepting.
    UnixListener {
        /// Accepts a connection: the stream, and the address of its peer, which mostly
        /// has none.
        ///
        /// # Errors
        /// Every error of accept(2), such as a want of descriptors; the listener works
        /// on after each.
        ///
        /// # Cancel safety
        /// No connection is lost: it is accepted only when the future completes.
        accept, poll_accept, try_accept() -> (UnixStream, SocketAddr) = Read, accept;
    }
}

fn accept(fd: BorrowedFd<'_>) -> io::Result<(UnixStream, SocketAddr)> {
    let (fd, peer) = sys::accept(fd)?;
    Ok((UnixStream::new(fd), sys::unix(&peer)?))
}

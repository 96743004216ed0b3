//! Where connections come from.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use bourn_net::{TcpListener, TcpStream, UnixListener, UnixStream};
use bourn_reactor::Sleep;
use socket2::{Domain, SockAddr, SockFilter, SockRef, Type};

/// The other end of a connection, or this one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Addr {
    /// Of TCP.
    Tcp(SocketAddr),
    /// Of a Unix socket; clients mostly have no name.
    Unix(std::os::unix::net::SocketAddr),
}

impl Addr {
    /// The address, if it is one of TCP.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Addr::Tcp(addr) => Some(*addr),
            Addr::Unix(_) => None,
        }
    }

    /// Whether two Unix addresses have the same path, or two of TCP are the same.
    pub(crate) fn is(&self, other: &Addr) -> bool {
        match (self, other) {
            (Addr::Tcp(one), Addr::Tcp(other)) => one == other,
            (Addr::Unix(one), Addr::Unix(other)) => {
                one.as_pathname().is_some_and(|path| Some(path) == other.as_pathname())
            }
            _ => false,
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Tcp(addr) => addr.fmt(formatter),
            Addr::Unix(addr) => match addr.as_pathname() {
                Some(path) => path.display().fmt(formatter),
                None => formatter.write_str("unix"),
            },
        }
    }
}

/// Whether there is something else than a socket at `path`: the kernel refuses to connect to a file, too.
pub(crate) fn is_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.file_type().is_socket())
}

/// Locks the folder that `path` is in (flock(2)), and removes a socket there at which nobody listens. Every server does
/// that before it binds, and keeps the lock meanwhile: between its bind(2) and its listen(2) a socket looks like one
/// that was left, and what is looked at must be what is removed. Whoever keeps the lock for five seconds is no server,
/// and is not waited for any longer: that is an error, and nothing is removed, for others may have come as far.
pub(crate) async fn make_room(path: &Path) -> io::Result<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = File::open(folder.unwrap_or(Path::new(".")))?;
    let mut tries = 0..500;
    while let Err(error) = folder.try_lock() {
        match (error, tries.next()) {
            (TryLockError::WouldBlock, Some(_)) => Sleep::after(Duration::from_millis(10)).await,
            (TryLockError::WouldBlock, None) => return Err(io::Error::other("something keeps the folder locked")),
            (TryLockError::Error(error), _) => return Err(error),
        }
    }
    // It waits for nobody: where the backlog is full, somebody listens (EAGAIN).
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if !is_file(path) && socket.connect(&SockAddr::unix(path)?).is_err_and(refused) {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(folder)
}

/// A connection, of either kind.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Does the same with a stream or listener of either kind.
macro_rules! either {
    ($kind:ident, $value:expr, $it:ident => $body:expr) => {
        match $value {
            $kind::Tcp($it) => $body,
            $kind::Unix($it) => $body,
        }
    };
}
pub(crate) use either;

impl Stream {
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        either!(Stream, self, stream => stream.shutdown(how))
    }

    /// Closes it so that the peer knows at once, and the kernel keeps nothing.
    pub(crate) fn reset_on_close(&self) {
        if let Stream::Tcp(stream) = self {
            // If that fails, the connection is closed in order.
            let _ = stream.set_zero_linger(true);
        }
    }
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Maps what a listener of either kind accepted.
macro_rules! accepted {
    ($socket:expr, $listener:ident => $accept:expr, $map:ident) => {
        match $socket {
            Socket::Tcp($listener) => $accept.$map(|(stream, peer)| (Stream::Tcp(stream), Addr::Tcp(peer))),
            Socket::Unix($listener) => $accept.$map(|(stream, peer)| (Stream::Unix(stream), Addr::Unix(peer))),
        }
    };
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    pub(crate) addr: Addr,
    /// No other process accepts here: what is in the queue when it is closed is lost.
    pub(crate) alone: bool,
}

impl Listener {
    fn new(socket: Socket, alone: bool) -> io::Result<Listener> {
        let addr = match &socket {
            Socket::Tcp(listener) => Addr::Tcp(listener.local_addr()?),
            Socket::Unix(listener) => Addr::Unix(listener.local_addr()?),
        };
        Ok(Listener { socket, addr, alone })
    }

    pub(crate) fn tcp(listener: TcpListener) -> io::Result<Listener> {
        Listener::new(Socket::Tcp(listener), true)
    }

    /// Listens at `path`, where nobody may listen yet; a path that a dead process left
    /// is replaced.
    pub(crate) async fn unix(path: &Path) -> io::Result<Listener> {
        // Where that is not possible, the place may be empty.
        let _locked = make_room(path).await;
        Listener::new(Socket::Unix(UnixListener::bind(path)?), true)
    }

    /// A listening socket that somebody else made. `alone`: he has given it up.
    pub(crate) fn inherited(fd: OwnedFd, alone: bool) -> io::Result<Listener> {
        let socket = SockRef::from(&fd);
        if !socket.is_listener()? {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "an inherited descriptor that does not listen"));
        }
        let socket = match socket.domain()? {
            Domain::UNIX => Socket::Unix(UnixListener::from_std(fd.into())?),
            _ => Socket::Tcp(TcpListener::from_std(fd.into())?),
        };
        Listener::new(socket, alone)
    }

    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Stream, Addr)>> {
        accepted!(&self.socket, listener => listener.poll_accept(cx), map_ok)
    }

    /// Asks the kernel, whatever is known of readiness.
    pub(crate) fn try_accept(&self) -> io::Result<(Stream, Addr)> {
        accepted!(&self.socket, listener => listener.try_accept(), map)
    }

    /// Keeps new connections out while those that are under way still come in, so that
    /// the queue can be emptied for good.
    ///
    /// For TCP a filter drops segments with SYN and without ACK: a handshake that has
    /// begun ends as it would have, and a new one is tried again by the peer's kernel
    /// after a second, when the port is closed, which refuses it in so many words. A
    /// filter that accepted sockets inherit does not concern them, for they see no such
    /// segment. A Unix socket that is shut down for reading refuses new peers
    /// and still gives out what is in its queue.
    ///
    /// Not for a socket at which another process listens: what comes is that one's.
    pub(crate) fn close_door(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(listener) => SockRef::from(listener).attach_filter(&NO_SYN),
            Socket::Unix(listener) => SockRef::from(listener).shutdown(Shutdown::Read),
        }
    }
}

/// Classic BPF (`Documentation/networking/filter.rst`) over a segment from its TCP
/// header on: nothing passes that has SYN and not ACK in its 14th byte.
const NO_SYN: [SockFilter; 5] = [
    SockFilter::new((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, 0, 13),
    SockFilter::new((libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16, 0, 0, 0x12),
    SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, 0x02),
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0),
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX),
];

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(Socket, &self.socket, listener => listener.as_fd())
    }
}

//! What every kind of socket has: its readiness, and its descriptor.

use std::io;
use std::net;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix;
use std::task::{Context, Poll};

use bourn_reactor::{Interest, Kind, Ticket};

use crate::async_fd::AsyncFd;
use crate::socket::{Read, Socket, Write};
use crate::sys;
use crate::tcp::{TcpListener, TcpSocket, TcpStream};
use crate::udp::UdpSocket;
use crate::unix::pipe::{Receiver, Sender};
use crate::unix::{UnixDatagram, UnixListener, UnixStream};

/// Methods that wait for reports, for types with a field `socket`.
macro_rules! readiness_methods {
    ($($kind:ident $(<$generic:ident>)?)*) => {$(
        /// Waiting without an operation.
        impl$(<$generic>)? $kind$(<$generic>)? {
            /// Ready when something was reported of a direction in `interest` that no
            /// operation has cleared since; returns what of `interest` that is.
            ///
            /// It may be spurious: only the operation knows. So try it, with `try_read`
            /// and the like, and wait again if it says `WouldBlock`.
            ///
            /// # Errors
            /// What the kernel says when the socket can not be registered.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn ready(&self, interest: Interest) -> io::Result<Interest> {
                self.socket.ready(interest).await
            }

            /// Waits until a read would do something: there is data, the end, or an
            /// error. See [`ready`](Self::ready).
            ///
            /// # Errors
            /// As `ready`.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn readable(&self) -> io::Result<()> {
                self.socket.reported(Read).await
            }

            /// Waits until a write would do something: there is room, or an error. See
            /// [`ready`](Self::ready).
            ///
            /// # Errors
            /// As `ready`.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn writable(&self) -> io::Result<()> {
                self.socket.reported(Write).await
            }

            /// The `poll` form of [`readable`](Self::readable). Up to 32 tasks may
            /// wait in each direction by the `poll_*` methods; all of them are woken.
            ///
            /// # Errors
            /// As `ready`.
            pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.socket.poll_reported(cx, Interest::READ, &mut Ticket::shared())
            }

            /// The `poll` form of [`writable`](Self::writable); see
            /// [`poll_read_ready`](Self::poll_read_ready) for its place.
            ///
            /// # Errors
            /// As `ready`.
            pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.socket.poll_reported(cx, Interest::WRITE, &mut Ticket::shared())
            }

            /// Runs `operation`, which is to be non-blocking input or output on this
            /// socket's descriptor. If it says `WouldBlock`, what was known of the
            /// directions in `interest` is cleared, so that [`ready`](Self::ready)
            /// waits for news. That includes an end that was reported: so let it be the
            /// kernel's `WouldBlock`, not one that `operation` makes up.
            ///
            /// # Errors
            /// Those of `operation`.
            pub fn try_io<R>(&self, interest: Interest, operation: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
                self.socket.try_io(interest, |_| operation())
            }
        }
    )*};
}

readiness_methods! { TcpStream UdpSocket UnixStream UnixDatagram Receiver Sender AsyncFd<T> }

/// The conversions to and from a descriptor and std's `$std`, for types with a field
/// `socket`. `$adopt` makes one of a descriptor that is non-blocking.
macro_rules! descriptor_traits {
    ($($kind:ident: $std:ty, $adopt:expr;)*) => {$(
        impl $kind {
            /// Takes it over from std and sets it to non-blocking; other options stay as
            /// they are, except where the type says what it sets.
            ///
            /// # Errors
            /// What the kernel says to that.
            pub fn from_std(owner: $std) -> io::Result<$kind> {
                OwnedFd::from(owner).try_into()
            }

            /// Hands it over to std. It stays non-blocking.
            pub fn into_std(self) -> $std {
                OwnedFd::from(self).into()
            }
        }

        /// As `from_std`: the descriptor has to be of the kind that the type says, or the
        /// operations fail.
        impl TryFrom<OwnedFd> for $kind {
            type Error = io::Error;

            fn try_from(fd: OwnedFd) -> io::Result<$kind> {
                sys::option(&fd)?.set_nonblocking(true)?;
                $adopt(fd)
            }
        }

        lends_descriptor!($kind);
    )*};
}

/// The traits of a type with a field `socket` that is, or has, a descriptor.
macro_rules! lends_descriptor {
    ($kind:ident) => {
        impl AsFd for $kind {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.socket.as_fd()
            }
        }

        impl AsRawFd for $kind {
            fn as_raw_fd(&self) -> RawFd {
                self.socket.as_fd().as_raw_fd()
            }
        }

        impl From<$kind> for OwnedFd {
            fn from(owner: $kind) -> OwnedFd {
                owner.socket.into()
            }
        }
    };
}

descriptor_traits! {
    TcpListener: net::TcpListener, TcpListener::adopt;
    TcpStream: net::TcpStream, TcpStream::adopt;
    UdpSocket: net::UdpSocket, |fd| Ok(UdpSocket::new(fd));
    UnixListener: unix::net::UnixListener, |fd| Ok(UnixListener::new(fd));
    UnixStream: unix::net::UnixStream, |fd| Ok(UnixStream::new(fd));
    UnixDatagram: unix::net::UnixDatagram, |fd| Ok(UnixDatagram::new(fd));
    Receiver: io::PipeReader, |fd| Ok(Receiver { socket: Socket::of_pipe(fd) });
    Sender: io::PipeWriter, |fd| Ok(Sender { socket: Socket::of_pipe(fd) });
}

lends_descriptor!(TcpSocket);

/// The constructor of what is no exact source: a short read of a Unix stream says nothing,
/// for it also ends where a descriptor was passed.
macro_rules! of_descriptor {
    ($($kind:ident)*) => {$(
        impl $kind {
            pub(crate) fn new(fd: OwnedFd) -> $kind {
                $kind { socket: Socket::new(fd, Kind::Other) }
            }
        }
    )*};
}

of_descriptor! { TcpListener UdpSocket UnixListener UnixStream UnixDatagram }

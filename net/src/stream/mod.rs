//! What the streams of TCP and of Unix sockets share: reading, writing and halves, as
//! macros over a type with a field `socket`, which find the names of std and of the
//! reactor that they use where they are called; and the traits of generic code.

#[cfg(feature = "hyper")]
mod hyper;
mod read;
mod split;
#[cfg(feature = "tokio")]
mod tokio;
mod traits;
mod write;

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;

use bourn_reactor::Ticket;

use crate::socket::{Holder, Socket};
use crate::sys;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use crate::unix::pipe::{Receiver, Sender};

pub use write::WriteAllError;

pub(crate) use split::{tcp, unix};

/// What the traits of generic code are for: a stream, whose callers share the
/// places of one ticket in each direction, or a half, which has a place of its own.
pub(crate) trait End {
    fn with<R>(&mut self, operation: impl FnOnce(&Socket, &mut Ticket) -> R) -> R;
}

/// The traits of a whole stream with a field `socket`, borrowed or not.
macro_rules! whole {
    ($($stream:ty)*) => {$(
        impl Holder for $stream {
            fn socket(&self) -> &Socket {
                &self.socket
            }
        }
    )*};
}

whole! { TcpStream UnixStream Receiver Sender }

impl<H: Holder> End for H {
    fn with<R>(&mut self, operation: impl FnOnce(&Socket, &mut Ticket) -> R) -> R {
        operation(self.socket(), &mut Ticket::shared())
    }
}

impl<H: Holder> Holder for &H {
    fn socket(&self) -> &Socket {
        (**self).socket()
    }
}

/// Closes the writing half; one that is closed or reset already is what was
/// wanted. A pipe has no half, and closes when it is dropped.
pub(crate) fn close(socket: &Socket) -> io::Result<()> {
    match sys::shutdown(socket.as_fd(), Shutdown::Write) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTCONN | libc::ENOTSOCK)) => Ok(()),
        result => result,
    }
}

/// Calls `$readers` with all that reads from a stream, and [`writers`] with all that writes
/// to one.
macro_rules! every_end {
    ($readers:ident, $write:tt) => {
        $readers! {
            crate::TcpStream, &crate::TcpStream, crate::ReadHalf<'_>, crate::OwnedReadHalf,
            crate::UnixStream, &crate::UnixStream, crate::unix::ReadHalf<'_>, crate::unix::OwnedReadHalf,
            crate::unix::pipe::Receiver, &crate::unix::pipe::Receiver
        }
        writers! {
            $write crate::TcpStream, &crate::TcpStream, crate::WriteHalf<'_>, crate::OwnedWriteHalf,
            crate::UnixStream, &crate::UnixStream, crate::unix::WriteHalf<'_>, crate::unix::OwnedWriteHalf,
            crate::unix::pipe::Sender, &crate::unix::pipe::Sender
        }
    };
}

/// A trait of writing, of which there are three that differ in how they call closing,
/// and in what else (`$more`) they ask for.
macro_rules! writers {
    ($write:tt $($writer:ty),*) => {$( writers! { @of $write $writer } )*};
    (@of [$of:ident $close:ident $($more:item)?] $writer:ty) => {
        impl $of for $writer {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.get_mut().with(|socket, ticket| socket.poll_send(cx, ticket, buf))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().with(|socket, ticket| socket.poll_send_vectored(cx, ticket, bufs))
            }

            $($more)?

            /// Does nothing: what is written is the kernel's already.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Closes the writing half (FIN); reading goes on.
            fn $close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.get_mut().with(|socket, _| $crate::stream::close(socket)))
            }
        }
    };
}

pub(crate) use {every_end, writers};

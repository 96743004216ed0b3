//! The traits of futures-io, for generic code.
//!
//! A stream has one place among the waiters of each direction for all its `poll_*`
//! callers; a half has one of its own.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;

use crate::socket::Socket;
use crate::sys;

/// Closes the writing half; one that is closed or reset already is what was
/// wanted.
pub(crate) fn close(socket: &Socket) -> io::Result<()> {
    match sys::shutdown(socket.as_fd(), Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// The traits of `$kind` and its halves.
macro_rules! stream_traits {
    ($kind:ident) => {
        $crate::stream::readers! {
            $kind;
            $kind: |this| (this, &mut Ticket::shared());
            &$kind: |this| (this, &mut Ticket::shared());
            ReadHalf<'_>: |this| this.parts();
            OwnedReadHalf: |this| this.parts();
        }

        $crate::stream::writers! {
            $kind;
            $kind: |this| (this, &mut Ticket::shared());
            &$kind: |this| (this, &mut Ticket::shared());
            WriteHalf<'_>: |this| this.parts();
            OwnedWriteHalf: |this| this.parts();
        }
    };
}

macro_rules! readers {
    ($kind:ident; $($reader:ty: |$this:ident| $parts:expr;)*) => {$(
        impl AsyncRead for $reader {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let (stream, ticket): (&$kind, &mut Ticket) = $parts;
                stream.socket.poll_recv(cx, ticket, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let (stream, ticket): (&$kind, &mut Ticket) = $parts;
                stream.socket.poll_recv_vectored(cx, ticket, bufs)
            }
        }
    )*};
}

macro_rules! writers {
    ($kind:ident; $($writer:ty: |$this:ident| $parts:expr;)*) => {$(
        impl AsyncWrite for $writer {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let (stream, ticket): (&$kind, &mut Ticket) = $parts;
                stream.socket.poll_send(cx, ticket, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let (stream, ticket): (&$kind, &mut Ticket) = $parts;
                stream.socket.poll_send_vectored(cx, ticket, bufs)
            }

            /// Does nothing: what is written is the kernel's already.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Closes the writing half (FIN); reading goes on.
            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                let (stream, _): (&$kind, &mut Ticket) = $parts;
                Poll::Ready($crate::stream::close(&stream.socket))
            }
        }
    )*};
}

pub(crate) use {readers, stream_traits, writers};

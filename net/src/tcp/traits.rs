//! The traits of futures-io, for generic code.
//!
//! A stream has one place among the waiters of each direction for all its `poll_*`
//! callers; a half has one of its own.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use bourn_reactor::Ticket;
use futures_io::{AsyncRead, AsyncWrite};

use crate::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, TcpStream, WriteHalf};

/// Closes the writing half; one that is closed or reset already is what was
/// wanted.
pub(super) fn close(stream: &TcpStream) -> io::Result<()> {
    match stream.shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

macro_rules! readers {
    ($($reader:ty: |$this:ident| $parts:expr;)*) => {$(
        impl AsyncRead for $reader {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let (stream, ticket): (&TcpStream, &mut Ticket) = $parts;
                stream.socket.poll_recv(cx, ticket, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let (stream, ticket): (&TcpStream, &mut Ticket) = $parts;
                stream.socket.poll_recv_vectored(cx, ticket, bufs)
            }
        }
    )*};
}

macro_rules! writers {
    ($($writer:ty: |$this:ident| $parts:expr;)*) => {$(
        impl AsyncWrite for $writer {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let (stream, ticket): (&TcpStream, &mut Ticket) = $parts;
                stream.socket.poll_send(cx, ticket, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                let $this = self.get_mut();
                let (stream, ticket): (&TcpStream, &mut Ticket) = $parts;
                stream.socket.poll_send_vectored(cx, ticket, bufs)
            }

            /// Does nothing: what is written is the kernel's already.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Closes the writing half (FIN); reading goes on.
            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $this = self.get_mut();
                let (stream, _): (&TcpStream, &mut Ticket) = $parts;
                Poll::Ready(close(stream))
            }
        }
    )*};
}

readers! {
    TcpStream: |this| (this, &mut Ticket::shared());
    &TcpStream: |this| (this, &mut Ticket::shared());
    ReadHalf<'_>: |this| this.parts();
    OwnedReadHalf: |this| this.parts();
}

writers! {
    TcpStream: |this| (this, &mut Ticket::shared());
    &TcpStream: |this| (this, &mut Ticket::shared());
    WriteHalf<'_>: |this| this.parts();
    OwnedWriteHalf: |this| this.parts();
}

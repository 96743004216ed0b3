//! The traits of hyper 1, for generic code.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use crate::connection::Connection;
use crate::listener::{Stream, either};

impl Read for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // SAFETY: nothing there becomes uninitialised: the streams only receive into it.
        let mut room = ReadBuf::uninit(unsafe { buf.as_mut() });
        let read = either!(Stream, &*self.stream, stream => Pin::new(&mut &*stream).poll_read(cx, room.unfilled()));
        let read = ready!(read);
        let received = room.filled().len();
        // SAFETY: a stream initialises what it fills.
        unsafe { buf.advance(received) };
        let asked = received > 0 || buf.remaining() > 0;
        Poll::Ready(if asked { self.after_read(read.map(|()| received)).map(drop) } else { read })
    }
}

impl Write for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: what is written is the kernel's already.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes the writing half (FIN); reading goes on.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        futures_io::AsyncWrite::poll_close(self, cx)
    }
}

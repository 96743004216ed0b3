//! The traits of tokio, for generic code.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::{Connection, writer};
use crate::listener::{Stream, either};

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (room, held) = (buf.remaining(), buf.filled().len());
        let read = ready!(either!(Stream, &*self.stream, stream => Pin::new(&mut &*stream).poll_read(cx, buf)));
        if room == 0 {
            return Poll::Ready(read);
        }
        Poll::Ready(self.after_read(read.map(|()| buf.filled().len() - held)).map(drop))
    }
}

writer!(Connection, AsyncWrite, poll_shutdown, is_write_vectored);

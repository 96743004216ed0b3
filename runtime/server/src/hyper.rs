//! The traits of hyper 1, for generic code.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};

use crate::connection::{Connection, writer};
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

writer!(Connection, Write, poll_shutdown, is_write_vectored);

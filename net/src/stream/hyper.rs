//! The traits of hyper 1.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::stream::{End, every_end, writers};

macro_rules! readers {
    ($($reader:ty),*) => {$(
        impl Read for $reader {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
                self.get_mut().with(|socket, ticket| socket.poll_recv_spare(cx, ticket, &mut buf)).map_ok(drop)
            }
        }
    )*};
}

every_end!(readers, [Write poll_shutdown fn is_write_vectored(&self) -> bool { true }]);

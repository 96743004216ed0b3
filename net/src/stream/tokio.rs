//! The traits of tokio, which need none of its runtime.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stream::{End, every_end, writers};

macro_rules! readers {
    ($($reader:ty),*) => {$(
        impl AsyncRead for $reader {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                self.get_mut().with(|socket, ticket| socket.poll_recv_spare(cx, ticket, buf)).map_ok(drop)
            }
        }
    )*};
}

every_end!(readers, [AsyncWrite poll_shutdown fn is_write_vectored(&self) -> bool { true }]);

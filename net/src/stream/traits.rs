//! The traits of futures-io, for generic code.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use crate::stream::{End, every_end, writers};

macro_rules! readers {
    ($($reader:ty),*) => {$(
        impl AsyncRead for $reader {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.get_mut().with(|socket, ticket| socket.poll_recv(cx, ticket, buf))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().with(|socket, ticket| socket.poll_recv_vectored(cx, ticket, bufs))
            }
        }
    )*};
}

every_end!(readers, [AsyncWrite poll_close]);

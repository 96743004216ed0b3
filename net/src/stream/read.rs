//! Reading from a stream.

use std::io::{self, IoSliceMut};
use std::task::{Context, Poll, ready};

use bourn_reactor::{Interest, Ticket};

use crate::socket::Read;
use crate::sys;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use crate::unix::pipe::Receiver;

/// The methods that read, for a stream with a field `socket`.
macro_rules! read_methods {
    ($($stream:ty)*) => {$(
        /// Reading.
        impl $stream {
            /// Reads what is there, up to the length of `buf`, waiting for the first
            /// byte. 0 means that the peer has sent its last byte, or that `buf` is empty.
            ///
            /// # Errors
            /// What the kernel says: [`ConnectionReset`](io::ErrorKind::ConnectionReset),
            /// [`TimedOut`](io::ErrorKind::TimedOut) and others of recv(2) and tcp(7).
            ///
            /// # Cancel safety
            /// Nothing is lost: bytes are read only when the future completes.
            pub fn read(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                self.socket.wait(Read, move |socket, cx, ticket| socket.poll_recv(cx, ticket, buf))
            }

            /// Like [`read`](Self::read), into several buffers, each filled before
            /// the next. The kernel takes 1,024 of them at a time.
            ///
            /// # Errors
            /// As `read`.
            ///
            /// # Cancel safety
            /// Nothing is lost, as with `read`.
            pub fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> impl Future<Output = io::Result<usize>> {
                self.socket.wait(Read, move |socket, cx, ticket| socket.poll_recv_vectored(cx, ticket, bufs))
            }

            /// Fills `buf`.
            ///
            /// # Errors
            /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the stream ends before;
            /// otherwise as [`read`](Self::read). What was read until then is in
            /// `buf`, but not how much.
            ///
            /// # Cancel safety
            /// Not cancel safe: what was read is in `buf`, but not how much. Loop over
            /// `read` where that matters.
            pub fn read_exact(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<()>> {
                let mut filled = 0;
                self.socket.wait(Read, move |socket, cx, ticket| {
                    while filled < buf.len() {
                        match ready!(socket.poll_recv(cx, ticket, &mut buf[filled..]))? {
                            0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                            received => filled += received,
                        }
                    }
                    Poll::Ready(Ok(()))
                })
            }

            /// Reads to the end of the stream, appends to `buf`, and returns how much
            /// that was. There is no limit: whoever does not trust the peer sets one with
            /// [`read`](Self::read).
            ///
            /// # Errors
            /// As `read`; what was read until then is in `buf`.
            ///
            /// # Cancel safety
            /// Nothing is lost: what was read is in `buf`, and calling this again goes on
            /// from there.
            pub fn read_to_end(&self, buf: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> {
                let start = buf.len();
                self.socket.wait(Read, move |socket, cx, ticket| {
                    while ready!(socket.poll_recv_spare(cx, ticket, buf))? > 0 {}
                    Poll::Ready(Ok(buf.len() - start))
                })
            }

            /// Reads what is there already.
            ///
            /// # Errors
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if nothing is; otherwise as
            /// [`read`](Self::read).
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.try_io(Interest::READ, |fd| sys::recv(fd, self.socket.calls(), buf))
            }

            /// Like [`try_read`](Self::try_read), into several buffers.
            ///
            /// # Errors
            /// As `try_read`.
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.socket.try_io(Interest::READ, |fd| sys::recv_vectored(fd, bufs))
            }
        }
    )*};
}

read_methods! { TcpStream UnixStream Receiver }

/// The methods that look ahead, which pipes have not.
macro_rules! socket_methods {
    ($($stream:ty)*) => {$(
        /// Looking ahead, as pipes can not.
        impl $stream {
            /// Like [`read`](Self::read), but leaves what it returns in the stream.
            ///
            /// # Errors
            /// As `read`.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                self.socket.wait(Read, move |socket, cx, ticket| socket.poll_peek(cx, ticket, buf))
            }

            /// The `poll` form of [`peek`](Self::peek); see
            /// [`poll_read_ready`](Self::poll_read_ready) for its place.
            ///
            /// # Errors
            /// As `peek`.
            pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.socket.poll_peek(cx, &mut Ticket::shared(), buf)
            }

            /// Like [`try_read`](Self::try_read), but leaves what it returns in the
            /// stream.
            ///
            /// # Errors
            /// As `try_read`.
            pub fn try_peek(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.socket.try_io(Interest::READ, |fd| sys::peek(fd, buf))
            }

            /// Waits until the peer has closed its half, or the connection is over,
            /// without reading what came before that.
            ///
            /// # Errors
            /// As [`ready`](Self::ready).
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub fn read_closed(&self) -> impl Future<Output = io::Result<()>> {
                self.socket.wait(Read, move |socket, cx, ticket| socket.poll_reported(cx, Interest::CLOSED, ticket))
            }
        }
    )*};
}

socket_methods! { TcpStream UnixStream }

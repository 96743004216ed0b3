//! Writing to a stream.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice};
use std::task::{Poll, ready};

use bourn_reactor::Interest;

use crate::socket::Write;
use crate::sys;
use crate::tcp::TcpStream;
use crate::unix::UnixStream;
use crate::unix::pipe::Sender;

/// The methods that write, for a stream with a field `socket`.
macro_rules! write_methods {
    ($($stream:ty)*) => {$(
        /// Writing. A write is done when the kernel has taken the bytes over; whether the
        /// peer gets them is not known then. No write raises SIGPIPE, whatever the
        /// process thinks of that signal.
        impl $stream {
            /// Writes as much of `buf` as the kernel takes, at least one byte (none if
            /// `buf` is empty), and returns how much that was.
            ///
            /// # Errors
            /// What the kernel says: [`BrokenPipe`](io::ErrorKind::BrokenPipe) and
            /// [`ConnectionReset`](io::ErrorKind::ConnectionReset) when the peer is gone,
            /// [`TimedOut`](io::ErrorKind::TimedOut) and others of send(2) and tcp(7).
            ///
            /// # Cancel safety
            /// Nothing is lost: bytes are written only when the future completes.
            pub fn write(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
                self.socket.wait(Write, move |socket, cx, ticket| socket.poll_send(cx, ticket, buf))
            }

            /// Like [`write`](Self::write), from several buffers, one after the
            /// other. The kernel takes 1,024 of them at a time.
            ///
            /// # Errors
            /// As `write`.
            ///
            /// # Cancel safety
            /// Nothing is lost, as with `write`.
            pub fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> impl Future<Output = io::Result<usize>> {
                self.socket.wait(Write, move |socket, cx, ticket| socket.poll_send_vectored(cx, ticket, bufs))
            }

            /// Writes all of `buf`.
            ///
            /// # Errors
            /// As [`write`](Self::write); if bytes had been written before, an error
            /// of the same kind whose payload is a [`WriteAllError`](crate::WriteAllError) that says how many.
            ///
            /// # Cancel safety
            /// Not cancel safe: part of `buf` may be written, and nobody knows how much.
            /// Loop over `write` where that matters.
            pub fn write_all(&self, buf: &[u8]) -> impl Future<Output = io::Result<()>> {
                let mut written = 0;
                self.socket.wait(Write, move |socket, cx, ticket| {
                    while written < buf.len() {
                        match ready!(socket.poll_send(cx, ticket, &buf[written..])) {
                            Ok(sent @ 1..) => written += sent,
                            end => return Poll::Ready(Err(unfinished(end, written))),
                        }
                    }
                    Poll::Ready(Ok(()))
                })
            }

            /// Writes all of several buffers. What is written is cut off their front: a
            /// slice that is done is empty then.
            ///
            /// # Errors
            /// As [`write_all`](Self::write_all).
            ///
            /// # Cancel safety
            /// Nothing is lost as long as `bufs` is not: it says what is still to be
            /// written, and calling this again goes on from there.
            pub fn write_all_vectored(&self, bufs: &mut [IoSlice<'_>]) -> impl Future<Output = io::Result<()>> {
                let mut written = 0;
                let mut first = 0;
                self.socket.wait(Write, move |socket, cx, ticket| loop {
                    while bufs.get(first).is_some_and(|buf| buf.is_empty()) {
                        first += 1;
                    }
                    if first == bufs.len() {
                        return Poll::Ready(Ok(()));
                    }
                    let rest = &mut bufs[first..];
                    let sent = match ready!(socket.poll_send_vectored(cx, ticket, rest)) {
                        Ok(sent @ 1..) => sent,
                        end => return Poll::Ready(Err(unfinished(end, written))),
                    };
                    cut(rest, sent);
                    written += sent;
                })
            }

            /// Writes what the kernel takes now.
            ///
            /// # Errors
            /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it takes nothing; otherwise as
            /// [`write`](Self::write).
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.socket.try_io(Interest::WRITE, |fd| sys::send(fd, self.socket.calls(), buf))
            }

            /// Like [`try_write`](Self::try_write), from several buffers.
            ///
            /// # Errors
            /// As `try_write`.
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.socket.try_io(Interest::WRITE, |fd| sys::send_vectored(fd, self.socket.calls(), bufs))
            }
        }
    )*};
}

write_methods! { TcpStream UnixStream Sender }

/// Cuts `count` bytes off the front. `IoSlice::advance_slices` would leave slices
/// that are done as they are, in front of the rest that it returns; whoever is
/// cancelled has no such rest, only the whole.
pub(crate) fn cut(bufs: &mut [IoSlice<'_>], mut count: usize) {
    for buf in bufs {
        let part = count.min(buf.len());
        buf.advance(part);
        count -= part;
        if count == 0 {
            return;
        }
    }
}

/// What to tell who had `written` bytes when this was the end.
#[cold]
pub(crate) fn unfinished(end: io::Result<usize>, written: usize) -> io::Error {
    let error = end.err().unwrap_or_else(|| io::ErrorKind::WriteZero.into());
    if written == 0 { error } else { io::Error::new(error.kind(), WriteAllError { written, error }) }
}

/// Not everything was written: the payload ([`get_ref`](io::Error::get_ref)) of
/// the [`io::Error`] that `write_all` returns after some of it was.
#[derive(Debug)]
pub struct WriteAllError {
    written: usize,
    error: io::Error,
}

impl WriteAllError {
    /// How many bytes the kernel had taken over. Whether the peer got them is not
    /// known.
    pub fn written(&self) -> usize {
        self.written
    }

    /// What the kernel said then.
    pub fn error(&self) -> &io::Error {
        &self.error
    }
}

impl fmt::Display for WriteAllError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (after {} bytes were written)", self.error, self.written)
    }
}

impl Error for WriteAllError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

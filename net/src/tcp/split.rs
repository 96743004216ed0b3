//! The two halves of a stream, borrowed or owned.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use bourn_reactor::{Direction, Ticket};

use crate::tcp::{TcpStream, traits};

/// The half of a [`TcpStream`] for reading, from [`split`](TcpStream::split).
#[derive(Debug)]
pub struct ReadHalf<'a> {
    stream: &'a TcpStream,
    ticket: Ticket,
}

/// The half of a [`TcpStream`] for writing, from [`split`](TcpStream::split).
#[derive(Debug)]
pub struct WriteHalf<'a> {
    stream: &'a TcpStream,
    ticket: Ticket,
}

/// The half of a [`TcpStream`] for reading, from
/// [`into_split`](TcpStream::into_split).
///
/// Dropping it tells the peer nothing; the connection is closed with the second
/// half that is dropped.
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Arc<TcpStream>,
    ticket: Ticket,
}

/// The half of a [`TcpStream`] for writing, from
/// [`into_split`](TcpStream::into_split).
///
/// Dropping it sends FIN: the peer reads to the end. [`forget`](OwnedWriteHalf::forget)
/// drops it without.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<TcpStream>,
    ticket: Ticket,
    /// False once the stream is whole again, or the half forgotten.
    closes: bool,
}

macro_rules! reading {
    ($($generics:lifetime)?, $half:ty, $stream:ty) => {
        impl$(<$generics>)? $half {
            pub(super) fn new(stream: $stream) -> Self {
                Self { stream, ticket: Ticket::new() }
            }

            pub(super) fn parts(&mut self) -> (&TcpStream, &mut Ticket) {
                (&self.stream, &mut self.ticket)
            }

            /// See [`TcpStream::read`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.read(buf).await
            }

            /// See [`TcpStream::read_vectored`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream.read_vectored(bufs).await
            }

            /// See [`TcpStream::read_exact`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Not cancel safe: how much was read is not known.
            pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
                self.stream.read_exact(buf).await
            }

            /// See [`TcpStream::read_to_end`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost: what was read is in `buf`.
            pub async fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
                self.stream.read_to_end(buf).await
            }

            /// See [`TcpStream::peek`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.peek(buf).await
            }

            /// The `poll` form of [`peek`](Self::peek).
            ///
            /// # Errors
            /// As [`TcpStream::peek`].
            pub fn poll_peek(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.stream.socket.poll_peek(cx, &mut self.ticket, buf)
            }

            /// See [`TcpStream::try_read`].
            ///
            /// # Errors
            /// As there.
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.try_read(buf)
            }

            /// See [`TcpStream::try_read_vectored`].
            ///
            /// # Errors
            /// As there.
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream.try_read_vectored(bufs)
            }

            /// See [`TcpStream::readable`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn readable(&self) -> io::Result<()> {
                self.stream.readable().await
            }

            /// See [`TcpStream::read_closed`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn read_closed(&self) -> io::Result<()> {
                self.stream.read_closed().await
            }
        }
    };
}

macro_rules! writing {
    ($($generics:lifetime)?, $half:ty) => {
        impl$(<$generics>)? $half {
            pub(super) fn parts(&mut self) -> (&TcpStream, &mut Ticket) {
                (&self.stream, &mut self.ticket)
            }

            /// See [`TcpStream::write`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.stream.write(buf).await
            }

            /// See [`TcpStream::write_vectored`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.stream.write_vectored(bufs).await
            }

            /// See [`TcpStream::write_all`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Not cancel safe: how much was written is not known.
            pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.stream.write_all(buf).await
            }

            /// See [`TcpStream::write_all_vectored`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// `bufs` tells what is still to be written.
            pub async fn write_all_vectored(&mut self, bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
                self.stream.write_all_vectored(bufs).await
            }

            /// See [`TcpStream::try_write`].
            ///
            /// # Errors
            /// As there.
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.stream.try_write(buf)
            }

            /// See [`TcpStream::try_write_vectored`].
            ///
            /// # Errors
            /// As there.
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.stream.try_write_vectored(bufs)
            }

            /// See [`TcpStream::writable`].
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn writable(&self) -> io::Result<()> {
                self.stream.writable().await
            }

            /// Sends FIN after what was written; see [`TcpStream::shutdown`].
            ///
            /// # Errors
            /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection is
            /// over.
            pub fn shutdown(&mut self) -> io::Result<()> {
                self.stream.shutdown(Shutdown::Write)
            }
        }
    };
}

macro_rules! either_half {
    ($($half:ty: $direction:expr;)*) => {$(
        impl $half {
            /// See [`TcpStream::local_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn local_addr(&self) -> io::Result<SocketAddr> {
                self.stream.local_addr()
            }

            /// See [`TcpStream::peer_addr`].
            ///
            /// # Errors
            /// As there.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.stream.peer_addr()
            }

            fn give_up_place(&mut self) {
                self.stream.socket.forget($direction, &self.ticket);
            }
        }

        impl AsRef<TcpStream> for $half {
            fn as_ref(&self) -> &TcpStream {
                &self.stream
            }
        }
    )*};
}

reading!('a, ReadHalf<'a>, &'a TcpStream);
reading!(, OwnedReadHalf, Arc<TcpStream>);
writing!('a, WriteHalf<'a>);
writing!(, OwnedWriteHalf);
either_half! {
    ReadHalf<'_>: Direction::Read;
    OwnedReadHalf: Direction::Read;
    WriteHalf<'_>: Direction::Write;
    OwnedWriteHalf: Direction::Write;
}

impl<'a> WriteHalf<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self {
            stream,
            ticket: Ticket::new(),
        }
    }
}

impl OwnedReadHalf {
    /// Puts the stream together again.
    ///
    /// # Errors
    /// Both halves, if they are of different streams.
    pub fn reunite(self, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        write.reunite(self)
    }
}

impl OwnedWriteHalf {
    pub(super) fn new(stream: Arc<TcpStream>) -> Self {
        Self {
            stream,
            ticket: Ticket::new(),
            closes: true,
        }
    }

    /// Drops this half without sending FIN: the connection is closed with the
    /// other half.
    pub fn forget(mut self) {
        self.closes = false;
    }

    /// Puts the stream together again.
    ///
    /// # Errors
    /// Both halves, if they are of different streams.
    pub fn reunite(mut self, read: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.stream, &read.stream) {
            return Err(ReuniteError(read, self));
        }
        self.closes = false;
        let stream = Arc::clone(&self.stream);
        drop((self, read));
        Ok(Arc::into_inner(stream)
            .unwrap_or_else(|| unreachable!("only the two halves hold the stream")))
    }
}

impl Drop for ReadHalf<'_> {
    fn drop(&mut self) {
        self.give_up_place();
    }
}

impl Drop for WriteHalf<'_> {
    fn drop(&mut self) {
        self.give_up_place();
    }
}

impl Drop for OwnedReadHalf {
    fn drop(&mut self) {
        self.give_up_place();
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.give_up_place();
        if self.closes {
            // Fails only when the connection is over, which is what was wanted.
            traits::close(&self.stream).ok();
        }
    }
}

/// Two halves that are not of one stream, given back by `reunite`.
#[derive(Debug)]
pub struct ReuniteError(
    /// The half for reading.
    pub OwnedReadHalf,
    /// The half for writing.
    pub OwnedWriteHalf,
);

impl fmt::Display for ReuniteError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the two halves are of different streams")
    }
}

impl Error for ReuniteError {}

//! A connection as its handler gets it.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bourn_net::{TcpStream, UnixStream};
use futures_io::{AsyncRead, AsyncWrite};

use crate::bell::when;
use crate::listener::{Addr, Stream, either};
use crate::shared::{Phase, Shared};
use crate::table::Life;

/// Which limit a connection met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CutReason {
    /// [`Limits::first_byte`](crate::Limits::first_byte).
    FirstByte,
    /// [`Limits::idle`](crate::Limits::idle).
    Idle,
    /// [`Limits::write_stall`](crate::Limits::write_stall).
    WriteStall,
    /// [`Limits::min_rate`](crate::Limits::min_rate).
    MinRate,
}

impl fmt::Display for CutReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            CutReason::FirstByte => "no first byte in time",
            CutReason::Idle => "idle for too long",
            CutReason::WriteStall => "the peer takes nothing",
            CutReason::MinRate => "the peer sends too slowly",
        })
    }
}

/// The payload ([`get_ref`](io::Error::get_ref)) of the error that reading and writing
/// return after the server has cut the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Which limit was met.
    pub reason: CutReason,
}

impl fmt::Display for Cut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cut by the server: {}", self.reason)
    }
}

impl std::error::Error for Cut {}

/// A connection that a [`Server`](crate::Server) accepted.
///
/// All methods take `&self`, as with the streams of [`bourn_net`], whose
/// [rules](bourn_net#rules-of-all-sockets) hold; `Connection` and `&Connection` have the
/// traits of futures-io. Everything that is read and written here counts for the server's
/// [`Limits`](crate::Limits). Dropping it closes it at once.
///
/// It may be given to another task: the server counts it, and waits for it when it
/// drains, until it is dropped.
#[derive(Debug)]
pub struct Connection {
    pub(crate) stream: Arc<Stream>,
    /// After the stream, for fields are dropped in this order.
    pub(crate) place: Place,
}

/// A connection's place among those of its server; given up when it is closed.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) life: Arc<Life>,
    pub(crate) shared: Arc<Shared>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.table.close(&self.life);
    }
}

impl Connection {
    /// The peer: the one that the proxy names, if the connection came through one
    /// [that is trusted](crate::Server::proxy_from).
    pub fn peer(&self) -> Addr {
        self.place.life.peer()
    }

    /// The peer at the other end of this very connection, which may be a proxy.
    pub fn direct_peer(&self) -> &Addr {
        &self.place.life.peer
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn local_addr(&self) -> io::Result<Addr> {
        Ok(match &*self.stream {
            Stream::Tcp(stream) => Addr::Tcp(stream.local_addr()?),
            Stream::Unix(stream) => Addr::Unix(stream.local_addr()?),
        })
    }

    /// The stream, if it is one of TCP: for its options. What is read and written there
    /// does not count for the limits.
    pub fn tcp(&self) -> Option<&TcpStream> {
        let Stream::Tcp(stream) = &*self.stream else { return None };
        Some(stream)
    }

    /// The stream, if it is one of Unix; see [`tcp`](Connection::tcp).
    pub fn unix(&self) -> Option<&UnixStream> {
        let Stream::Unix(stream) = &*self.stream else { return None };
        Some(stream)
    }

    /// Whether the server is draining: the request at hand is to be the last one.
    pub fn is_draining(&self) -> bool {
        self.place.shared.is_draining()
    }

    /// Waits until the server drains, also after the connection is given away.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.place.shared);
        async move { shared.phase_changed.until(|_| when(shared.is_draining())).await }
    }

    /// Waits for the next request: true as soon as there is something to read; false at
    /// the end of the stream, or if the server drains and nothing has arrived; before the
    /// first byte, it waits while a drain still lets connections in. A handler that serves
    /// several requests on a connection calls it before each.
    ///
    /// # Errors
    /// As [`read`](Connection::read).
    ///
    /// # Cancel safety
    /// Nothing is lost.
    ///
    /// # Examples
    /// ```
    /// use bourn_server::Connection;
    ///
    /// async fn echo(connection: Connection) -> std::io::Result<()> {
    ///     let mut buf = [0; 1024];
    ///     while connection.more().await? {
    ///         let length = connection.read(&mut buf).await?;
    ///         connection.write_all(&buf[..length]).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub async fn more(&self) -> io::Result<bool> {
        let mut ear = self.place.shared.phase_changed.ear();
        poll_fn(|cx| {
            // Looked at first, so that what has arrived is served.
            if let Poll::Ready(peeked) = self.poll_peek(cx, &mut [0]) {
                return Poll::Ready(peeked.map(|length| length > 0));
            }
            ear.listen(cx);
            // Who has said nothing yet has perhaps just come, and has until the queues are emptied.
            let last = if self.place.life.marks.heard.load(Relaxed) { Phase::Serving } else { Phase::Closing };
            if self.place.shared.phase() <= last {
                return Poll::Pending;
            }
            // What is reported may be older than what has arrived.
            let peeked = either!(Stream, &*self.stream, stream => stream.try_peek(&mut [0]));
            Poll::Ready(match peeked {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                peeked => self.judged(peeked).map(|length| length > 0),
            })
        })
        .await
    }

    /// Says why, if the server has cut the connection.
    fn judged(&self, result: io::Result<usize>) -> io::Result<usize> {
        match (&result, self.place.life.marks.cut.get().copied()) {
            (Ok(0) | Err(_), Some(reason)) => Err(io::Error::new(io::ErrorKind::TimedOut, Cut { reason })),
            _ => result,
        }
    }

    pub(crate) fn after_read(&self, result: io::Result<usize>) -> io::Result<usize> {
        if let Ok(length @ 1..) = result {
            let (marks, tick) = (&self.place.life.marks, self.place.shared.tick());
            marks.moved.store(tick, Relaxed);
            marks.heard.store(true, Relaxed);
            if self.place.shared.limits.min_rate.is_some() {
                if marks.asking.load(Relaxed) == 0 {
                    marks.asking.store(tick, Relaxed);
                    marks.asked.store(0, Relaxed);
                }
                marks.asked.store(marks.asked.load(Relaxed) + length as u64, Relaxed);
                marks.asked_last.store(tick, Relaxed);
            }
            return result;
        }
        self.judged(result)
    }

    fn after_write(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let marks = &self.place.life.marks;
        if result.is_pending() && marks.stalled.load(Relaxed) == 0 {
            marks.stalled.store(self.place.shared.tick(), Relaxed);
        }
        let result = ready!(result);
        marks.stalled.store(0, Relaxed);
        if matches!(result, Ok(1..)) {
            marks.moved.store(self.place.shared.tick(), Relaxed);
            marks.asking.store(0, Relaxed);
        }
        Poll::Ready(if result.is_err() { self.judged(result) } else { result })
    }

    fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let asked = !buf.is_empty();
        let read = ready!(either!(Stream, &*self.stream, stream => Pin::new(&mut &*stream).poll_read(cx, buf)));
        Poll::Ready(if asked { self.after_read(read) } else { read })
    }

    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.after_write(either!(Stream, &*self.stream, stream => Pin::new(&mut &*stream).poll_write(cx, buf)))
    }

    pub(crate) fn poll_send_vectored(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.after_write(
            either!(Stream, &*self.stream, stream => Pin::new(&mut &*stream).poll_write_vectored(cx, bufs)),
        )
    }

    fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let peeked = ready!(either!(Stream, &*self.stream, stream => stream.poll_peek(cx, buf)));
        if matches!(peeked, Ok(1..)) {
            self.place.life.marks.heard.store(true, Relaxed);
        }
        Poll::Ready(self.judged(peeked))
    }

    /// Reads what is there, up to the length of `buf`, waiting for the first byte. 0 means
    /// that the peer has sent its last byte, or that `buf` is empty.
    ///
    /// # Errors
    /// What the kernel says, and [`TimedOut`](io::ErrorKind::TimedOut) with a [`Cut`] when
    /// the server has cut the connection.
    ///
    /// # Cancel safety
    /// Nothing is lost: bytes are read only when the future completes.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_recv(cx, buf)).await
    }

    /// Fills `buf`.
    ///
    /// # Errors
    /// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the stream ends before; otherwise
    /// as [`read`](Connection::read).
    ///
    /// # Cancel safety
    /// Not cancel safe: what was read is in `buf`, but not how much.
    pub async fn read_exact(&self, buf: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => filled += length,
            }
        }
        Ok(())
    }

    /// Like [`read`](Connection::read), but leaves what it returns in the stream.
    /// For [`Limits::first_byte`](crate::Limits::first_byte) it has come then; for the other limits
    /// it has not, until it is read.
    ///
    /// # Errors
    /// As `read`.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_peek(cx, buf)).await
    }

    /// Writes as much of `buf` as the kernel takes, at least one byte (none if `buf` is
    /// empty), and returns how much that was.
    ///
    /// # Errors
    /// As [`read`](Connection::read).
    ///
    /// # Cancel safety
    /// Nothing is lost: bytes are written only when the future completes.
    pub async fn write(&self, buf: &[u8]) -> io::Result<usize> {
        let _waits = Waits(&self.place.life);
        poll_fn(|cx| self.poll_send(cx, buf)).await
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// As [`write`](Connection::write); how much was written before is not told.
    ///
    /// # Cancel safety
    /// Not cancel safe: part of `buf` may be written, and nobody knows how much.
    pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < buf.len() {
            match self.write(&buf[written..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                length => written += length,
            }
        }
        Ok(())
    }

    /// Closes one direction of the connection, or both (shutdown(2)).
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection is over.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }

    /// Closes the connection so that the peer's reads and writes fail with
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset), as far as it is one of TCP.
    pub fn reset(self) {
        self.stream.reset_on_close();
    }

    /// Waits until the peer has closed its half, or the connection is over.
    ///
    /// # Errors
    /// What the kernel says when the socket can not be registered.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn read_closed(&self) -> io::Result<()> {
        either!(Stream, &*self.stream, stream => stream.read_closed().await)
    }
}

/// A write that is given up waits no more.
struct Waits<'a>(&'a Life);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.marks.stalled.store(0, Relaxed);
    }
}

/// A trait of writing, of which there are three that differ in how they call closing, and in
/// whether they ask for a word (`$vectored`) on several buffers.
macro_rules! writer {
    ($kind:ty, $of:ident, $close:ident $(, $vectored:ident)?) => {
        impl $of for $kind {
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

            $(fn $vectored(&self) -> bool {
                true
            })?

            /// Does nothing: what is written is the kernel's already.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Closes the writing half (FIN); reading goes on.
            fn $close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(match self.shutdown(std::net::Shutdown::Write) {
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    result => result,
                })
            }
        }
    };
}
#[cfg(any(feature = "hyper", feature = "tokio"))]
pub(crate) use writer;

macro_rules! stream_traits {
    ($($kind:ty),*) => {$(
        impl AsyncRead for $kind {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.poll_recv(cx, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let asked = bufs.iter().any(|buf| !buf.is_empty());
                let read = ready!(either!(Stream, &*self.stream, stream => {
                    Pin::new(&mut &*stream).poll_read_vectored(cx, bufs)
                }));
                Poll::Ready(if asked { self.after_read(read) } else { read })
            }
        }

        writer!($kind, AsyncWrite, poll_close);
    )*};
}

stream_traits!(Connection, &Connection);

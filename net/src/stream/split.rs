//! The two halves of a stream, borrowed or owned.

/// The types of the halves of `$kind`, whose ends have addresses of type `$addr`.
macro_rules! halves {
    ($kind:ident, $addr:ty) => {
        #[doc = concat!(" The half of a [`", stringify!($kind), "`] for reading, from [`split`](", stringify!($kind), "::split).")]
        #[derive(Debug)]
        pub struct ReadHalf<'a> {
            stream: &'a $kind,
            ticket: Ticket,
        }

        #[doc = concat!(" The half of a [`", stringify!($kind), "`] for writing, from [`split`](", stringify!($kind), "::split).")]
        #[derive(Debug)]
        pub struct WriteHalf<'a> {
            stream: &'a $kind,
            ticket: Ticket,
        }

        #[doc = concat!(" The half of a [`", stringify!($kind), "`] for reading, from")]
        #[doc = concat!(" [`into_split`](", stringify!($kind), "::into_split).")]
        ///
        /// Dropping it tells the peer nothing; the connection is closed with the second
        /// half that is dropped.
        #[derive(Debug)]
        pub struct OwnedReadHalf {
            stream: Arc<$kind>,
            ticket: Ticket,
        }

        #[doc = concat!(" The half of a [`", stringify!($kind), "`] for writing, from")]
        #[doc = concat!(" [`into_split`](", stringify!($kind), "::into_split).")]
        ///
        /// Dropping it closes this half (TCP sends FIN): the peer reads to the end. [`forget`](OwnedWriteHalf::forget)
        /// drops it without.
        #[derive(Debug)]
        pub struct OwnedWriteHalf {
            stream: Arc<$kind>,
            ticket: Ticket,
            /// False once the stream is whole again, or the half forgotten.
            closes: bool,
        }

        $crate::stream::reading!($kind, 'a, ReadHalf<'a>, &'a $kind);
        $crate::stream::reading!($kind, , OwnedReadHalf, Arc<$kind>);
        $crate::stream::writing!($kind, 'a, WriteHalf<'a>);
        $crate::stream::writing!($kind, , OwnedWriteHalf);
        $crate::stream::either_half! {
            $kind, $addr;
            ReadHalf<'_>: Direction::Read;
            OwnedReadHalf: Direction::Read;
            WriteHalf<'_>: Direction::Write;
            OwnedWriteHalf: Direction::Write;
        }

        impl<'a> WriteHalf<'a> {
            pub(super) fn new(stream: &'a $kind) -> Self {
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
            pub fn reunite(self, write: OwnedWriteHalf) -> Result<$kind, ReuniteError> {
                write.reunite(self)
            }
        }

        impl OwnedWriteHalf {
            pub(super) fn new(stream: Arc<$kind>) -> Self {
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
            pub fn reunite(mut self, read: OwnedReadHalf) -> Result<$kind, ReuniteError> {
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
                    $crate::stream::close(&self.stream.socket).ok();
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

        impl std::fmt::Display for ReuniteError {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("the two halves are of different streams")
            }
        }

        impl std::error::Error for ReuniteError {}
    };
}

macro_rules! reading {
    ($kind:ident, $($generics:lifetime)?, $half:ty, $stream:ty) => {
        impl$(<$generics>)? $half {
            pub(super) fn new(stream: $stream) -> Self {
                Self { stream, ticket: Ticket::new() }
            }

            #[doc = concat!(" See [`", stringify!($kind), "::read`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.read(buf).await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::read_vectored`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream.read_vectored(bufs).await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::read_exact`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Not cancel safe: how much was read is not known.
            pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
                self.stream.read_exact(buf).await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::read_to_end`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost: what was read is in `buf`.
            pub async fn read_to_end(&mut self, buf: &mut Vec<u8>) -> io::Result<usize> {
                self.stream.read_to_end(buf).await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::peek`].")]
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
            #[doc = concat!(" As [`", stringify!($kind), "::peek`].")]
            pub fn poll_peek(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.stream.socket.poll_peek(cx, &mut self.ticket, buf)
            }

            #[doc = concat!(" See [`", stringify!($kind), "::try_read`].")]
            ///
            /// # Errors
            /// As there.
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.stream.try_read(buf)
            }

            #[doc = concat!(" See [`", stringify!($kind), "::try_read_vectored`].")]
            ///
            /// # Errors
            /// As there.
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                self.stream.try_read_vectored(bufs)
            }

            #[doc = concat!(" See [`", stringify!($kind), "::readable`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn readable(&self) -> io::Result<()> {
                self.stream.readable().await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::read_closed`].")]
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
    ($kind:ident, $($generics:lifetime)?, $half:ty) => {
        impl$(<$generics>)? $half {
            #[doc = concat!(" See [`", stringify!($kind), "::write`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
                self.stream.write(buf).await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::write_vectored`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.stream.write_vectored(bufs).await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::write_all`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Not cancel safe: how much was written is not known.
            pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
                self.stream.write_all(buf).await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::write_all_vectored`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// `bufs` tells what is still to be written.
            pub async fn write_all_vectored(&mut self, bufs: &mut [IoSlice<'_>]) -> io::Result<()> {
                self.stream.write_all_vectored(bufs).await
            }

            #[doc = concat!(" See [`", stringify!($kind), "::try_write`].")]
            ///
            /// # Errors
            /// As there.
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                self.stream.try_write(buf)
            }

            #[doc = concat!(" See [`", stringify!($kind), "::try_write_vectored`].")]
            ///
            /// # Errors
            /// As there.
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                self.stream.try_write_vectored(bufs)
            }

            #[doc = concat!(" See [`", stringify!($kind), "::writable`].")]
            ///
            /// # Errors
            /// As there.
            ///
            /// # Cancel safety
            /// Nothing is lost.
            pub async fn writable(&self) -> io::Result<()> {
                self.stream.writable().await
            }

            #[doc = concat!(" Sends FIN after what was written; see [`", stringify!($kind), "::shutdown`].")]
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
    ($kind:ident, $addr:ty; $($half:ty: $direction:expr;)*) => {$(
        impl $half {
            #[doc = concat!(" See [`", stringify!($kind), "::local_addr`].")]
            ///
            /// # Errors
            /// As there.
            pub fn local_addr(&self) -> io::Result<$addr> {
                self.stream.local_addr()
            }

            #[doc = concat!(" See [`", stringify!($kind), "::peer_addr`].")]
            ///
            /// # Errors
            /// As there.
            pub fn peer_addr(&self) -> io::Result<$addr> {
                self.stream.peer_addr()
            }

            fn give_up_place(&mut self) {
                self.stream.socket.forget($direction, &self.ticket);
            }
        }

        impl $crate::stream::End for $half {
            fn with<R>(&mut self, operation: impl FnOnce(&$crate::socket::Socket, &mut Ticket) -> R) -> R {
                operation(&self.stream.socket, &mut self.ticket)
            }
        }

        impl AsRef<$kind> for $half {
            fn as_ref(&self) -> &$kind {
                &self.stream
            }
        }
    )*};
}

pub(crate) use {either_half, halves, reading, writing};

//! The two halves of a stream, borrowed or owned.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use bourn_reactor::Ticket;

use crate::socket::{Place, Read, Socket, Write};
use crate::stream::{End, close};
use crate::tcp::TcpStream;
use crate::unix::UnixStream;

/// The types of the halves of `$kind`, whose ends have addresses of type `$addr`.
macro_rules! halves {
    ($kind:ident, $addr:ty) => {
        #[doc = concat!(" The half of a [`", stringify!($kind), "`] for reading, from [`split`](", stringify!($kind), "::split).")]
        #[derive(Debug)]
        pub struct ReadHalf<'a>(Place<&'a $kind, Read>);

        #[doc = concat!(" The half of a [`", stringify!($kind), "`] for writing, from [`split`](", stringify!($kind), "::split).")]
        #[derive(Debug)]
        pub struct WriteHalf<'a>(Place<&'a $kind, Write>);

        #[doc = concat!(" The half of a [`", stringify!($kind), "`] for reading, from")]
        #[doc = concat!(" [`into_split`](", stringify!($kind), "::into_split).")]
        ///
        /// Dropping it tells the peer nothing; the connection is closed with the second
        /// half that is dropped.
        #[derive(Debug)]
        pub struct OwnedReadHalf(Place<Arc<$kind>, Read>);

        #[doc = concat!(" The half of a [`", stringify!($kind), "`] for writing, from")]
        #[doc = concat!(" [`into_split`](", stringify!($kind), "::into_split).")]
        ///
        /// Dropping it closes this half (TCP sends FIN): the peer reads to the end. [`forget`](OwnedWriteHalf::forget)
        /// drops it without.
        #[derive(Debug)]
        pub struct OwnedWriteHalf(
            Place<Arc<$kind>, Write>,
            /// Whether it closes: no more once the stream is whole again, or the half forgotten.
            bool,
        );

        impl $kind {
            /// Lends out a half for reading and one for writing.
            pub fn split(&self) -> (ReadHalf<'_>, WriteHalf<'_>) {
                (ReadHalf(Place::new(self, Read)), WriteHalf(Place::new(self, Write)))
            }

            /// Takes the stream apart into a half for reading and one for writing, each
            /// for a task of its own.
            pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
                let stream = Arc::new(self);
                let read = Place::new(Arc::clone(&stream), Read);
                (OwnedReadHalf(read), OwnedWriteHalf(Place::new(stream, Write), true))
            }
        }

        as_the_stream!($kind: [ReadHalf<'_>, OwnedReadHalf] {
            async read[mut](buf: &mut [u8]) -> usize, " Nothing is lost.";
            async read_vectored[mut](bufs: &mut [IoSliceMut<'_>]) -> usize, " Nothing is lost.";
            async read_exact[mut](buf: &mut [u8]) -> (), " Not cancel safe: how much was read is not known.";
            async read_to_end[mut](buf: &mut Vec<u8>) -> usize, " Nothing is lost: what was read is in `buf`.";
            async peek[mut](buf: &mut [u8]) -> usize, " Nothing is lost.";
            async readable[]() -> (), " Nothing is lost.";
            async read_closed[]() -> (), " Nothing is lost.";
            fn try_read(buf: &mut [u8]) -> usize;
            fn try_read_vectored(bufs: &mut [IoSliceMut<'_>]) -> usize;
            fn local_addr() -> $addr;
            fn peer_addr() -> $addr;
        } {
            /// The `poll` form of [`peek`](Self::peek).
            ///
            /// # Errors
            #[doc = concat!(" As [`", stringify!($kind), "::peek`].")]
            pub fn poll_peek(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.0.with(|socket, ticket| socket.poll_peek(cx, ticket, buf))
            }
        });
        as_the_stream!($kind: [WriteHalf<'_>, OwnedWriteHalf] {
            async write[mut](buf: &[u8]) -> usize, " Nothing is lost.";
            async write_vectored[mut](bufs: &[IoSlice<'_>]) -> usize, " Nothing is lost.";
            async write_all[mut](buf: &[u8]) -> (), " Not cancel safe: how much was written is not known.";
            async write_all_vectored[mut](bufs: &mut [IoSlice<'_>]) -> (), " `bufs` tells what is still to be written.";
            async writable[]() -> (), " Nothing is lost.";
            fn try_write(buf: &[u8]) -> usize;
            fn try_write_vectored(bufs: &[IoSlice<'_>]) -> usize;
            fn local_addr() -> $addr;
            fn peer_addr() -> $addr;
        } {
            #[doc = concat!(" Sends FIN after what was written; see [`", stringify!($kind), "::shutdown`].")]
            ///
            /// # Errors
            /// [`NotConnected`](io::ErrorKind::NotConnected) when the connection is
            /// over.
            pub fn shutdown(&mut self) -> io::Result<()> {
                self.as_ref().shutdown(Shutdown::Write)
            }
        });

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
            /// Drops this half without sending FIN: the connection is closed with the
            /// other half.
            pub fn forget(mut self) {
                self.1 = false;
            }

            /// Puts the stream together again.
            ///
            /// # Errors
            /// Both halves, if they are of different streams.
            pub fn reunite(mut self, read: OwnedReadHalf) -> Result<$kind, ReuniteError> {
                let stream = Arc::clone(self.0.holder());
                if !Arc::ptr_eq(&stream, read.0.holder()) {
                    return Err(ReuniteError(read, self));
                }
                self.1 = false;
                drop((self, read));
                Ok(Arc::into_inner(stream).unwrap_or_else(|| unreachable!("only the two halves hold the stream")))
            }
        }

        impl Drop for OwnedWriteHalf {
            fn drop(&mut self) {
                if self.1 {
                    // Fails only when the connection is over, which is what was wanted.
                    close(&self.as_ref().socket).ok();
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
    };
}

/// What halves do as the stream does: waiting, alone (`mut`) or not (these with their
/// cancel safety), and without waiting; and what they do besides.
macro_rules! as_the_stream {
    ($kind:ident: [$($half:ty),*] $table:tt $more:tt) => {
        $(as_the_stream! { @of $kind $table $more ($half) })*
    };
    (@of $kind:ident {
        $(async $wait:ident[$($alone:ident)?]($($arg:ident: $of:ty)?) -> $done:ty, $safety:literal;)*
        $(fn $now:ident($($now_arg:ident: $now_of:ty)?) -> $answer:ty;)*
    } {$($more:item)*} ($half:ty)) => {
        impl $half {
            $(
                #[doc = concat!(" See [`", stringify!($kind), "::", stringify!($wait), "`].")]
                ///
                /// # Errors
                /// As there.
                ///
                /// # Cancel safety
                #[doc = $safety]
                pub async fn $wait(&$($alone)? self $(, $arg: $of)?) -> io::Result<$done> {
                    self.as_ref().$wait($($arg)?).await
                }
            )*
            $(
                #[doc = concat!(" See [`", stringify!($kind), "::", stringify!($now), "`].")]
                ///
                /// # Errors
                /// As there.
                pub fn $now(&self $(, $now_arg: $now_of)?) -> io::Result<$answer> {
                    self.as_ref().$now($($now_arg)?)
                }
            )*
            $($more)*
        }

        impl End for $half {
            fn with<R>(&mut self, operation: impl FnOnce(&Socket, &mut Ticket) -> R) -> R {
                self.0.with(operation)
            }
        }

        impl AsRef<$kind> for $half {
            fn as_ref(&self) -> &$kind {
                self.0.holder()
            }
        }
    };
}

/// The halves of TCP streams.
pub(crate) mod tcp {
    use super::*;

    halves!(TcpStream, SocketAddr);
}

/// The halves of Unix streams.
pub(crate) mod unix {
    use super::*;

    halves!(UnixStream, UnixAddr);
}

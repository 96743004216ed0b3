//! Descriptors that are passed to the peer, or come from it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use bourn_reactor::faults::Call;

use crate::socket::{Read, Write};
use crate::sys;
use crate::unix::{UnixDatagram, UnixStream};

macro_rules! descriptors {
    ($kind:ident, $send:expr, $receive:expr, $needs_a_byte:literal) => {
        /// Passing descriptors (`SCM_RIGHTS`, unix(7)). The peer gets duplicates. They
        /// travel beside bytes, and are closed if those are received by any other method.
        impl $kind {
            /// Sends bytes, and up to 253 descriptors beside the first of them; returns how
            /// many bytes were sent. All of `fds` have gone with them then, even if not all
            /// bytes have.
            ///
            /// # Errors
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more descriptors, or, on a
            /// stream, for some without a byte; `ETOOMANYREFS` if too many are on the way;
            /// otherwise as with `send` or `write`.
            ///
            /// # Cancel safety
            /// Nothing is sent unless the future completes.
            pub async fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
                if $needs_a_byte && buf.is_empty() {
                    return if fds.is_empty() { Ok(0) } else { Err(io::ErrorKind::InvalidInput.into()) };
                }
                self.socket.operate(Write, |fd| sys::send_with_fds(fd, $send, buf, fds)).await
            }

            /// Receives bytes, and the descriptors that came beside the first of them, which
            /// no child process inherits. Whoever does not want them drops them. The sender's
            /// own (`SO_PASSPIDFD`) is closed.
            ///
            /// # Errors
            /// An error of its own kind if there were descriptors for which this process has
            /// no room: those that came are closed, and the bytes are lost. Otherwise as with
            /// `recv` or `read`.
            ///
            /// # Cancel safety
            /// Nothing is lost: all are received only when the future completes.
            pub async fn recv_with_fds(&self, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
                if $needs_a_byte && buf.is_empty() {
                    return Ok((0, Vec::new()));
                }
                self.socket.operate(Read, |fd| sys::recv_with_fds(fd, $receive, buf)).await
            }
        }
    };
}

descriptors!(UnixStream, Call::Send, Call::Receive, true);
descriptors!(UnixDatagram, Call::SendDatagram, Call::ReceiveDatagram, false);

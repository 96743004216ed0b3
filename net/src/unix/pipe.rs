//! Pipes (pipe(7)): bytes in one direction, within one host.
//!
//! ```
//! # futures_lite::future::block_on(async {
//! use bourn_net::unix::pipe;
//!
//! let (sender, receiver) = pipe::pipe()?;
//! sender.write_all(b"hello").await?;
//! drop(sender);
//! let mut all = Vec::new();
//! receiver.read_to_end(&mut all).await?;
//! assert_eq!(all, b"hello");
//! # std::io::Result::Ok(()) }).unwrap();
//! ```

use std::io;

use crate::socket::Socket;
use crate::sys;

/// The end of a pipe that is read from. A FIFO in the file system, or the output of a
/// child process, becomes one by `try_from` its descriptor.
///
/// A pipe of packets (`O_DIRECT`, pipe(2)) gives one packet to a read, and loses what
/// does not fit: read those into 4,096 bytes.
///
/// The [rules of all sockets](crate#rules-of-all-sockets) hold.
#[derive(Debug)]
pub struct Receiver {
    pub(crate) socket: Socket,
}

/// The end of a pipe that is written to; see [`Receiver`]. The pipe ends when it is
/// dropped, not by `poll_close`.
///
/// A write of at most 4,096 bytes (`PIPE_BUF`) is made whole or not at all.
#[derive(Debug)]
pub struct Sender {
    pub(crate) socket: Socket,
}

/// A new pipe.
///
/// # Errors
/// What the kernel says (pipe2(2)): no descriptor is left.
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let (read, write) = sys::pipe()?;
    Ok((Sender { socket: Socket::of_pipe(write) }, Receiver { socket: Socket::of_pipe(read) }))
}

//! Copying in the kernel (splice(2), sendfile(2)), between concrete types: nothing
//! generic is ever spliced behind its caller's back.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use bourn_reactor::faults::Call;

use crate::socket::{Place, Read, Write};
use crate::stream::close;
use crate::sys::{self, Calls};
use crate::tcp::TcpStream;

/// What one splice(2) is asked for at most.
const MOST: usize = 1 << 20;

/// Copies what comes from each of two streams to the other, until both have ended, and
/// returns how much that was: from `one` to `other`, and back.
///
/// The end of one is passed on (FIN) when all that came before it was, while the other
/// direction goes on. The bytes pass through pipes of the kernel, two descriptors for
/// each direction, and are not copied to user space. Urgent data is lost.
///
/// # Errors
/// The first error of either stream; the other direction has stopped, too, then, and
/// what was on the way is lost. A read time-out of either stream is one as well: it ends
/// a long transfer in one direction when the other is silent.
///
/// # Cancel safety
/// Not cancel safe: what is in the pipes is lost.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::{TcpListener, TcpStream, copy_bidirectional};
///
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let backend = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (front, _) = listener.accept().await?;
/// let back = TcpStream::connect(backend.local_addr()?).await?;
/// # let (server, _) = backend.accept().await?;
/// # client.write_all(b"hello").await?;
/// # drop((client, server));
/// let (sent, received) = copy_bidirectional(&front, &back).await?;
/// # assert_eq!((sent, received), (5, 0));
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub async fn copy_bidirectional(one: &TcpStream, other: &TcpStream) -> io::Result<(u64, u64)> {
    let (mut there, mut back) = (OneWay::new(one, other)?, OneWay::new(other, one)?);
    poll_fn(|cx| {
        // Both are polled each time, or a wake-up of one would be lost on the other.
        let (there, back) = (there.poll(cx)?, back.poll(cx)?);
        Poll::Ready(Ok((ready!(there), ready!(back))))
    })
    .await
}

/// One direction. What is read goes into a pipe that is empty, and all of it out again
/// before more is read: so it is always the stream that has said `EAGAIN`.
struct OneWay<'a> {
    read: Place<&'a TcpStream, Read>,
    write: Place<&'a TcpStream, Write>,
    pipe: (OwnedFd, OwnedFd),
    in_pipe: usize,
    /// What could not be spliced, and how much of that was written.
    aside: ([u8; 64], usize, usize),
    copied: u64,
    ended: bool,
}

impl<'a> OneWay<'a> {
    fn new(from: &'a TcpStream, to: &'a TcpStream) -> io::Result<OneWay<'a>> {
        let (read, write) = (Place::new(from, Read), Place::new(to, Write));
        let pipe = sys::pipe()?;
        Ok(OneWay { read, write, pipe, in_pipe: 0, aside: ([0; 64], 0, 0), copied: 0, ended: false })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        while !self.ended {
            while self.in_pipe > 0 {
                let (bytes, pipe) = (self.in_pipe, self.pipe.0.as_fd());
                let moved = self.write.poll_io(cx, |fd| sys::splice(Call::Send, pipe, fd, bytes));
                let moved = ready!(moved)?;
                self.in_pipe -= moved;
                self.copied += moved as u64;
            }
            let (aside, length, written) = &mut self.aside;
            while written < length {
                let sent = ready!(self.write.with(|to, ticket| to.poll_send(cx, ticket, &aside[*written..*length])))?;
                *written += sent;
                self.copied += sent as u64;
            }
            let pipe = self.pipe.1.as_fd();
            (*length, *written) = (0, 0);
            self.in_pipe = ready!(self.read.poll_io(cx, |fd| match sys::splice(Call::Receive, fd, pipe, MOST) {
                Ok(moved) if moved > 0 => Ok(moved),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                // Nothing, the end, or the mark of urgent data, which only recv(2) gets past.
                _ => sys::recv(fd, Calls::Socket, aside).map(|received| {
                    *length = received;
                    0
                }),
            }))?;
            if self.in_pipe == 0 && *length == 0 {
                self.write.with(|to, _| close(to))?;
                self.ended = true;
            }
        }
        Poll::Ready(Ok(self.copied))
    }
}

impl TcpStream {
    /// Sends `file` from `*offset` on, which moves along, until `bytes` are sent or the
    /// file ends (sendfile(2)); returns how many were.
    ///
    /// The file's content does not pass through user space. What of it is not in memory
    /// yet is read from the disk meanwhile, which blocks the thread: no matter for small
    /// or much-used files.
    ///
    /// # Errors
    /// As [`write`](TcpStream::write), and what the kernel says to the file.
    ///
    /// # Cancel safety
    /// Nothing is lost: `*offset` says how far it came.
    pub async fn send_file(&self, file: impl AsFd, offset: &mut u64, bytes: u64) -> io::Result<u64> {
        let (file, mut left) = (file.as_fd(), bytes);
        while left > 0 {
            let asked = left.min(sys::MOST_BYTES as u64) as usize;
            let sent = self.socket.operate(Write, |fd| sys::send_file(fd, file, *offset, asked)).await?;
            if sent == 0 {
                break;
            }
            *offset += sent as u64;
            left -= sent as u64;
        }
        Ok(bytes - left)
    }
}

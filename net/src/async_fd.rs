//! Any descriptor that can be waited for.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bourn_reactor::{Interest, Kind, budget};

use crate::socket::Socket;
use crate::sys;

/// A descriptor of another kind than this crate knows, such as an eventfd, an inotify
/// or a terminal, that can be waited for.
///
/// Readiness is cleared by [`try_io`](AsyncFd::try_io) and
/// [`async_io`](AsyncFd::async_io) alone, when the operation that they run has said
/// `WouldBlock`: forgetting to do so, or doing it too early, is impossible.
///
/// The owner that is given keeps its descriptor; what is waited for is a duplicate of
/// it, which costs one descriptor more. `O_NONBLOCK` is set, for all who share the open
/// file (fcntl(2)), and stays.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::{AsyncFd, Interest};
/// use std::io::{Read, Write, pipe};
///
/// let (reader, mut writer) = pipe()?;
/// let reader = AsyncFd::new(reader)?;
/// writer.write_all(b"hello")?;
/// let mut buf = [0; 16];
/// let length = reader.async_io(Interest::READ, || reader.get_ref().read(&mut buf)).await?;
/// assert_eq!(&buf[..length], b"hello");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct AsyncFd<T> {
    pub(crate) socket: Socket,
    owner: T,
}

impl<T: AsFd> AsyncFd<T> {
    /// Takes `owner` over.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) for regular files and directories,
    /// which are always ready, whatever the disk does, and which epoll(7) refuses;
    /// [`offload`](crate::offload) is for them. Otherwise what the kernel says to
    /// duplicating the descriptor. Other files that can not be polled are refused only
    /// when they are first waited for (`EPERM`).
    pub fn new(owner: T) -> io::Result<AsyncFd<T>> {
        let file = File::from(owner.as_fd().try_clone_to_owned()?);
        let kind = file.metadata()?.file_type();
        if kind.is_file() || kind.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a regular file or a directory can not be waited for: run what blocks through `offload`",
            ));
        }
        let fd = OwnedFd::from(file);
        sys::option(&fd)?.set_nonblocking(true)?;
        Ok(AsyncFd { socket: Socket::new(fd, Kind::Other), owner })
    }
}

impl<T> AsyncFd<T> {
    /// Runs `operation`, which is to be non-blocking input or output on this
    /// descriptor, and again after each report of `interest` for as long as it says
    /// `WouldBlock`.
    ///
    /// # Errors
    /// Those of `operation`, and of [`ready`](AsyncFd::ready).
    ///
    /// # Cancel safety
    /// Nothing is lost: a run that has done something completes the future.
    pub async fn async_io<R>(&self, interest: Interest, mut operation: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        loop {
            poll_fn(budget::poll_left).await;
            match self.socket.try_io(interest, |_| operation()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => {
                    budget::spend();
                    return result;
                }
            }
            self.socket.ready(interest).await?;
        }
    }

    /// Who owns the descriptor.
    pub fn get_ref(&self) -> &T {
        &self.owner
    }

    /// Who owns the descriptor. To exchange it is useless: the old one is waited for.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.owner
    }

    /// Gives the owner back, and waits for its descriptor no more.
    pub fn into_inner(self) -> T {
        self.owner
    }
}

/// The duplicate that is waited for, which has a number of its own.
impl<T> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

//! Connections without the errors that a server has to survive.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bourn_reactor::{Direction, Sleep};

use crate::socket::{Place, Socket};
use crate::tcp::listener::accept;
use crate::tcp::{TcpListener, TcpStream};
use crate::vacancy::Watch;

/// How long to wait for a descriptor or memory that somebody else may give back.
const RETRY: Duration = Duration::from_millis(100);

/// The connections of a [`TcpListener`], one after the other; from
/// [`incoming`](TcpListener::incoming).
///
/// An error that concerns one connection is skipped: the peer has given up, the
/// network is gone (accept(2), which asks servers to do so). If there is no
/// descriptor or memory left, or a firewall said no, it waits until a socket of this
/// crate is closed, or 100 ms, and goes on. Any other error is returned; there is no end.
///
/// Several may exist for one listener, in several tasks.
#[derive(Debug)]
pub struct Incoming<'a> {
    place: Place<&'a Socket>,
    exhaustion: Option<Exhaustion>,
}

/// What to wait for when the process or the system has run out.
#[derive(Debug)]
struct Exhaustion {
    vacancy: Watch,
    retry: Sleep,
}

/// What an error of accept(2) means for a server, by [`of`](AcceptErrorKind::of).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptErrorKind {
    /// One connection is gone: the next may be well.
    Connection,
    /// A descriptor or memory has run out, for now, or a firewall said no (`EPERM`),
    /// perhaps to all: worth a pause.
    Exhausted,
    /// It will come again, whatever is done.
    Fatal,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(listener: &'a TcpListener) -> Incoming<'a> {
        Incoming { place: Place::new(&listener.socket, Direction::Read), exhaustion: None }
    }

    /// The next connection.
    ///
    /// # Errors
    /// Those of accept(2) that will come again, whatever is done.
    ///
    /// # Cancel safety
    /// No connection is lost: it is accepted only when the future completes.
    pub async fn next(&mut self) -> io::Result<TcpStream> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next connection, or wakes the task when there may be one.
    ///
    /// # Errors
    /// As [`next`](Incoming::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        // Nothing is accepted before the wait is over, or each wake-up for
        // another reason would cost a call that is known to fail.
        if let Some(exhaustion) = &mut self.exhaustion
            && exhaustion.poll_over(cx).is_pending()
        {
            return Poll::Pending;
        }
        loop {
            let error = match self.place.poll_io(cx, accept) {
                Poll::Pending => {
                    // Nobody waits for a descriptor any more.
                    self.exhaustion = None;
                    return Poll::Pending;
                }
                Poll::Ready(Ok((stream, _))) => {
                    self.exhaustion = None;
                    return Poll::Ready(Ok(stream));
                }
                Poll::Ready(Err(error)) => error,
            };
            match AcceptErrorKind::of(&error) {
                AcceptErrorKind::Connection => {}
                AcceptErrorKind::Exhausted => match &mut self.exhaustion {
                    // Tried once more, for the last vacancy may just have been
                    // before this watch for the next.
                    None => {
                        // Waiting takes a reactor, and to start the background
                        // one takes what has run out: a sleep could only panic.
                        if !bourn_reactor::can_wait() {
                            return Poll::Ready(Err(error));
                        }
                        self.exhaustion = Some(Exhaustion::new());
                    }
                    Some(exhaustion) => {
                        if exhaustion.poll_over(cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                },
                AcceptErrorKind::Fatal => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Exhaustion {
    fn new() -> Exhaustion {
        Exhaustion { vacancy: Watch::new(), retry: Sleep::after(RETRY) }
    }

    /// Ready when it is worth while to try again; the next wait is a new one.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let vacancy = self.vacancy.poll_vacancy(cx).is_ready();
        let retry = Pin::new(&mut self.retry).poll(cx).is_ready();
        if !vacancy && !retry {
            return Poll::Pending;
        }
        self.retry = Sleep::after(RETRY);
        Poll::Ready(())
    }
}

impl AcceptErrorKind {
    /// Sorts an error that accepting a connection returned.
    pub fn of(error: &io::Error) -> AcceptErrorKind {
        match error.raw_os_error() {
            Some(
                libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH,
            ) => AcceptErrorKind::Connection,
            Some(libc::ENONET) => AcceptErrorKind::Connection,
            // The last two are of one connection, or of all for as long as it may be.
            Some(
                libc::EMFILE
                | libc::ENFILE
                | libc::ENOBUFS
                | libc::ENOMEM
                | libc::ENOSPC
                | libc::EPERM
                | libc::EOPNOTSUPP,
            ) => AcceptErrorKind::Exhausted,
            _ => AcceptErrorKind::Fatal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_survives_what_is_not_its_listener_s_fault() {
        let meaning_of = |code| AcceptErrorKind::of(&io::Error::from_raw_os_error(code));
        assert!(matches!(meaning_of(libc::ECONNABORTED), AcceptErrorKind::Connection));
        assert!(matches!(meaning_of(libc::EMFILE), AcceptErrorKind::Exhausted));
        assert!(matches!(meaning_of(libc::EPERM), AcceptErrorKind::Exhausted), "or it would be asked for ever");
        assert!(matches!(meaning_of(libc::EBADF), AcceptErrorKind::Fatal));
        assert!(matches!(meaning_of(libc::EINVAL), AcceptErrorKind::Fatal));
    }
}

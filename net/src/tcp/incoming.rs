//! Connections without the errors that a server has to survive.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bourn_reactor::Sleep;
use libc::{ECONNABORTED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENONET, ENOPROTOOPT, EPROTO};
use libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC, EOPNOTSUPP, EPERM};

use crate::socket::{Place, Read, Socket};
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
    place: Place<&'a Socket, Read>,
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
        Incoming { place: Place::new(&listener.socket, Read), exhaustion: None }
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
        let mut wait = true;
        loop {
            // Nothing is accepted before the wait is over, or each wake-up for
            // another reason would cost a call that is known to fail.
            if wait && let Some(exhaustion) = &mut self.exhaustion {
                ready!(exhaustion.poll_over(cx));
            }
            let error = match self.place.poll_io(cx, accept) {
                Poll::Ready(Err(error)) => error,
                accepted => {
                    // Nobody waits for a descriptor any more.
                    self.exhaustion = None;
                    return accepted.map_ok(|(stream, _)| stream);
                }
            };
            match AcceptErrorKind::of(&error) {
                AcceptErrorKind::Connection => wait = false,
                // Waiting takes a reactor, and to start the background one takes what
                // has run out: a sleep could only panic.
                AcceptErrorKind::Exhausted if bourn_reactor::can_wait() => {
                    // First tried once more, for the last vacancy may just have been
                    // before this watch for the next.
                    wait = self.exhaustion.is_some();
                    let begin = || Exhaustion { vacancy: Watch::new(), retry: Sleep::after(RETRY) };
                    self.exhaustion.get_or_insert_with(begin);
                }
                _ => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl Exhaustion {
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
            Some(ECONNABORTED | ECONNRESET | EPROTO | ENOPROTOOPT) => AcceptErrorKind::Connection,
            Some(ENETDOWN | ENETUNREACH | EHOSTDOWN | EHOSTUNREACH | ENONET) => AcceptErrorKind::Connection,
            Some(EMFILE | ENFILE | ENOBUFS | ENOMEM | ENOSPC) => AcceptErrorKind::Exhausted,
            // Of one connection, or of all for as long as it may be.
            Some(EPERM | EOPNOTSUPP) => AcceptErrorKind::Exhausted,
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

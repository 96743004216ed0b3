//! The three servers. Each is the same three steps in a loop, receive, work, send;
//! only the waiting differs.

mod blocking;
mod bourn;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How many connections may wait to be accepted: the same for every server, and
/// enough for all clients at once. The kernel cuts it to `net.core.somaxconn`
/// (listen(2)).
pub const BACKLOG: u32 = 4096;

/// How long a connection that the server ends is read on, so that the client gets
/// to see the last answer.
///
/// Closing a socket with unread input sends a reset, and a reset makes the
/// client's kernel throw away what the client has not read yet (RFC 9112, 9.6). So
/// the server says that it is done, and waits for the client to go.
const LINGER: Duration = Duration::from_secs(1);

/// How a server waits for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Bourn,
    ThreadEach,
    OneAtATime,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Bourn, Kind::ThreadEach, Kind::OneAtATime];

    /// On the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Bourn => "bourn",
            Kind::ThreadEach => "thread-each",
            Kind::OneAtATime => "one-at-a-time",
        }
    }

    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// In the table.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Bourn => "bourn",
            Kind::ThreadEach => "thread each",
            Kind::OneAtATime => "one at a time",
        }
    }

    /// Serves clients at `addr` on this thread, forever. `announce` is told the
    /// address as soon as clients can connect to it.
    ///
    /// # Errors
    /// If it can not listen, or not accept any more.
    pub fn run(self, addr: SocketAddr, announce: impl FnOnce(SocketAddr) -> io::Result<()>) -> io::Result<Infallible> {
        match self {
            Kind::Bourn => bourn::run(addr, announce),
            Kind::ThreadEach => blocking::run_thread_each(addr, announce),
            Kind::OneAtATime => blocking::run_one_at_a_time(addr, announce),
        }
    }
}

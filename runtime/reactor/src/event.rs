//! What a wait reports, and what can be asked for.

use std::fmt;
use std::ops::BitOr;

/// One of the two ways that bytes flow through a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards us: reading, accepting.
    Read,
    /// Away from us: writing, connecting.
    Write,
}

/// What a descriptor is watched for; combined with `|`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Reading would not block (data, urgent data, a connection to accept, the
    /// end of the stream, an error).
    pub const READ: Interest = Interest(1);
    /// Writing would not block (room, a finished connect, an error).
    pub const WRITE: Interest = Interest(2);
    /// The peer has closed its half, even while data before that is unread.
    pub const CLOSED: Interest = Interest(4);
    /// All of them.
    pub const ALL: Interest = Interest(7);
    pub(crate) const NONE: Interest = Interest(0);

    /// Whether everything in `other` is in `self`.
    #[must_use]
    pub fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn without(self, other: Interest) -> Interest {
        Interest(self.0 & !other.0)
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl From<Direction> for Interest {
    fn from(direction: Direction) -> Interest {
        match direction {
            Direction::Read => Interest::READ,
            Direction::Write => Interest::WRITE,
        }
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Interest::READ, "READ"), (Interest::WRITE, "WRITE"), (Interest::CLOSED, "CLOSED")];
        held(formatter, names.map(|(bit, name)| (self.contains(bit), name)))
    }
}

/// What is known to be so of a descriptor, as one wait reported it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready(u8);

impl Ready {
    const READABLE: u8 = 1;
    const WRITABLE: u8 = 2;
    const READ_CLOSED: u8 = 4;
    const WRITE_CLOSED: u8 = 8;
    const ERROR: u8 = 16;
    const PRIORITY: u8 = 32;

    /// Translates the bits that `poll(2)` and `epoll(7)` share.
    pub(crate) fn from_poll(bits: libc::c_short) -> Ready {
        let ours = |of_kernel, ours| if bits & of_kernel != 0 { ours } else { 0 };
        Ready(
            ours(libc::POLLIN, Self::READABLE)
                | ours(libc::POLLPRI, Self::PRIORITY)
                | ours(libc::POLLOUT, Self::WRITABLE)
                | ours(libc::POLLRDHUP, Self::READ_CLOSED)
                | ours(libc::POLLHUP, Self::READ_CLOSED | Self::WRITE_CLOSED)
                | ours(libc::POLLERR, Self::ERROR),
        )
    }

    pub(crate) fn from_mio(event: &mio::event::Event) -> Ready {
        let ours = |holds, ours| if holds { ours } else { 0 };
        Ready(
            ours(event.is_readable(), Self::READABLE)
                | ours(event.is_priority(), Self::PRIORITY)
                | ours(event.is_writable(), Self::WRITABLE)
                | ours(event.is_read_closed(), Self::READ_CLOSED)
                | ours(event.is_write_closed(), Self::WRITE_CLOSED)
                | ours(event.is_error(), Self::ERROR),
        )
    }

    #[cfg(all(test, loom))]
    pub(crate) const fn model(readable: bool, writable: bool) -> Ready {
        Ready((readable as u8) | (writable as u8) << 1)
    }

    fn any(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// Reading would not block.
    #[must_use]
    pub fn is_readable(self) -> bool {
        self.any(Self::READABLE)
    }

    /// Writing would not block.
    #[must_use]
    pub fn is_writable(self) -> bool {
        self.any(Self::WRITABLE)
    }

    /// The peer has closed its half (`EPOLLRDHUP`) or both are closed
    /// (`EPOLLHUP`).
    #[must_use]
    pub fn is_read_closed(self) -> bool {
        self.any(Self::READ_CLOSED)
    }

    /// Nothing can be written any more (`EPOLLHUP`).
    #[must_use]
    pub fn is_write_closed(self) -> bool {
        self.any(Self::WRITE_CLOSED)
    }

    /// An error is pending (`EPOLLERR`): of the connection, or an entry in the
    /// error queue of a descriptor that lives on.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.any(Self::ERROR)
    }

    /// Urgent data or another exceptional condition (`EPOLLPRI`).
    #[must_use]
    pub fn is_priority(self) -> bool {
        self.any(Self::PRIORITY)
    }

    pub(crate) fn wakes_readers(self) -> bool {
        self.any(Self::READABLE | Self::PRIORITY) || self.closes_reading()
    }

    pub(crate) fn wakes_writers(self) -> bool {
        self.any(Self::WRITABLE) || self.closes_writing()
    }

    pub(crate) fn closes_reading(self) -> bool {
        self.any(Self::READ_CLOSED | Self::ERROR)
    }

    pub(crate) fn closes_writing(self) -> bool {
        self.any(Self::WRITE_CLOSED | Self::ERROR)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (self.is_readable(), "readable"),
            (self.is_writable(), "writable"),
            (self.is_read_closed(), "read_closed"),
            (self.is_write_closed(), "write_closed"),
            (self.is_error(), "error"),
            (self.is_priority(), "priority"),
        ];
        held(formatter, names)
    }
}

/// Lists the names of what holds.
fn held<const N: usize>(formatter: &mut fmt::Formatter<'_>, names: [(bool, &str); N]) -> fmt::Result {
    formatter.debug_set().entries(names.iter().filter(|(holds, _)| *holds).map(|(_, name)| name)).finish()
}

/// One descriptor's answer from a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number under which the descriptor was added.
    pub key: u64,
    /// What was reported of it.
    pub ready: Ready,
}

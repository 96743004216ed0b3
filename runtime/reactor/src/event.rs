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
        // READ or WRITE.
        Interest(1 << direction as u8)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        held(formatter, self.0, ["READ", "WRITE", "CLOSED"])
    }
}

/// What is known to be so of a descriptor, as one wait reported it.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready(u8);

/// The flags of [`Ready`] and who asks for them.
macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident: $flag:ident = $bit:literal;)*) => {
        impl Ready {
            $(const $flag: u8 = 1 << $bit;)*

            $($(#[$doc])*
            #[must_use]
            pub fn $name(self) -> bool {
                self.any(Self::$flag)
            })*
        }
    };
}

// The first five are poll's, so that nothing has to be translated.
flags! {
    /// Reading would not block.
    is_readable: READABLE = 0;
    /// Urgent data or another exceptional condition (`EPOLLPRI`).
    is_priority: PRIORITY = 1;
    /// Writing would not block.
    is_writable: WRITABLE = 2;
    /// An error is pending (`EPOLLERR`): of the connection, or an entry in the
    /// error queue of a descriptor that lives on.
    is_error: ERROR = 3;
    /// Nothing can be written any more (`EPOLLHUP`).
    is_write_closed: WRITE_CLOSED = 4;
    /// The peer has closed its half (`EPOLLRDHUP`) or both are closed
    /// (`EPOLLHUP`).
    is_read_closed: READ_CLOSED = 5;
}

const POLLS: libc::c_short = libc::POLLIN | libc::POLLPRI | libc::POLLOUT | libc::POLLERR | libc::POLLHUP;

impl Ready {
    /// Translates the bits that `poll(2)` and `epoll(7)` share.
    pub(crate) fn from_poll(bits: libc::c_short) -> Ready {
        let closed = if bits & (libc::POLLRDHUP | libc::POLLHUP) == 0 { 0 } else { Self::READ_CLOSED };
        Ready((bits & POLLS) as u8 | closed)
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
        Ready((readable as u8) | (writable as u8) << 2)
    }

    fn any(self, bits: u8) -> bool {
        self.0 & bits != 0
    }

    /// Whether there is nothing about an end, an error or urgent data, as nearly always.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        !self.any(!(Self::READABLE | Self::WRITABLE))
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
        held(formatter, self.0, ["readable", "priority", "writable", "error", "write_closed", "read_closed"])
    }
}

/// Lists the names of the bits that are set, the lowest first.
fn held<const N: usize>(formatter: &mut fmt::Formatter<'_>, bits: u8, names: [&str; N]) -> fmt::Result {
    formatter.debug_set().entries((0..N).filter(|bit| bits >> bit & 1 != 0).map(|bit| names[bit])).finish()
}

/// One descriptor's answer from a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number under which the descriptor was added.
    pub key: u64,
    /// What was reported of it.
    pub ready: Ready,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bits_are_those_of_poll() {
        let bits = [libc::POLLIN, libc::POLLPRI, libc::POLLOUT, libc::POLLERR, libc::POLLHUP, libc::POLLRDHUP];
        let names = ["readable", "priority", "writable", "error", "write_closed, read_closed", "read_closed"];
        for (bit, name) in bits.into_iter().zip(names) {
            let ready = format!("{:?}", Ready::from_poll(bit)).replace('"', "");
            assert_eq!(ready, format!("{{{name}}}"));
        }
    }
}

//! One kernel call to wait for many descriptors: the contract that every
//! backend keeps, and the choice between them.
//!
//! A backend comes in two parts. Its [`Registry`] takes changes from any thread
//! at any time, also while a wait is under way; its [`Selector`] waits, and
//! belongs to whoever holds the turn lock.
//!
//! # What a backend owes
//!
//! * After [`add`](Registry::add), whatever is pending already is reported, also
//!   into a wait that is under way.
//! * After an operation on one direction has said `WouldBlock` and
//!   [`rearm`](Registry::rearm) was called for it, that direction is reported at
//!   least once when it becomes ready again. Before that a repeat may come but
//!   is never owed: the edge-triggered backends (`epoll`, and `mio` where it is)
//!   report changes and need no `rearm`; the level-triggered ones (`poll`,
//!   `select`) stop watching what they have reported until they are told.
//! * Events may be spurious, and may carry the key of a descriptor that has
//!   just been removed.
//! * A descriptor that goes bad (closed behind our back) fails no wait for the
//!   others.
//! * A wait that is interrupted says so; who waits keeps the deadline.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::Backend;
use crate::event::{Event, Interest};

mod epoll;
mod level;
mod mio;
#[cfg(loom)]
pub(crate) mod model;
mod poll;
mod select;

/// How many events one wait takes from the kernel at most.
const BATCH: usize = 256;

/// The half of a backend that takes changes from any thread.
pub(crate) enum Registry {
    Epoll(epoll::Registry),
    Level(level::Registry),
    Mio(mio::Registry),
    #[cfg(loom)]
    Model(model::Registry),
}

/// The half of a backend that waits.
pub(crate) enum Selector {
    Epoll(epoll::Selector),
    Level(level::Selector),
    Mio(mio::Selector),
    #[cfg(loom)]
    Model(model::Selector),
}

/// Makes both halves of `backend`.
#[cfg(not(loom))]
pub(crate) fn open(backend: Backend) -> io::Result<(Registry, Selector)> {
    match backend {
        Backend::Epoll => epoll::open().map(|(takes, waits)| (Registry::Epoll(takes), Selector::Epoll(waits))),
        Backend::Poll | Backend::Select => {
            level::open(backend).map(|(takes, waits)| (Registry::Level(takes), Selector::Level(waits)))
        }
        Backend::Mio => mio::open().map(|(takes, waits)| (Registry::Mio(takes), Selector::Mio(waits))),
    }
}

#[cfg(loom)]
pub(crate) fn open(backend: Backend) -> io::Result<(Registry, Selector)> {
    let (registry, selector) = model::open(backend);
    Ok((Registry::Model(registry), Selector::Model(selector)))
}

/// Calls the same method of whichever backend there is.
macro_rules! each {
    ($kind:ident, $this:expr, $backend:ident => $call:expr) => {
        match $this {
            $kind::Epoll($backend) => $call,
            $kind::Level($backend) => $call,
            $kind::Mio($backend) => $call,
            #[cfg(loom)]
            $kind::Model($backend) => $call,
        }
    };
}

impl Registry {
    /// Watches `fd` for everything, and reports it as `key`.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        each!(Registry, self, backend => backend.add(fd, key))
    }

    /// Stops watching `fd`. A level-triggered wait that is under way keeps the
    /// kernel's hold on the descriptor until [`notify`](Self::notify) ends it.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        each!(Registry, self, backend => backend.remove(fd, key))
    }

    /// Watches again for what a level-triggered backend has stopped watching.
    pub(crate) fn rearm(&self, key: u64, interest: Interest) {
        match self {
            Registry::Level(backend) => backend.rearm(key, interest),
            #[cfg(loom)]
            Registry::Model(backend) => backend.rearm(key, interest),
            _ => {}
        }
    }

    /// Ends the wait that is under way, or else the next one.
    pub(crate) fn notify(&self) -> io::Result<()> {
        each!(Registry, self, backend => backend.notify())
    }
}

impl Selector {
    /// Waits until something is ready, a notification comes or `timeout` is
    /// over (`None`: for ever), and appends what was reported.
    pub(crate) fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        each!(Selector, self, backend => backend.wait(events, timeout))
    }
}

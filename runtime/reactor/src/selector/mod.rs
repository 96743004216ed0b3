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

#[cfg(all(target_os = "linux", not(loom)))]
mod epoll;
#[cfg(not(loom))]
mod level;
#[cfg(not(loom))]
mod mio;
#[cfg(loom)]
pub(crate) mod model;
#[cfg(not(loom))]
mod poll;
#[cfg(not(loom))]
mod select;

/// How many events one wait takes from the kernel at most.
#[cfg(not(loom))]
const BATCH: usize = 256;

/// The half of a backend that takes changes from any thread.
#[derive(Debug)]
pub(crate) enum Registry {
    #[cfg(all(target_os = "linux", not(loom)))]
    Epoll(epoll::Registry),
    #[cfg(not(loom))]
    Poll(level::Registry),
    #[cfg(not(loom))]
    Select(level::Registry),
    #[cfg(not(loom))]
    Mio(mio::Registry),
    #[cfg(loom)]
    Model(model::Registry),
}

/// The half of a backend that waits.
#[derive(Debug)]
pub(crate) enum Selector {
    #[cfg(all(target_os = "linux", not(loom)))]
    Epoll(epoll::Selector),
    #[cfg(not(loom))]
    Poll(poll::Selector),
    #[cfg(not(loom))]
    Select(select::Selector),
    #[cfg(not(loom))]
    Mio(mio::Selector),
    #[cfg(loom)]
    Model(model::Selector),
}

/// Makes both halves of `backend`.
#[cfg(not(loom))]
pub(crate) fn open(backend: Backend) -> io::Result<(Registry, Selector)> {
    Ok(match backend {
        #[cfg(target_os = "linux")]
        Backend::Epoll => {
            let (registry, selector) = epoll::open()?;
            (Registry::Epoll(registry), Selector::Epoll(selector))
        }
        #[cfg(not(target_os = "linux"))]
        Backend::Epoll => {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "the epoll backend exists on Linux only"));
        }
        Backend::Poll => {
            let (registry, selector) = poll::open()?;
            (Registry::Poll(registry), Selector::Poll(selector))
        }
        Backend::Select => {
            let (registry, selector) = select::open()?;
            (Registry::Select(registry), Selector::Select(selector))
        }
        Backend::Mio => {
            let (registry, selector) = mio::open()?;
            (Registry::Mio(registry), Selector::Mio(selector))
        }
    })
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
            #[cfg(all(target_os = "linux", not(loom)))]
            $kind::Epoll($backend) => $call,
            #[cfg(not(loom))]
            $kind::Poll($backend) => $call,
            #[cfg(not(loom))]
            $kind::Select($backend) => $call,
            #[cfg(not(loom))]
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
        each!(Registry, self, backend => backend.rearm(key, interest));
    }

    /// Whether readiness is reported when it changes (and
    /// [`rearm`](Self::rearm) is not needed), not as long as it lasts.
    pub(crate) fn is_edge_triggered(&self) -> bool {
        each!(Registry, self, backend => backend.is_edge_triggered())
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

//! `epoll(7)`, edge-triggered: each descriptor is added once, for both
//! directions, and never modified.
//!
//! The notifier is an eventfd that is never read: with `EPOLLET` every write is
//! a new edge, so a notification costs one system call and none to clear it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, Ready};
use crate::selector::BATCH;
use crate::sys;

/// The key of the notifier; no descriptor of a user has it, see
/// [`Poller::add`](crate::Poller::add).
const NOTIFIER: u64 = u64::MAX;

const EVERYTHING: libc::c_int = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLET;

pub(super) fn open() -> io::Result<(Registry, Selector)> {
    let epoll = Arc::new(sys::epoll_create()?);
    let notifier = sys::eventfd()?;
    sys::epoll_add(epoll.as_fd(), notifier.as_fd(), libc::EPOLLIN | libc::EPOLLET, NOTIFIER)?;
    let selector = Selector { epoll: Arc::clone(&epoll), buffer: vec![libc::epoll_event { events: 0, u64: 0 }; BATCH] };
    Ok((Registry { epoll, notifier }, selector))
}

pub(crate) struct Registry {
    epoll: Arc<OwnedFd>,
    notifier: File,
}

impl Registry {
    pub(super) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        sys::epoll_add(self.epoll.as_fd(), fd, EVERYTHING, key)
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>, _key: u64) -> io::Result<()> {
        sys::epoll_delete(self.epoll.as_fd(), fd)
    }

    pub(super) fn notify(&self) -> io::Result<()> {
        loop {
            match sys::uninterrupted(|| sys::eventfd_add(&self.notifier)) {
                // The counter is full after 2^64 - 2 writes (eventfd(2)): only
                // then is it read, and the write repeated to make an edge.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match sys::eventfd_reset(&self.notifier) {
                    // Another thread, which found it full too, was faster.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    reset => reset?,
                },
                written => return written,
            }
        }
    }
}

pub(crate) struct Selector {
    epoll: Arc<OwnedFd>,
    buffer: Vec<libc::epoll_event>,
}

impl Selector {
    pub(super) fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let stored = sys::epoll_wait(self.epoll.as_fd(), &mut self.buffer, timeout)?;
        for event in &self.buffer[..stored] {
            let key = event.u64;
            if key != NOTIFIER {
                // The bits of interest are poll's and lie within 16 bits.
                let ready = Ready::from_poll(event.events as libc::c_short);
                events.push(Event { key, ready });
            }
        }
        Ok(())
    }
}

//! Whatever the crate `mio` uses: the backend of the systems for which we have
//! none of our own, and a fourth one on Linux, so that it is tested.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Token, Waker};

use crate::event::{Event, Ready};
use crate::faults::{Call, told};
use crate::selector::BATCH;

/// The key of mio's own notifier.
const NOTIFIER: Token = Token(usize::MAX);

// Keys are 64 bits wide and travel through `Token`.
const _: () = assert!(size_of::<usize>() == 8, "the mio backend needs a 64-bit system");

pub(super) fn open() -> io::Result<(Registry, Selector)> {
    told(Call::Open, -1, 0)?;
    let poll = mio::Poll::new()?;
    let waker = Waker::new(poll.registry(), NOTIFIER)?;
    let registry = Registry { registry: poll.registry().try_clone()?, waker };
    let selector = Selector { poll, buffer: mio::Events::with_capacity(BATCH) };
    Ok((registry, selector))
}

pub(crate) struct Registry {
    registry: mio::Registry,
    waker: Waker,
}

impl Registry {
    pub(super) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        told(Call::Add, fd.as_raw_fd(), 0)?;
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE | mio::Interest::PRIORITY;
        self.registry.register(&mut SourceFd(&fd.as_raw_fd()), Token(key as usize), interest)
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>, _key: u64) -> io::Result<()> {
        self.registry.deregister(&mut SourceFd(&fd.as_raw_fd()))
    }

    pub(super) fn notify(&self) -> io::Result<()> {
        self.waker.wake()
    }
}

pub(crate) struct Selector {
    poll: mio::Poll,
    buffer: mio::Events,
}

impl Selector {
    pub(super) fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        // Of no descriptor, as in `sys`.
        told(Call::Wait, -1, 0)?;
        self.poll.poll(&mut self.buffer, timeout)?;
        for event in &self.buffer {
            if event.token() != NOTIFIER {
                let ready = Ready::from_mio(event);
                events.push(Event { key: event.token().0 as u64, ready });
            }
        }
        Ok(())
    }
}

//! A kernel for the loom models: the shipped reactor runs on it unchanged.
//!
//! It keeps the contract of an edge-triggered backend: what was pending at ADD
//! is reported, later edges when they are raised. Descriptors are told apart by
//! number only; nothing is read or written.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::event::{Event, Interest, Ready};
use crate::sync::Mutex;

#[derive(Default)]
struct Kernel {
    added: Vec<(RawFd, u64)>,
    pending: Vec<(RawFd, Ready)>,
    reports: Vec<Event>,
    adds: usize,
}

pub(crate) struct Registry(Arc<Mutex<Kernel>>);

pub(crate) struct Selector(Arc<Mutex<Kernel>>);

pub(super) fn open() -> (Registry, Selector) {
    let kernel = Arc::new(Mutex::new(Kernel::default()));
    (Registry(kernel.clone()), Selector(kernel))
}

impl Registry {
    pub(super) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let mut kernel = self.0.lock();
        let fd = fd.as_raw_fd();
        if kernel.added.iter().any(|(known, _)| *known == fd) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        kernel.added.push((fd, key));
        kernel.adds += 1;
        let pending: Vec<_> = kernel.pending.iter().filter(|(of, _)| *of == fd).copied().collect();
        for (_, ready) in pending {
            kernel.reports.push(Event { key, ready });
        }
        Ok(())
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        self.0.lock().added.retain(|entry| *entry != (fd, key));
        Ok(())
    }

    pub(super) fn rearm(&self, _key: u64, _interest: Interest) {}

    pub(super) fn is_edge_triggered(&self) -> bool {
        true
    }

    pub(super) fn notify(&self) -> io::Result<()> {
        Ok(())
    }

    /// Something happens at `fd`: an edge for whoever watches it, and pending for
    /// whoever adds it later.
    pub(crate) fn raise(&self, fd: RawFd, ready: Ready) {
        let mut kernel = self.0.lock();
        kernel.pending.push((fd, ready));
        let keys: Vec<_> = kernel.added.iter().filter(|(of, _)| *of == fd).map(|(_, key)| *key).collect();
        for key in keys {
            kernel.reports.push(Event { key, ready });
        }
    }

    /// How often a descriptor was added.
    pub(crate) fn adds(&self) -> usize {
        self.0.lock().adds
    }

    /// How many descriptors are watched now.
    pub(crate) fn watched(&self) -> usize {
        self.0.lock().added.len()
    }
}

impl Selector {
    pub(super) fn wait(&mut self, events: &mut Vec<Event>, _timeout: Option<Duration>) -> io::Result<()> {
        events.append(&mut self.0.lock().reports);
        Ok(())
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Registry")
    }
}

impl std::fmt::Debug for Selector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Selector")
    }
}

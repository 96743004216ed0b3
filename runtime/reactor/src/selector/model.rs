//! A kernel for the loom models: the shipped reactor runs on it unchanged.
//!
//! It keeps the contract of an edge-triggered backend (what is pending at ADD is
//! reported, later edges when they are raised), or, as [`Backend::Poll`], that of
//! a level-triggered one (a report ends the watch until `rearm`). A wait without
//! a time-out really blocks, so a notification that gets lost is a deadlock,
//! which loom finds; one with a time-out is over at once. Descriptors are told
//! apart by number; nothing is read or written.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use crate::Backend;
use crate::event::{Event, Interest, Ready};

pub(super) fn open(backend: Backend) -> (Registry, Selector) {
    let kernel = Arc::new(Kernel {
        is_level: backend == Backend::Poll,
        state: Mutex::new(State::default()),
        changed: Condvar::new(),
    });
    (Registry(Arc::clone(&kernel)), Selector(kernel))
}

struct Kernel {
    is_level: bool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    watches: Vec<Watch>,
    /// What is so of a descriptor until [`Registry::take`].
    pending: Vec<(RawFd, Ready)>,
    /// Edges that no wait has taken yet.
    reports: Vec<Event>,
    rung: bool,
    adds: usize,
}

struct Watch {
    fd: RawFd,
    key: u64,
    interest: Interest,
}

impl Kernel {
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        result
    }
}

pub(crate) struct Registry(Arc<Kernel>);

impl Registry {
    pub(super) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        self.0.change(|state| {
            state.adds += 1;
            if state.watches.iter().any(|watch| watch.fd == fd) {
                return Err(io::Error::from_raw_os_error(libc::EEXIST));
            }
            state.watches.push(Watch { fd, key, interest: Interest::ALL });
            if !self.0.is_level {
                let pending = state.pending.iter().filter(|(of, _)| *of == fd);
                state.reports.extend(pending.map(|(_, ready)| Event { key, ready: *ready }));
            }
            Ok(())
        })
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        self.0.change(|state| state.watches.retain(|watch| (watch.fd, watch.key) != (fd, key)));
        Ok(())
    }

    pub(super) fn rearm(&self, key: u64, interest: Interest) {
        self.0.change(|state| {
            for watch in state.watches.iter_mut().filter(|watch| watch.key == key) {
                watch.interest = watch.interest | interest;
            }
        });
    }

    pub(super) fn notify(&self) -> io::Result<()> {
        self.0.change(|state| state.rung = true);
        Ok(())
    }

    /// Something happens at `fd`, and lasts until it is taken.
    pub(crate) fn raise(&self, fd: RawFd, ready: Ready) {
        self.0.change(|state| {
            state.pending.push((fd, ready));
            if !self.0.is_level {
                let keys = state.watches.iter().filter(|watch| watch.fd == fd).map(|watch| watch.key);
                state.reports.extend(keys.map(|key| Event { key, ready }));
            }
        });
    }

    /// An operation on `fd`: false is `WouldBlock`.
    pub(crate) fn take(&self, fd: RawFd) -> bool {
        self.0.change(|state| {
            let before = state.pending.len();
            state.pending.retain(|(of, _)| *of != fd);
            state.pending.len() < before
        })
    }

    /// How often a descriptor was to be added, with the refusals.
    pub(crate) fn adds(&self) -> usize {
        self.0.change(|state| state.adds)
    }

    /// How many descriptors are watched now.
    pub(crate) fn watched(&self) -> usize {
        self.0.change(|state| state.watches.len())
    }
}

pub(crate) struct Selector(Arc<Kernel>);

impl Selector {
    pub(super) fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let before = events.len();
        let mut state = self.0.state.lock().unwrap();
        loop {
            events.append(&mut state.reports);
            if self.0.is_level {
                state.look(events);
            }
            if events.len() > before || std::mem::take(&mut state.rung) || timeout.is_some() {
                return Ok(());
            }
            state = self.0.changed.wait(state).unwrap();
        }
    }
}

impl State {
    /// What a level-triggered wait finds; it ends the watch for that.
    fn look(&mut self, events: &mut Vec<Event>) {
        for watch in &mut self.watches {
            for &(_, ready) in self.pending.iter().filter(|(of, _)| *of == watch.fd) {
                let reads = ready.wakes_readers() && watch.interest.contains(Interest::READ);
                let writes = ready.wakes_writers() && watch.interest.contains(Interest::WRITE);
                if reads || writes {
                    watch.interest = Interest::NONE;
                    events.push(Event { key: watch.key, ready });
                }
            }
        }
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

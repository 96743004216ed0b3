//! What `poll(2)` and `select(2)` share: the kernel keeps no list for them, so
//! we do.
//!
//! Other threads post changes into a mailbox, which the waiting thread empties
//! before each kernel call; no lock is held while that call blocks. Both calls
//! are level-triggered, so a report ends the watch for what it reported, until
//! `rearm` asks for it again: otherwise unread data would end every wait at
//! once. Urgent data counts as reading for the same reason.
//!
//! Errors and hang-ups can not be masked (`poll(2)`), so a descriptor that has
//! one leaves the list altogether. Almost always the next operation ends the
//! connection. Where the descriptor lives on (a filled error queue while the
//! send buffer is full, a FIFO between two writers), asking for it again brings
//! it back after a pause of 1 ms, doubling to 50 ms, and not at once, for that
//! would spin.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Backend;
use crate::clock;
use crate::event::{Event, Interest, Ready};
use crate::selector::poll::{self, List};
use crate::selector::select;
use crate::sync::Mutex;
use crate::sys::{self, DescriptorSet};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
pub(super) const LAST_PAUSE: Duration = Duration::from_millis(50);

enum Change {
    Add { key: u64, fd: RawFd },
    Remove { key: u64 },
    Rearm { key: u64, interest: Interest },
}

/// The posting side: takes changes from any thread.
pub(crate) struct Registry {
    mailbox: Arc<Mutex<Vec<Change>>>,
    /// Rings the bell that ends a wait.
    rope: UnixStream,
    backend: Backend,
}

/// The waiting side: every watched descriptor and what it is watched for.
pub(super) struct Watches {
    mailbox: Arc<Mutex<Vec<Change>>>,
    mail: Vec<Change>,
    bell: UnixStream,
    by_key: HashMap<u64, Watch>,
}

/// The waiting half of either backend.
pub(crate) struct Selector {
    backend: Backend,
    watches: Watches,
    list: List,
}

impl Selector {
    pub(super) fn wait(&mut self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        self.watches.collect();
        self.list.clear();
        let wait = if self.backend == Backend::Select { select::wait } else { poll::wait };
        wait(&mut self.watches, &mut self.list, timeout)?;
        poll::report(&mut self.watches, &mut self.list, events)
    }
}

/// One watched descriptor.
struct Watch {
    fd: RawFd,
    interest: Interest,
    /// How long it last stayed out because of an error that it lives with.
    pause: Duration,
    /// Out of the list until then.
    resume: Option<Instant>,
}

pub(super) fn open(backend: Backend) -> io::Result<(Registry, Selector)> {
    let (bell, rope) = sys::bell()?;
    admit(backend, bell.as_fd())?;
    let mailbox = Arc::new(Mutex::new(Vec::new()));
    let registry = Registry { mailbox: Arc::clone(&mailbox), rope, backend };
    let watches = Watches { mailbox, mail: Vec::new(), bell, by_key: HashMap::new() };
    Ok((registry, Selector { backend, watches, list: List::default() }))
}

/// Refuses what a `select` set can not hold; letting it in would write past the
/// set's end.
fn admit(backend: Backend, fd: BorrowedFd<'_>) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    if backend != Backend::Select || DescriptorSet::admits(fd) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!(
            "select(2) can not watch descriptor {fd}: it takes those below {} (FD_SETSIZE); \
             use the backend poll or epoll",
            libc::FD_SETSIZE
        ),
    ))
}

impl Registry {
    pub(super) fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        admit(self.backend, fd)?;
        self.mailbox.lock().push(Change::Add { key, fd: fd.as_raw_fd() });
        Ok(())
    }

    pub(super) fn remove(&self, _fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        self.mailbox.lock().push(Change::Remove { key });
        Ok(())
    }

    pub(super) fn rearm(&self, key: u64, interest: Interest) {
        self.mailbox.lock().push(Change::Rearm { key, interest });
    }

    pub(super) fn notify(&self) -> io::Result<()> {
        match sys::uninterrupted(|| sys::ring(&self.rope)) {
            // Full: it is ringing already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            rung => rung,
        }
    }
}

impl Watches {
    pub(super) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Takes the rings out of the bell, so that the next wait can sleep: mostly one, and
    /// what is beyond 64 ends the next wait.
    pub(super) fn silence(&mut self) -> io::Result<()> {
        match sys::uninterrupted(|| self.bell.read(&mut [0; 64])) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Applies what has been posted, in the order of posting.
    pub(super) fn collect(&mut self) {
        std::mem::swap(&mut *self.mailbox.lock(), &mut self.mail);
        for change in self.mail.drain(..) {
            match change {
                Change::Add { key, fd } => {
                    let watch = Watch { fd, interest: Interest::ALL, pause: Duration::ZERO, resume: None };
                    self.by_key.insert(key, watch);
                }
                Change::Remove { key } => drop(self.by_key.remove(&key)),
                // A descriptor that was removed meanwhile needs no watch.
                Change::Rearm { key, interest } => {
                    if let Some(watch) = self.by_key.get_mut(&key) {
                        watch.rearm(interest);
                    }
                }
            }
        }
    }

    /// Calls `visit` with the key, descriptor and interest of everything to be
    /// watched now, and returns how long until something paused comes back.
    pub(super) fn visit(&mut self, mut visit: impl FnMut(u64, RawFd, Interest)) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        let mut now = None;
        for (&key, watch) in &mut self.by_key {
            if watch.interest == Interest::NONE {
                continue;
            }
            if let Some(resume) = watch.resume {
                let left = resume.saturating_duration_since(*now.get_or_insert_with(clock::now));
                if !left.is_zero() {
                    next = Some(next.map_or(left, |next| next.min(left)));
                    continue;
                }
                watch.resume = None;
            }
            visit(key, watch.fd, watch.interest);
        }
        next
    }

    /// Turns the kernel's answer for `key` into an event, and ends the watch for
    /// what it reports. `None` if there is nothing to report.
    pub(super) fn report(&mut self, key: u64, bits: libc::c_short) -> Option<Event> {
        let watch = self.by_key.get_mut(&key)?;
        let ready = Ready::from_poll(bits);
        let lasting = bits & (libc::POLLERR | libc::POLLHUP) != 0;
        if lasting {
            watch.interest = Interest::NONE;
        } else if ready.wakes_readers() {
            watch.interest = watch.interest.without(Interest::READ | Interest::CLOSED);
        }
        if ready.wakes_writers() {
            watch.interest = watch.interest.without(Interest::WRITE);
        }
        if !lasting || ready.is_readable() || ready.is_writable() {
            watch.pause = Duration::ZERO;
        } else {
            watch.pause = (watch.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        }
        (ready != Ready::default()).then_some(Event { key, ready })
    }

    /// Whether `key` still stands for `fd`.
    pub(super) fn holds(&self, key: u64, fd: RawFd) -> bool {
        self.by_key.get(&key).is_some_and(|watch| watch.fd == fd)
    }

    /// Removes a descriptor that is none any more, and reports it as ready for
    /// everything, so that the next operation on it finds the kernel's error.
    pub(super) fn expel(&mut self, key: u64) -> Event {
        self.by_key.remove(&key);
        let bits = libc::POLLERR | libc::POLLIN | libc::POLLOUT;
        Event { key, ready: Ready::from_poll(bits) }
    }
}

impl Watch {
    fn rearm(&mut self, interest: Interest) {
        if self.interest == Interest::NONE && !self.pause.is_zero() && self.resume.is_none() {
            self.resume = Some(clock::now() + self.pause);
        }
        self.interest = self.interest | interest;
    }
}

/// What to ask `poll(2)` for.
pub(super) fn poll_bits(interest: Interest) -> libc::c_short {
    let bits = |asked, bits| if interest.contains(asked) { bits } else { 0 };
    bits(Interest::READ, libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP)
        | bits(Interest::CLOSED, libc::POLLRDHUP)
        | bits(Interest::WRITE, libc::POLLOUT)
}

//! `poll(2)`: every wait hands the whole list to the kernel.

use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use crate::event::Event;
use crate::selector::level::{self, Watches};
use crate::sys;

/// The key of the bell in the list.
pub(super) const BELL: u64 = u64::MAX;

/// Waits, with the answers in `list`, which is empty before.
pub(super) fn wait(watches: &mut Watches, list: &mut List, timeout: Option<Duration>) -> io::Result<()> {
    list.push(BELL, watches.bell(), libc::POLLIN);
    let resume = watches.visit(|key, fd, interest| list.push(key, fd, level::poll_bits(interest)));
    list.poll([timeout, resume].into_iter().flatten().min())
}

/// The argument of `poll(2)`, with the keys beside it.
#[derive(Default)]
pub(super) struct List {
    keys: Vec<u64>,
    entries: Vec<libc::pollfd>,
}

impl List {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.entries.clear();
    }

    pub(super) fn push(&mut self, key: u64, fd: RawFd, events: libc::c_short) {
        self.keys.push(key);
        self.entries.push(libc::pollfd { fd, events, revents: 0 });
    }

    pub(super) fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        sys::poll(&mut self.entries, timeout).map(drop)
    }

    /// Like `poll`, without a wait. A signal must not end it: the wait before it
    /// has used its turn up, and a storm of signals would let none be reported.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        sys::uninterrupted(|| self.poll(Some(Duration::ZERO)))
    }

    /// Key, descriptor and bits of every entry with an answer.
    pub(super) fn answers(&self) -> impl Iterator<Item = (u64, RawFd, libc::c_short)> {
        let answered = self.keys.iter().zip(&self.entries).filter(|(_, entry)| entry.revents != 0);
        answered.map(|(key, entry)| (*key, entry.fd, entry.revents))
    }
}

/// Passes on what `list` was answered. A descriptor that is none (`POLLNVAL`)
/// may have been removed while the call was under way, so it is asked about once
/// more after the mailbox has been emptied; only if it is still bad it is
/// reported and removed.
pub(super) fn report(watches: &mut Watches, list: &mut List, events: &mut Vec<Event>) -> io::Result<()> {
    let mut suspects = Vec::new();
    for (key, fd, bits) in list.answers() {
        if key == BELL {
            watches.silence()?;
        } else if bits & libc::POLLNVAL != 0 {
            suspects.push((key, fd));
        } else {
            events.extend(watches.report(key, bits));
        }
    }
    if suspects.is_empty() {
        return Ok(());
    }
    watches.collect();
    list.clear();
    suspects.retain(|&(key, fd)| watches.holds(key, fd));
    suspects.into_iter().for_each(|(key, fd)| list.push(key, fd, 0));
    list.ask()?;
    let bad = list.answers().filter(|(_, _, bits)| bits & libc::POLLNVAL != 0);
    events.extend(bad.map(|(key, ..)| watches.expel(key)));
    Ok(())
}

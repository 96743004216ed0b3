//! The part of a source that its reactor knows: what is known about its readiness,
//! who waits for it, and the reactor that is its home.
//!
//! # No lost wake-up
//!
//! A wait puts its waker in place, then says in the readiness word that somebody
//! waits, which also reads the word; both under the source's lock. A mark changes
//! the word first, and takes the lock and the wakers only if the word said that
//! somebody waits. Both changes of the word are read-modify-writes, so one comes
//! first: either the wait reads the mark and does not wait, or the mark sees the
//! wait and, taking the lock, finds the waker. The flag is taken back only under
//! the lock, when no waker is left in place.
//!
//! # Home
//!
//! A source registers at its first wait, at the reactor of the thread that waits.
//! It moves when its home is closed or belongs to another runtime, and within a
//! runtime when [`STRAYS`] looks in a row come from another reactor while nobody
//! else waits (a wait looks once or twice). It is added at the new home, which reports all that
//! is pending, before it is removed from the old one; what the old one still
//! reports carries a stale token. If adding fails, it stays where it is.
//!
//! Closing a reactor says closed, then closes its table, then visits every source
//! that was in it. A source that settles reserves its table entry, then takes its
//! lock, adds, and looks whether the reactor is closed. If the entry was reserved
//! in time, the visit comes, before or after the settling: before, and the look
//! finds the reactor closed; after, and the visit finds the home.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::clock;
use crate::context;
use crate::event::{Direction, Interest, Ready};
use crate::reactor::Reactor;
use crate::readiness::{Half, Readiness};
use crate::sync::Mutex;
use crate::sys;
use crate::table::Token;
use crate::waiters::{Displaced, Ticket, Waiters};

/// How many looks in a row from another reactor of the same runtime move a source
/// there.
const STRAYS: u8 = 4;

/// One source, as [`Reactor::sources`] lists it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceInfo {
    /// The descriptor's number.
    pub fd: RawFd,
    /// When the source was made.
    pub born: Instant,
    /// Wakers of those that wait to read.
    pub readers: Vec<WakerId>,
    /// Wakers of those that wait to write.
    pub writers: Vec<WakerId>,
}

/// The identity of a waker: what [`Waker::data`] and [`Waker::vtable`] are.
/// Executors recognise their tasks by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WakerId {
    /// The address that [`Waker::data`] returns.
    pub data: usize,
    /// The address that [`Waker::vtable`] returns.
    pub vtable: usize,
}

/// The part of a source that its reactor knows.
pub(crate) struct Registered {
    pub(crate) readiness: Readiness,
    /// For people: it may be closed already.
    pub(crate) fd: RawFd,
    born: Instant,
    /// See [`sys::forks`].
    forks: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    home: Option<Home>,
    read: Waiters,
    write: Waiters,
    strays: u8,
}

pub(crate) struct Home {
    reactor: Arc<Reactor>,
    token: Token,
}

/// What one look at a source, under its lock, has found.
pub(crate) enum Look {
    /// The waker is in place; this is how the direction was just before.
    Placed(Half, Option<Displaced>),
    /// A waker has to be cloned first.
    NoWaker,
    /// The source has to settle first.
    Astray,
}

impl Registered {
    pub(crate) fn new(fd: RawFd, readiness: Readiness) -> Registered {
        Registered { readiness, fd, born: clock::now(), forks: sys::forks(), state: Mutex::new(State::default()) }
    }

    #[cfg(all(test, loom))]
    pub(crate) fn has_home(&self) -> bool {
        self.state.lock().home.is_some()
    }

    /// Enters a report, and moves the wakers of those who waited for it.
    #[inline]
    pub(crate) fn mark(&self, ready: Ready, wakers: &mut Vec<Waker>) {
        let (read, write) = self.readiness.mark(ready);
        if read || write {
            let mut state = self.state.lock();
            if read {
                self.take_waiters(&mut state, Direction::Read, wakers);
            }
            if write {
                self.take_waiters(&mut state, Direction::Write, wakers);
            }
        }
    }

    #[inline]
    fn take_waiters(&self, state: &mut State, direction: Direction, wakers: &mut Vec<Waker>) {
        state.waiters(direction).take(wakers);
        self.readiness.disarm(direction);
    }

    fn take_all(&self, state: &mut State, wakers: &mut Vec<Waker>) {
        self.take_waiters(state, Direction::Read, wakers);
        self.take_waiters(state, Direction::Write, wakers);
    }

    /// Whether a wait will have to put a waker in place: surely if nobody waits.
    pub(crate) fn wants_waker(&self, direction: Direction) -> bool {
        !self.readiness.load(direction).someone_waits()
    }

    /// Looks at `direction`, and waits for its next report if this thread is at the
    /// source's home, as nearly always, or has just `settled` that it may wait there.
    #[inline]
    pub(crate) fn look(
        &self,
        direction: Direction,
        ticket: &mut Ticket,
        (polled_by, waker): (&Waker, &mut Option<Waker>),
        settled: bool,
    ) -> Look {
        // In a forked child, settling tells what may be waited for and what is the parent's.
        if self.is_forked() && !settled {
            return Look::Astray;
        }
        let mut state = self.state.lock();
        if !state.is_at_home(settled) {
            return Look::Astray;
        }
        let waiters = state.waiters(direction);
        let displaced = if waiters.holds(ticket, polled_by) {
            None
        } else if let Some(waker) = waker.take() {
            waiters.place(ticket, waker)
        } else {
            return Look::NoWaker;
        };
        Look::Placed(self.readiness.arm(direction), displaced)
    }

    /// Sees to it that a wait from `current` may wait at the source's home: registers
    /// there or moves there if need be; returns the home before, to be dropped outside
    /// the borrow of the current one. `direction` is the one that is about to be
    /// waited for.
    pub(crate) fn settle(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        current: &Arc<Reactor>,
        direction: Direction,
        wakers: &mut Vec<Waker>,
    ) -> io::Result<Option<Home>> {
        if self.state.lock().is_settled(current) {
            return Ok(None);
        }
        let token = current.reserve(Arc::clone(self))?;
        let mut state = self.state.lock();
        if state.is_settled(current) {
            // Somebody else was faster.
            drop(state);
            current.release(token);
            return Ok(None);
        }
        if state.home.is_none() {
            // That it may be tried was an assumption; from here on, reports say.
            self.readiness.forget(direction);
        }
        // Before ADD, which a report may follow at once: whoever finds that one
        // spurious has to know that he must ask again.
        let was_level = state.home.as_ref().is_some_and(|home| !home.reactor.poller.is_edge_triggered());
        self.readiness.set_level(!current.poller.is_edge_triggered());
        let mut added = current.poller.add(fd, token.0);
        // See the head of this module.
        if added.is_ok() && current.is_closed() {
            current.unwatch(fd, token);
            added = Err(current.closed_error());
        }
        if let Err(error) = added {
            self.readiness.set_level(was_level);
            // Whoever cleared meanwhile took the home for another kind, and has
            // not asked it again.
            self.readiness.revive();
            // A move within the runtime is a matter of cost: the old home is as
            // good as it was.
            let stays = state.may_stay(current);
            if stays {
                state.strays = 0;
            } else {
                // Whoever else waits would find the same error, so it is told.
                self.take_all(&mut state, wakers);
            }
            drop(state);
            current.release(token);
            return if stays { Ok(None) } else { Err(error) };
        }
        state.strays = 0;
        let old = state.home.replace(Home { reactor: Arc::clone(current), token });
        if let Some(old) = &old {
            // Under the source's lock, or a move back could meet this entry.
            old.reactor.unwatch(fd, old.token);
        }
        drop(state);
        if let Some(old) = &old {
            old.reactor.release(old.token);
            current.count_rehoming();
        }
        Ok(old)
    }

    /// The home is closing: wakes everybody to find another.
    pub(crate) fn leave(&self, reactor: &Reactor, wakers: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        let home = state.home.take_if(|home| std::ptr::eq(&raw const *home.reactor, reactor));
        if home.is_none() {
            return;
        }
        self.readiness.revive();
        self.take_all(&mut state, wakers);
        drop(state);
        drop(home);
    }

    /// Whether this is a forked child's copy: another thread of the parent may have
    /// held its locks, which nobody opens here.
    fn is_forked(&self) -> bool {
        self.forks != sys::forks()
    }

    /// Gives up the home, if there is one.
    pub(crate) fn deregister(&self, fd: BorrowedFd<'_>) {
        if self.is_forked() {
            return;
        }
        let mut state = self.state.lock();
        let Some(home) = state.home.take() else { return };
        home.reactor.unwatch(fd, home.token);
        drop(state);
        home.reactor.release(home.token);
    }

    /// Asks a level-triggered home to look again.
    pub(crate) fn rearm(&self, interest: Interest) {
        if let Some(home) = &self.state.lock().home {
            home.reactor.poller.rearm(home.token.0, interest);
        }
    }

    #[inline]
    pub(crate) fn remove_waiter(&self, direction: Direction, ticket: &Ticket) -> Option<Waker> {
        // Acquire, in `load`: no flag, no waker in place, so nothing to remove.
        if !self.readiness.load(direction).someone_waits() || self.is_forked() {
            return None;
        }
        let mut state = self.state.lock();
        let waiters = state.waiters(direction);
        let waker = waiters.remove(ticket);
        if waiters.is_empty() {
            self.readiness.disarm(direction);
        }
        waker
    }

    pub(crate) fn info(&self) -> SourceInfo {
        let id =
            |waker: &Waker| WakerId { data: waker.data().addr(), vtable: std::ptr::from_ref(waker.vtable()).addr() };
        let ids = |waiters: &Waiters| waiters.wakers().map(id).collect();
        let state = self.state.lock();
        SourceInfo { fd: self.fd, born: self.born, readers: ids(&state.read), writers: ids(&state.write) }
    }
}

impl State {
    fn waiters(&mut self, direction: Direction) -> &mut Waiters {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Whether there is a home that serves the runtime of `current`.
    fn may_stay(&self, current: &Arc<Reactor>) -> bool {
        self.home.as_ref().is_some_and(|home| !home.reactor.is_closed() && home.reactor.is_of_same_runtime(current))
    }

    /// Whether the home is open, and the reactor that the thread has entered, unless
    /// another one was `settled` on.
    #[inline]
    fn is_at_home(&mut self, settled: bool) -> bool {
        let Some(home) = &self.home else { return false };
        if context::is_entered(&home.reactor) {
            self.strays = 0;
        } else if !settled {
            return false;
        }
        !home.reactor.is_closed()
    }

    /// Whether a wait from `current` may wait at the present home.
    #[inline]
    fn is_settled(&mut self, current: &Arc<Reactor>) -> bool {
        let Some(home) = &self.home else { return false };
        if Arc::ptr_eq(&home.reactor, current) {
            self.strays = 0;
            return !current.is_closed();
        }
        if !self.may_stay(current) {
            return false;
        }
        self.strays = self.strays.saturating_add(1);
        self.strays < STRAYS || self.read.len() + self.write.len() > 0
    }
}

impl Reactor {
    /// Takes a descriptor out of the kernel's list. A refusal means that it is
    /// not in it (closed behind our back), which is what was wanted. A forked
    /// child shares the list with its parent and leaves it alone.
    fn unwatch(&self, fd: BorrowedFd<'_>, token: Token) {
        if !self.is_forked() {
            drop(self.poller.remove(fd, token.0));
        }
    }
}

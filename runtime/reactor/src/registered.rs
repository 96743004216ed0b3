//! The part of a source that its reactor knows: what is known about its readiness,
//! who waits for it, and the reactor that is its home.
//!
//! # No lost wake-up
//!
//! A wait puts its waker in place, then says in the readiness word that somebody
//! waits, which also reads the word: one to read mostly in the word's slot, without a
//! lock; any other in the list, both steps under the source's lock. A mark changes
//! the word first, and takes the lock and the list's wakers only if the word said that
//! somebody waits there. Both changes of the word are read-modify-writes, so one comes
//! first: either the wait reads the mark, or a clear by somebody who tried after it (or its tick is the one at which a short
//! read found the socket empty, who had seen that tick before he read: what comes after his read is another report's),
//! and knows as much as a try would tell; or the mark sees the wait and
//! finds the waker: it owns the slot by that step, or takes the lock.
//!
//! The mark takes the flags back in the same step. From then until it has the lock, it
//! is what answers for the wakers in the list: it takes all that it finds, those of waits
//! that came meanwhile too, whose tasks look once more. So without the lock, a waker in
//! the list means the flag, or such a mark on its way. A further mark may pass them by: its
//! report is in the word, which a task that is woken by the first reads, or meets in
//! its next clear or wait, both read-modify-writes. Whoever gives up a wait may
//! leave its waker there, which is woken once for nothing.
//!
//! Otherwise the list's flag is taken back only under the lock, when no waker is left there.
//! A flag without a waker, as a wait may leave it that such a mark has met, costs the next
//! mark or waits a lock, nothing else.
//!
//! # Home
//!
//! A source registers at its first wait, at the reactor of the thread that waits.
//! It moves when its home is closed or belongs to another runtime, and within a
//! runtime when [`STRAYS`] looks in a row come from another reactor while nobody
//! else waits (a wait looks once or twice). It is added at the new home, which reports all that
//! is pending, before it is removed from the old one; what the old one still
//! reports carries a stale token. If adding fails, it stays where it is, and everybody
//! looks again, for the level flags were wrong meanwhile.
//!
//! A wait takes no lock to look where the home is: it looks at its address before it
//! puts its waker in place, not to leave it there in vain, and again after it has said that
//! it waits. If it has moved by then, the wait begins anew. If it moves later, the waker is
//! in place: the new home wakes it. A home that closes clears the address first and then
//! enters a report of its own that takes all wakers. So either that one takes the waker, or
//! the wait comes after it, and (Acquire) sees no home, or a later one.
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
use crate::reactor::{Reactor, wake_all};
use crate::readiness::{CLOSED, LEVEL, READY, Readiness, SLOT, Seen, WAITS, of};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sys;
use crate::table::Token;
use crate::waiters::{Ticket, Waiters};

/// How many looks in a row from another reactor of the same runtime move a source
/// there.
const STRAYS: usize = 4;

// They fit below an address; and few bytes matter where many connections are idle.
const _: () = assert!(align_of::<Reactor>() >= STRAYS && (cfg!(loom) || size_of::<Registered>() <= 88));

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
    /// See [`sys::forks`].
    forks: u32,
    /// In nanoseconds since the clock's epoch.
    born: u64,
    /// The address of the home, or 0, and in its lowest bits the strays. Stored under the
    /// lock. Relaxed: see the head.
    home: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    home: Option<Home>,
    waiters: Waiters,
}

pub(crate) struct Home {
    reactor: Arc<Reactor>,
    token: Token,
}

impl Registered {
    pub(crate) fn new(fd: RawFd, ready: bool, exact: bool) -> Registered {
        let (readiness, state) = (Readiness::new(ready, exact), Mutex::new(State::default()));
        Registered {
            readiness,
            fd,
            forks: sys::forks(),
            born: clock::nanos(clock::now()),
            home: AtomicUsize::new(0),
            state,
        }
    }

    #[cfg(all(test, loom))]
    pub(crate) fn has_home(&self) -> bool {
        self.state.lock().home.is_some()
    }

    /// Enters a report, and moves the wakers of those who waited for it.
    #[inline]
    pub(crate) fn mark(&self, ready: Ready, wakers: &mut Vec<Waker>) {
        let waits = self.readiness.mark(ready, wakers);
        if waits != 0 {
            self.take(waits, wakers);
        }
    }

    /// Moves the list's wakers of the directions whose flags a report has taken.
    #[cold]
    fn take(&self, waits: u64, wakers: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        for direction in [Direction::Read, Direction::Write] {
            if waits & of(direction, WAITS) != 0 {
                state.waiters.take(direction, wakers);
            }
        }
    }

    /// Whether the home is the reactor that the thread has entered, and nobody strayed, or
    /// there is one that was `settled` on.
    #[inline]
    fn is_at_home(&self, settled: bool) -> bool {
        let home = self.home.load(Ordering::Relaxed);
        home != 0 && (home == context::entered() || settled)
    }

    /// Waits for the next report of `direction`, and returns what is known just before,
    /// if this thread is at the source's home, as nearly always, or has just `settled`
    /// that it may wait there.
    #[inline(never)]
    pub(crate) fn wait(&self, direction: Direction, ticket: &mut Ticket, waker: &Waker, settled: bool) -> Option<Seen> {
        // In a forked child, settling tells what may be waited for and what is the parent's.
        if (self.is_forked() && !settled) || !self.is_at_home(settled) {
            return None;
        }
        let seen = if direction == Direction::Read { self.readiness.wait(ticket, waker) } else { None };
        let seen = seen.unwrap_or_else(|| self.wait_listed(direction, ticket, waker));
        self.is_at_home(settled).then_some(seen)
    }

    #[inline(never)]
    fn wait_listed(&self, direction: Direction, ticket: &mut Ticket, waker: &Waker) -> Seen {
        // Foreign code, so before anything is locked.
        let waker = waker.clone();
        let mut state = self.state.lock();
        let (displaced, is_other) = state.waiters.place(direction, ticket, waker);
        let seen = self.readiness.arm(direction, WAITS);
        drop(state);
        if is_other {
            wake_all(&mut displaced.into_iter().collect());
        }
        seen
    }

    /// Sees to it that a wait from `current` may wait at the source's home: registers
    /// there or moves there if need be; returns the home before. `direction` is the one
    /// that is about to be waited for.
    pub(crate) fn settle(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        current: &Arc<Reactor>,
        direction: Direction,
        wakers: &mut Vec<Waker>,
    ) -> io::Result<Option<Home>> {
        if self.is_settled(&self.state.lock(), current) {
            return Ok(None);
        }
        let token = current.reserve(Arc::clone(self))?;
        let mut state = self.state.lock();
        if self.is_settled(&state, current) {
            // Somebody else was faster.
            drop(state);
            current.release(token);
            return Ok(None);
        }
        if state.home.is_none() {
            // That it may be tried was an assumption; from here on, reports say.
            self.readiness.set(of(direction, READY | CLOSED), false);
        }
        // Before ADD, which a report may follow at once: whoever finds that one
        // spurious has to know that he must ask again.
        let was_level = state.home.as_ref().is_some_and(|home| !home.reactor.poller.is_edge_triggered());
        self.set_level(!current.poller.is_edge_triggered());
        let mut added = current.poller.add(fd, token.0);
        // See the head of this module.
        if added.is_ok() && current.is_closed() {
            current.unwatch(fd, token);
            added = Err(current.closed_error());
        }
        if let Err(error) = added {
            self.set_level(was_level);
            // Whoever cleared meanwhile took the home for another kind, and has
            // not asked it again.
            let waits = self.readiness.revive(wakers);
            // A move within the runtime is a matter of cost: the old home is as good as it
            // was. Otherwise who waits will find the same error.
            let stays = state.may_stay(current);
            self.note_home(state.home.as_ref(), 0);
            drop(state);
            self.take(waits, wakers);
            current.release(token);
            return if stays { Ok(None) } else { Err(error) };
        }
        let old = state.home.replace(Home { reactor: Arc::clone(current), token });
        self.note_home(state.home.as_ref(), 0);
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

    /// Called under the lock.
    fn note_home(&self, home: Option<&Home>, strays: usize) {
        self.home.store(home.map_or(0, |home| Arc::as_ptr(&home.reactor).addr() + strays), Ordering::Relaxed);
    }

    /// Whether a wait from `current` may wait at the present home.
    fn is_settled(&self, state: &State, current: &Arc<Reactor>) -> bool {
        let Some(home) = &state.home else { return false };
        if Arc::ptr_eq(&home.reactor, current) {
            self.note_home(Some(home), 0);
            return !current.is_closed();
        }
        if !state.may_stay(current) {
            return false;
        }
        let strays = self.home.load(Ordering::Relaxed) % STRAYS + 1;
        self.note_home(Some(home), strays.min(STRAYS - 1));
        strays < STRAYS || self.readiness.load(Direction::Read).word & (SLOT | WAITS | of(Direction::Write, WAITS)) != 0
    }

    fn set_level(&self, level: bool) {
        self.readiness.set(LEVEL | of(Direction::Write, LEVEL), level);
    }

    /// The home is closing: wakes everybody to find another.
    pub(crate) fn leave(&self, reactor: &Reactor, wakers: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        let is_it = |home: &mut Home| std::ptr::eq(&raw const *home.reactor, reactor);
        let Some(home) = state.home.take_if(is_it) else { return };
        self.note_home(None, 0);
        let waits = self.readiness.revive(wakers);
        drop(state);
        self.take(waits, wakers);
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
        self.note_home(None, 0);
        home.reactor.unwatch(fd, home.token);
        drop(state);
        home.reactor.release(home.token);
    }

    /// Asks a level-triggered home to look again.
    pub(crate) fn rearm(&self, interest: Interest) {
        if !self.is_forked()
            && let Some(home) = &self.state.lock().home
        {
            home.reactor.poller.rearm(home.token.0, interest);
        }
    }

    #[cold]
    pub(crate) fn remove_waiter(&self, direction: Direction, ticket: &Ticket) {
        let has = |flag| !self.is_forked() && self.readiness.load(direction).has(flag);
        if has(SLOT) {
            drop(self.readiness.forget(ticket));
        }
        if !has(WAITS) {
            return;
        }
        let mut state = self.state.lock();
        let (waker, others) = state.waiters.remove(direction, ticket);
        if !others {
            self.readiness.set(of(direction, WAITS), false);
        }
        drop(state);
        drop(waker);
    }

    pub(crate) fn info(&self) -> SourceInfo {
        let id =
            |waker: &Waker| WakerId { data: waker.data().addr(), vtable: std::ptr::from_ref(waker.vtable()).addr() };
        let slot = self.readiness.look(None, id).map(|(id, _)| id);
        let state = self.state.lock();
        let ids = |direction| state.waiters.wakers(direction).map(id);
        SourceInfo {
            fd: self.fd,
            born: clock::moment(self.born),
            readers: slot.into_iter().chain(ids(Direction::Read)).collect(),
            writers: ids(Direction::Write).collect(),
        }
    }
}

impl State {
    /// Whether there is a home that serves the runtime of `current`.
    fn may_stay(&self, current: &Arc<Reactor>) -> bool {
        self.home.as_ref().is_some_and(|home| !home.reactor.is_closed() && home.reactor.is_of_same_runtime(current))
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

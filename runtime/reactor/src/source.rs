//! A source: a descriptor with what is known about its readiness, who waits for
//! it, and the reactor that is its home.
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
//! runtime when its waits come from another reactor [`STRAYS`] times in a row
//! while nobody else waits. It is added at the new home, which reports all that
//! is pending, before it is removed from the old one; what the old one still
//! reports carries a stale token. If adding fails, it stays where it is.
//!
//! Closing a reactor says closed, then closes its table, then visits every source
//! that was in it. A source that settles reserves its table entry, then takes its
//! lock, adds, and looks whether the reactor is closed. If the entry was reserved
//! in time, the visit comes, before or after the settling: before, and the look
//! finds the reactor closed; after, and the visit finds the home.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::context;
use crate::event::{Direction, Interest, Ready};
use crate::reactor::{Reactor, wake_all};
use crate::readiness::{Half, Readiness};
use crate::sync::Mutex;
use crate::table::Token;
use crate::waiters::{Displaced, Ticket, Waiters};

/// How many waits in a row from another reactor of the same runtime move a source
/// there.
const STRAYS: u8 = 4;

/// What kind of descriptor a source has, which decides what may be concluded from
/// its operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A connected TCP socket without an upper-layer protocol: a short read has
    /// emptied it.
    Stream,
    /// The same, while `connect` is under way: not ready until that is reported.
    Connecting,
    /// Anything else: only `WouldBlock` says that it is dry.
    Other,
}

/// A non-blocking descriptor that can be waited for; deregistered and closed on
/// drop.
pub struct Source {
    registered: Arc<Registered>,
    /// `None` only while being dropped or taken apart.
    fd: Option<OwnedFd>,
}

/// What an operation saw of its direction before it asked the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    direction: Direction,
    half: Half,
}

/// One source, as [`Reactor::sources`] lists it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceInfo {
    /// The descriptor's number.
    pub fd: RawFd,
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
    readiness: Readiness,
    fd: RawFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    home: Option<Home>,
    read: Waiters,
    write: Waiters,
    strays: u8,
}

struct Home {
    reactor: Arc<Reactor>,
    token: Token,
}

/// What one look at a source, under its lock, has found.
enum Look {
    /// The direction is in the state that was waited for; the waker is in place
    /// all the same.
    Done(Half, Option<Displaced>),
    /// The waker is in place.
    Waiting(Option<Displaced>),
    /// A waker has to be cloned first.
    NoWaker,
    /// The source had to settle here first, and has: the old home, to be dropped
    /// outside the borrow of the current one.
    Settled(#[expect(dead_code, reason = "held to be dropped outside the borrow")] Option<Home>),
}

impl Source {
    /// Makes a source of a descriptor that is non-blocking already. Nothing is
    /// registered until somebody waits.
    pub fn new(fd: OwnedFd, kind: Kind) -> Source {
        let exact = matches!(kind, Kind::Stream | Kind::Connecting);
        Source {
            registered: Arc::new(Registered {
                readiness: Readiness::new(kind != Kind::Connecting, exact),
                fd: fd.as_raw_fd(),
                state: Mutex::new(State::default()),
            }),
            fd: Some(fd),
        }
    }

    /// Ready as soon as an operation in `direction` may succeed: at once for a
    /// source about which nothing is known yet. On `Pending`, the task is woken
    /// at the next report.
    ///
    /// Try the operation next; if it says `WouldBlock`, [`clear`](Source::clear)
    /// what was seen and poll again.
    ///
    /// # Errors
    /// What the kernel says when the source can not be registered; nothing is
    /// waited for then.
    pub fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
    ) -> Poll<io::Result<Seen>> {
        let half = self.registered.readiness.load(direction);
        if half.is_ready() {
            return Poll::Ready(Ok(Seen { direction, half }));
        }
        self.poll_until(cx, direction, ticket, Half::is_ready)
    }

    /// Like [`poll_ready`](Source::poll_ready), but answers from what the kernel
    /// has reported: a source about which nothing is known yet is registered
    /// first.
    ///
    /// # Errors
    /// As `poll_ready`.
    pub fn poll_reported(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
    ) -> Poll<io::Result<Seen>> {
        self.poll_until(cx, direction, ticket, Half::is_ready)
    }

    /// Ready once the peer has closed its half, whatever is unread before that.
    ///
    /// # Errors
    /// As [`poll_ready`](Source::poll_ready).
    pub fn poll_read_closed(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
    ) -> Poll<io::Result<()>> {
        let direction = Direction::Read;
        match self.poll_until(cx, direction, ticket, Half::is_hung_up) {
            Poll::Ready(seen) => Poll::Ready(seen.map(drop)),
            Poll::Pending => {
                // Watch on, although data may have been reported and not read.
                let half = self.registered.readiness.load(direction);
                if half.is_level() {
                    self.registered.rearm(Interest::CLOSED);
                }
                Poll::Pending
            }
        }
    }

    fn poll_until(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
        done: fn(Half) -> bool,
    ) -> Poll<io::Result<Seen>> {
        let mut wakers = Vec::new();
        // `Done` needs no clone, a wait mostly needs one; the clone is foreign
        // code, so it is made before anything is borrowed or locked.
        let mut waker = self
            .registered
            .wants_waker(direction)
            .then(|| cx.waker().clone());
        let result = loop {
            let looked = context::with_current(|current| {
                current.refuse_after_fork();
                self.registered.look(
                    self.as_fd(),
                    current,
                    direction,
                    done,
                    ticket,
                    (cx.waker(), &mut waker),
                    &mut wakers,
                )
            });
            match looked.and_then(|look| look) {
                Ok(Look::Done(half, displaced)) => {
                    wakers.extend(displaced.and_then(Displaced::other));
                    break Poll::Ready(Ok(Seen { direction, half }));
                }
                Ok(Look::Waiting(displaced)) => {
                    wakers.extend(displaced.and_then(Displaced::other));
                    break Poll::Pending;
                }
                Ok(Look::NoWaker) => waker = Some(cx.waker().clone()),
                Ok(Look::Settled(_)) => {}
                Err(error) => break Poll::Ready(Err(error)),
            }
        };
        wake_all(&mut wakers);
        result
    }

    /// Clears what was `seen`, because the operation after it said `WouldBlock`;
    /// the level-triggered backends look again from now on. A report that came in
    /// between is kept.
    pub fn clear(&self, seen: Seen) {
        if self.registered.readiness.clear(seen.direction, seen.half) && seen.half.is_level() {
            self.registered.rearm(seen.direction.into());
        }
    }

    /// Clears readiness after a read that returned less than was asked for, more
    /// than nothing: on an edge-triggered backend, a plain TCP socket is empty
    /// then. What else the source may be, or be registered at, is left as it is.
    pub fn clear_short(&self, seen: Seen) {
        if seen.half.is_exact() && !seen.half.is_level() {
            // A report in between is kept; then the next read asks the kernel.
            self.registered
                .readiness
                .clear_short(seen.direction, seen.half);
        }
    }

    /// Ends the rule of [`clear_short`](Source::clear_short) for this source: for
    /// whoever enables out-of-band data, or an upper-layer protocol such as kTLS.
    pub fn distrust_short_reads(&self) {
        self.registered.readiness.distrust();
    }

    /// What is known of `direction` now, if an operation may succeed.
    pub fn seen(&self, direction: Direction) -> Option<Seen> {
        let half = self.registered.readiness.load(direction);
        half.is_ready().then_some(Seen { direction, half })
    }

    /// Runs a non-blocking operation once, and clears what was known before it if
    /// it says `WouldBlock`, so that the next wait is a true one.
    ///
    /// # Errors
    /// Those of `operation`.
    pub fn try_io<R>(
        &self,
        direction: Direction,
        operation: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        let half = self.registered.readiness.load(direction);
        let result = operation();
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.clear(Seen { direction, half });
        }
        result
    }

    /// Gives up the place of a wait that ends before it was woken.
    pub fn forget(&self, direction: Direction, ticket: &Ticket) {
        if ticket.has_place() {
            let waker = self.registered.remove_waiter(direction, ticket);
            drop(waker);
        }
    }

    /// Deregisters the source and returns its descriptor.
    pub fn into_fd(mut self) -> OwnedFd {
        self.registered.deregister(self.as_fd());
        let fd = self.fd.take();
        fd.unwrap_or_else(|| unreachable!("a source has its descriptor until it is taken apart"))
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Some(fd) => fd.as_fd(),
            None => unreachable!("a source has its descriptor until it is taken apart"),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.fd.is_none() {
            return;
        }
        // First deregister (a duplicate would keep a dead entry alive), then
        // close. The kernel holds the file as long as a level-triggered wait for
        // it is under way, and so long sends no FIN: deregistering ends that wait.
        self.registered.deregister(self.as_fd());
        drop(self.fd.take());
    }
}

impl Registered {
    /// Enters a report, and moves the wakers of those who waited for it.
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

    fn take_waiters(&self, state: &mut State, direction: Direction, wakers: &mut Vec<Waker>) {
        state.waiters(direction).take(wakers);
        self.readiness.disarm(direction);
    }

    /// Whether a wait will have to put a waker in place: surely if nobody waits.
    fn wants_waker(&self, direction: Direction) -> bool {
        !self.readiness.load(direction).someone_waits()
    }

    /// Looks whether `done` holds of `direction`, and if not, waits for the next
    /// report at the right home, which is `current` if there is none.
    #[expect(
        clippy::too_many_arguments,
        reason = "one step of `poll_until`, not called elsewhere"
    )]
    fn look(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        current: &Arc<Reactor>,
        direction: Direction,
        done: fn(Half) -> bool,
        ticket: &mut Ticket,
        (polled_by, waker): (&Waker, &mut Option<Waker>),
        wakers: &mut Vec<Waker>,
    ) -> io::Result<Look> {
        let mut state = self.state.lock();
        if !state.is_settled(current) {
            drop(state);
            return self
                .settle(fd, current, direction, wakers)
                .map(Look::Settled);
        }
        let waiters = state.waiters(direction);
        let displaced = if waiters.holds(ticket, polled_by) {
            None
        } else if let Some(waker) = waker.take() {
            waiters.place(ticket, waker)
        } else {
            return Ok(Look::NoWaker);
        };
        let half = self.readiness.arm(direction);
        drop(state);
        if done(half) {
            // The waker stays in place until its ticket is given back: at worst
            // it is woken once more.
            return Ok(Look::Done(half, displaced));
        }
        Ok(Look::Waiting(displaced))
    }

    /// Registers at `current`, or moves there; returns the home before.
    /// `direction` is the one that is about to be waited for.
    fn settle(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        current: &Arc<Reactor>,
        direction: Direction,
        wakers: &mut Vec<Waker>,
    ) -> io::Result<Option<Home>> {
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
        let was_level = state.home.as_ref().is_some_and(Home::is_level);
        self.readiness
            .set_level(!current.poller.is_edge_triggered());
        let added = current.poller.add(fd, token.key());
        let error = match added {
            // See the head of this module.
            Ok(()) if current.is_closed() => {
                current.unwatch(fd, token);
                Some(current.closed_error())
            }
            Ok(()) => None,
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            // Whoever else waits would find the same error, so it is told.
            self.take_waiters(&mut state, Direction::Read, wakers);
            self.take_waiters(&mut state, Direction::Write, wakers);
            self.readiness.set_level(was_level);
            self.readiness.revive();
            drop(state);
            current.release(token);
            return Err(error);
        }
        state.strays = 0;
        let old = state.home.replace(Home {
            reactor: Arc::clone(current),
            token,
        });
        if let Some(old) = &old {
            // Under the source's lock, or a move back could meet this entry.
            old.reactor.unwatch(fd, old.token);
        }
        drop(state);
        if let Some(old) = &old {
            old.reactor.release(old.token);
        }
        Ok(old)
    }

    /// The home is closing: wakes everybody to find another.
    pub(crate) fn leave(&self, reactor: &Reactor, wakers: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        let lives_there = state
            .home
            .as_ref()
            .is_some_and(|home| std::ptr::eq(&raw const *home.reactor, reactor));
        if !lives_there {
            return;
        }
        let home = state.home.take();
        self.readiness.revive();
        self.take_waiters(&mut state, Direction::Read, wakers);
        self.take_waiters(&mut state, Direction::Write, wakers);
        drop(state);
        drop(home);
    }

    /// Gives up the home, if there is one.
    fn deregister(&self, fd: BorrowedFd<'_>) {
        let home = {
            let mut state = self.state.lock();
            let Some(home) = state.home.take() else {
                return;
            };
            home.reactor.unwatch(fd, home.token);
            home
        };
        home.reactor.release(home.token);
    }

    /// Asks a level-triggered home to look again.
    fn rearm(&self, interest: Interest) {
        let state = self.state.lock();
        if let Some(home) = &state.home {
            home.reactor.poller.rearm(home.token.key(), interest);
        }
    }

    fn remove_waiter(&self, direction: Direction, ticket: &Ticket) -> Option<Waker> {
        // Acquire, in `load`: no flag, no waker in place, so nothing to remove.
        if !self.readiness.load(direction).someone_waits() {
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
        let ids = |waiters: &Waiters| {
            waiters
                .wakers()
                .map(|waker| WakerId {
                    data: waker.data().addr(),
                    vtable: std::ptr::from_ref(waker.vtable()).addr(),
                })
                .collect()
        };
        let state = self.state.lock();
        SourceInfo {
            fd: self.fd,
            readers: ids(&state.read),
            writers: ids(&state.write),
        }
    }
}

impl State {
    fn waiters(&mut self, direction: Direction) -> &mut Waiters {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }

    /// Whether a wait from `current` may wait at the present home.
    fn is_settled(&mut self, current: &Arc<Reactor>) -> bool {
        let Some(home) = &self.home else {
            return false;
        };
        if Arc::ptr_eq(&home.reactor, current) {
            self.strays = 0;
            return !current.is_closed();
        }
        if home.reactor.is_closed() || !home.reactor.is_of_same_runtime(current) {
            return false;
        }
        self.strays = self.strays.saturating_add(1);
        self.strays < STRAYS || self.read.len() + self.write.len() > 0
    }
}

impl Home {
    fn is_level(&self) -> bool {
        !self.reactor.poller.is_edge_triggered()
    }
}

impl Reactor {
    /// Takes a descriptor out of the kernel's list. A refusal means that it is
    /// not in it (closed behind our back), which is what was wanted. A forked
    /// child shares the list with its parent and leaves it alone.
    fn unwatch(&self, fd: BorrowedFd<'_>, token: Token) {
        if !self.is_forked() {
            drop(self.poller.remove(fd, token.key()));
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Source")
            .field("fd", &self.registered.fd)
            .field("readiness", &self.registered.readiness)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

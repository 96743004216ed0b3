//! A source: a descriptor that can be waited for.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::context;
use crate::event::{Direction, Interest};
use crate::reactor::wake_all;
use crate::readiness::{CLOSED, EXACT, HUNG_UP, LEVEL, READY, SLOT, Seen, WAITS};
use crate::registered::Registered;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::waiters::Ticket;

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

/// Not a tick.
const NEVER: u32 = u32::MAX;

/// A non-blocking descriptor that can be waited for; deregistered and closed on
/// drop.
pub struct Source {
    registered: Arc<Registered>,
    /// `None` only while being dropped or taken apart.
    fd: Option<OwnedFd>,
    /// The tick of reading that a short read saw before it found the socket empty: as long as it is that, the flag READY
    /// says nothing. Each such value is true by itself, whichever of two readers stores his last, and a next report makes
    /// it one of the past; so a plain store does what would take a read-modify-write of the word. Relaxed: who does not
    /// see it, or sees it undone, tries once more.
    dry_at: AtomicU32,
}

impl Source {
    /// Makes a source of a descriptor that is non-blocking already. Nothing is
    /// registered until somebody waits.
    pub fn new(fd: OwnedFd, kind: Kind) -> Source {
        let exact = matches!(kind, Kind::Stream | Kind::Connecting);
        let registered = Registered::new(fd.as_raw_fd(), kind != Kind::Connecting, exact);
        Source { registered: Arc::new(registered), fd: Some(fd), dry_at: AtomicU32::new(NEVER) }
    }

    /// What was `seen`, less what a short read has found out since that report.
    #[inline]
    fn less_dry(&self, seen: Seen) -> Seen {
        let dry_at = self.dry_at.load(Ordering::Relaxed);
        if seen.direction == Direction::Read && dry_at == seen.read_tick() {
            return Seen { word: seen.word & !READY, ..seen };
        }
        if seen.direction == Direction::Read && dry_at != NEVER {
            // It must not be here any more when its tick comes round.
            self.dry_at.store(NEVER, Ordering::Relaxed);
        }
        seen
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
    #[inline]
    pub fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
    ) -> Poll<io::Result<Seen>> {
        match self.seen(direction) {
            Some(seen) => Poll::Ready(Ok(seen)),
            None => self.poll_until(cx, direction, ticket, READY | CLOSED),
        }
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
        self.poll_until(cx, direction, ticket, READY | CLOSED)
    }

    /// Ready once the peer has closed its half, whatever is unread before that.
    ///
    /// # Errors
    /// As [`poll_ready`](Source::poll_ready).
    pub fn poll_read_closed(&self, cx: &mut Context<'_>, ticket: &mut Ticket) -> Poll<io::Result<()>> {
        let direction = Direction::Read;
        match self.poll_until(cx, direction, ticket, HUNG_UP) {
            Poll::Ready(seen) => Poll::Ready(seen.map(drop)),
            Poll::Pending => {
                // Watch on, although data may have been reported and not read.
                if self.registered.readiness.load(direction).has(LEVEL) {
                    self.registered.rearm(Interest::CLOSED);
                }
                Poll::Pending
            }
        }
    }

    #[inline]
    fn poll_until(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
        flags: u64,
    ) -> Poll<io::Result<Seen>> {
        let mut waited = self.registered.wait(direction, ticket, cx.waker(), false);
        while waited.is_none() {
            self.settle(direction)?;
            waited = self.registered.wait(direction, ticket, cx.waker(), true);
        }
        // If it is done, the waker stays in place until its ticket is given back: at worst
        // it is woken once more. The direction is put in again, for here it is known to the compiler.
        match waited.map(|seen| self.less_dry(Seen { direction, ..seen })).filter(|seen| seen.has(flags)) {
            Some(seen) => Poll::Ready(Ok(seen)),
            None => Poll::Pending,
        }
    }

    #[cold]
    fn settle(&self, direction: Direction) -> io::Result<()> {
        let mut wakers = Vec::new();
        let old_home = context::with_current(|current| {
            current.refuse_after_fork();
            self.registered.settle(self.as_fd(), current, direction, &mut wakers)
        });
        wake_all(&mut wakers);
        old_home.flatten().map(drop)
    }

    /// Clears everything that was `seen`, because the operation after it said
    /// `WouldBlock`: a closed direction never does, so closed flags go too. The
    /// level-triggered backends look again from now on. A report that came in
    /// between is kept.
    #[inline]
    pub fn clear(&self, seen: Seen) {
        if self.registered.readiness.clear(seen, READY | CLOSED | HUNG_UP) && seen.has(LEVEL) {
            self.registered.rearm(seen.direction.into());
        }
    }

    /// Clears readiness after a read that returned less than was asked for, more
    /// than nothing: on an edge-triggered backend, a plain TCP socket is empty
    /// then. Closed flags stay: data and the end can share one report. What else the
    /// source may be, or be registered at, is left as it is.
    #[inline]
    pub fn clear_short(&self, seen: Seen) {
        if seen.has(EXACT) && !seen.has(LEVEL) {
            // After a report in between, it is not that tick any more, and the next read asks the kernel.
            self.dry_at.store(seen.read_tick(), Ordering::Relaxed);
        }
    }

    /// Ends the rule of [`clear_short`](Source::clear_short) for this source: for
    /// whoever enables out-of-band data, or an upper-layer protocol such as kTLS.
    pub fn distrust_short_reads(&self) {
        self.registered.readiness.set(EXACT, false);
    }

    /// What is known of `direction` now, if an operation may succeed.
    #[inline]
    pub fn seen(&self, direction: Direction) -> Option<Seen> {
        Some(self.less_dry(self.registered.readiness.load(direction))).filter(|seen| seen.has(READY | CLOSED))
    }

    /// Runs a non-blocking operation once, and clears what was known before it if
    /// it says `WouldBlock`, so that the next wait is a true one.
    ///
    /// # Errors
    /// Those of `operation`.
    pub fn try_io<R>(&self, direction: Direction, operation: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        let seen = self.registered.readiness.load(direction);
        let result = operation();
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::WouldBlock
        {
            self.clear(seen);
        }
        result
    }

    /// Gives up the place of a wait that ends before it was woken. The places of
    /// [`Ticket::shared`] are other tasks' too, and stay. A report that is under way
    /// may still wake it once; where somebody looks at the waiters at this moment, its waker
    /// may stay until the next report, which then wakes it in vain.
    #[inline]
    pub fn forget(&self, direction: Direction, ticket: &Ticket) {
        // No flag: no waker is in place, or a mark is about to take it, or somebody looks at it.
        if ticket.is_own() && self.registered.readiness.load(direction).has(SLOT | WAITS) {
            self.registered.remove_waiter(direction, ticket);
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
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.fd {
            Some(fd) => fd.as_fd(),
            None => unreachable!("a source has its descriptor until it is taken apart"),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // First deregister (a duplicate would keep a dead entry alive), then
        // close. The kernel holds the file as long as a level-triggered wait for
        // it is under way, and so long sends no FIN: deregistering ends that wait.
        if let Some(fd) = self.fd.take() {
            self.registered.deregister(fd.as_fd());
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Source")
            .field("fd", &self.registered.fd)
            .field("readiness", &self.less_dry(self.registered.readiness.load(Direction::Read)))
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

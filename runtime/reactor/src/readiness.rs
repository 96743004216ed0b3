//! What is known about a source, in one atomic word of two independent halves.
//!
//! Each half belongs to one direction and holds flags and a *tick* of 24 bits.
//! A report sets flags and counts the tick of the directions that it names; an
//! operation that found a direction dry clears the flags, but only if the tick
//! is still the one that it saw before it asked the kernel. So a report that
//! came in between is never lost. The ticks are separate because every read edge
//! of epoll also says that the descriptor is writable: with one tick for both, a
//! busy reader would keep a writer from ever clearing. A tick that comes round
//! (16 million reports between one load and one clear) would cost one wake-up.
//!
//! Orderings: every change is a read-modify-write of the one word, so all of
//! them lie in one order. The Release of a mark pairs with the Acquire of a load
//! that sees its flags; what it carries is only that the kernel's report came
//! before.

use crate::event::{Direction, Ready};
use crate::sync::atomic::{AtomicU64, Ordering};

const TICK: u32 = (1 << 24) - 1;
/// An operation may succeed.
const READY: u32 = 1 << 24;
/// The direction is closed or has an error; outlives a clear by short transfer.
const CLOSED: u32 = 1 << 25;
/// The peer closed its half (read half only).
const HUNG_UP: u32 = 1 << 26;
/// A waker is in place: whoever marks has to take the source's lock.
const WAITS: u32 = 1 << 27;
/// A short transfer means that the direction is dry (read half only).
const EXACT: u32 = 1 << 28;
/// The home reports levels, not edges: it must be told to look again.
const LEVEL: u32 = 1 << 29;

/// The word.
#[derive(Debug)]
pub(crate) struct Readiness(AtomicU64);

/// One half of the word, as it was when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Half(u32);

impl Half {
    pub(crate) fn is_ready(self) -> bool {
        self.0 & (READY | CLOSED) != 0
    }

    pub(crate) fn is_hung_up(self) -> bool {
        self.0 & HUNG_UP != 0
    }

    pub(crate) fn is_exact(self) -> bool {
        self.0 & EXACT != 0
    }

    pub(crate) fn is_level(self) -> bool {
        self.0 & LEVEL != 0
    }

    pub(crate) fn someone_waits(self) -> bool {
        self.0 & WAITS != 0
    }

    fn marked(self, flags: u32) -> Half {
        Half((self.0 & !TICK) | (self.0.wrapping_add(1) & TICK) | flags)
    }
}

fn shift(direction: Direction) -> u32 {
    match direction {
        Direction::Read => 0,
        Direction::Write => 32,
    }
}

fn half(word: u64, direction: Direction) -> Half {
    Half((word >> shift(direction)) as u32)
}

fn with_half(word: u64, direction: Direction, half: Half) -> u64 {
    let place = shift(direction);
    (word & !(u64::from(u32::MAX) << place)) | (u64::from(half.0) << place)
}

impl Readiness {
    /// `ready`: operations may be tried before anything was reported. `exact`:
    /// the short-transfer rule holds for reading.
    pub(crate) fn new(ready: bool, exact: bool) -> Self {
        let write = if ready { READY } else { 0 };
        let read = if exact { write | EXACT } else { write };
        Self(AtomicU64::new(u64::from(read) | u64::from(write) << 32))
    }

    pub(crate) fn load(&self, direction: Direction) -> Half {
        half(self.0.load(Ordering::Acquire), direction)
    }

    /// Enters a report; returns the directions in which somebody waits for it.
    #[inline]
    pub(crate) fn mark(&self, ready: Ready) -> (bool, bool) {
        let flag = |holds, flag| if holds { flag } else { 0 };
        let read = flag(ready.wakes_readers(), READY)
            | flag(ready.closes_reading(), CLOSED)
            | flag(ready.is_read_closed(), HUNG_UP);
        let write = flag(ready.wakes_writers(), READY) | flag(ready.closes_writing(), CLOSED);
        // Once urgent data is about, a read stops at its mark with more behind
        // it (tcp(7), SO_OOBINLINE), so a short read proves nothing any more.
        let trusted = if ready.is_priority() { !EXACT } else { !0 };
        self.report(read, write, trusted)
    }

    /// Sets flags and counts the ticks of the halves that have some; takes those
    /// that are not in `trusted` from the read half.
    #[inline]
    fn report(&self, read: u32, write: u32, trusted: u32) -> (bool, bool) {
        let reported = |word| {
            let mut changed = word;
            if read != 0 {
                let marked = half(word, Direction::Read).marked(read);
                changed = with_half(changed, Direction::Read, Half(marked.0 & trusted));
            }
            if write != 0 {
                changed = with_half(changed, Direction::Write, half(word, Direction::Write).marked(write));
            }
            Some(changed)
        };
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, reported).unwrap_or_else(|word| word);
        let waited = |flags, direction| flags != 0 && half(before, direction).someone_waits();
        (waited(read, Direction::Read), waited(write, Direction::Write))
    }

    /// Clears everything that `seen` claims, because an operation has just said
    /// `WouldBlock`: a closed direction never does, so closed flags go too.
    /// False if a report came in between.
    pub(crate) fn clear(&self, direction: Direction, seen: Half) -> bool {
        self.clear_flags(direction, seen, READY | CLOSED | HUNG_UP)
    }

    /// Clears readiness after a short transfer. Closed flags stay: data and the
    /// end of the stream can share one report.
    #[inline]
    pub(crate) fn clear_short(&self, direction: Direction, seen: Half) -> bool {
        self.clear_flags(direction, seen, READY)
    }

    #[inline]
    fn clear_flags(&self, direction: Direction, seen: Half, flags: u32) -> bool {
        let cleared = |word| {
            let now = half(word, direction);
            (now.0 & TICK == seen.0 & TICK).then_some(with_half(word, direction, Half(now.0 & !flags)))
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, cleared).is_ok()
    }

    /// Forgets an assumption of readiness that no report stands behind.
    pub(crate) fn forget(&self, direction: Direction) {
        self.0.fetch_and(!(u64::from(READY | CLOSED) << shift(direction)), Ordering::AcqRel);
    }

    /// Says that a waker is in place, and returns the half as it was just before:
    /// if it is ready, the report may not have seen the waker.
    pub(crate) fn arm(&self, direction: Direction) -> Half {
        let before = self.0.fetch_or(u64::from(WAITS) << shift(direction), Ordering::AcqRel);
        half(before, direction)
    }

    /// Says that no waker is in place.
    pub(crate) fn disarm(&self, direction: Direction) {
        self.0.fetch_and(!(u64::from(WAITS) << shift(direction)), Ordering::AcqRel);
    }

    /// Lets both directions be tried again, because the home is gone.
    pub(crate) fn revive(&self) {
        self.report(READY, READY, !0);
    }

    /// Ends the short-transfer rule for good.
    pub(crate) fn distrust(&self) {
        self.0.fetch_and(!u64::from(EXACT), Ordering::AcqRel);
    }

    /// Notes whether the home reports levels.
    pub(crate) fn set_level(&self, level: bool) {
        let both = u64::from(LEVEL) | u64::from(LEVEL) << 32;
        if level {
            self.0.fetch_or(both, Ordering::AcqRel);
        } else {
            self.0.fetch_and(!both, Ordering::AcqRel);
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

//! What is known about a source, in one atomic word.
//!
//! It holds flags and a *tick* of 24 bits for each direction.
//! A report sets flags and counts the tick of the directions that it names; an
//! operation that found a direction dry clears the flags, but only if the tick
//! is still the one that it saw before it asked the kernel. So a report that
//! came in between is never lost. The ticks are separate because every read edge
//! of epoll also says that the descriptor is writable: with one tick for both, a
//! busy reader would keep a writer from ever clearing. A tick that comes round
//! (16 million reports between one load and one clear) would cost one wake-up. Each time
//! that of reading comes round it counts that of writing too, which costs at most one
//! attempt.
//!
//! Orderings: every change is a read-modify-write of the one word, so all of
//! them lie in one order. The Release of a mark pairs with the Acquire of a load
//! that sees its flags; what it carries is only that the kernel's report came
//! before.

use crate::event::{Direction, Ready};
use crate::sync::atomic::{AtomicU64, Ordering};

/// An operation may succeed.
pub(crate) const READY: u64 = 1;
/// The direction is closed or has an error; outlives a clear by short transfer.
pub(crate) const CLOSED: u64 = 1 << 1;
/// A waker may be in place: [`Readiness::mark`] takes this flag back, and then, under the
/// source's lock, the wakers.
pub(crate) const WAITS: u64 = 1 << 2;
/// The peer closed its half (of reading only).
pub(crate) const HUNG_UP: u64 = 1 << 3;
/// A short transfer means that the direction is dry (of reading only).
pub(crate) const EXACT: u64 = 1 << 4;
/// The home reports levels, not edges: it must be told to look again.
pub(crate) const LEVEL: u64 = 1 << 5;
/// The flags of writing are this much higher than those of reading.
const WRITE: u32 = 8;
/// One on the tick of reading; that of writing is `WRITE_TICK` higher.
const TICK: u64 = 1 << 16;
const WRITE_TICK: u32 = 24;

/// READY for both directions.
const BOTH: u64 = READY | of(Direction::Write, READY);

/// The flag or flags, as they are for `direction`.
pub(crate) const fn of(direction: Direction, flags: u64) -> u64 {
    flags << (WRITE * direction as u32)
}

fn tick(direction: Direction) -> u64 {
    (((1 << 24) - 1) * TICK) << (WRITE_TICK * direction as u32)
}

/// The word.
pub(crate) struct Readiness(AtomicU64);

/// What an operation saw of its direction before it asked the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub(crate) word: u64,
    pub(crate) direction: Direction,
}

impl Seen {
    /// Whether one of the flags is set for the direction.
    #[inline]
    pub(crate) fn has(self, flags: u64) -> bool {
        self.word & of(self.direction, flags) != 0
    }
}

impl Readiness {
    /// `ready`: operations may be tried before anything was reported. `exact`:
    /// the short-transfer rule holds for reading.
    pub(crate) fn new(ready: bool, exact: bool) -> Self {
        let ready = if ready { BOTH } else { 0 };
        Self(AtomicU64::new(ready | if exact { EXACT } else { 0 }))
    }

    #[inline]
    pub(crate) fn load(&self, direction: Direction) -> Seen {
        Seen { word: self.0.load(Ordering::Acquire), direction }
    }

    /// Enters a report; returns the flags that said who waits for it, and takes them back.
    #[inline]
    pub(crate) fn mark(&self, ready: Ready) -> u64 {
        let flag = |holds, direction, flag| if holds { of(direction, flag) } else { 0 };
        let mut flags =
            flag(ready.is_readable(), Direction::Read, READY) | flag(ready.is_writable(), Direction::Write, READY);
        let mut off = 0;
        if !ready.is_plain() {
            flags = flag(ready.wakes_readers(), Direction::Read, READY)
                | flag(ready.closes_reading(), Direction::Read, CLOSED)
                | flag(ready.is_read_closed(), Direction::Read, HUNG_UP)
                | flag(ready.wakes_writers(), Direction::Write, READY)
                | flag(ready.closes_writing(), Direction::Write, CLOSED);
            // Once urgent data is about, a read stops at its mark with more behind
            // it (tcp(7), SO_OOBINLINE), so a short read proves nothing any more.
            off = flag(ready.is_priority(), Direction::Read, EXACT);
        }
        let waits = (flags & BOTH) * WAITS;
        self.report(flags, off | waits) & waits
    }

    /// Sets flags, takes others off, and counts the ticks of the directions that are
    /// READY by them; returns the word before.
    #[inline]
    fn report(&self, flags: u64, off: u64) -> u64 {
        let ticks = (flags & READY) * TICK + (((flags >> WRITE & READY) * TICK) << WRITE_TICK);
        let mut word = self.0.load(Ordering::Relaxed);
        let marked = |word: u64| ((word & !off) | flags).wrapping_add(ticks);
        while let Err(found) = self.0.compare_exchange_weak(word, marked(word), Ordering::AcqRel, Ordering::Relaxed) {
            word = found;
        }
        word
    }

    /// Takes `flags` off the direction that was `seen`; false, and nothing is, if a report
    /// came in between.
    #[inline]
    pub(crate) fn clear(&self, seen: Seen, flags: u64) -> bool {
        let flags = of(seen.direction, flags);
        // Mostly nothing has changed since.
        let mut word = seen.word;
        while let Err(found) = self.0.compare_exchange_weak(word, word & !flags, Ordering::AcqRel, Ordering::Acquire) {
            if (found ^ seen.word) & tick(seen.direction) != 0 {
                return false;
            }
            word = found;
        }
        true
    }

    /// Sets flags, or takes them off: what is not a report, but an assumption or a trait
    /// of the source.
    pub(crate) fn set(&self, flags: u64, on: bool) {
        if on {
            self.0.fetch_or(flags, Ordering::AcqRel);
        } else {
            self.0.fetch_and(!flags, Ordering::AcqRel);
        }
    }

    /// Lets both directions be tried again, because the home is gone.
    pub(crate) fn revive(&self) {
        self.report(BOTH, 0);
    }

    /// Says that a waker is in place, and returns what is known just before: if it is
    /// ready, the report may not have seen the waker.
    #[inline]
    pub(crate) fn arm(&self, direction: Direction) -> Seen {
        Seen { word: self.0.fetch_or(of(direction, WAITS), Ordering::AcqRel), direction }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A report that is readable, writable, or both.
    fn report(bits: libc::c_short) -> Ready {
        Ready::from_poll(bits)
    }

    #[test]
    fn a_read_tick_that_comes_round_costs_a_writer_one_attempt() {
        let word = Readiness(AtomicU64::new(READY | of(Direction::Write, READY) | tick(Direction::Read)));
        let seen = word.load(Direction::Write);
        word.mark(report(libc::POLLIN));
        let now = word.load(Direction::Write);
        assert_eq!(now.word & 0xff00, seen.word & 0xff00, "the flags of writing have changed");
        assert!(!word.clear(seen, READY), "the carry goes into the tick of writing");
        assert!(word.clear(now, READY));
    }

    #[test]
    fn a_write_tick_that_comes_round_touches_nothing_else() {
        let word = Readiness(AtomicU64::new(tick(Direction::Write)));
        word.mark(report(libc::POLLOUT));
        assert_eq!(word.load(Direction::Read).word, of(Direction::Write, READY));
    }

    /// Also by the short way of plain reports. What closes a direction is ready, or its tick would not count it.
    #[test]
    fn every_report_says_all_of_it() {
        const BITS: [libc::c_short; 6] =
            [libc::POLLIN, libc::POLLOUT, libc::POLLPRI, libc::POLLERR, libc::POLLHUP, libc::POLLRDHUP];
        for set in 0..1 << BITS.len() {
            let bits = (0..BITS.len()).filter(|index| set >> index & 1 == 1).fold(0, |bits, index| bits | BITS[index]);
            let (ready, word) = (report(bits), Readiness::new(false, true));
            word.mark(ready);
            let [read, write] = [Direction::Read, Direction::Write].map(|direction| word.load(direction));
            assert_eq!(
                (read.has(READY), write.has(READY)),
                (ready.wakes_readers(), ready.wakes_writers()),
                "{ready:?}"
            );
            assert_eq!((read.has(CLOSED), write.has(CLOSED)), (ready.closes_reading(), ready.closes_writing()));
            assert_eq!((read.has(HUNG_UP), read.has(EXACT)), (ready.is_read_closed(), !ready.is_priority()));
            assert!(read.has(READY) || !read.has(CLOSED | HUNG_UP), "{ready:?}");
            assert!(write.has(READY) || !write.has(CLOSED), "{ready:?}");
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

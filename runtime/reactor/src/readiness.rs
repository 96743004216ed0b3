//! What is known about a source, in one atomic word, and the slot that it guards: the
//! place of the one who waits to read, mostly alone, whose waker is so handed over without
//! a lock.
//!
//! It holds flags and a *tick* of 24 bits for each direction.
//! A report sets flags and counts the tick of the directions that it names; an
//! operation that found a direction dry clears the flags, but only if the tick
//! is still the one that it saw before it asked the kernel. So a report that
//! came in between is never lost. The ticks are separate because every read edge
//! of epoll also says that the descriptor is writable: with one tick for both, a
//! busy reader would keep a writer from ever clearing. A tick that comes round
//! (16 million reports between one load and one clear, or, of a socket that a short read has emptied, until the next look at
//! reading) would cost one wake-up. Each time
//! that of writing comes round it counts that of reading too, which costs at most one
//! attempt.
//!
//! Orderings: every change is a read-modify-write of the one word, so all of
//! them lie in one order. The Release of a mark pairs with the Acquire of a load
//! that sees its flags; what it carries is that the kernel's report came before, and the
//! slot.
//!
//! # The slot
//!
//! One thread at a time owns the slot and may touch its waker. A wait claims it by the
//! step of `holder` from free to TAKEN, puts its waker in and gives it to the word by the
//! step that sets SLOT. Whoever takes SLOT back owns it: a report, in the step that enters
//! it, which takes the waker; and whoever only looks or gives up. Taking the waker frees
//! the slot: a plain store, for nobody else writes a `holder` that is TAKEN. A wait that
//! finds it so and without SLOT goes to the list; nobody ever waits for the slot.
//!
//! Whoever has looked gives the slot back by setting SLOT again, unless the tick of reading
//! has changed since: that report has seen no waker, so he takes it and wakes it in its
//! place. He decides in the step that gives, or a second one who looks could come between.
//!
//! Orderings: setting SLOT (Release) pairs with taking it (Acquire), for between lie only
//! read-modify-writes; freeing (Release) with the next claim (Acquire).

use std::panic::RefUnwindSafe;
use std::task::Waker;

use crate::event::{Direction, Ready};
use crate::reactor::wake_all;
use crate::sync::UnsafeCell;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::waiters::{SHARED, TAKEN, Ticket};

/// An operation may succeed.
pub(crate) const READY: u64 = 1;
/// The direction is closed or has an error; outlives a clear by short transfer.
pub(crate) const CLOSED: u64 = 1 << 1;
/// A waker may be in the list: [`Readiness::mark`] takes this flag back, and then, under the
/// source's lock, the wakers.
pub(crate) const WAITS: u64 = 1 << 2;
/// The peer closed its half (of reading only).
pub(crate) const HUNG_UP: u64 = 1 << 3;
/// A short transfer means that the direction is dry (of reading only).
pub(crate) const EXACT: u64 = 1 << 4;
/// The home reports levels, not edges: it must be told to look again.
pub(crate) const LEVEL: u64 = 1 << 5;
/// A waker is in the slot (of reading only).
pub(crate) const SLOT: u64 = 1 << 6;
/// The flags of writing are this much higher than those of reading.
const WRITE: u32 = 8;
/// One on the tick of writing; that of reading is `READ_TICK` higher, the highest of all.
const TICK: u64 = 1 << 16;
const READ_TICK: u32 = 24;

/// READY for both directions.
const BOTH: u64 = READY | of(Direction::Write, READY);

/// The flag or flags, as they are for `direction`.
pub(crate) const fn of(direction: Direction, flags: u64) -> u64 {
    flags << (WRITE * direction as u32)
}

fn tick(direction: Direction) -> u64 {
    (((1 << 24) - 1) * TICK) << (if direction == Direction::Read { READ_TICK } else { 0 })
}

/// The word and the slot.
pub(crate) struct Readiness {
    word: AtomicU64,
    /// The place in the slot: TAKEN or not, and the ticket that has or had it, see [`Ticket`].
    holder: AtomicU64,
    /// Touched by an [`Owned`] alone.
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: all but `waker` is atomic, and that is touched by one thread at a time, see `Owned`.
unsafe impl Sync for Readiness {}
// No foreign code runs while the slot is owned, so none can panic then.
impl RefUnwindSafe for Readiness {}

/// The right to touch the slot's waker, held until it is given to the word or freed. Made by
/// a claim, or by whoever has taken SLOT off the word.
struct Owned<'a> {
    readiness: &'a Readiness,
    /// The word before.
    taken: u64,
}

impl Owned<'_> {
    #[inline]
    fn waker<R>(&mut self, visit: impl FnOnce(&mut Option<Waker>) -> R) -> R {
        // SAFETY: there is one `Owned` of this slot at a time, and it is borrowed mutably.
        self.readiness.waker.with_mut(|waker| visit(unsafe { &mut *waker }))
    }

    /// Frees the slot.
    #[inline]
    fn take(mut self) -> Option<Waker> {
        let (waker, holder) = (self.waker(Option::take), &self.readiness.holder);
        // Relaxed, and no read-modify-write: who owns the slot knows it. Release: see the head.
        holder.store(holder.load(Ordering::Relaxed) & !TAKEN, Ordering::Release);
        waker
    }

    /// Gives the slot back to the word, and returns what is known just before. A report in between has seen no waker:
    /// then the waker is taken and woken instead.
    fn give_back(self) -> Seen {
        let is_as_taken = |word: u64| (word ^ self.taken) & tick(Direction::Read) == 0;
        let give = |word| is_as_taken(word).then_some(word | SLOT);
        let given = self.readiness.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, give);
        if given.is_err() {
            wake_all(&mut self.take().into_iter().collect());
        }
        Seen { word: given.unwrap_or_else(|word| word), direction: Direction::Read }
    }
}

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

    /// The tick of reading, of 24 bits.
    #[inline]
    pub(crate) fn read_tick(self) -> u32 {
        (self.word / (TICK << READ_TICK)) as u32
    }
}

impl Readiness {
    /// `ready`: operations may be tried before anything was reported. `exact`:
    /// the short-transfer rule holds for reading.
    pub(crate) fn new(ready: bool, exact: bool) -> Self {
        let ready = if ready { BOTH } else { 0 };
        let word = AtomicU64::new(ready | if exact { EXACT } else { 0 });
        Self { word, holder: AtomicU64::new(0), waker: UnsafeCell::new(None) }
    }

    #[inline]
    pub(crate) fn load(&self, direction: Direction) -> Seen {
        Seen { word: self.word.load(Ordering::Acquire), direction }
    }

    /// Enters a report, and moves the waker of the slot, if it was for that; returns the
    /// flags that said who else waits for it, and takes them back.
    #[inline]
    pub(crate) fn mark(&self, ready: Ready, wakers: &mut Vec<Waker>) -> u64 {
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
        self.report(flags, off, wakers)
    }

    /// Sets flags, takes others off, and does for the directions that are READY by them
    /// what `mark` says.
    #[inline]
    fn report(&self, flags: u64, off: u64, wakers: &mut Vec<Waker>) -> u64 {
        let waits = ((flags & BOTH) * WAITS) | ((flags & READY) * SLOT);
        let off = off | waits;
        let ticks = (((flags & READY) * TICK) << READ_TICK) + (flags >> WRITE & READY) * TICK;
        let mut word = self.word.load(Ordering::Relaxed);
        let marked = |word: u64| ((word & !off) | flags).wrapping_add(ticks);
        while let Err(found) = self.word.compare_exchange_weak(word, marked(word), Ordering::AcqRel, Ordering::Relaxed)
        {
            word = found;
        }
        if word & waits & SLOT != 0
            && let Some(waker) = (Owned { readiness: self, taken: word }).take()
        {
            wakers.push(waker);
        }
        word & waits & !SLOT
    }

    /// Takes `flags` off the direction that was `seen`; false, and nothing is, if a report
    /// came in between.
    #[inline]
    pub(crate) fn clear(&self, seen: Seen, flags: u64) -> bool {
        let flags = of(seen.direction, flags);
        // Mostly nothing has changed since.
        let mut word = seen.word;
        while let Err(found) = self.word.compare_exchange_weak(word, word & !flags, Ordering::AcqRel, Ordering::Acquire)
        {
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
            self.word.fetch_or(flags, Ordering::AcqRel);
        } else {
            self.word.fetch_and(!flags, Ordering::AcqRel);
        }
    }

    /// Lets both directions be tried again, because the home is gone; otherwise as `mark`.
    pub(crate) fn revive(&self, wakers: &mut Vec<Waker>) -> u64 {
        self.report(BOTH, 0, wakers)
    }

    /// Says that a waker is in place, and returns what is known just before: if it is
    /// ready, the report may not have seen the waker.
    #[inline]
    pub(crate) fn arm(&self, direction: Direction, flag: u64) -> Seen {
        Seen { word: self.word.fetch_or(of(direction, flag), Ordering::AcqRel), direction }
    }

    /// Waits to read in the slot, and returns what is known just before, unless the list is
    /// the place for it: the slot is another's, or the ticket may be in the list already.
    #[inline]
    pub(crate) fn wait(&self, ticket: &mut Ticket, waker: &Waker) -> Option<Seen> {
        let known = self.load(Direction::Read);
        if known.has(SLOT | WAITS) {
            return self.wait_again(ticket, waker);
        }
        // Foreign code, so before the slot is owned.
        let waker = waker.clone();
        let free = self.holder.load(Ordering::Relaxed) & !TAKEN;
        let next = ticket.next(free);
        self.holder.compare_exchange(free, next.0, Ordering::Acquire, Ordering::Relaxed).ok()?;
        if ticket.0 != SHARED {
            *ticket = next;
        }
        Owned { readiness: self, taken: 0 }.waker(|place| *place = Some(waker));
        Some(self.arm(Direction::Read, SLOT))
    }

    /// If the ticket has the slot already, with the same waker, it waits on.
    #[cold]
    fn wait_again(&self, ticket: &Ticket, waker: &Waker) -> Option<Seen> {
        let (is_same, seen) = self.look(Some(ticket), |placed| placed.will_wake(waker))?;
        if !is_same && ticket.is_own() {
            drop(self.forget(ticket));
        }
        is_same.then_some(seen)
    }

    /// Takes the slot off the word, if a waker is in it, and it is `ticket`'s, if that is asked.
    fn own(&self, ticket: Option<&Ticket>) -> Option<Owned<'_>> {
        let is_it = || ticket.is_none_or(|ticket| ticket.is_at(self.holder.load(Ordering::Relaxed)));
        // Asked before, to leave another's waker alone; and after, to be sure.
        let taken = if is_it() { self.word.fetch_and(!SLOT, Ordering::AcqRel) } else { 0 };
        let slot = (taken & SLOT != 0).then_some(Owned { readiness: self, taken })?;
        if is_it() {
            return Some(slot);
        }
        slot.give_back();
        None
    }

    /// What `visit` says of the waker in the slot, and what is known just before it is given back.
    pub(crate) fn look<R>(&self, ticket: Option<&Ticket>, visit: impl FnOnce(&Waker) -> R) -> Option<(R, Seen)> {
        let mut slot = self.own(ticket)?;
        let told = slot.waker(|waker| waker.as_ref().map(visit));
        told.zip(Some(slot.give_back()))
    }

    /// Gives up the place of the ticket, if that is the slot.
    pub(crate) fn forget(&self, ticket: &Ticket) -> Option<Waker> {
        self.own(Some(ticket))?.take()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A report that is readable, writable, or both.
    fn report(bits: libc::c_short) -> Ready {
        Ready::from_poll(bits)
    }

    fn word(flags: u64) -> Readiness {
        let word = Readiness::new(false, false);
        word.set(flags, true);
        word
    }

    fn mark(word: &Readiness, bits: libc::c_short) {
        assert_eq!(word.mark(report(bits), &mut Vec::new()), 0, "nobody waits");
    }

    #[test]
    fn a_write_tick_that_comes_round_costs_a_reader_one_attempt() {
        let word = word(READY | of(Direction::Write, READY) | tick(Direction::Write));
        let seen = word.load(Direction::Read);
        mark(&word, libc::POLLOUT);
        let now = word.load(Direction::Read);
        assert_eq!(now.word & 0xff, seen.word & 0xff, "the flags of reading have changed");
        assert!(!word.clear(seen, READY), "the carry goes into the tick of reading");
        assert!(word.clear(now, READY));
    }

    #[test]
    fn a_read_tick_that_comes_round_touches_nothing_else() {
        let word = word(tick(Direction::Read));
        mark(&word, libc::POLLIN);
        assert_eq!(word.load(Direction::Write).word, READY);
    }

    /// Also by the short way of plain reports. What closes a direction is ready, or its tick would not count it.
    #[test]
    fn every_report_says_all_of_it() {
        const BITS: [libc::c_short; 6] =
            [libc::POLLIN, libc::POLLOUT, libc::POLLPRI, libc::POLLERR, libc::POLLHUP, libc::POLLRDHUP];
        for set in 0..1 << BITS.len() {
            let bits = (0..BITS.len()).filter(|index| set >> index & 1 == 1).fold(0, |bits, index| bits | BITS[index]);
            let (ready, word) = (report(bits), Readiness::new(false, true));
            mark(&word, bits);
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

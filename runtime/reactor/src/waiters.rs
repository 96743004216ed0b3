//! Who waits for a source and has not the slot of its [`Readiness`](crate::readiness::Readiness):
//! who waits to write, and who waits to read beside another.

use core::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use crate::event::Direction;

/// A waiting operation's claim on its place among the waiters.
///
/// Every future that waits has a ticket of its own, for one source and one direction, and gives it back
/// ([`Source::forget`](crate::Source::forget)) when it is dropped. The `poll_*`
/// functions of one direction share the ticket [`shared`](Ticket::shared), which has
/// a place for each of 32 tasks: all that have polled since the last report are
/// woken by the next. A further one displaces one of them, which is woken at once, so
/// that no wake-up is lost.
#[derive(Debug, Default)]
pub struct Ticket(pub(crate) u64);

const NONE: u64 = 0;
/// Of a number in the slot: it has not been freed. Numbers in the list have another bit.
pub(crate) const TAKEN: u64 = 1;
const LISTED: u64 = 2;
/// What sets the shared ticket apart, in the slot by the lowest bits.
pub(crate) const SHARED: u64 = TAKEN | LISTED;
/// Places of the shared ticket in the list: more than any sound use needs, and an end for
/// an executor that makes a new waker for each poll. The models reach the end with one.
const SHARED_PLACES: usize = if cfg!(loom) { 1 } else { 32 };

impl Ticket {
    /// A ticket without a place yet.
    pub const fn new() -> Ticket {
        Ticket(NONE)
    }

    /// The ticket of all `poll_*` functions.
    pub const fn shared() -> Ticket {
        Ticket(SHARED)
    }

    /// Whether it is for one operation alone, which may give its place back.
    pub(crate) fn is_own(&self) -> bool {
        self.0 != NONE && self.0 != SHARED
    }

    /// What the slot's holder is once this has followed `before`: for an own ticket a number
    /// that no other has had. 62 bits do not come round.
    #[inline]
    pub(crate) fn next(&self, before: u64) -> Ticket {
        let before = before & !SHARED;
        Ticket(if self.0 == SHARED { before | SHARED } else { (before + SHARED + 1) | TAKEN })
    }

    /// Whether `holder` has the slot by this ticket.
    pub(crate) fn is_at(&self, holder: u64) -> bool {
        if self.0 == SHARED { holder & SHARED == SHARED } else { holder == self.0 }
    }

    /// Gives it a number, unless it has one. Of all sources: so lists can come and go.
    fn number(&mut self) {
        static LAST: AtomicU64 = AtomicU64::new(0);
        if self.0 == NONE {
            self.0 = (LAST.fetch_add(1, Ordering::Relaxed) + 1) * (SHARED + 1) + LISTED;
        }
    }
}

struct Waiter {
    ticket: u64,
    direction: Direction,
    waker: Waker,
}

/// The list; guarded by the source's lock. None until there is one, and again after writing.
#[derive(Default)]
#[allow(clippy::box_collection, reason = "one word in each source, not three")]
pub(crate) struct Waiters(Option<Box<Vec<Waiter>>>);

impl Waiters {
    fn of(&mut self, direction: Direction, ticket: u64) -> impl Iterator<Item = &mut Waiter> {
        let all = self.0.iter_mut().flat_map(|list| list.iter_mut());
        all.filter(move |waiter| waiter.ticket == ticket && waiter.direction == direction)
    }

    /// Puts `waker` into the place of the ticket, unless one that wakes the same task is
    /// there, or into a new one. Returns the waker that is left, to be dropped outside the
    /// lock, or woken: that of another `poll_*` caller, which would sleep for ever.
    pub(crate) fn place(&mut self, direction: Direction, ticket: &mut Ticket, waker: Waker) -> (Option<Waker>, bool) {
        ticket.number();
        if self.of(direction, ticket.0).any(|placed| placed.waker.will_wake(&waker)) {
            return (Some(waker), false);
        }
        let is_other = ticket.0 == SHARED;
        let places = if is_other { SHARED_PLACES } else { 1 };
        if self.of(direction, ticket.0).count() >= places
            && let Some(placed) = self.of(direction, ticket.0).next()
        {
            return (Some(std::mem::replace(&mut placed.waker, waker)), is_other);
        }
        self.0.get_or_insert_default().push(Waiter { ticket: ticket.0, direction, waker });
        (None, false)
    }

    /// Gives up the ticket's place; also tells whether others wait for the direction.
    pub(crate) fn remove(&mut self, direction: Direction, ticket: &Ticket) -> (Option<Waker>, bool) {
        let Some(list) = &mut self.0 else { return (None, false) };
        let place = list.iter().position(|waiter| waiter.ticket == ticket.0 && waiter.direction == direction);
        let waker = place.map(|place| list.swap_remove(place).waker);
        (waker, list.iter().any(|waiter| waiter.direction == direction))
    }

    /// Moves every waker of the direction to `wakers`; their operations find new places if
    /// they wait again.
    pub(crate) fn take(&mut self, direction: Direction, wakers: &mut Vec<Waker>) {
        if let Some(list) = &mut self.0 {
            wakers.extend(list.extract_if(.., |waiter| waiter.direction == direction).map(|waiter| waiter.waker));
            // Who writes mostly does so for the first time or has filled the kernel's buffer;
            // two that read would need a list again at once.
            self.0.take_if(|list| direction == Direction::Write && list.is_empty());
        }
    }

    /// The wakers in place for the direction.
    pub(crate) fn wakers(&self, direction: Direction) -> impl Iterator<Item = &Waker> {
        let all = self.0.iter().flat_map(|list| list.iter());
        all.filter(move |waiter| waiter.direction == direction).map(|waiter| &waiter.waker)
    }
}

//! Who waits for one direction of a source: a slot for the first, a list for
//! further ones.

use std::task::Waker;

/// A waiting operation's claim on its place among the waiters.
///
/// Every future that waits has a ticket of its own and gives it back
/// ([`Source::forget`](crate::Source::forget)) when it is dropped. The `poll_*`
/// functions of one direction share the ticket [`shared`](Ticket::shared), which has
/// a place for each of 32 tasks: all that have polled since the last report are
/// woken by the next. A further one displaces one of them, which is woken at once, so
/// that no wake-up is lost.
#[derive(Debug)]
pub struct Ticket(u64);

const NONE: u64 = 0;
const SHARED: u64 = u64::MAX;
/// Places of the shared ticket: more than any sound use needs, and an end for an
/// executor that makes a new waker for each poll. The models reach the end with one.
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

    pub(crate) fn has_place(&self) -> bool {
        self.0 != NONE
    }

    /// Whether it is for one operation alone, which may give its place back.
    pub(crate) fn is_own(&self) -> bool {
        self.has_place() && self.0 != SHARED
    }
}

impl Default for Ticket {
    fn default() -> Ticket {
        Ticket::new()
    }
}

struct Waiter {
    ticket: u64,
    waker: Waker,
}

/// A waker that lost its place to a newer one, to be dropped or woken outside the lock.
pub(crate) struct Displaced {
    pub(crate) waker: Waker,
    /// Of another `poll_*` caller, which would sleep for ever if it were not woken.
    pub(crate) is_other: bool,
}

/// The waiters of one direction; guarded by the source's lock.
#[derive(Default)]
pub(crate) struct Waiters {
    slot: Option<Waiter>,
    list: Vec<Waiter>,
    /// The last number given to a ticket. 64 bits do not come round.
    last: u64,
}

impl Waiters {
    pub(crate) fn is_empty(&self) -> bool {
        self.slot.is_none() && self.list.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.slot.is_some()) + self.list.len()
    }

    fn of(&mut self, ticket: u64) -> impl Iterator<Item = &mut Waiter> {
        self.slot.iter_mut().chain(&mut self.list).filter(move |waiter| waiter.ticket == ticket)
    }

    /// Whether a waker that wakes the same task as `waker` is in place already.
    #[inline]
    pub(crate) fn holds(&mut self, ticket: &Ticket, waker: &Waker) -> bool {
        ticket.has_place() && !self.is_empty() && self.of(ticket.0).any(|waiter| waiter.waker.will_wake(waker))
    }

    /// Puts `waker` into the ticket's place, or into a free one.
    #[inline]
    pub(crate) fn place(&mut self, ticket: &mut Ticket, waker: Waker) -> Option<Displaced> {
        if !ticket.has_place() {
            self.last += 1;
            ticket.0 = self.last;
        }
        if self.is_empty() {
            // As nearly always.
        } else if ticket.0 == SHARED {
            if self.of(SHARED).count() >= SHARED_PLACES
                && let Some(other) = self.of(SHARED).next()
            {
                return Some(Displaced { waker: std::mem::replace(&mut other.waker, waker), is_other: true });
            }
        } else if let Some(own) = self.of(ticket.0).next() {
            return Some(Displaced { waker: std::mem::replace(&mut own.waker, waker), is_other: false });
        }
        let waiter = Waiter { ticket: ticket.0, waker };
        if self.slot.is_none() {
            self.slot = Some(waiter);
        } else {
            self.list.push(waiter);
        }
        None
    }

    /// Gives up the ticket's place.
    pub(crate) fn remove(&mut self, ticket: &Ticket) -> Option<Waker> {
        if self.slot.as_ref().is_some_and(|waiter| waiter.ticket == ticket.0) {
            return self.slot.take().map(|waiter| waiter.waker);
        }
        let place = self.list.iter().position(|waiter| waiter.ticket == ticket.0)?;
        Some(self.list.swap_remove(place).waker)
    }

    /// Moves every waker to `wakers`; their operations find new places if they
    /// wait again.
    #[inline]
    pub(crate) fn take(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.slot.take().map(|waiter| waiter.waker));
        if !self.list.is_empty() {
            wakers.extend(self.list.drain(..).map(|waiter| waiter.waker));
        }
    }

    /// The wakers in place.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = &Waker> {
        self.slot.iter().chain(&self.list).map(|waiter| &waiter.waker)
    }
}

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
#[derive(Debug, Default)]
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

    /// Gives it the number after `last`, unless it has one.
    #[inline]
    pub(crate) fn number(&mut self, last: &mut u64) {
        if !self.has_place() {
            *last += 1;
            self.0 = *last;
        }
    }

    /// Whether it is for one operation alone, which may give its place back.
    pub(crate) fn is_own(&self) -> bool {
        self.has_place() && self.0 != SHARED
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
    /// None until there are some: few sources ever have further waiters.
    #[allow(clippy::box_collection, reason = "one word in each source, not three")]
    further: Option<Box<Vec<Waiter>>>,
}

impl Waiters {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.slot.is_none() && self.further.as_ref().is_none_or(|further| further.is_empty())
    }

    fn of(&mut self, ticket: u64) -> impl Iterator<Item = &mut Waiter> {
        let further = self.further.iter_mut().flat_map(|further| further.iter_mut());
        self.slot.iter_mut().chain(further).filter(move |waiter| waiter.ticket == ticket)
    }

    /// Whether a waker that wakes the same task as `waker` is in place already.
    pub(crate) fn holds(&mut self, ticket: &Ticket, waker: &Waker) -> bool {
        ticket.has_place() && self.of(ticket.0).any(|waiter| waiter.waker.will_wake(waker))
    }

    /// Puts `waker` into the place of the ticket, which has a number, or into a free one.
    #[inline]
    pub(crate) fn place(&mut self, ticket: &Ticket, waker: Waker) -> Option<Displaced> {
        let waiter = Waiter { ticket: ticket.0, waker };
        if self.is_empty() {
            self.slot = Some(waiter);
            None
        } else {
            self.place_among(waiter)
        }
    }

    #[cold]
    fn place_among(&mut self, waiter: Waiter) -> Option<Displaced> {
        let is_other = waiter.ticket == SHARED;
        let places = if is_other { SHARED_PLACES } else { 1 };
        if self.of(waiter.ticket).count() >= places
            && let Some(placed) = self.of(waiter.ticket).next()
        {
            return Some(Displaced { waker: std::mem::replace(&mut placed.waker, waiter.waker), is_other });
        }
        if self.slot.is_none() {
            self.slot = Some(waiter);
        } else {
            self.further.get_or_insert_default().push(waiter);
        }
        None
    }

    /// Gives up the ticket's place.
    pub(crate) fn remove(&mut self, ticket: &Ticket) -> Option<Waker> {
        if let Some(waiter) = self.slot.take_if(|waiter| waiter.ticket == ticket.0) {
            return Some(waiter.waker);
        }
        let further = self.further.as_mut()?;
        let place = further.iter().position(|waiter| waiter.ticket == ticket.0)?;
        Some(further.swap_remove(place).waker)
    }

    /// Moves every waker to `wakers`; their operations find new places if they
    /// wait again.
    #[inline]
    pub(crate) fn take(&mut self, wakers: &mut Vec<Waker>) {
        if let Some(waiter) = self.slot.take() {
            wakers.push(waiter.waker);
        }
        if self.further.is_some() {
            self.take_further(wakers);
        }
    }

    #[cold]
    fn take_further(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.further.iter_mut().flat_map(|further| further.drain(..)).map(|waiter| waiter.waker));
    }

    /// The wakers in place.
    pub(crate) fn wakers(&self) -> impl Iterator<Item = &Waker> {
        let further = self.further.iter().flat_map(|further| further.iter());
        self.slot.iter().chain(further).map(|waiter| &waiter.waker)
    }
}

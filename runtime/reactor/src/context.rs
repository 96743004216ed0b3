//! What the thread knows: the reactor at which its sockets and timers register,
//! and its timer slack.

use std::cell::{Cell, RefCell};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::background;
use crate::reactor::{Batch, Reactor};
use crate::sync::per_thread;
use crate::sys;

/// The timer slack of a thread that waits for timers, in nanoseconds: the default
/// of 50 us would make every short sleep that much late (prctl(2)).
const SLACK: u64 = 1;

per_thread! {
    static ENTERED: RefCell<Vec<(u64, Arc<Reactor>)>> = const { RefCell::new(Vec::new()) };
    static ENTRIES: Cell<u64> = const { Cell::new(0) };
    // The address of the last of `ENTERED`, or 0.
    static LAST: Cell<usize> = const { Cell::new(0) };
    static SLACK_BEFORE: Cell<Option<u64>> = const { Cell::new(None) };
    static BATCH: Cell<Option<Batch>> = const { Cell::new(None) };
}

/// The thread registers at the reactor that it has entered, until this is
/// dropped; then at the one before. Made by [`Reactor::enter`].
#[must_use = "dropping it leaves the reactor"]
#[derive(Debug)]
pub struct Entered {
    number: u64,
    /// Belongs to the thread whose context it changes.
    thread: PhantomData<*const ()>,
}

pub(crate) fn enter(reactor: &Arc<Reactor>) -> Entered {
    let number = ENTRIES.with(|entries| entries.replace(entries.get() + 1));
    // A thread whose locals are gone has no context to enter: a runtime may be dropped on it.
    let _gone = ENTERED.try_with(|entered| {
        entered.borrow_mut().push((number, Arc::clone(reactor)));
        note_last(&entered.borrow());
    });
    Entered { number, thread: PhantomData }
}

fn note_last(entered: &[(u64, Arc<Reactor>)]) {
    let last = entered.last().map_or(0, |(_, reactor)| Arc::as_ptr(reactor).addr());
    LAST.with(|place| place.set(last));
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let place = entered.iter().rposition(|(number, _)| *number == self.number);
            let left = place.map(|place| entered.remove(place));
            note_last(&entered);
            (left, entered.is_empty())
        });
        let outermost = matches!(left, Ok((_, true)));
        // Dropped outside the borrow: the last reference closes descriptors.
        drop(left);
        if outermost && let Ok(Some(slack)) = SLACK_BEFORE.try_with(Cell::take) {
            sys::set_timer_slack(slack);
        }
    }
}

/// The address of the reactor that the thread has entered last, or 0.
#[inline]
pub(crate) fn entered() -> usize {
    LAST.try_with(Cell::get).unwrap_or_default()
}

/// Calls `visit` with the reactor of this thread: the one that it has entered, or
/// else the background reactor, which is started if need be.
///
/// # Errors
/// Those of starting the background reactor.
pub(crate) fn with_current<R>(visit: impl FnOnce(&Arc<Reactor>) -> R) -> io::Result<R> {
    let mut visit = Some(visit);
    let visited = ENTERED.try_with(|entered| {
        let entered = entered.borrow();
        let (_, reactor) = entered.last()?;
        visit.take().map(|visit| visit(reactor))
    });
    match (visited, visit) {
        (Ok(Some(result)), _) => Ok(result),
        (_, Some(visit)) => Ok(visit(background::reactor()?)),
        // `visit` is taken only where its result is returned.
        (_, None) => unreachable!("the visit has neither happened nor not happened"),
    }
}

/// Whether sources and timers can be waited for on this thread: it has entered a
/// reactor, or the background one runs or can be started.
pub fn can_wait() -> bool {
    with_current(|_| ()).is_ok()
}

/// Sharpens the timers of this thread, before its first wait with a time-out.
pub(crate) fn sharpen() {
    SLACK_BEFORE
        .try_with(|before| {
            if before.get().is_none()
                && let Some(slack) = sys::timer_slack()
            {
                before.set(Some(slack));
                sys::set_timer_slack(SLACK);
            }
        })
        .ok();
}

/// The buffers of this thread's turns, so that a turn allocates nothing. A turn
/// inside a turn (a waker that turns) finds none and makes its own.
pub(crate) fn take_batch() -> Batch {
    BATCH.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

pub(crate) fn give_batch(batch: Batch) {
    BATCH.try_with(|place| place.set(Some(batch))).ok();
}

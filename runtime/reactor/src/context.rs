//! What the thread knows: the reactor at which its sockets and timers register,
//! and its timer slack.

use std::cell::{Cell, RefCell};
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use crate::background;
use crate::reactor::{Batch, Reactor};
use crate::sync::per_thread;
use crate::sys;

/// The timer slack of a thread that waits for timers, in nanoseconds: the default
/// of 50 us would make every short sleep that much late (prctl(2)).
const SLACK: u64 = 1;

per_thread! {
    static ENTERED: RefCell<Vec<(u64, Weak<Reactor>)>> = const { RefCell::new(Vec::new()) };
    // The reactor that was left last, if any: to enter it again writes no count of
    // references that other threads write. Keeps its memory, but no descriptor.
    static LEFT: Cell<Weak<Reactor>> = const { Cell::new(Weak::new()) };
    // A reference for the next who needs one. Mostly to the last of `ENTERED`; to none, if
    // the thread has entered none.
    static SPARE: Cell<Option<Arc<Reactor>>> = const { Cell::new(None) };
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
    let left = LEFT.try_with(Cell::take).ok().filter(|left| left.as_ptr() == Arc::as_ptr(reactor));
    let reactor = left.unwrap_or_else(|| Arc::downgrade(reactor));
    // A thread whose locals are gone has no context to enter: a runtime may be dropped on it.
    let _gone = ENTERED.try_with(|entered| {
        LAST.with(|last| last.set(reactor.as_ptr().addr()));
        entered.borrow_mut().push((number, reactor));
    });
    Entered { number, thread: PhantomData }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let left = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let place = entered.iter().rposition(|(number, _)| *number == self.number)?;
            // Nearly always the last, and moving nothing is a call, too.
            let left = entered.pop_if(|(number, _)| *number == self.number);
            let (_, reactor) = left.unwrap_or_else(|| entered.remove(place));
            LAST.with(|last| last.set(entered.last().map_or(0, |(_, reactor)| reactor.as_ptr().addr())));
            Some((reactor, entered.is_empty()))
        });
        let Ok(Some((reactor, outermost))) = left else { return };
        LEFT.try_with(|left| left.set(reactor)).ok();
        // Outside the borrow: the last reference closes descriptors.
        drop(SPARE.try_with(Cell::take));
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

/// The reactor of this thread: the one that it has entered, if somebody keeps that, or
/// else the background reactor, which is started if need be.
///
/// # Errors
/// Those of starting the background reactor.
pub(crate) fn current() -> io::Result<Arc<Reactor>> {
    let spare = SPARE.try_with(Cell::take).ok().flatten().filter(|spare| Arc::as_ptr(spare).addr() == entered());
    let kept = || ENTERED.try_with(|entered| entered.borrow().last()?.1.upgrade()).ok()?;
    spare.or_else(kept).map_or_else(|| background::reactor().cloned(), Ok)
}

/// Gives back what [`current`] has returned, for the next call. No thread keeps what it
/// has not entered.
pub(crate) fn give_back(reactor: Arc<Reactor>) {
    if Arc::as_ptr(&reactor).addr() == entered() {
        SPARE.try_with(|spare| spare.set(Some(reactor))).ok();
    }
}

/// Calls `visit` with the [`current`] reactor.
///
/// # Errors
/// As [`current`].
pub(crate) fn with_current<R>(visit: impl FnOnce(&Arc<Reactor>) -> R) -> io::Result<R> {
    let current = current()?;
    let result = visit(&current);
    give_back(current);
    Ok(result)
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

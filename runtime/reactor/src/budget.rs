//! How many operations a task may still do in this poll.
//!
//! A socket that is always ready would let its task run for ever. So each
//! operation spends one of a task's budget, and one that finds it spent wakes the
//! task and returns `Pending`: the task goes on after the others had their turn.
//! Our executor grants [`PER_POLL`] before each poll; on threads that it does not
//! run on, the budget is without limit.

use std::cell::Cell;
use std::task::{Context, Poll};

/// The operations that one poll of a task may do.
pub const PER_POLL: u32 = 128;

/// More than is ever spent.
const UNLIMITED: i64 = i64::MAX;

thread_local! {
    static LEFT: Cell<i64> = const { Cell::new(UNLIMITED) };
}

/// Grants [`PER_POLL`] operations: called before each poll of a task.
#[inline]
pub fn reset() {
    // A thread whose locals are gone has no budget to keep.
    LEFT.try_with(|left| left.set(PER_POLL.into())).ok();
}

/// Whether no limit is set: on threads that our executor does not run on.
pub fn is_unlimited() -> bool {
    LEFT.try_with(Cell::get).unwrap_or(UNLIMITED) > PER_POLL.into()
}

/// Lifts the limit: called when the executor leaves the thread.
pub fn lift() {
    LEFT.try_with(|left| left.set(UNLIMITED)).ok();
}

/// Ready as long as the budget is not spent; otherwise wakes the task and returns
/// `Pending`.
#[inline]
pub fn poll_left(cx: &mut Context<'_>) -> Poll<()> {
    if is_spent() {
        cx.waker().wake_by_ref();
        Poll::Pending
    } else {
        Poll::Ready(())
    }
}

/// Whether nothing is left in this poll.
#[inline]
pub fn is_spent() -> bool {
    LEFT.try_with(Cell::get).unwrap_or(UNLIMITED) <= 0
}

/// Takes one operation off the budget: called when an operation has done its
/// work.
#[inline]
pub fn spend() {
    LEFT.try_with(|left| left.set(left.get() - 1)).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    #[test]
    fn the_budget_ends_and_is_granted_anew() {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(poll_left(&mut cx).is_ready());
        reset();
        for _ in 0..PER_POLL {
            assert!(poll_left(&mut cx).is_ready());
            spend();
        }
        assert!(poll_left(&mut cx).is_pending());
        reset();
        assert!(poll_left(&mut cx).is_ready());
        lift();
        for _ in 0..PER_POLL * 2 {
            spend();
        }
        assert!(poll_left(&mut cx).is_ready());
    }
}

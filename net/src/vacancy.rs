//! Tells who waits for a descriptor to become free that one of our sockets has
//! been closed.
//!
//! A watch counts itself, then notes how many vacancies there were, then tries
//! once more to get a descriptor, and only then waits for the count to change.
//! A socket is closed first and looks for watches afterwards. The kernel opens
//! and closes descriptors under one lock: a try that fails comes before the close
//! there, so the close comes after the watch was counted, and sees it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many watches there are: what a close looks at, and mostly all.
static WATCHES: AtomicUsize = AtomicUsize::new(0);

static BOARD: Mutex<Board> = Mutex::new(Board {
    vacancies: 0,
    last: 0,
    waiting: Vec::new(),
});

struct Board {
    /// Sockets closed while there were watches.
    vacancies: u64,
    /// The last number given to a watch.
    last: u64,
    waiting: Vec<(u64, Waker)>,
}

fn board() -> MutexGuard<'static, Board> {
    // No foreign code runs under the lock, so poison means nothing.
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Announces a vacancy when it is dropped: to be kept beside a descriptor, and
/// dropped after it.
#[derive(Debug)]
pub(crate) struct Occupancy;

impl Drop for Occupancy {
    fn drop(&mut self) {
        // SeqCst: after the close in every thread's eyes; see the module's head.
        if WATCHES.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut board = board();
        board.vacancies += 1;
        let waiting = std::mem::take(&mut board.waiting);
        drop(board);
        for (_, waker) in waiting {
            waker.wake();
        }
    }
}

/// A wait for the next vacancy.
#[derive(Debug)]
pub(crate) struct Watch {
    number: u64,
    /// How many vacancies this watch knows of.
    seen: u64,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        // SeqCst: before the next try for a descriptor; see the module's head.
        WATCHES.fetch_add(1, Ordering::SeqCst);
        let mut board = board();
        board.last += 1;
        Watch {
            number: board.last,
            seen: board.vacancies,
        }
    }

    /// Ready if there was a vacancy since the last time, or since the watch was
    /// made.
    pub(crate) fn poll_vacancy(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned and dropped outside the lock: that is foreign code.
        let waker = cx.waker().clone();
        let mut board = board();
        if board.vacancies != self.seen {
            self.seen = board.vacancies;
            drop(board);
            return Poll::Ready(());
        }
        let number = self.number;
        let before = match board.waiting.iter_mut().find(|(other, _)| *other == number) {
            Some((_, placed)) => Some(std::mem::replace(placed, waker)),
            None => {
                board.waiting.push((number, waker));
                None
            }
        };
        drop(board);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHES.fetch_sub(1, Ordering::SeqCst);
        let mut board = board();
        let place = board
            .waiting
            .iter()
            .position(|(number, _)| *number == self.number);
        let waiter = place.map(|place| board.waiting.swap_remove(place));
        drop(board);
        drop(waiter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vacancy_is_seen_once_by_every_watch() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (Watch::new(), Watch::new());
        assert!(first.poll_vacancy(&mut cx).is_pending());
        drop(Occupancy);
        // `second` has not waited yet, and must not miss it.
        assert!(first.poll_vacancy(&mut cx).is_ready());
        assert!(second.poll_vacancy(&mut cx).is_ready());
        assert!(first.poll_vacancy(&mut cx).is_pending());
    }
}

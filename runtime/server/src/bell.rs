//! A condition that tasks wait for.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use slab::Slab;

/// Wakes all who wait, each time that it is rung.
///
/// A waiter leaves its waker first and looks at the condition then; whoever changes
/// the condition rings afterwards. The lock orders the two: a ring that did not find
/// the waker came before it, and so did the change.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// How often it was rung: a place is of one round.
    round: u64,
    wakers: Slab<Waker>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No foreign code runs under the lock, so poison means nothing.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ring(&self) {
        let mut waiting = self.lock();
        waiting.round += 1;
        if waiting.wakers.is_empty() {
            return;
        }
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        for (_, waker) in wakers {
            waker.wake();
        }
    }

    /// A place among those who wait.
    pub(crate) fn ear(&self) -> Ear<'_> {
        Ear { bell: self, place: None }
    }

    /// Waits until `check`, polled whenever the bell is rung, is ready.
    pub(crate) async fn until<R>(&self, mut check: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
        let mut ear = self.ear();
        poll_fn(|cx| {
            ear.listen(cx);
            check(cx)
        })
        .await
    }
}

/// Ready when something holds.
pub(crate) fn when(holds: bool) -> Poll<()> {
    if holds { Poll::Ready(()) } else { Poll::Pending }
}

/// A waiter's place; given up on drop.
#[derive(Debug)]
pub(crate) struct Ear<'a> {
    bell: &'a Bell,
    /// The round and the key of the waker.
    place: Option<(u64, usize)>,
}

impl Ear<'_> {
    /// Has the task woken by the next ring. The condition is to be looked at
    /// afterwards.
    pub(crate) fn listen(&mut self, cx: &Context<'_>) {
        // Cloned and dropped outside the lock: that is foreign code.
        let waker = cx.waker().clone();
        let mut waiting = self.bell.lock();
        let before = match self.place {
            Some((round, key)) if round == waiting.round => {
                waiting.wakers.get_mut(key).map(|placed| std::mem::replace(placed, waker))
            }
            _ => {
                self.place = Some((waiting.round, waiting.wakers.insert(waker)));
                None
            }
        };
        drop(waiting);
        drop(before);
    }
}

impl Drop for Ear<'_> {
    fn drop(&mut self) {
        if let Some((round, key)) = self.place {
            let mut waiting = self.bell.lock();
            let waker = (round == waiting.round).then(|| waiting.wakers.try_remove(key)).flatten();
            drop(waiting);
            drop(waker);
        }
    }
}

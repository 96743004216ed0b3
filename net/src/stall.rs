//! Time-outs for streams whose peer neither sends nor takes anything.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bourn_reactor::{Direction, Sleep};

/// The time-outs of a socket, for which it pays only when one was set.
#[derive(Debug, Default)]
pub(crate) struct Stalls(OnceLock<Box<[Mutex<Option<Stall>>; 2]>>);

#[derive(Debug)]
struct Stall {
    limit: Duration,
    /// When the stall is long enough, while somebody waits. It stays in its wheel
    /// afterwards, where moving it ahead costs no more than storing the deadline.
    sleep: Sleep,
    waits: bool,
}

impl Stalls {
    fn of(&self, direction: Direction) -> Option<MutexGuard<'_, Option<Stall>>> {
        let of = &self.0.get()?[direction as usize];
        // No foreign code runs under the lock, so poison means nothing.
        Some(of.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, direction: Direction, limit: Option<Duration>) {
        self.0.get_or_init(Box::default);
        let stall = limit.map(|limit| Stall { limit, sleep: Sleep::after(limit), waits: false });
        let before = self.of(direction).map(|mut of| std::mem::replace(&mut *of, stall));
        drop(before);
    }

    pub(crate) fn get(&self, direction: Direction) -> Option<Duration> {
        self.of(direction)?.as_ref().map(|stall| stall.limit)
    }

    /// Something was read or written: the next stall begins with the next wait.
    pub(crate) fn progress(&self, direction: Direction) {
        if let Some(mut of) = self.of(direction)
            && let Some(stall) = &mut *of
        {
            stall.waits = false;
        }
    }

    /// Called by whoever has to wait: ready when that has been so for too long.
    pub(crate) fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Error> {
        // Taken out meanwhile: the waker is foreign code.
        let Some(mut stall) = self.of(direction).and_then(|mut of| of.take()) else {
            return Poll::Pending;
        };
        if !stall.waits {
            stall.waits = true;
            stall.sleep.reset(Sleep::after(stall.limit).deadline());
        }
        let over = Pin::new(&mut stall.sleep).poll(cx);
        stall.waits = over.is_pending();
        let unwanted = self.of(direction).and_then(|mut of| match &*of {
            // Another was set in between.
            Some(_) => Some(stall),
            None => of.replace(stall),
        });
        drop(unwanted);
        over.map(|()| io::ErrorKind::TimedOut.into())
    }
}

/// What `future` comes to, or none when `end` was first.
pub(crate) async fn before<R>(end: &mut Sleep, future: impl Future<Output = R>) -> Option<R> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => Pin::new(&mut *end).poll(cx).map(|()| None),
    })
    .await
}

//! Time-outs for streams whose peer neither sends nor takes anything.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bourn_reactor::{Direction, Sleep};

/// The time-outs of a socket.
#[derive(Debug, Default)]
pub(crate) struct Stalls([Mutex<Stall>; 2]);

#[derive(Debug, Default)]
struct Stall {
    limit: Option<Duration>,
    /// When the stall is long enough, while somebody waits; elsewhere while it is
    /// polled. It stays in its wheel afterwards, where moving it ahead costs no more
    /// than storing the deadline.
    sleep: Option<Sleep>,
    waits: bool,
}

impl Stalls {
    fn of(&self, direction: Direction) -> MutexGuard<'_, Stall> {
        // No foreign code runs under the lock, so poison means nothing.
        self.0[direction as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, direction: Direction, limit: Option<Duration>) {
        let mut of = self.of(direction);
        of.limit = limit;
        // Whoever waits by the limit before waits by this one, from now on.
        if let (Some(limit), Some(sleep)) = (limit, &mut of.sleep) {
            sleep.reset(Sleep::after(limit).deadline());
        }
    }

    pub(crate) fn get(&self, direction: Direction) -> Option<Duration> {
        self.of(direction).limit
    }

    /// Something was read or written: the next stall begins with the next wait.
    #[cold]
    pub(crate) fn progress(&self, direction: Direction) {
        self.of(direction).waits = false;
    }

    /// Called by whoever has to wait: ready when that has been so for too long. Of
    /// several, the last is told.
    #[cold]
    pub(crate) fn poll(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<io::Error> {
        let mut of = self.of(direction);
        let Some(limit) = of.limit else { return Poll::Pending };
        // Taken out meanwhile: the waker is foreign code.
        let mut sleep = of.sleep.take().unwrap_or_else(|| Sleep::after(limit));
        if !std::mem::replace(&mut of.waits, true) {
            sleep.reset(Sleep::after(limit).deadline());
        }
        drop(of);
        let over = Pin::new(&mut sleep).poll(cx);
        let mut of = self.of(direction);
        of.waits &= over.is_pending();
        // Another was set in between.
        if let Some(now) = of.limit.filter(|now| *now != limit) {
            sleep.reset(Sleep::after(now).deadline());
        }
        let unwanted = of.sleep.replace(sleep);
        drop(of);
        drop(unwanted);
        over.map(|()| io::ErrorKind::TimedOut.into())
    }
}

/// What `future` comes to, or none when `end` was first.
pub(crate) async fn before<R>(end: &mut Sleep, future: impl Future<Output = R>) -> Option<R> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        // First, for the other may use up what this task may do.
        let over = Pin::new(&mut *end).poll(cx);
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => over.map(|()| None),
        }
    })
    .await
}

//! hyper 1: the executor and the timer that it asks for. Its traits of input and output
//! are those of [streams](crate::net) and their halves.
//!
//! Give a server both: without a timer, hyper's limit of 30 seconds for the head of a
//! request does nothing, and says so to nobody.
//!
//! ```
//! use std::time::Duration;
//! use hyper::rt::Timer as _;
//!
//! bourn::block_on(async {
//!     bourn::hyper::Timer.sleep(Duration::from_millis(1)).await;
//! });
//! ```

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt;

use crate::task::{spawn, spawn_local};
use crate::time;

/// Starts what hyper has to run beside a connection as [tasks](crate::spawn) of this
/// thread's runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executor;

impl<T: Send + 'static, F: Future<Output = T> + Send + 'static> rt::Executor<F> for Executor {
    /// # Panics
    /// If the thread is in no runtime.
    #[track_caller]
    fn execute(&self, future: F) {
        drop(spawn(future));
    }
}

/// Like [`Executor`], for [tasks of this thread](crate::spawn_local): services and
/// bodies need not be `Send`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

impl<T: 'static, F: Future<Output = T> + 'static> rt::Executor<F> for LocalExecutor {
    /// # Panics
    /// If the thread is neither inside `block_on` nor a worker.
    #[track_caller]
    fn execute(&self, future: F) {
        drop(spawn_local(future));
    }
}

/// Serves hyper's time-outs from the reactor that serves [`time`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Timer;

struct Sleep(time::Sleep);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl rt::Sleep for Sleep {}

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(time::sleep(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(time::sleep_until(deadline)))
    }

    /// Keeps the allocation, and in most cases the place among the timers.
    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<Sleep>() {
            Some(ours) => ours.get_mut().0.reset(deadline),
            None => *sleep = self.sleep_until(deadline),
        }
    }
}

//! Waiting for moments: sleeps, time-outs, intervals.
//!
//! Everything here works under any executor. Nothing is ever early. How late it
//! is depends on the backend: some tens of microseconds on `epoll`, `poll` and
//! `select`, up to a millisecond on `mio`; on how long tasks hold their thread; and,
//! where more than 20,000 timers of a reactor fire in a second, on those that come due up
//! to a millisecond later and fire with them.
//!
//! Moments are [`std::time::Instant`]s: `CLOCK_MONOTONIC`, which does not count
//! the time that the system is suspended (`clock_gettime(2)`).

mod interval;
mod timeout;

use std::time::{Duration, Instant};

pub use bourn_reactor::Sleep;
pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};

/// Waits for `duration`, counted from this call.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// # bourn::block_on(async {
/// let start = Instant::now();
/// bourn::time::sleep(Duration::from_millis(2)).await;
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// # });
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::after(duration)
}

/// Waits until `deadline`.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::until(deadline)
}

//! Moments at equal distances.

use std::future::poll_fn;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bourn_reactor::Sleep;

use crate::misuse;

/// Ticks now, and then every `period`.
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
/// # bourn::block_on(async {
/// let mut interval = bourn::time::interval(Duration::from_millis(2));
/// let first = interval.tick().await;
/// let second = interval.tick().await;
/// assert_eq!(second - first, Duration::from_millis(2));
/// # });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start`, and then every `period`.
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "{}", misuse::zero_period(Location::caller()));
    Interval { sleep: Sleep::until(start), period, missed: MissedTickBehavior::Burst }
}

/// No tick is on time to the nanosecond: this much counts as on time.
const LATE: Duration = Duration::from_millis(5);

/// What an [`Interval`] does when ticks were awaited too late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Ticks at once for each one that was missed, and is then on time again.
    #[default]
    Burst,
    /// Counts the period from the tick that was late, if it was by more than 5 ms.
    Delay,
    /// Leaves out what was missed, and goes on with the next one that is due.
    Skip,
}

/// Made by [`interval`] and [`interval_at`].
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick; returns the moment for which it was meant.
    ///
    /// # Cancel safety
    /// No tick is lost when it is dropped.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Ready at the next tick.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let tick = self.sleep.deadline();
        let next = self.next_after(tick, Instant::now());
        self.sleep.reset(next);
        Poll::Ready(tick)
    }

    fn next_after(&self, tick: Instant, now: Instant) -> Instant {
        let next = match self.missed {
            MissedTickBehavior::Delay if now.saturating_duration_since(tick) > LATE => now.checked_add(self.period),
            MissedTickBehavior::Burst | MissedTickBehavior::Delay => tick.checked_add(self.period),
            MissedTickBehavior::Skip => {
                let late = now.saturating_duration_since(tick).as_nanos();
                let over = late % self.period.as_nanos();
                // Less than the period, so it fits again.
                let over = Duration::from_nanos_u128(over);
                now.checked_add(self.period - over)
            }
        };
        next.unwrap_or_else(|| Sleep::after(Duration::MAX).deadline())
    }

    /// Ticks next one period from now.
    pub fn reset(&mut self) {
        let next = Sleep::after(self.period).deadline();
        self.sleep.reset(next);
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What is done about ticks that were missed.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what is done about ticks that were missed. Default:
    /// [`Burst`](MissedTickBehavior::Burst).
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(behavior: MissedTickBehavior, late: u64) -> Duration {
        let start = Instant::now();
        let mut interval = interval_at(start, Duration::from_millis(10));
        interval.set_missed_tick_behavior(behavior);
        interval.next_after(start, start + Duration::from_millis(late)) - start
    }

    #[test]
    fn a_tick_on_time_is_followed_one_period_later() {
        for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            assert_eq!(next(behavior, 0), Duration::from_millis(10));
            assert_eq!(next(behavior, 4), Duration::from_millis(10));
        }
    }

    #[test]
    fn missed_ticks_burst_delay_or_are_skipped() {
        assert_eq!(next(MissedTickBehavior::Burst, 35), Duration::from_millis(10));
        assert_eq!(next(MissedTickBehavior::Delay, 35), Duration::from_millis(45));
        assert_eq!(next(MissedTickBehavior::Skip, 35), Duration::from_millis(40));
        assert_eq!(next(MissedTickBehavior::Skip, 40), Duration::from_millis(50));
    }

    #[test]
    #[should_panic(expected = "with a period of zero")]
    fn a_period_of_zero_is_refused() {
        drop(interval(Duration::ZERO));
    }
}

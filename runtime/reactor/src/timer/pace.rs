//! How exact timers are while very many of them fire.
//!
//! A thread that sleeps until each of 100,000 deadlines a second does little else than
//! going to sleep. So when timers have been firing at a rate of a crowd for a while,
//! further ones may be late by a share of that while, and by [`MOST`] at the most: those
//! that come due meanwhile fire together. One timer that fires after a pause ends that;
//! few timers, and idle ones, are as exact as the kernel.

/// A crowd is at least one timer in this time (nanoseconds).
const CROWD: u64 = 50_000;
/// The share of the time for which there has been a crowd: one part in so many.
const SHARE: u64 = 8;
/// How late a timer of a crowd may be (nanoseconds).
const MOST: u64 = 1_000_000;

#[derive(Default)]
pub(crate) struct Pace {
    /// When timers fired last.
    last: u64,
    /// Since when there has been a crowd.
    crowded: u64,
}

impl Pace {
    /// Notes how many timers have `fired` at `now`; returns until when the next ones may
    /// wait for others.
    pub(crate) fn next(&mut self, now: u64, fired: usize) -> u64 {
        if fired == 0 {
            return now;
        }
        let since_last = now.saturating_sub(self.last);
        if self.last == 0 || since_last > CROWD.saturating_mul(fired as u64) {
            self.crowded = now;
        }
        self.last = now;
        now.saturating_add((now.saturating_sub(self.crowded) / SHARE).min(MOST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_000_000_000;

    /// Fires one timer in `every` nanoseconds, as exactly as the pace allows, for 20 ms;
    /// returns how often somebody had to get up, and how late the latest was.
    fn run(every: u64) -> (u64, u64) {
        let mut pace = Pace::default();
        let (mut turns, mut latest) = (0, 0);
        let (mut now, mut deadline) = (START, START);
        while now < START + 20_000_000 {
            let fired = (now - deadline) / every + 1;
            latest = latest.max(now - deadline);
            deadline += fired * every;
            now = deadline.max(pace.next(now, fired as usize));
            turns += 1;
        }
        (turns, latest)
    }

    #[test]
    fn few_timers_are_exact() {
        for every in [51_000, 100_000, 1_000_000] {
            assert_eq!(run(every).1, 0, "one in {every} ns");
        }
    }

    #[test]
    fn a_crowd_fires_together() {
        let (turns, latest) = run(10_000);
        assert!(turns < 100, "2,000 timers took {turns} turns");
        assert!(0 < latest && latest <= MOST, "{latest} ns");
    }

    #[test]
    fn a_short_crowd_stays_exact() {
        let mut pace = Pace::default();
        for number in 0..10 {
            let now = START + number * 1_000;
            assert!(pace.next(now, 1) <= now + 10_000 / SHARE);
        }
        let later = START + 200_000;
        assert_eq!(pace.next(later, 1), later, "the pause has ended it");
    }

    #[test]
    fn nothing_fired_says_nothing() {
        let mut pace = Pace::default();
        let _ = pace.next(START, 1);
        assert_eq!(pace.next(START + 10, 0), START + 10);
        assert_eq!(pace.last, START);
    }
}

//! Durations by count: 64 steps for each power of two, so a percentile is right to 1.6 %.

use std::time::Duration;

const STEPS: u32 = 6;
/// For every value that there is.
const SLOTS: usize = (64 - STEPS as usize + 1) << STEPS;

#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u32; SLOTS]>,
    total: u64,
    worst: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: Box::new([0; SLOTS]), total: 0, worst: 0 }
    }
}

impl Histogram {
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.counts[slot(nanoseconds)] += 1;
        self.total += 1;
        self.worst = self.worst.max(nanoseconds);
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts.iter()) {
            *mine += theirs;
        }
        self.total += other.total;
        self.worst = self.worst.max(other.worst);
    }

    pub fn count(&self) -> u64 {
        self.total
    }

    /// So many of a thousand are no longer than this.
    pub fn per_mille(&self, wanted: u64) -> Duration {
        let rank = (self.total * wanted).div_ceil(1000).max(1);
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Duration::from_nanos(lowest(slot + 1).min(self.worst));
            }
        }
        Duration::ZERO
    }
}

#[inline]
fn slot(value: u64) -> usize {
    let power = (value | 1).ilog2().saturating_sub(STEPS);
    ((u64::from(power) << STEPS) + (value >> power)) as usize
}

/// The least value of a slot.
fn lowest(slot: usize) -> u64 {
    let slot = slot as u64;
    let power = (slot >> STEPS).saturating_sub(1);
    (slot - (power << STEPS)) << power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_slot_that_begins_at_or_below_it() {
        assert_eq!(slot(u64::MAX), SLOTS - 1);
        for value in (0..100_000).chain((20..40).map(|power| (1 << power) + 12_345)) {
            let slot = slot(value);
            assert!(lowest(slot) <= value && value < lowest(slot + 1), "{value} in {slot}");
            assert!(lowest(slot + 1) - lowest(slot) <= value / 64 + 1, "{value}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|value| histogram.record(value * 1000));
        for wanted in [500, 990, 999, 1000] {
            let found = histogram.per_mille(wanted).as_nanos() as f64;
            let exact = wanted as f64 * 1000.0;
            assert!((exact..=exact * 1.02).contains(&found), "{wanted}: {found}");
        }
        assert_eq!(histogram.per_mille(1000), Duration::from_micros(1000));
    }
}

//! Numbers that look like chance and are the same in every run.

/// Marsaglia's xorshift.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        // A small seed would begin with small numbers.
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Above 0, and at most 1.
    pub fn share(&mut self) -> f64 {
        ((self.number() >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    }

    /// So many numbers in some order.
    pub fn order(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, (self.number() % (last as u64 + 1)) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_always_follows_the_same() {
        let mut random = Random::new(0);
        let mut before = std::collections::BTreeSet::new();
        for _ in 0..40 {
            let order = random.order(4);
            let place = order.iter().position(|who| *who == 1).expect("all are in it");
            before.insert(place.checked_sub(1).map(|place| order[place]));
            let mut all = order;
            all.sort_unstable();
            assert_eq!(all, [0, 1, 2, 3]);
        }
        assert_eq!(before.len(), 4, "{before:?}");
    }
}

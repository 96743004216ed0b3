//! The wheel against a sorted model, and bounds on how often it wakes a sleeper.
//!
//! Each property is tried on 3,000 cases, or on as many as `BOURN_WHEEL_CASES` says.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestCaseResult, TestRunner};

use super::{DIGIT_BITS, Key, LEVELS, NEVER, SLOTS_PER_LEVEL, TICK_BITS, Wheel, level, tick};

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const YEAR: u64 = 365 * DAY;

/// A point in time, told in a way that shrinks well and hits the edges of slots.
#[derive(Clone, Debug)]
enum Time {
    Before(u64),
    After(u64),
    /// The next multiple of a level's slot size, and 1 ns to either side of it.
    Boundary {
        level: usize,
        offset: i64,
    },
    /// The deadline of a timer of the model, and 1 ns to either side of it.
    Deadline {
        nth: usize,
        offset: i64,
    },
    BeforeEnd(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Time),
    Remove(usize),
    Reset(usize, Time),
    Replace(usize),
    /// Moves the clock, never back, and expires.
    Advance(Time),
    /// Expires at a time that may lie before the clock, and leaves the clock alone.
    Late(Time),
    Drain,
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        4 => (0..200_000_u64).prop_map(Time::After),
        2 => (0..SECOND).prop_map(Time::After),
        1 => (0..YEAR).prop_map(Time::After),
        1 => any::<u64>().prop_map(Time::After),
        1 => (0..SECOND).prop_map(Time::Before),
        3 => (0..LEVELS, -1..=1_i64).prop_map(|(level, offset)| Time::Boundary { level, offset }),
        3 => (any::<usize>(), -1..=1_i64).prop_map(|(nth, offset)| Time::Deadline { nth, offset }),
    ]
}

fn time_or_end() -> impl Strategy<Value = Time> {
    prop_oneof![20 => time(), 1 => (0..3_u64).prop_map(Time::BeforeEnd)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => time_or_end().prop_map(Step::Insert),
        3 => any::<usize>().prop_map(Step::Remove),
        4 => (any::<usize>(), time_or_end()).prop_map(|(nth, to)| Step::Reset(nth, to)),
        1 => any::<usize>().prop_map(Step::Replace),
        8 => time().prop_map(Step::Advance),
        1 => (0..3_u64).prop_map(|left| Step::Advance(Time::BeforeEnd(left))),
        1 => time().prop_map(Step::Late),
        1 => Just(Step::Drain),
    ]
}

/// A wheel beside the sorted map that it must not be told from.
struct Pair {
    wheel: Wheel<u64>,
    /// Deadline and order of insertion, to value.
    model: BTreeMap<(u64, u64), u64>,
    /// Every key ever handed out with its place in the model, fired and removed ones included.
    keys: Vec<(Key, Option<(u64, u64)>)>,
    now: u64,
    next_value: u64,
    /// Removals and resets so far: what may make `earliest` a lower bound instead of the minimum.
    disturbances: u64,
    /// Calls of `expire` at the time of `earliest` that found nothing.
    fruitless: u64,
}

impl Pair {
    fn new() -> Self {
        Pair {
            wheel: Wheel::new(),
            model: BTreeMap::new(),
            keys: Vec::new(),
            now: 0,
            next_value: 0,
            disturbances: 0,
            fruitless: 0,
        }
    }

    fn resolve(&self, time: &Time) -> u64 {
        match *time {
            Time::Before(by) => self.now.saturating_sub(by),
            Time::After(by) => self.now.saturating_add(by),
            Time::BeforeEnd(left) => u64::MAX - left,
            Time::Boundary { level, offset } => {
                let bits = TICK_BITS + DIGIT_BITS * level as u32;
                let boundary = u128::from((self.now >> bits) + 1) << bits;
                u64::try_from(boundary).unwrap_or(u64::MAX).saturating_add_signed(offset)
            }
            Time::Deadline { nth, offset } => match self.model.len() {
                0 => self.now,
                len => {
                    let (&(deadline, _), _) = self.model.iter().nth(nth % len).unwrap();
                    deadline.saturating_add_signed(offset)
                }
            },
        }
    }

    fn insert(&mut self, deadline: u64) {
        let value = self.next_value;
        self.next_value += 1;
        let place = (deadline, self.keys.len() as u64);
        self.keys.push((self.wheel.insert(deadline, value), Some(place)));
        self.model.insert(place, value);
    }

    fn remove(&mut self, nth: usize) -> TestCaseResult {
        let Some(nth) = nth.checked_rem(self.keys.len()) else {
            return Ok(());
        };
        let (key, place) = &mut self.keys[nth];
        let expected = place.take().and_then(|place| self.model.remove(&place));
        prop_assert_eq!(self.wheel.remove(*key), expected);
        self.disturbances += u64::from(expected.is_some());
        Ok(())
    }

    fn reset(&mut self, nth: usize, deadline: u64) -> TestCaseResult {
        let Some(nth) = nth.checked_rem(self.keys.len()) else {
            return Ok(());
        };
        let (key, place) = &mut self.keys[nth];
        let live = match place {
            Some(place) => {
                let value = self.model.remove(place).unwrap();
                place.0 = deadline;
                self.model.insert(*place, value);
                self.disturbances += 1;
                true
            }
            None => false,
        };
        prop_assert_eq!(self.wheel.reset(key, deadline), live);
        Ok(())
    }

    fn replace(&mut self, nth: usize) -> TestCaseResult {
        let Some(nth) = nth.checked_rem(self.keys.len()) else {
            return Ok(());
        };
        let (key, place) = &self.keys[nth];
        let mut expected = place.map(|place| self.model.get_mut(&place).unwrap());
        let mut found = self.wheel.get_mut(key);
        prop_assert_eq!(&found, &expected);
        if let (Some(found), Some(expected)) = (&mut found, &mut expected) {
            **found = self.next_value;
            **expected = self.next_value;
            self.next_value += 1;
        }
        Ok(())
    }

    /// Returns how many timers fired.
    fn expire(&mut self, now: u64) -> Result<usize, TestCaseError> {
        let mut expected = Vec::new();
        while let Some(first) = self.model.first_entry() {
            let (deadline, nth) = *first.key();
            if deadline > now || deadline == NEVER {
                break;
            }
            self.keys[nth as usize].1 = None;
            expected.push(first.remove());
        }
        let mut fired = Vec::new();
        self.wheel.expire(now, &mut fired);
        prop_assert_eq!(&fired, &expected, "at {}", now);
        Ok(fired.len())
    }

    fn drain(&mut self) -> TestCaseResult {
        let mut drained = Vec::new();
        self.wheel.drain(&mut drained);
        drained.sort_unstable();
        let mut expected: Vec<u64> = std::mem::take(&mut self.model).into_values().collect();
        expected.sort_unstable();
        prop_assert_eq!(drained, expected);
        for (_, place) in &mut self.keys {
            *place = None;
        }
        Ok(())
    }

    fn check(&self) -> TestCaseResult {
        prop_assert_eq!(self.wheel.len(), self.model.len());
        let earliest = self.model.keys().next().map(|&(deadline, _)| deadline).filter(|&deadline| deadline != NEVER);
        match (self.wheel.earliest(), earliest) {
            (found, expected) if self.disturbances == 0 => prop_assert_eq!(found, expected),
            (Some(found), Some(expected)) => {
                prop_assert!(found <= expected, "{} > {}", found, expected)
            }
            // The slot of a timer that was moved has been emptied or still hangs there: nothing due means nothing
            // to wait for.
            (found, expected) => prop_assert_eq!(found.is_some(), expected.is_some()),
        }
        Ok(())
    }

    fn run(&mut self, step: &Step) -> TestCaseResult {
        match step {
            Step::Insert(deadline) => self.insert(self.resolve(deadline)),
            Step::Remove(nth) => self.remove(*nth)?,
            Step::Reset(nth, to) => self.reset(*nth, self.resolve(to))?,
            Step::Replace(nth) => self.replace(*nth)?,
            Step::Advance(to) => {
                self.now = self.now.max(self.resolve(to));
                self.expire(self.now)?;
            }
            Step::Late(at) => {
                self.expire(self.resolve(at))?;
            }
            Step::Drain => self.drain()?,
        }
        self.check()
    }

    /// Sleeps as a reactor does, until `earliest` and no longer, until nothing is left that ever fires.
    fn sleep_to_the_end(&mut self) -> TestCaseResult {
        while let Some(earliest) = self.wheel.earliest() {
            self.now = self.now.max(earliest);
            self.fruitless += u64::from(self.expire(self.now)? == 0);
            self.check()?;
            // Also what ends this loop, should the wheel ask for the same time again and again.
            prop_assert!(
                self.fruitless <= self.disturbances,
                "{} wake-ups for nothing after {} removals and resets",
                self.fruitless,
                self.disturbances
            );
        }
        Ok(())
    }
}

fn check_property<S: Strategy>(strategy: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let cases = match std::env::var("BOURN_WHEEL_CASES") {
        Ok(cases) => cases.parse().expect("BOURN_WHEEL_CASES is not a number"),
        Err(_) => 3_000,
    };
    // A failure prints its smallest case, which then becomes a test of its own; no file keeps it.
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    if let Err(failure) = TestRunner::new(config).run(&strategy, property) {
        panic!("{failure}");
    }
}

#[test]
fn agrees_with_a_sorted_map() {
    check_property(vec(step(), 1..40), |steps| {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step)?;
        }
        pair.sleep_to_the_end()?;
        pair.drain()
    });
}

#[test]
fn is_exact_while_nothing_is_removed_or_reset() {
    let undisturbed = prop_oneof![
        2 => time_or_end().prop_map(Step::Insert),
        1 => time().prop_map(Step::Advance),
    ];
    check_property(vec(undisturbed, 1..40), |steps| {
        let mut pair = Pair::new();
        for step in &steps {
            pair.run(step)?;
        }
        // With no disturbances this asserts that each wake-up fires something, at its exact deadline.
        pair.sleep_to_the_end()
    });
}

/// Expires at every `earliest` until `end`, and returns the times at which it did.
fn wake_ups(wheel: &mut Wheel<u64>, end: u64, fired: &mut Vec<u64>) -> Vec<u64> {
    let mut times = Vec::new();
    while let Some(earliest) = wheel.earliest().filter(|&earliest| earliest <= end) {
        wheel.expire(earliest, fired);
        times.push(earliest);
        assert_ne!(wheel.earliest(), Some(earliest), "a time to wait for that has been dealt with");
    }
    times
}

#[test]
fn a_timer_in_a_year_wakes_once() {
    for deadline in [YEAR, YEAR - 1, 100 * YEAR + 12_345, NEVER - 1] {
        let mut wheel = Wheel::new();
        wheel.insert(deadline, 7);
        let mut fired = Vec::new();
        assert_eq!(wake_ups(&mut wheel, NEVER, &mut fired), [deadline]);
        assert_eq!(fired, [7]);
    }
}

/// A year of daily traffic moves the far timer down through the levels. That costs no wake-up of its own.
#[test]
fn a_timer_in_a_year_costs_nothing_on_the_way() {
    let mut wheel = Wheel::new();
    wheel.insert(YEAR, 365);
    let mut fired = Vec::new();
    let mut times = Vec::new();
    for day in 0..365 {
        wheel.insert(day * DAY + SECOND, day);
        times.extend(wake_ups(&mut wheel, (day + 1) * DAY, &mut fired));
    }
    assert!(fired.iter().copied().eq(0..=365));
    let daily = (0..365).map(|day| day * DAY + SECOND);
    assert!(times.into_iter().eq(daily.chain([YEAR])));
}

/// Expiring visits the slots that time has passed, so nothing may be left hanging higher than its distance asks
/// for: every later call would visit it again.
#[test]
fn what_comes_near_hangs_low() {
    let mut wheel = Wheel::new();
    let mut fired = Vec::new();
    let far = wheel.insert(DAY + 1, 0);
    let mut last = wheel.entries[far.index].slot / SLOTS_PER_LEVEL;
    assert_eq!(last, level(tick(DAY)));
    for before in [3600 * SECOND, 60 * SECOND, SECOND, 1_000_000, 1] {
        wheel.insert(DAY - before, before);
        wheel.expire(DAY - before, &mut fired);
        assert_eq!(fired.last(), Some(&before));
        let now = wheel.entries[far.index].slot / SLOTS_PER_LEVEL;
        assert_eq!(now, level(tick(DAY - before) ^ tick(DAY + 1)));
        assert!(now <= last);
        last = now;
    }
    assert_eq!(last, 0);
}

#[test]
fn a_refreshed_time_out_wakes_once_per_period() {
    let mut wheel = Wheel::new();
    let period = 60 * SECOND;
    let idle = wheel.insert(period, 0);
    let mut fired = Vec::new();
    let mut times = Vec::new();
    for millisecond in 0..600_000 {
        let now = millisecond * 1_000_000;
        times.extend(wake_ups(&mut wheel, now, &mut fired));
        let earliest = wheel.earliest();
        assert!(wheel.reset(&idle, now + period));
        assert_eq!(wheel.earliest(), earliest, "a refresh moved the timer to another slot");
    }
    assert_eq!(fired, []);
    assert!(times.len() <= 10, "{} wake-ups in 10 periods", times.len());
}

#[test]
fn a_removed_timer_leaves_nothing_to_wait_for() {
    let mut wheel = Wheel::new();
    let key = wheel.insert(SECOND, 'a');
    assert_eq!(wheel.remove(key), Some('a'));
    assert_eq!(wheel.earliest(), None);
    let key = wheel.insert(SECOND, 'b');
    assert!(wheel.reset(&key, NEVER));
    assert_eq!(wheel.earliest(), None);
    assert!(wheel.reset(&key, 2 * SECOND));
    assert_eq!(wheel.earliest(), Some(2 * SECOND));
}

#[test]
fn a_stale_key_never_names_a_later_timer() {
    let mut wheel = Wheel::new();
    let mut stale = Vec::new();
    let mut out = Vec::new();

    let removed = wheel.insert(10, 'r');
    wheel.remove(removed);
    stale.push(removed);
    stale.push(wheel.insert(10, 'f'));
    wheel.expire(10, &mut out);
    stale.push(wheel.insert(10, 'd'));
    wheel.drain(&mut out);
    assert_eq!(out, ['f', 'd']);

    let live = wheel.insert(20, 'l');
    assert!(stale.iter().any(|key| key.index == live.index), "the index was not reused, so this tests nothing");
    for key in stale {
        assert_eq!(wheel.get_mut(&key), None);
        assert!(!wheel.reset(&key, 30));
        assert_eq!(wheel.remove(key), None);
    }
    assert_eq!(wheel.remove(live), Some('l'));
}

#[test]
fn never_is_never() {
    let mut wheel = Wheel::new();
    let never = wheel.insert(NEVER, 'n');
    let moved = wheel.insert(5, 'm');
    wheel.insert(NEVER - 1, 'l');
    assert!(wheel.reset(&moved, NEVER));
    let mut out = Vec::new();
    for _ in 0..2 {
        wheel.expire(u64::MAX, &mut out);
        assert_eq!(out, ['l']);
        assert_eq!(wheel.earliest(), None);
        assert_eq!(wheel.len(), 2);
    }
    assert_eq!(wheel.remove(never), Some('n'));
    wheel.drain(&mut out);
    assert_eq!(out, ['l', 'm']);
}

/// What a woken task does: it sets its next timer at, before or just after the time of the turn that woke it.
#[test]
fn inserts_between_two_calls_at_the_same_time_fire() {
    for now in [0, 1, (1 << TICK_BITS) - 1, 1 << TICK_BITS, DAY, YEAR, NEVER - 2] {
        let mut wheel = Wheel::new();
        let mut out = Vec::new();
        wheel.insert(now, 'a');
        wheel.expire(now, &mut out);
        assert_eq!(out, ['a']);

        wheel.insert(now + 1, 'd');
        wheel.insert(now, 'c');
        wheel.insert(now.saturating_sub(1), 'b');
        wheel.expire(now, &mut out);
        let expected = if now == 0 { ['a', 'c', 'b'] } else { ['a', 'b', 'c'] };
        assert_eq!(out, expected);

        wheel.expire(now, &mut out);
        assert_eq!(out.len(), 3);
        wheel.expire(now + 1, &mut out);
        assert_eq!(out.last(), Some(&'d'));
        assert_eq!(wheel.len(), 0);
    }
}

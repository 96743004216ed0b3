//! The timer wheel: many deadlines, cheap to add and to take back, that hand out their values when they are due.
//!
//! The wheel owns no clock. Time is a `u64` of nanoseconds since an epoch of the caller's choosing, and it moves
//! only when the caller says so in [`Wheel::expire`].
//!
//! ```text
//! deadline   ┌─ level 7 ─┬─ ... ─┬─ level 1 ─┬─ level 0 ─┬────── 16 bits ──────┐
//! (64 bits)  │   digit   │       │   digit   │   digit   │ below the slot size │
//!            └───────────┴───────┴───────────┴───────────┴─────────────────────┘
//! ```
//!
//! A deadline without its low 16 bits is a *tick*, eight digits of six bits. A timer hangs at the level of the
//! highest digit in which its tick differs from the wheel's position, in the slot that this digit names. So each
//! level agrees with the position in every higher digit, and whatever hangs at a level lies wholly before whatever
//! hangs above it: the first occupied slot of the first occupied level holds the earliest timer.
//!
//! * The lowest slot is 2^16 ns, 65.5 us: about what the kernel's default timer slack (50 us, `prctl(2)`) makes of a
//!   wait anyhow. Finer slots would gain no precision, for deadlines are exact, and would only be walked more often.
//! * A level is 64 slots because one `u64` then tells which are occupied, and "the next one" is a single instruction.
//! * The 48 bits left are exactly eight levels. All of time fits (8 KiB of slots), and there is no overflow list.
//!
//! Slots only group timers. Each entry keeps its exact deadline, and nothing comes out before it. Each slot also
//! keeps the earliest deadline put into it, so a sleeper who waits for [`Wheel::earliest`] is not woken merely to
//! move timers from one level to the next: they move when something is due anyway.

#![forbid(unsafe_code)]

use slab::Slab;

/// The deadline of a timer that never fires.
pub(crate) const NEVER: u64 = u64::MAX;

/// A tick is the deadline shifted right by this: the lowest slot spans 2^16 ns.
const TICK_BITS: u32 = 16;
const DIGIT_BITS: u32 = 6;
const SLOTS_PER_LEVEL: usize = 1 << DIGIT_BITS;
const LEVELS: usize = ((u64::BITS - TICK_BITS) / DIGIT_BITS) as usize;

/// In place of an index: no entry follows, or the entry hangs in no slot.
const NIL: usize = usize::MAX;

/// A set of values, each with a deadline.
pub(crate) struct Wheel<T> {
    entries: Slab<Entry<T>>,

    /// Level by level, the lowest first.
    slots: Box<[Slot]>,

    /// One word per level, one bit per slot: set exactly when the slot's list is not empty.
    occupied: [u64; LEVELS],

    /// The tick from which levels are counted. No linked entry's slot lies before it, and it never goes back. It
    /// may lag behind the caller's clock: it moves only when something may be due.
    position: u64,

    /// The generation of the next entry. It never wraps (one insertion per nanosecond takes 584 years), so no two
    /// keys of a wheel are ever equal.
    next_generation: u64,

    /// What the current `expire` has found: deadline, generation and index, in this order so that sorting it gives
    /// the promised order. Empty between calls; kept for its allocation.
    due: Vec<(u64, u64, usize)>,
}

/// Names one timer of a wheel. A key whose timer has fired or was removed names nothing, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: usize,
    generation: u64,
}

struct Entry<T> {
    /// Not before `earliest` of the slot in which the entry hangs, but maybe past that slot: a timer moved later
    /// stays put.
    deadline: u64,
    generation: u64,
    /// Index into `slots`, or `NIL` exactly when the deadline is `NEVER`.
    slot: usize,
    previous: usize,
    next: usize,
    value: T,
}

#[derive(Clone, Copy)]
struct Slot {
    head: usize,
    /// No entry of this slot is due before this. It is the exact minimum until an entry is taken out or moved
    /// later, and again after the next visit by `expire`. It lies within the slot's span, or before it if the slot
    /// is the position's own. Without meaning while the slot is empty.
    earliest: u64,
}

impl<T> Wheel<T> {
    /// Creates an empty wheel at time 0.
    pub(crate) fn new() -> Self {
        let empty = Slot { head: NIL, earliest: NEVER };
        Wheel {
            entries: Slab::new(),
            slots: vec![empty; LEVELS * SLOTS_PER_LEVEL].into_boxed_slice(),
            occupied: [0; LEVELS],
            position: 0,
            next_generation: 0,
            due: Vec::new(),
        }
    }

    /// Adds a timer. One whose deadline has passed comes out of the next [`expire`](Self::expire); one with the
    /// deadline [`NEVER`] only ever comes out of [`remove`](Self::remove) and [`drain`](Self::drain).
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> Key {
        let generation = self.next_generation;
        self.next_generation += 1;
        let index = self.entries.insert(Entry { deadline, generation, slot: NIL, previous: NIL, next: NIL, value });
        self.link(index);
        Key { index, generation }
    }

    /// Takes a timer back. `None` if it has fired or was removed.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let Entry { slot, previous, next, .. } = *self.entry_mut(&key)?;
        self.unlink(slot, previous, next);
        Some(self.entries.remove(key.index).value)
    }

    /// Gives a timer another deadline. `false`, and nothing happens, if it has fired or was removed.
    ///
    /// Moving a timer later is one store: it stays in its slot, and is hung anew when its old deadline comes. So
    /// the cost of a time-out that is refreshed on every message is one early wake-up per period, however many
    /// messages there were.
    pub(crate) fn reset(&mut self, key: &Key, deadline: u64) -> bool {
        let Some(entry) = self.entry_mut(key) else { return false };
        entry.deadline = deadline;
        let Entry { slot, previous, next, .. } = *entry;
        // `earliest` is what the sleeper waits for. A deadline not before it is found in time where the entry hangs now.
        if slot != NIL && deadline != NEVER && self.slots[slot].earliest <= deadline {
            return true;
        }
        self.unlink(slot, previous, next);
        self.link(key.index);
        true
    }

    /// The value of a timer, to replace it in place. `None` if the timer has fired or was removed.
    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut T> {
        self.entry_mut(key).map(|entry| &mut entry.value)
    }

    /// Moves the values of all timers with a deadline of at most `now` to the end of `out`, and no others.
    ///
    /// They come in the order of their deadlines, equal ones in the order of their insertion. `now` may stand
    /// still, may jump by any amount (the cost depends on the timers passed, not on the time), and may lie before
    /// that of an earlier call, for callers who read the clock before they took the lock.
    pub(crate) fn expire(&mut self, now: u64, out: &mut Vec<T>) {
        if self.earliest().is_none_or(|earliest| now < earliest) {
            return;
        }
        let position = self.position.max(tick(now));
        let top = level(self.position ^ position);
        self.position = position;

        // Below `top`, all slots lie before the new position. At `top`, those up to the position's own digit do,
        // and the one of that digit now belongs to lower levels. Above `top`, nothing has changed. An entry that
        // was moved later may be hung into a slot that is still to be visited; the visit puts it back there.
        for level in 0..=top {
            let mut reached = self.occupied[level];
            if level == top {
                reached &= u64::MAX >> (SLOTS_PER_LEVEL - 1 - digit(position, level));
            }
            while reached != 0 {
                let digit = reached.trailing_zeros() as usize;
                reached &= reached - 1;
                self.visit(level * SLOTS_PER_LEVEL + digit, now);
            }
        }

        self.due.sort_unstable();
        out.reserve(self.due.len());
        for (_, _, index) in self.due.drain(..) {
            out.push(self.entries.remove(index).value);
        }
    }

    /// A time before which no timer is due, `None` if none ever will be.
    ///
    /// It is the earliest deadline itself, unless the timer that had it, or one that shared its slot, was removed
    /// or reset: then it may be the old deadline. A caller who sleeps until this time and then calls
    /// [`expire`](Self::expire) finds nothing due at most once for each such removal or reset.
    pub(crate) fn earliest(&self) -> Option<u64> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let digit = self.occupied[level].trailing_zeros() as usize;
        Some(self.slots[level * SLOTS_PER_LEVEL + digit].earliest)
    }

    /// The number of timers, those that never fire included.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Moves the values of all timers, due or not, to the end of `out`, in no particular order. All keys become
    /// stale.
    pub(crate) fn drain(&mut self, out: &mut Vec<T>) {
        for slot in &mut self.slots {
            slot.head = NIL;
        }
        self.occupied = [0; LEVELS];
        out.extend(self.entries.drain().map(|entry| entry.value));
    }

    fn entry_mut(&mut self, key: &Key) -> Option<&mut Entry<T>> {
        let entry = self.entries.get_mut(key.index)?;
        (entry.generation == key.generation).then_some(entry)
    }

    /// Hangs an unlinked entry into the slot of its deadline.
    fn link(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        let deadline = entry.deadline;
        if deadline == NEVER {
            entry.slot = NIL;
            return;
        }
        // What is overdue hangs in the position's own slot, the first one that `expire` visits.
        let tick = tick(deadline).max(self.position);
        let level = level(self.position ^ tick);
        let digit = digit(tick, level);
        let slot = &mut self.slots[level * SLOTS_PER_LEVEL + digit];

        entry.slot = level * SLOTS_PER_LEVEL + digit;
        entry.previous = NIL;
        entry.next = slot.head;
        let next = slot.head;
        slot.head = index;
        if next == NIL {
            slot.earliest = deadline;
            self.occupied[level] |= 1 << digit;
        } else {
            slot.earliest = slot.earliest.min(deadline);
            self.entries[next].previous = index;
        }
    }

    /// Takes an entry out of its slot, if it hangs in one, from between its neighbours.
    fn unlink(&mut self, slot: usize, previous: usize, next: usize) {
        if slot == NIL {
            return;
        }
        if next != NIL {
            self.entries[next].previous = previous;
        }
        if previous != NIL {
            self.entries[previous].next = next;
        } else {
            self.slots[slot].head = next;
            if next == NIL {
                self.vacate(slot);
            }
        }
    }

    /// Empties a slot: what is due goes to `due`, the rest is hung anew, as the position now demands.
    fn visit(&mut self, slot: usize, now: u64) {
        let mut index = std::mem::replace(&mut self.slots[slot].head, NIL);
        self.vacate(slot);
        while index != NIL {
            let Entry { deadline, generation, next, .. } = self.entries[index];
            if deadline <= now {
                self.due.push((deadline, generation, index));
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    fn vacate(&mut self, slot: usize) {
        self.occupied[slot / SLOTS_PER_LEVEL] &= !(1 << (slot % SLOTS_PER_LEVEL));
    }
}

fn tick(time: u64) -> u64 {
    time >> TICK_BITS
}

/// The level of the highest digit that is not 0. The argument is the difference (exclusive or) of two ticks.
fn level(difference: u64) -> usize {
    ((difference | 1).ilog2() / DIGIT_BITS) as usize
}

fn digit(tick: u64, level: usize) -> usize {
    (tick >> (level as u32 * DIGIT_BITS)) as usize & (SLOTS_PER_LEVEL - 1)
}

#[cfg(test)]
mod tests;

//! Who rests, and who looks for work: what keeps a push from waking anyone in vain, or nobody when somebody must.
//!
//! ```text
//!     worker without work                    push
//!     idle |= me; searching -= 1             task is queued
//!     fence                                  fence
//!     any queue not empty? stay up           searching > 0? leave it to them
//!     rest                                   idle & x? idle &= !x, searching += 1, unpark x
//! ```
//!
//! The fences are sequentially consistent, for nothing weaker forbids that both sides read the old value: the one that comes second sees what came before the
//! other. If the worker's is second, it finds the task. If the push's is second, it sees the worker in the set, or a
//! searching one whose own fence is yet to come.
//!
//! A push may pass over one in the set that is not *fit*: a guest, while a worker of its group gets on. That worker is not
//! in the set, or it would be taken, so its own fence is yet to come; if it gets stuck before, whoever helps it fences and
//! looks at the queues as well.
//!
//! A task that yields goes to the end of its worker's ring. If others lie there, a worker that rests must hear of them,
//! and the yield's worker looks at the set, on x86-64 and AArch64 without a fence: it had queued the others with a
//! Release (the ring's `tail`), and the end of a poll since then is a compare-and-swap that acquires (`State::pend`),
//! which these processors keep in this order, and before what is loaded later. So a worker that is not in the set yet
//! finds them in its second look; or their start has moved on, and with that it sees the task that yields (`Ring::len`).
//! Or all others were stolen meanwhile: then the task is alone, and left to this thread, as any single task is. The LIFO
//! slot is not among what the second look sees, and a yield beside a task in it fences.
//!
//! A searching worker either rests, by the above, or finds a task and stops searching. The last one to stop has hidden
//! all other tasks from their pushes; so it fences too, looks at every queue, and wakes a successor if one is not empty.
//!
//! Whoever is woken searches from the moment that it is taken out of the set, so a storm of pushes wakes one at a time.
//! Searching is limited to half the workers: more would only disturb each other and the owners of the rings.

use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release, SeqCst};

use crate::sync::{AtomicUsize, fence};

pub(super) struct Idle {
    /// One bit for each core whose thread rests, or is about to.
    words: Box<[AtomicUsize]>,
    /// Below zero, read as signed, while somebody stops who was taken out of the set, and is counted a moment later.
    searching: AtomicUsize,
    /// As many may search of themselves.
    limit: usize,
}

const BITS: usize = usize::BITS as usize;

impl Idle {
    /// For `cores` cores, of which `workers` belong to workers.
    pub(super) fn new(cores: usize, workers: usize) -> Self {
        let word = |_| AtomicUsize::new(0);
        Self {
            words: (0..cores.div_ceil(BITS)).map(word).collect(),
            searching: AtomicUsize::new(0),
            limit: workers.div_ceil(2),
        }
    }

    /// Puts core `index` into the set; its thread, which may have been searching, must look at every queue before it
    /// rests.
    pub(super) fn publish(&self, index: usize, searching: bool) {
        self.words[index / BITS].fetch_or(1 << (index % BITS), Relaxed);
        if searching {
            self.searching.fetch_sub(1, Relaxed);
        }
        // Pairs with the fence in `pick`; see the head of this module.
        fence(SeqCst);
    }

    /// Takes the core out of the set. `true`: a push had done so, and the core's thread counts as searching.
    pub(super) fn withdraw(&self, index: usize) -> bool {
        let bit = 1 << (index % BITS);
        self.words[index / BITS].fetch_and(!bit, AcqRel) & bit == 0
    }

    /// After the caller has queued a task: takes a core out of the set, if one must be woken for it. Its thread counts
    /// as searching. Of the cores that are `fit`, those that are `preferred` go first.
    pub(super) fn pick(&self, preferred: impl Fn(usize) -> bool, fit: impl Fn(usize) -> bool) -> Option<usize> {
        // Pairs with the fences in `publish` and `stop_search`; see the head of this module.
        fence(SeqCst);
        if self.searching.load(Relaxed).cast_signed() > 0 {
            return None;
        }
        self.pick_where(|index| fit(index) && preferred(index)).or_else(|| self.pick_where(fit))
    }

    /// As [`pick`](Self::pick), but only a core that is `fit`, and also beside those who search.
    pub(super) fn pick_where(&self, fit: impl Fn(usize) -> bool) -> Option<usize> {
        let index = self.find(|index| fit(index) && !self.withdraw(index))?;
        self.searching.fetch_add(1, Relaxed);
        Some(index)
    }

    /// Whether somebody who is `fit` is in the set, for a thread that has put a task behind others and ended a poll since it
    /// queued those.
    #[inline]
    pub(super) fn is_anyone(&self, fit: impl Fn(usize) -> bool) -> bool {
        // There the end of a poll keeps earlier pushes before this look; see the head of this module.
        if cfg!(loom) || !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
            fence(SeqCst);
        }
        self.find(fit).is_some()
    }

    /// The first one in the set that is `wanted`.
    fn find(&self, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        for (number, word) in self.words.iter().enumerate() {
            let mut bits = word.load(Relaxed);
            while bits != 0 {
                let index = number * BITS + bits.trailing_zeros() as usize;
                if wanted(index) {
                    return Some(index);
                }
                bits &= bits - 1;
            }
        }
        None
    }

    /// Asks to search; `false`: enough do.
    pub(super) fn start_search(&self) -> bool {
        if self.searching.load(Relaxed).cast_signed() >= self.limit.cast_signed() {
            return false;
        }
        self.search();
        true
    }

    /// Searches beyond the limit: work has been seen.
    pub(super) fn search(&self) {
        self.searching.fetch_add(1, Relaxed);
    }

    /// Stops searching. `true`: the caller was the last one, and must look at every queue and wake another if there is
    /// work.
    pub(super) fn stop_search(&self) -> bool {
        // Release: whoever stops after this one sees what it has stolen.
        let last = self.searching.fetch_sub(1, Release).cast_signed() <= 1;
        if last {
            // Pairs with the fence in `pick`; see the head of this module.
            fence(SeqCst);
        }
        last
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// One whom a push has taken out of the set may be up, find work and stop before it is counted as searching.
    #[test]
    fn one_who_stops_before_it_is_counted_hides_no_push() {
        let idle = Idle::new(2, 2);
        idle.publish(0, false);
        idle.publish(1, false);
        // The first half of a `pick`.
        idle.words[0].fetch_and(!1, AcqRel);
        assert!(idle.withdraw(0));
        assert!(idle.stop_search());
        assert!(idle.start_search());
        assert!(idle.stop_search());
        assert_eq!(idle.pick(|_| true, |_| true), Some(1));
    }
}

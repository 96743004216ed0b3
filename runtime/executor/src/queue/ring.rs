//! The run queue of a core: a bounded ring that its owner fills and empties, and that anyone may steal from.
//!
//! `tail` is stored by the owner alone, `head` moves by compare-and-swap: whoever moves it from `h` to `h + n` has taken
//! the `n` tasks that lie there, so each comes out once. A taker reads the tasks *before* it moves `head`, and what it
//! has read may have been overwritten meanwhile; but the owner writes to a place only after it has seen `head` beyond
//! it, and then the compare-and-swap from `h` fails. The places are atomics so that such a vain read is harmless.
//!
//! Both indices count up for ever; with 64 bits none comes back while somebody holds an old one.

use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::sync::{AtomicPtr, AtomicUsize};
use crate::task::Task;

/// How many tasks a ring holds. With 256, 1,000 tasks that take turns spill into the injector all the time.
#[cfg(not(any(loom, shuttle)))]
const CAPACITY: usize = 1024;
/// Small enough that a model fills it.
#[cfg(any(loom, shuttle))]
const CAPACITY: usize = 4;

/// A bounded queue with one owner.
pub(crate) struct Ring {
    /// The next task to take. Never beyond `tail`.
    head: Line,
    /// The next free place. Stored by the owner alone; never more than `CAPACITY` beyond `head`.
    tail: Line,
    /// The places from `head` to `tail` hold references, which the ring owns.
    places: Box<[AtomicPtr<()>]>,
}

/// An index with a cache line to itself: thieves write `head` while the owner writes `tail`.
#[repr(align(128))]
struct Line(AtomicUsize);

impl Ring {
    /// An empty one. With `private`, nothing is ever pushed to it, and it has no places.
    pub(crate) fn new(private: bool) -> Self {
        let count = if private { 0 } else { CAPACITY };
        Self {
            head: Line(AtomicUsize::new(0)),
            tail: Line(AtomicUsize::new(0)),
            places: (0..count).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        // `head` first: it never passes the `tail` that is read after it. Relaxed would let the second load go first.
        let head = self.head.0.load(Acquire);
        let tail = self.tail.0.load(Acquire);
        tail.wrapping_sub(head).min(CAPACITY)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a task at the end, or gives it back if there is no room.
    ///
    /// # Safety
    ///
    /// Only the owner's thread may call it.
    pub(crate) unsafe fn push(&self, task: Task) -> Result<(), Task> {
        // Relaxed: the owner's own store. Acquire: pairs with the Release of a taker, whose reads then come before our
        // write to the place.
        let tail = self.tail.0.load(Relaxed);
        let head = self.head.0.load(Acquire);
        if tail.wrapping_sub(head) == CAPACITY {
            return Err(task);
        }
        self.place(tail).store(task.into_raw().as_ptr(), Relaxed);
        // Release: pairs with the Acquire of `tail` in `claim`, which then sees the place and the task; `Idle::is_anyone`
        // relies on it, too.
        self.tail.0.store(tail.wrapping_add(1), Release);
        Ok(())
    }

    /// Takes the first task.
    pub(crate) fn pop(&self) -> Option<Task> {
        let mut taken = None;
        if self.claim(|_| 1, |_, task| taken = Some(task)) == 0 {
            return None;
        }
        // SAFETY: claimed, so it is ours alone, and what lies in a ring came from `into_raw`.
        taken.map(|task| unsafe { Task::from_raw(task) })
    }

    /// Moves half of the tasks, rounded up, to the end of `thief`, and returns the first of them instead of moving it.
    ///
    /// # Safety
    ///
    /// Only the owner of `thief` may call it; `thief` is empty, and is not this ring.
    pub(crate) unsafe fn steal_into(&self, thief: &Ring) -> (Option<Task>, usize) {
        let tail = thief.tail.0.load(Relaxed);
        let mut first = None;
        let count = self.claim(
            |len| len - len / 2,
            |number, task| {
                if number == 0 {
                    first = Some(task);
                } else {
                    // Beyond the thief's tail, where nobody reads. Half a ring fits into an empty one.
                    let place = tail.wrapping_add(number - 1);
                    thief.place(place).store(task.as_ptr(), Relaxed);
                }
            },
        );
        if count == 0 {
            return (None, 0);
        }
        if count > 1 {
            // Release: as in `push`.
            thief.tail.0.store(tail.wrapping_add(count - 1), Release);
        }
        // SAFETY: as in `pop`.
        let first = first.map(|task| unsafe { Task::from_raw(task) });
        (first, count)
    }

    /// Takes as many tasks from the front as `share` of their number says, and returns how many it took. `keep` is
    /// told each; what it was told before it is told number 0 once more, or before a return of 0, was in vain.
    fn claim(&self, share: impl Fn(usize) -> usize, mut keep: impl FnMut(usize, NonNull<()>)) -> usize {
        // Acquire: pairs with the Release in the swap below, so that the `tail` that is read next is not behind it.
        let mut head = self.head.0.load(Acquire);
        loop {
            // Acquire: pairs with the Release in `push`.
            let len = self.tail.0.load(Acquire).wrapping_sub(head);
            if len == 0 {
                return 0;
            }
            if len <= CAPACITY {
                let count = share(len);
                for number in 0..count {
                    let task = self.place(head.wrapping_add(number)).load(Relaxed);
                    if let Some(task) = NonNull::new(task) {
                        keep(number, task);
                    }
                }
                // Release: the owner that sees the new head writes after our reads. Acquire: as in the first load.
                let next = head.wrapping_add(count);
                match self.head.0.compare_exchange(head, next, AcqRel, Acquire) {
                    Ok(_) => return count,
                    Err(current) => head = current,
                }
            } else {
                // `head` is so old that the owner has gone round since.
                head = self.head.0.load(Acquire);
            }
        }
    }

    fn place(&self, index: usize) -> &AtomicPtr<()> {
        &self.places[index % CAPACITY]
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

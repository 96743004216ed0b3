//! Models of the ring and the slot: the shipped types between their owner and a thief.

use std::collections::BTreeMap;
use std::mem;
use std::panic::Location;
use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

use super::lifo::LifoSlot;
use super::ring::Ring;
use crate::task::{Options, Schedule, Task};

/// The tasks of these models are never run.
struct Nowhere;

impl Schedule for Nowhere {
    const LOCAL: bool = false;

    fn queue(&self, task: Task) {
        task.cancel();
    }

    fn admit(&self, task: Task) -> Result<(), Task> {
        Err(task)
    }

    fn retire(&self, _key: u32) -> Task {
        unreachable!("nothing was admitted")
    }
}

fn task() -> Task {
    Task::new(async {}, Nowhere, Options::new(), Location::caller()).0
}

/// Where each task goes that was taken out: twice is an error.
pub(crate) struct Taken(Mutex<BTreeMap<u64, Task>>);

impl Taken {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(BTreeMap::new())))
    }

    pub(crate) fn note(&self, task: Task) {
        let mut taken = self.0.lock().unwrap();
        let id = task.id().get();
        if taken.contains_key(&id) {
            // The same reference is in there.
            mem::forget(task);
            panic!("a task was taken twice");
        }
        taken.insert(id, task);
    }

    fn note_all(&self, ring: &Ring) {
        while let Some(task) = ring.pop() {
            self.note(task);
        }
    }

    /// All must have come, each once.
    pub(crate) fn end(&self, expected: usize) {
        let taken = mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(taken.len(), expected, "a task was lost");
        taken.into_values().for_each(Task::cancel);
    }
}

fn push(ring: &Ring, task: Task) -> Result<(), Task> {
    // SAFETY: only the thread of the model that made the ring calls this for it.
    unsafe { ring.push(task) }
}

/// The owner fills its ring, overflows, takes, and comes round, while a thief steals twice. Killed by:
/// executor-ring-push-relaxed, executor-ring-claim-store, executor-ring-vain-read.
#[test]
fn loom_ring_gives_each_task_once() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let (ring, taken) = (Arc::new(Ring::new(false)), Taken::new());
        let thief = thread::spawn({
            let (ring, taken) = (Arc::clone(&ring), Arc::clone(&taken));
            move || {
                let own = Ring::new(false);
                for _ in 0..2 {
                    // SAFETY: `own` is this thread's, and was emptied.
                    let (first, count) = unsafe { ring.steal_into(&own) };
                    assert_eq!(first.is_some(), count > 0);
                    assert_eq!(own.len(), count.saturating_sub(1));
                    first.into_iter().for_each(|task| taken.note(task));
                    taken.note_all(&own);
                }
            }
        });
        let mut pushed = 0;
        for _ in 0..5 {
            match push(&ring, task()) {
                Ok(()) => pushed += 1,
                Err(task) => task.cancel(),
            }
        }
        ring.pop().into_iter().for_each(|task| taken.note(task));
        for _ in 0..2 {
            match push(&ring, task()) {
                Ok(()) => pushed += 1,
                Err(task) => task.cancel(),
            }
        }
        taken.note_all(&ring);
        thief.join().unwrap();
        taken.note_all(&ring);
        taken.end(pushed);
    });
}

/// Who looks at a ring whose owner puts tasks back behind others finds it empty at no time: yields rely on it. Killed by:
/// executor-ring-len-relaxed.
#[test]
fn loom_ring_that_is_never_empty_is_not_seen_so() {
    loom::model(|| {
        let (ring, taken) = (Arc::new(Ring::new(false)), Taken::new());
        for _ in 0..2 {
            assert!(push(&ring, task()).is_ok());
        }
        let owner = thread::spawn({
            let ring = Arc::clone(&ring);
            move || {
                for _ in 0..2 {
                    let first = ring.pop().unwrap();
                    assert!(push(&ring, first).is_ok());
                }
            }
        });
        let looker = thread::spawn({
            let ring = Arc::clone(&ring);
            move || assert!(!ring.is_empty(), "tasks were overlooked")
        });
        looker.join().unwrap();
        owner.join().unwrap();
        taken.note_all(&ring);
        taken.end(2);
    });
}

/// The owner of a slot, displacing and taking, against the thief that comes when it is stuck. Killed by:
/// executor-lifo-take.
#[test]
fn loom_slot_gives_each_task_once() {
    loom::model(|| {
        let (slot, taken) = (Arc::new(LifoSlot::new()), Taken::new());
        let thief = thread::spawn({
            let (slot, taken) = (Arc::clone(&slot), Arc::clone(&taken));
            move || {
                for _ in 0..2 {
                    slot.take().into_iter().for_each(|task| taken.note(task));
                }
            }
        });
        for _ in 0..2 {
            let displaced = slot.replace(task());
            displaced.into_iter().for_each(|task| taken.note(task));
        }
        slot.take().into_iter().for_each(|task| taken.note(task));
        thief.join().unwrap();
        slot.take().into_iter().for_each(|task| taken.note(task));
        taken.end(2);
    });
}

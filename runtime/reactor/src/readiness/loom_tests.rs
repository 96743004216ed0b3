//! Models of the word alone. Each names the mutations (in `.ci/mutations`) that
//! it must notice.

use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

/// Killed by it: `reactor-clear-without-tick`, `reactor-load-relaxed`.
#[test]
fn loom_readiness_clear_keeps_a_report() {
    loom::model(|| {
        let word = Arc::new(Readiness::new(true, false));
        let data = Arc::new(AtomicBool::new(false));
        let reader = {
            let (word, data) = (Arc::clone(&word), Arc::clone(&data));
            thread::spawn(move || {
                let seen = word.load(Direction::Read);
                let would_block = !data.load(Ordering::Relaxed);
                if would_block {
                    word.clear(seen, READY | CLOSED);
                }
                would_block
            })
        };
        data.store(true, Ordering::Relaxed);
        word.mark(Ready::model(true, false), &mut Vec::new());
        let would_block = reader.join().unwrap();
        let is_ready = word.load(Direction::Read).has(READY);
        assert!(!would_block || is_ready, "the report is lost");
    });
}

/// Killed by it: `reactor-shared-tick`.
#[test]
fn loom_readiness_directions_do_not_disturb_each_other() {
    loom::model(|| {
        let word = Arc::new(Readiness::new(true, false));
        let seen = word.load(Direction::Write);
        let kernel = {
            let word = Arc::clone(&word);
            thread::spawn(move || {
                word.mark(Ready::model(true, false), &mut Vec::new());
            })
        };
        assert!(word.clear(seen, READY | CLOSED), "a busy reader keeps the writer from clearing");
        kernel.join().unwrap();
        assert!(!word.load(Direction::Write).has(READY));
        assert!(word.load(Direction::Read).has(READY));
    });
}

/// Killed by it: `reactor-clear-forgets-the-other`.
#[test]
fn loom_readiness_a_clear_keeps_what_was_reported_of_the_other() {
    loom::model(|| {
        let word = Arc::new(Readiness::new(true, false));
        word.set(READY, false);
        let seen = word.load(Direction::Write);
        let kernel = {
            let word = Arc::clone(&word);
            thread::spawn(move || {
                word.mark(Ready::model(true, false), &mut Vec::new());
            })
        };
        assert!(word.clear(seen, READY));
        kernel.join().unwrap();
        assert!(word.load(Direction::Read).has(READY), "the report is lost");
    });
}

/// Killed by it: `reactor-mark-forgets-a-wait`, `reactor-mark-disarms-the-other`.
#[test]
fn loom_readiness_a_report_keeps_a_wait_for_the_other() {
    loom::model(|| {
        let word = Arc::new(Readiness::new(false, false));
        let kernel = {
            let word = Arc::clone(&word);
            thread::spawn(move || {
                word.mark(Ready::model(true, false), &mut Vec::new());
            })
        };
        word.arm(Direction::Write, WAITS);
        kernel.join().unwrap();
        assert_ne!(word.mark(Ready::model(false, true), &mut Vec::new()), 0, "who waits to write is forgotten");
    });
}

/// Killed by it: `reactor-arm-in-two-steps`.
#[test]
fn loom_readiness_arm_and_mark_see_each_other() {
    loom::model(|| {
        let word = Arc::new(Readiness::new(false, false));
        let kernel = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.mark(Ready::model(true, false), &mut Vec::new()) != 0)
        };
        let found = word.arm(Direction::Read, WAITS).has(READY);
        let told = kernel.join().unwrap();
        assert!(found || told, "the wait and the report miss each other");
    });
}

/// Somebody who waits to read.
#[derive(Default)]
struct Reader(AtomicUsize);

impl Wake for Reader {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Reader {
    /// Waits in the slot; true if it does, and nothing was known.
    fn waits(self: &std::sync::Arc<Self>, word: &Readiness, ticket: &mut Ticket) -> bool {
        word.wait(ticket, &Waker::from(std::sync::Arc::clone(self))).is_some_and(|seen| !seen.has(READY))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn report(word: &Readiness) {
    let mut wakers = Vec::new();
    word.mark(Ready::model(true, false), &mut wakers);
    wake_all(&mut wakers);
}

/// Somebody else has read it.
fn dry(word: &Readiness) {
    word.clear(word.load(Direction::Read), READY);
}

/// Runs both on threads of their own: on the model's first one loom leaves some orders out.
fn both<A, B>(first: impl FnOnce() -> A + 'static, second: impl FnOnce() -> B + 'static) -> (A, B)
where
    A: 'static,
    B: 'static,
{
    let (first, second) = (thread::spawn(first), thread::spawn(second));
    (first.join().unwrap(), second.join().unwrap())
}

type Shared = (Arc<Readiness>, std::sync::Arc<Reader>);

fn shared() -> Shared {
    (Arc::new(Readiness::new(false, false)), std::sync::Arc::default())
}

/// Killed by it: `reactor-slot-given-relaxed`.
#[test]
fn loom_readiness_slot_a_wait_meets_a_report() {
    loom::model(|| {
        let (word, reader) = shared();
        let (kernel, waiter) = (Arc::clone(&word), (Arc::clone(&word), reader.clone()));
        let ((), waits) = both(move || report(&kernel), move || waiter.1.waits(&waiter.0, &mut Ticket::new()));
        assert!(!waits || reader.count() == 1, "the wake-up is lost");
    });
}

/// Killed by it: `reactor-slot-freed-early`, `reactor-slot-freed-relaxed`,
/// `reactor-slot-claimed-relaxed`.
#[test]
fn loom_readiness_slot_the_next_wait_meets_the_report() {
    loom::model(|| {
        let ((word, first), next) = (shared(), std::sync::Arc::<Reader>::default());
        assert!(first.waits(&word, &mut Ticket::new()));
        let (kernel, waiter) = (Arc::clone(&word), (Arc::clone(&word), next.clone()));
        let ((), waits) = both(
            move || report(&kernel),
            move || {
                dry(&waiter.0);
                waiter.1.waits(&waiter.0, &mut Ticket::new())
            },
        );
        assert_eq!(first.count(), 1, "the first is lost");
        report(&word);
        assert!(!waits || next.count() == 1, "the next is lost");
        assert_eq!(std::sync::Arc::strong_count(&next), 1, "its waker is kept");
    });
}

/// Two claim the slot at once; the one who does not get it is the list's.
#[test]
fn loom_readiness_slot_two_waits_meet_a_report() {
    loom::model(|| {
        let (word, readers) = (Arc::new(Readiness::new(false, false)), [(); 2].map(|()| std::sync::Arc::default()));
        let waiters = readers.clone().map(|reader: std::sync::Arc<Reader>| {
            let word = Arc::clone(&word);
            thread::spawn(move || reader.waits(&word, &mut Ticket::new()))
        });
        let kernel = Arc::clone(&word);
        let kernel = thread::spawn(move || report(&kernel));
        let waits = waiters.map(|waiter| waiter.join().unwrap());
        kernel.join().unwrap();
        report(&word);
        for (waits, reader) in waits.into_iter().zip(readers) {
            assert!(!waits || reader.count() == 1, "a wake-up is lost");
        }
    });
}

/// The duty to wake is not lost between two of them. Killed by it: `reactor-slot-given-in-two-steps`.
#[test]
fn loom_readiness_slot_two_who_look_take_no_wake_up_along() {
    // Of four threads, more would take minutes.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (word, reader) = shared();
        assert!(reader.waits(&word, &mut Ticket::new()));
        let lookers = [Arc::clone(&word), Arc::clone(&word)].map(|word| {
            thread::spawn(move || {
                word.look(None, |_| ());
            })
        });
        let kernel = {
            let word = Arc::clone(&word);
            thread::spawn(move || report(&word))
        };
        kernel.join().unwrap();
        lookers.into_iter().for_each(|looker| looker.join().unwrap());
        assert_eq!(reader.count(), 1, "the wake-up is lost, or came twice");
    });
}

/// Killed by it: `reactor-slot-look-forgets-a-report`.
#[test]
fn loom_readiness_slot_a_look_takes_no_wake_up_along() {
    loom::model(|| {
        let (word, reader) = shared();
        assert!(reader.waits(&word, &mut Ticket::new()));
        let (kernel, looker) = (Arc::clone(&word), Arc::clone(&word));
        both(move || report(&kernel), move || looker.look(None, |_| ()).is_some());
        assert_eq!(reader.count(), 1, "the wake-up is lost, or came twice");
    });
}

/// Two operations of one task: the second finds the first one's place, and a report.
#[test]
fn loom_readiness_slot_a_second_wait_of_a_task_takes_no_wake_up_along() {
    loom::model(|| {
        let (word, reader) = shared();
        assert!(reader.waits(&word, &mut Ticket::shared()));
        let (kernel, again) = (Arc::clone(&word), (Arc::clone(&word), reader.clone()));
        both(move || report(&kernel), move || again.1.waits(&again.0, &mut Ticket::shared()));
        assert!(reader.count() >= 1, "the first is lost");
    });
}

/// Killed by it: `reactor-slot-forgets-another`.
#[test]
fn loom_readiness_slot_who_gives_up_takes_no_other_along() {
    loom::model(|| {
        let ((word, leaves), stays) = (shared(), std::sync::Arc::<Reader>::default());
        let mut ticket = Ticket::new();
        assert!(leaves.waits(&word, &mut ticket));
        let (leaver, kernel) = (Arc::clone(&word), (Arc::clone(&word), stays.clone()));
        let ((), waits) = both(
            move || drop(leaver.forget(&ticket)),
            move || {
                report(&kernel.0);
                dry(&kernel.0);
                kernel.1.waits(&kernel.0, &mut Ticket::new())
            },
        );
        report(&word);
        assert!(!waits || stays.count() == 1, "who stays is lost");
    });
}

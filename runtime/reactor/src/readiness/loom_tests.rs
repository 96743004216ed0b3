//! Models of the word alone. Each names the mutations (in `.ci/mutations`) that
//! it must notice.

use loom::sync::Arc;
use loom::sync::atomic::AtomicBool;
use loom::thread;

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

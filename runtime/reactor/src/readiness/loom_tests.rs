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
                    word.clear(Direction::Read, seen);
                }
                would_block
            })
        };
        data.store(true, Ordering::Relaxed);
        word.mark(Ready::model(true, false));
        let would_block = reader.join().unwrap();
        let is_ready = word.load(Direction::Read).is_ready();
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
                word.mark(Ready::model(true, false));
            })
        };
        assert!(word.clear(Direction::Write, seen), "a busy reader keeps the writer from clearing");
        kernel.join().unwrap();
        assert!(!word.load(Direction::Write).is_ready());
        assert!(word.load(Direction::Read).is_ready());
    });
}

/// Killed by it: `reactor-arm-in-two-steps`.
#[test]
fn loom_readiness_arm_and_mark_see_each_other() {
    loom::model(|| {
        let word = Arc::new(Readiness::new(false, false));
        let kernel = {
            let word = Arc::clone(&word);
            thread::spawn(move || word.mark(Ready::model(true, false)).0)
        };
        let found = word.arm(Direction::Read).is_ready();
        let told = kernel.join().unwrap();
        assert!(found || told, "the wait and the report miss each other");
    });
}

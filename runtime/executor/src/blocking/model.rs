//! Models of the pool, on the shipped types. A time limit never passes here: who is not rung waits for ever, which loom
//! reports as a deadlock.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use super::{BlockingPool, PoolOptions};

const EVER: Duration = Duration::MAX;

/// Counts what it is told, and wakes who waits for a count.
#[derive(Default)]
struct Count {
    number: Mutex<usize>,
    changed: Condvar,
}

impl Count {
    fn add(&self) {
        *self.number.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    fn wait_for(&self, wanted: usize) {
        let mut number = self.number.lock().unwrap();
        while *number < wanted {
            number = self.changed.wait(number).unwrap();
        }
    }
}

fn pool() -> BlockingPool {
    let mut options = PoolOptions::default();
    options.threads = 1;
    BlockingPool::new(options)
}

/// Killed by `executor-blocking-bell`: the idle thread that is not rung sleeps on its call.
#[test]
fn loom_blocking_makes_every_call() {
    // Without a bound it takes hours: the lock is taken in many places, each a choice of who is next.
    let mut bounded = loom::model::Builder::new();
    bounded.preemption_bound = Some(2);
    bounded.check(|| {
        let pool = pool();
        let made = Arc::new(Count::default());
        let call = |made: &Arc<Count>| {
            let made = Arc::clone(made);
            move || made.add()
        };
        let other = loom::thread::spawn({
            let (pool, work) = (pool.clone(), call(&made));
            move || drop(pool.spawn(work))
        });
        drop(pool.spawn(call(&made)));
        made.wait_for(2);
        other.join().unwrap();
        assert!(pool.shutdown(EVER).is_empty());
    });
}

/// Killed by `executor-blocking-closed`: a thread that lies down in a closed crew is never sent home.
#[test]
fn loom_blocking_shutdown_against_spawn() {
    struct Dropped(Arc<AtomicUsize>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    loom::model(|| {
        let pool = pool();
        let drops = Arc::new(AtomicUsize::new(0));
        let other = loom::thread::spawn({
            let (pool, dropped) = (pool.clone(), Dropped(Arc::clone(&drops)));
            move || drop(pool.spawn(move || drop(dropped)))
        });
        assert!(pool.shutdown(EVER).is_empty());
        other.join().unwrap();
        // The thread that was about to be started is waited for by the second one.
        assert!(pool.shutdown(EVER).is_empty());
        assert_eq!(drops.load(Relaxed), 1);
        assert_eq!(pool.metrics().threads, 0);
    });
}

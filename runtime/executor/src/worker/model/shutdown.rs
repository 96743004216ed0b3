//! A shutdown that meets each of the protocols.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use loom::thread;

use super::super::enter;
use super::super::shared::Shared;
use super::super::spare::Spares;
use super::rescue::{Bringer, brought};
use super::{Counted, bounded, options, runtime, unstarted};
use crate::handle::Handle;
use crate::park::{Park, ThreadPark};
use crate::task::yield_now;

/// A worker that may be anywhere between its start and its rest is told.
/// Killed by: executor-shutdown-tells-who-rests.
#[test]
fn loom_shutdown_meets_a_worker_about_to_rest() {
    bounded(3, || {
        let runtime = runtime(options(1, 0));
        runtime.start(None).unwrap();
        assert!(runtime.shutdown(Duration::MAX).is_empty());
    });
}

/// A task that is being polled, wakes itself and is queued again: its future is dropped, once, and its handle is told.
/// Killed by: executor-end-waits-for-nobody.
#[test]
fn loom_shutdown_meets_a_running_task() {
    bounded(2, || {
        let runtime = runtime(options(1, 0));
        runtime.start(None).unwrap();
        let drops = Arc::new(AtomicUsize::new(0));
        let kept = Counted(Arc::clone(&drops));
        let task = runtime.handle().spawn(async move {
            let _kept = kept;
            yield_now().await;
            pending::<()>().await;
        });
        assert!(runtime.shutdown(Duration::MAX).is_empty());
        assert!(task.is_finished(), "a task was left behind");
        assert_eq!(drops.load(Relaxed), 1);
    });
}

/// The sentinel may be asleep, about to be, or looking.
/// Killed by: executor-shutdown-rings-no-sentinel, executor-sentinel-ring-is-lost.
#[test]
fn loom_shutdown_meets_the_sentinel() {
    bounded(2, || {
        let mut options = options(1, 0);
        options.rescue = Some(true);
        let runtime = runtime(options);
        runtime.start(None).unwrap();
        assert!(runtime.shutdown(Duration::MAX).is_empty());
    });
}

/// A spare may be about to be started, stand in, come back because its victim goes on, or rest.
/// Killed by: executor-errand-outlives-its-pool.
#[test]
fn loom_shutdown_meets_a_spare() {
    meets_a_spare(true);
}

/// As above, but the victim is stuck beyond the shutdown.
/// Killed by: executor-spare-stays-for-its-victim.
#[test]
fn loom_shutdown_meets_a_spare_of_a_lasting_victim() {
    meets_a_spare(false);
}

fn meets_a_spare(victim_returns: bool) {
    bounded(2, move || {
        let mut options = options(1, 0);
        options.spares = 1;
        let (shared, handle) = unstarted(options, ThreadPark::new());
        let task = handle.spawn(pending::<()>());
        let victim = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let watch = &shared.cores[0].watch;
                watch.begin(None, None);
                let step = watch.progress().unwrap();
                watch.mark_stuck(step);
                // In vain if the runtime is closed already.
                _ = Spares::lend(&shared, 0, step);
                if victim_returns {
                    watch.begin(None, None);
                }
            }
        });
        shared.shut_down();
        victim.join().unwrap();
        assert!(shared.await_end(None).is_empty());
        assert!(task.is_finished(), "a task was left behind");
    });
}

/// A turn in a hurry wakes a task meanwhile: nothing of it stays.
/// Killed by: executor-urgent-not-swept.
#[test]
fn loom_shutdown_meets_a_turn_in_a_hurry() {
    bounded(3, || {
        let (shared, handle) = unstarted(options(1, 0), Bringer::default());
        let park = Arc::clone(&shared.parks[0]);
        let drops = Arc::new(AtomicUsize::new(0));
        let turner = thread::spawn({
            let (shared, handle, park) = (Arc::clone(&shared), handle.clone(), Arc::clone(&park));
            let kept = Counted(Arc::clone(&drops));
            move || {
                enter::serve(&shared, 0, |_, driver| {
                    drop(handle.spawn(async move {
                        let _kept = kept;
                        brought(park).await;
                    }));
                    driver.step();
                    driver.look_around(true);
                });
            }
        });
        shared.shut_down();
        turner.join().unwrap();
        assert!(shared.await_end(None).is_empty());
        assert_eq!(drops.load(Relaxed), 1);
        drop(park.bring.lock().unwrap().take());
        drop((shared, handle));
        assert_eq!(Arc::strong_count(&park), 1, "a task was left behind");
    });
}

/// When it is dropped, something is spawned in the next of several runtimes that drops the next link.
struct Link<P: Park> {
    runtimes: [Handle<P>; 4],
    left: usize,
    drops: Arc<AtomicUsize>,
}

impl<P: Park> Drop for Link<P> {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Relaxed);
        if let Some(left) = self.left.checked_sub(1) {
            let next = Self { runtimes: self.runtimes.clone(), left, drops: Arc::clone(&self.drops) };
            drop(self.runtimes[left % 4].spawn(async move {
                let _next = next;
                pending::<()>().await;
            }));
        }
    }
}

/// A chain of destructors goes round between runtimes that are shut down at the same time, deeper than they are allowed to
/// nest: the whole of it is dropped.
/// Killed by: executor-sweep-inside-another.
#[test]
fn loom_shutdown_meets_a_chain_between_runtimes() {
    chain_between_runtimes(false);
}

/// As above, but the chain begins when all are closed, and no sweep is left to come to what it leaves.
/// Killed by: executor-drop-in-turn-once.
#[test]
fn loom_shutdown_is_over_before_a_chain_between_runtimes() {
    chain_between_runtimes(true);
}

fn chain_between_runtimes(is_late: bool) {
    const LENGTH: usize = 9;
    bounded(2, move || {
        let drops = Arc::new(AtomicUsize::new(0));
        let (shared, handles): (Vec<Arc<Shared<_>>>, Vec<_>) =
            (0..4).map(|_| unstarted(options(1, 0), ThreadPark::new())).unzip();
        let runtimes = handles.try_into().unwrap_or_else(|_| unreachable!("there are four"));
        let link = Link { runtimes, left: LENGTH, drops: Arc::clone(&drops) };
        let link = if is_late {
            Some(link)
        } else {
            drop(link);
            None
        };
        let end = |shared: &[Arc<Shared<_>>]| {
            let shared = shared.to_vec();
            thread::spawn(move || {
                for shared in shared {
                    shared.shut_down();
                    assert!(shared.await_end(None).is_empty());
                }
            })
        };
        let ends = [end(&shared[..2]), end(&shared[2..])];
        ends.into_iter().for_each(|end| end.join().unwrap());
        drop(link);
        assert_eq!(drops.load(Relaxed), LENGTH + 1, "the chain was cut");
    });
}

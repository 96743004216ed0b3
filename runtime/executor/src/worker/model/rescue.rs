//! What becomes of the tasks of a stuck thread, and of whoever stands in for it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::sync::Mutex;
use loom::thread;

use super::super::enter;
use super::super::sentinel;
use super::super::spare::Spares;
use super::{Door, Waker, bounded, join, options, unstarted};
use crate::park::{Park, ThreadPark, Turn, Wait};
use crate::queue::model::Taken;
use crate::sync::now;
use crate::worker::ExecutorOptions;

fn with_spares(workers: usize, spares: usize) -> ExecutorOptions {
    let mut options = options(workers, 0);
    options.spares = spares;
    options
}

/// The thread of a stuck core goes on while a thief empties the ring and the slot: each task comes out once.
/// Killed by: executor-lifo-replace, executor-steal-forgets.
#[test]
fn loom_stuck_core_gives_each_task_once() {
    bounded(2, || {
        let (shared, handle) = unstarted(options(2, 0), ThreadPark::new());
        let taken = Taken::new();
        let mut thief = None;
        enter::serve(&shared, 0, |_, driver| {
            // The first is displaced from the slot by the second.
            (0..2).for_each(|_| drop(handle.spawn(async {})));
            let watch = &driver.core().watch;
            assert!(watch.mark_stuck(watch.progress().unwrap()));
            thief = Some(thread::spawn({
                let (shared, taken) = (Arc::clone(&shared), Arc::clone(&taken));
                move || {
                    enter::serve(&shared, 1, |_, driver| {
                        while let Some(task) = driver.search().or_else(|| driver.next()) {
                            taken.note(task);
                        }
                    });
                }
            }));
            drop(handle.spawn(async {}));
            watch.begin(None, None);
            while let Some(task) = driver.next() {
                taken.note(task);
            }
        });
        thief.unwrap().join().unwrap();
        taken.end(3);
    });
}

/// A thread that has put a task into its slot, where it is nobody's business, is stuck until that task has run; and the
/// only other one may be about to rest. The second tick of the sentinel wakes it at the latest.
/// Killed by: executor-stuck-slot-unseen, executor-help-wakes-nobody.
#[test]
fn loom_slot_of_a_stuck_core_is_served() {
    bounded(1, || {
        let (shared, handle) = unstarted(options(2, 0), ThreadPark::new());
        let served = Arc::new(Door::default());
        let mut others = Vec::new();
        enter::serve(&shared, 0, |_, driver| {
            let opener = Arc::clone(&served);
            drop(handle.spawn(async move { opener.open() }));
            let step = driver.core().watch.progress().unwrap();
            let here = Arc::clone(&shared);
            others.push(thread::spawn(move || enter::work(&here, 1)));
            let here = Arc::clone(&shared);
            others.push(thread::spawn(move || {
                for _ in 0..2 {
                    here.cores[0].watch.mark_stuck(step);
                    sentinel::help(&here, 0, step);
                }
            }));
            served.wait();
        });
        shared.shut_down();
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

/// The sentinel, all of it, may be about to fall asleep when a thread leaves the park: it looks, and finds it stuck.
/// Killed by: executor-rest-rouses-nobody.
#[test]
fn loom_sentinel_hears_who_leaves_the_park() {
    bounded(2, || {
        let (shared, _) = unstarted(options(1, 0), ThreadPark::new());
        sentinel::start(vec![Arc::clone(&shared)]).unwrap();
        enter::serve(&shared, 0, |_, driver| {
            driver.rest(Wait::Until(now() + sentinel::TICK));
            // If the sentinel slept on, this would never end, which is an error, too.
            while !driver.core().watch.is_stuck() {
                thread::yield_now();
            }
        });
        shared.shut_down();
        assert!(shared.await_end(None).is_empty());
    });
}

/// A thread is stuck twice, and the spare of the first time may be on its way back: it is sent again, and there is never
/// another one.
/// Killed by: executor-errand-keeps-its-core, executor-spares-without-cap.
#[test]
fn loom_spares_keep_their_cap() {
    bounded(1, || {
        let (shared, handle) = unstarted(with_spares(1, 1), ThreadPark::new());
        let watch = &shared.cores[0].watch;
        for _ in 0..2 {
            watch.begin(None, None);
            let step = watch.progress().unwrap();
            while Spares::lend(&shared, 0, step).is_err() {
                thread::yield_now();
            }
            assert_eq!(shared.spares.threads.metrics().threads, 1);
            assert_eq!(join(handle.spawn(async { 7 })), Some(7));
        }
        watch.begin(None, None);
        shared.shut_down();
        assert!(shared.await_end(None).is_empty());
    });
}

/// A stuck worker goes on while its spare, in the middle of what it does, is about to leave: what the spare has in its slot
/// is done by one of the two, and the worker, which may be about to rest, hears of it.
/// Killed by: executor-spare-keeps-its-slot.
#[test]
fn loom_spare_meets_its_victim_coming_back() {
    bounded(1, || {
        let (shared, handle) = unstarted(with_spares(1, 1), ThreadPark::new());
        let (free, done) = (Arc::new(Door::default()), Arc::new(Door::default()));
        let (inner, frees, opener) = (handle.clone(), Arc::clone(&free), Arc::clone(&done));
        let here = Arc::clone(&shared);
        drop(handle.spawn(async move {
            drop(inner.spawn(async move { opener.open() }));
            frees.open();
            // The spare's next look finds that. (Left to itself, loom tries no store between two loads of one thread.)
            while here.cores[0].watch.is_stuck() {
                thread::yield_now();
            }
        }));
        let victim = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                enter::serve(&shared, 0, |_, driver| {
                    let step = driver.core().watch.progress().unwrap();
                    driver.core().watch.mark_stuck(step);
                    assert!(Spares::lend(&shared, 0, step).is_ok());
                    free.wait();
                    while !shared.is_closed() {
                        driver.run_or_rest(Wait::Forever);
                    }
                });
            }
        });
        done.wait();
        shared.shut_down();
        victim.join().unwrap();
        assert!(shared.await_end(None).is_empty());
    });
}

/// Wakes, in its next turn that does not wait, who was left in it.
#[derive(Default)]
pub(super) struct Bringer {
    park: ThreadPark,
    pub(super) bring: Mutex<Option<Waker>>,
}

impl Park for Bringer {
    type Entered = ();

    fn enter(self: &Arc<Self>) {}

    fn turn(&self, wait: Wait) -> Turn {
        let waker = if wait == Wait::No { self.bring.lock().unwrap().take() } else { None };
        let Some(waker) = waker else {
            return self.park.turn(wait);
        };
        waker.wake();
        Turn::Done
    }

    fn unpark(&self) {
        self.park.unpark();
    }

    fn close(&self) {
        self.park.close();
    }
}

/// A task that waits for the park's next turn; it has been polled once, and then says so.
pub(super) async fn brought(park: Arc<Bringer>) {
    let mut is_first = true;
    poll_fn(|cx| {
        if !std::mem::take(&mut is_first) {
            return Poll::Ready(());
        }
        *park.bring.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    })
    .await;
}

/// What a turn in a hurry has woken is for whoever comes first: the thread that turned may be stuck in its next step, and
/// the other one may be about to rest.
/// Killed by: executor-urgent-unseen.
#[test]
fn loom_turn_in_a_hurry_is_heard() {
    bounded(3, || {
        let (shared, handle) = unstarted(options(2, 0), Bringer::default());
        let done = Arc::new(Door::default());
        let mut other = None;
        enter::serve(&shared, 0, |_, driver| {
            let (park, opener) = (Arc::clone(driver.park()), Arc::clone(&done));
            drop(handle.spawn(async move {
                brought(park).await;
                opener.open();
            }));
            assert!(driver.step());
            let here = Arc::clone(&shared);
            other = Some(thread::spawn(move || enter::work(&here, 1)));
            driver.look_around(true);
            done.wait();
        });
        shared.shut_down();
        other.unwrap().join().unwrap();
    });
}

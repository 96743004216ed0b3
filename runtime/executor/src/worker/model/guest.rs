//! A caller beside workers leaves the park to them: somebody is in it even so.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use loom::sync::atomic::AtomicBool;
use loom::thread::{self, JoinHandle};

use super::super::enter;
use super::super::sentinel;
use super::super::shared::Shared;
use super::{Door, bounded, options, unstarted};
use crate::park::{Park, ThreadPark, Turn, Wait};

/// Something happens in it once, which is served by whoever waits in it.
#[derive(Default)]
struct Eventful {
    park: ThreadPark,
    has_happened: AtomicBool,
    served: Door,
}

impl Eventful {
    fn happen(&self) {
        self.has_happened.store(true, SeqCst);
        self.park.unpark();
    }
}

impl Park for Eventful {
    type Entered = ();

    fn enter(self: &Arc<Self>) {}

    fn turn(&self, wait: Wait) -> Turn {
        let turn = self.park.turn(wait);
        if wait != Wait::No && self.has_happened.load(SeqCst) {
            self.served.open();
        }
        turn
    }

    fn unpark(&self) {
        self.park.unpark();
    }

    fn close(&self) {
        self.park.close();
    }
}

/// A thread with the core for callers. Once it was unparked, it has nothing of its own to wait for.
fn guest(shared: &Arc<Shared<Eventful>>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        enter::serve(&shared, 1, |_, driver| {
            while !shared.is_closed() {
                driver.run_or_rest(Wait::Forever);
            }
        });
    })
}

/// A guest that has had the post, if only for a moment, leaves it to a worker, who may nap because of that.
/// Killed by: executor-guest-leaves-unsaid, executor-guest-forgets-the-post.
#[test]
fn loom_guest_hands_the_park_on() {
    bounded(2, || {
        let (shared, _) = unstarted(options(1, 1), Eventful::default());
        let guest = guest(&shared);
        let here = Arc::clone(&shared);
        let worker = thread::spawn(move || enter::work(&here, 0));
        shared.unpark(1);
        shared.parks[0].happen();
        shared.parks[0].served.wait();
        shared.shut_down();
        [guest, worker].into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Either the guest sees that the worker is stuck, or whoever helps the worker sees the guest in the set.
/// Killed by: executor-attend-fence.
#[test]
fn loom_guest_is_seen_or_sees() {
    loom::model(|| {
        let (shared, _) = unstarted(options(1, 1), Eventful::default());
        let worker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let watch = &shared.cores[0].watch;
                watch.begin(None, None);
                watch.mark_stuck(watch.progress().unwrap());
                shared.attend(0);
            }
        });
        let guest = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.idle.publish(1, false);
                !shared.cores[0].watch.is_stuck()
            }
        });
        worker.join().unwrap();
        let trusts = guest.join().unwrap();
        assert!(!trusts || shared.idle.withdraw(1), "the guest naps, and nobody calls it");
    });
}

/// The only worker gets stuck while a guest leaves the park to it: the guest is called, and then stays there.
/// Killed by: executor-guest-trusts-the-stuck.
#[test]
fn loom_guest_stands_in_for_the_stuck() {
    bounded(2, || {
        let (shared, _) = unstarted(options(1, 1), Eventful::default());
        let here = Arc::clone(&shared);
        let worker = thread::spawn(move || {
            enter::serve(&here, 0, |_, driver| {
                let watch = &driver.core().watch;
                let step = watch.progress().unwrap();
                watch.mark_stuck(step);
                sentinel::help(&here, 0, step);
                here.parks[0].served.wait();
            });
        });
        let guest = guest(&shared);
        shared.unpark(1);
        shared.parks[0].happen();
        worker.join().unwrap();
        shared.shut_down();
        guest.join().unwrap();
    });
}

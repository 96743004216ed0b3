//! The word that says whether a push from elsewhere has to unpark anyone.
//!
//! The thread that turns the [`Park`] publishes that it is about to sleep, then looks once more at everything that
//! can give it work; whoever brings work makes it visible first, then looks whether that thread sleeps:
//!
//! ```text
//!     sleeper                          bringer
//!     asleep = true                    work = true
//!     fence                            fence
//!     if work { stay up }              if asleep { asleep = false; unpark }
//!     park
//! ```
//!
//! The two fences are sequentially consistent because nothing weaker forbids that both sides read the old value: the
//! one whose fence comes second in their total order sees what the other wrote before its own. So either the sleeper
//! stays up, or the bringer unparks; and an unpark that comes before the park is kept by [`Park`]'s contract.
//! `asleep` is cleared by the first bringer, so a storm of pushes costs one unpark per sleep.
//!
//! Closing is the same pattern with the roles exchanged: whoever closes raises the flag, fences and empties the
//! queue; whoever pushes after that sees the flag and empties the queue itself. Nothing stays behind.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::{
    park::Park,
    sync::{AtomicUsize, fence},
};

const ASLEEP: usize = 1;
const CLOSED: usize = 2;

/// Whether the thread that runs tasks sleeps, and whether the runtime is closed.
#[derive(Debug)]
pub(crate) struct Awake {
    flags: AtomicUsize,
}

impl Awake {
    pub(crate) fn new() -> Self {
        Self { flags: AtomicUsize::new(0) }
    }

    /// Publishes that the caller is about to sleep. It must look for work once more before it does.
    pub(crate) fn lie_down(&self) {
        self.flags.fetch_or(ASLEEP, Relaxed);
        // Pairs with the fence in `notify`; see the head of this module.
        fence(SeqCst);
    }

    /// Publishes that the caller is up.
    pub(crate) fn get_up(&self) {
        // Relaxed: a bringer that still reads ASLEEP unparks once too often, and what it brought is found by the
        // look at the queue that follows every sleep.
        self.flags.fetch_and(!ASLEEP, Relaxed);
    }

    /// Unparks the sleeper if there is one, after the caller has made its work visible. Returns whether the runtime
    /// is closed, so that nobody will ever look at that work.
    pub(crate) fn notify<P: Park>(&self, park: &P) -> bool {
        // Pairs with the fences in `lie_down` and `close`; see the head of this module.
        fence(SeqCst);
        let flags = self.flags.load(Relaxed);
        if flags & ASLEEP != 0 && self.flags.fetch_and(!ASLEEP, Relaxed) & ASLEEP != 0 {
            park.unpark();
        }
        flags & CLOSED != 0
    }

    /// Raises the flag that nothing ever lowers. Returns whether it was up already.
    pub(crate) fn close(&self) -> bool {
        let before = self.flags.fetch_or(CLOSED, Relaxed);
        // Pairs with the fence in `notify`; see the head of this module.
        fence(SeqCst);
        before & CLOSED != 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: a hint that is looked at again and again; the queues are emptied by their own protocol.
        self.flags.load(Relaxed) & CLOSED != 0
    }
}

#[cfg(all(test, loom))]
mod tests {
    use std::sync::{Arc, atomic::Ordering::Relaxed};

    use loom::sync::atomic::AtomicBool;

    use super::Awake;
    use crate::park::{Park, ThreadPark, Wait};

    /// The work is a relaxed flag, so that nothing but the two fences orders the sleeper and the bringer. A lost
    /// wake-up is a deadlock, which loom reports. Killed by: executor-awake-fence, executor-awake-clear.
    #[test]
    fn loom_awake_loses_no_wake() {
        loom::model(|| {
            let shared = Arc::new((Awake::new(), ThreadPark::new(), AtomicBool::new(false)));
            let bringer = {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || {
                    shared.2.store(true, Relaxed);
                    shared.0.notify(&shared.1);
                })
            };
            while !shared.2.load(Relaxed) {
                shared.0.lie_down();
                if !shared.2.load(Relaxed) {
                    shared.1.turn(Wait::Forever);
                }
                shared.0.get_up();
            }
            bringer.join().unwrap();
        });
    }

    /// Of a push and a close that race, one empties the queue. Killed by: executor-close-fence.
    #[test]
    fn loom_close_leaves_nothing_behind() {
        loom::model(|| {
            let shared = Arc::new((Awake::new(), ThreadPark::new(), AtomicBool::new(false)));
            let bringer = {
                let shared = Arc::clone(&shared);
                loom::thread::spawn(move || {
                    shared.2.store(true, Relaxed);
                    shared.0.notify(&shared.1)
                })
            };
            shared.0.close();
            let closer_saw = shared.2.load(Relaxed);
            let bringer_saw = bringer.join().unwrap();
            assert!(closer_saw || bringer_saw, "the push was left behind");
        });
    }

    /// An unpark before, during or after the start of a wait ends it. Killed by: executor-park-token.
    #[test]
    fn loom_unpark_is_kept() {
        loom::model(|| {
            let park = Arc::new(ThreadPark::new());
            let other = {
                let park = Arc::clone(&park);
                loom::thread::spawn(move || park.unpark())
            };
            park.turn(Wait::Forever);
            other.join().unwrap();
        });
    }
}

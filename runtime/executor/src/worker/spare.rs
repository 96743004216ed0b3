//! The threads that stand in for stuck ones.
//!
//! Nothing is taken away from a stuck thread, which may be running and believes that it owns its core. A spare works
//! beside it, with a core of its own, in the same park, until the thread's next step. Then it hands back what it has and
//! rests; rested long enough, it ends.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::sentinel::TICK;
use super::shared::Shared;
use super::{enter, executor};
use crate::park::{Park, Wait};
use crate::sync::{Condvar, Mutex, is_over, lock, now, wait_until};

/// How long a spare rests before it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

pub(super) struct Spares {
    desk: Mutex<Desk>,
    /// Rung for each errand, and at the shutdown.
    bell: Condvar,
}

struct Desk {
    errands: VecDeque<Errand>,
    /// Cores that no spare has, and that are promised to none.
    free: Vec<usize>,
    /// How many spares rest. Never less than there are errands.
    resting: usize,
}

/// Stand in for `victim`, which is stuck in the step `progress`, with core `core`.
struct Errand {
    core: usize,
    victim: usize,
    progress: usize,
}

impl Spares {
    pub(super) fn new(cores: Range<usize>) -> Self {
        Self {
            desk: Mutex::new(Desk { errands: VecDeque::new(), free: cores.rev().collect(), resting: 0 }),
            bell: Condvar::new(),
        }
    }

    pub(super) fn ring(&self) {
        // Under the lock: a spare that has seen the runtime open is not yet waiting.
        drop(lock(&self.desk));
        self.bell.notify_all();
    }

    /// Has a spare stand in for `victim`; `false`: none is free.
    pub(super) fn lend<P: Park>(shared: &Arc<Shared<P>>, victim: usize, progress: usize) -> bool {
        let spares = &shared.spares;
        let core = {
            let mut desk = lock(&spares.desk);
            let Some(core) = desk.free.pop() else {
                return false;
            };
            desk.errands.push_back(Errand { core, victim, progress });
            if desk.errands.len() <= desk.resting {
                spares.bell.notify_one();
                return true;
            }
            core
        };
        let name = format!("bourn-spare-{core}");
        let started = executor::start(shared, name, true, stand_by);
        if started.is_err() {
            // The next tick tries again. The errand is gone if a spare came back just now and took it.
            let mut desk = lock(&spares.desk);
            let before = desk.errands.len();
            desk.errands.retain(|errand| errand.core != core);
            if desk.errands.len() < before {
                desk.free.push(core);
                return false;
            }
        }
        true
    }

    /// Brings back a core, if there is one, and waits for the next errand. In one step: if the core was lent again before
    /// its spare counts as resting, a thread would be started beyond the cap.
    fn next_errand<P: Park>(&self, shared: &Shared<P>, core: Option<usize>) -> Option<Errand> {
        let deadline = now() + KEEP_ALIVE;
        let mut desk = lock(&self.desk);
        desk.free.extend(core);
        desk.resting += 1;
        let errand = loop {
            if let Some(errand) = desk.errands.pop_front() {
                break Some(errand);
            }
            if shared.is_closed() || is_over(Some(deadline)) {
                break None;
            }
            desk = wait_until(&self.bell, desk, Some(deadline));
        };
        desk.resting -= 1;
        errand
    }
}

/// The life of a spare.
fn stand_by<P: Park>(shared: &Arc<Shared<P>>) {
    let mut core = None;
    while let Some(errand) = shared.spares.next_errand(shared, core) {
        stand_in(shared, &errand);
        core = Some(errand.core);
    }
}

fn stand_in<P: Park>(shared: &Arc<Shared<P>>, errand: &Errand) {
    let victim = &shared.cores[errand.victim];
    let group = victim.group();
    enter::serve(shared, errand.core, Some(group), |stay, driver| {
        while !shared.is_closed() {
            // What is local to this thread would be dropped with its stay.
            let wait = if victim.watch.is_stuck_at(errand.progress) {
                Wait::Until(now() + TICK)
            } else if stay.has_local() {
                Wait::Forever
            } else {
                break;
            };
            enter::run_or_rest(driver, wait);
        }
    });
    // Whatever was left is in the injector, and the victim may be about to rest: somebody has to look, and to wait in
    // the park.
    shared.wake_where(|_| true);
}

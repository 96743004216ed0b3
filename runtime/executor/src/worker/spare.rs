//! The threads that stand in for stuck ones.
//!
//! Nothing is taken away from a stuck thread, which may be running and believes that it owns its core. A spare works
//! beside it, with a core of its own, in the same park, until the thread's next step. Then it hands back what it has.
//!
//! To stand in is a blocking call, and the spares are a pool for such: started on demand, they rest afterwards, and end
//! when they have rested long enough.

use std::borrow::Cow;
use std::error::Error;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::executor::{Enrolled, inside};
use super::sentinel::TICK;
use super::shared::Shared;
use super::{enter, options::ExecutorOptions};
use crate::blocking::{BlockingPool, PoolOptions};
use crate::park::{Park, Wait};
use crate::sync::{Mutex, lock, now};

pub(super) struct Spares {
    pub(super) threads: BlockingPool,
    /// Cores that no spare has, and that are promised to none.
    free: Mutex<Vec<usize>>,
}

/// Stand in for `victim`, which is stuck in the step `progress`, with core `core`.
struct Errand<P: Park> {
    core: usize,
    victim: usize,
    progress: usize,
    /// Counts as a thread of the runtime's.
    enrolled: Enrolled<P>,
}

impl Spares {
    pub(super) fn new(cores: Range<usize>, options: &ExecutorOptions) -> Self {
        let threads = PoolOptions {
            threads: cores.len(),
            name: Cow::Borrowed("bourn-spare"),
            stack_size: options.stack_size,
            prompt: true,
            ..PoolOptions::default()
        };
        Self { threads: BlockingPool::new(threads), free: Mutex::new(cores.rev().collect()) }
    }

    /// Has a spare stand in for `victim`, or says why none does. The next tick tries again.
    pub(super) fn lend<P: Park>(shared: &Arc<Shared<P>>, victim: usize, progress: usize) -> Result<(), String> {
        // A forked child has no threads of the runtime's.
        let core = lock(&shared.spares.free).pop().filter(|_| !shared.is_forked());
        let core = core.ok_or_else(|| format!("of its {} spares none is free", shared.options.cap()))?;
        let (errand, host) = (Errand { core, victim, progress, enrolled: Enrolled::new(shared, true) }, shared.host());
        let mut call = shared.spares.threads.spawn(move || {
            inside(host.as_ref(), &mut || stand_in(&errand));
            // The host's references go before the executor is told that this thread has left.
            drop(host);
            drop(errand);
        });
        // Where no thread can be started, or none is to be any more, the errand is gone already.
        if call.is_finished()
            && let Poll::Ready(Err(error)) = Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop()))
        {
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            return Err(format!("the system has no thread for a spare ({cause})"));
        }
        Ok(())
    }
}

impl<P: Park> Drop for Errand<P> {
    fn drop(&mut self) {
        lock(&self.enrolled.shared.spares.free).push(self.core);
    }
}

fn stand_in<P: Park>(errand: &Errand<P>) {
    let shared = &errand.enrolled.shared;
    let victim = &shared.cores[errand.victim];
    shared.cores[errand.core].join_group(victim.group());
    enter::serve(shared, errand.core, |stay, driver| {
        while !shared.is_closed() {
            // What is local to this thread would be dropped with its stay.
            let wait = if victim.watch.is_stuck_at(errand.progress) {
                Wait::Until(now() + TICK)
            } else if stay.has_local() {
                Wait::Forever
            } else {
                break;
            };
            driver.run_or_rest(wait);
        }
    });
    // Whatever was left is in the injector, and the victim may be about to rest: somebody has to look, and to wait in
    // the park.
    shared.wake_where(|_| true);
}

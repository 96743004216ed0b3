//! The thread that notices stuck threads, and has spares stand in for them.
//!
//! Every [`TICK`] it looks at each core. A thread that rests is left alone; the kernel may not have run it yet, but it is
//! not stuck. Any other is asked to look around before its next step, so that many polls of medium length delay no event
//! for long. If its progress has stood still since the last tick, it is *stuck*: its slot may be stolen from, and if no
//! worker of its group is idle, a spare stands in.
//!
//! Where no other thread may take the tasks (`private` cores), it only reports.
//!
//! While all threads rest it sleeps. As in [`idle`](super::idle), the one whose fence is second sees the other's store:
//!
//! ```text
//!     sentinel                           a thread whose rest is over
//!     asleep = true                      progress = up
//!     fence                              fence
//!     anybody up? stay awake             asleep? asleep = false; ring
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::{Duration, Instant};

use super::core::Core;
use super::executor;
use super::options::{ExecutorOptions, STALL_THRESHOLD};
use super::shared::Shared;
use super::spare::Spares;
use super::stall::{Clocks, Reporter};
use crate::context::{self, Place};
use crate::park::{Park, ThreadPark, Wait};
use crate::sync::{AtomicUsize, fence, is_over, now};

/// A thread that blocks has helpers after at most two of them, and after one at the least.
pub(super) const TICK: Duration = Duration::from_millis(4);

/// After so many ticks at which everybody rested, it sleeps.
const CALM_TICKS: u32 = if cfg!(any(loom, shuttle)) { 0 } else { 25 };

const AWAKE: usize = 0;
/// It sleeps until it is roused.
const ASLEEP: usize = 1;
/// There is none.
const ABSENT: usize = 2;

pub(super) struct Sentinel {
    state: AtomicUsize,
    /// What it waits in between two ticks.
    bell: ThreadPark,
    pub(super) stalls: AtomicU64,
    pub(super) rescues: AtomicU64,
    pub(super) refusals: AtomicU64,
}

impl Sentinel {
    pub(super) fn new(exists: bool) -> Self {
        Self {
            state: AtomicUsize::new(if exists { AWAKE } else { ABSENT }),
            bell: ThreadPark::new(),
            stalls: AtomicU64::new(0),
            rescues: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
        }
    }

    /// After a thread has stored that it is up.
    #[inline]
    pub(super) fn rouse(&self) {
        if self.state.load(Relaxed) == ABSENT {
            return;
        }
        // Pairs with the fence in `pause`; see the head of this module.
        fence(SeqCst);
        if self.state.load(Relaxed) == ASLEEP && self.state.swap(AWAKE, Relaxed) == ASLEEP {
            self.ring();
        }
    }

    /// Has it look at once.
    pub(super) fn ring(&self) {
        self.bell.unpark();
    }

    /// Waits for the next tick; with `calm`, if all `rest`, until it is roused.
    pub(super) fn pause(&self, calm: bool, rest: impl Fn() -> bool) {
        let mut wait = Wait::Until(now() + TICK);
        if calm {
            self.state.store(ASLEEP, Relaxed);
            // Pairs with the fence in `rouse`; see the head of this module.
            fence(SeqCst);
            if !rest() {
                self.state.store(AWAKE, Relaxed);
                return;
            }
            wait = Wait::Forever;
        }
        self.bell.turn(wait);
        self.state.store(AWAKE, Relaxed);
    }
}

/// Starts the thread of the sentinel of these shards, which share it.
pub(super) fn start<P: Park>(shards: Vec<Arc<Shared<P>>>) -> std::io::Result<()> {
    let first = Arc::clone(&shards[0]);
    executor::start(&first, "bourn-sentinel".to_owned(), false, move |_| watch(&shards))
}

/// What was seen of a core.
struct Sighting {
    /// The step that its thread was in; `None`: it rested.
    progress: Option<usize>,
    since: Instant,
    /// What the thread's clocks said when it was found to be stuck.
    clocks: Option<Clocks>,
    /// It is reported when it has lasted as long.
    report_after: Duration,
}

impl Sighting {
    fn new(progress: Option<usize>, options: &ExecutorOptions) -> Self {
        Self { progress, since: now(), clocks: None, report_after: options.stall_threshold.unwrap_or(STALL_THRESHOLD) }
    }
}

/// The life of the sentinel.
fn watch<P: Park>(shards: &[Arc<Shared<P>>]) {
    let sentinel = &shards[0].sentinel;
    // A runtime that is dropped in the hook for stalls must not wait for this thread.
    context::with(|context| context.place.set(Some(Place::Worker(shards[0].location))));
    let mut reporter = Reporter::new();
    let cores = shards.iter().flat_map(|shared| (0..shared.cores.len()).map(move |index| (shared, index)));
    let mut sightings: Vec<_> =
        cores.map(|(shared, index)| (shared, index, Sighting::new(None, &shared.options))).collect();
    let is_closed = || shards[0].is_closed();
    let mut calm = 0;
    while !is_closed() {
        let rest = || {
            let mut cores = shards.iter().flat_map(|shared| &shared.cores);
            !is_closed() && cores.all(|core| core.watch.progress().is_none())
        };
        sentinel.pause(calm >= CALM_TICKS, rest);
        calm += 1;
        for (shared, index, sighting) in &mut sightings {
            if look(shared, *index, sighting, &mut reporter) {
                calm = 0;
            }
        }
    }
}

/// Looks at one core. Returns whether its thread is up.
fn look<P: Park>(shared: &Arc<Shared<P>>, index: usize, sighting: &mut Sighting, reporter: &mut Reporter) -> bool {
    let core = &shared.cores[index];
    let progress = core.watch.progress();
    let Some(step) = progress else {
        sighting.progress = None;
        return false;
    };
    core.watch.hurry();
    if sighting.progress != progress {
        *sighting = Sighting::new(progress, &shared.options);
    }
    let lasted = now().saturating_duration_since(sighting.since);
    // One that is rung looks before the tick is over; and a thread may say itself that it is going to block.
    if !is_over(Some(sighting.since + TICK)) && !core.watch.is_stuck() {
        return true;
    }
    if core.watch.mark_stuck(step) {
        sighting.clocks = Some(Clocks::of(core.watch.thread()));
    }
    core.counters.note_poll(lasted);
    let lack = help(shared, index, step);
    if let Some(clocks) = sighting.clocks
        && lasted >= sighting.report_after
    {
        sighting.report_after = lasted * 2;
        let is_stall = reporter.report(shared, index, step, lasted, clocks);
        if let Some(why) = &lack
            && is_stall
            && reporter.complaint != lack
            && reporter.write(format!(
                "bourn: nobody stands in for the stuck threads of the runtime made at {}: {why}; tasks may wait until one \
                 comes back. Move blocking calls to spawn_blocking, or raise that limit",
                shared.location
            ))
        {
            reporter.complaint = lack;
        }
    }
    true
}

/// Sees to it that somebody does the work of a thread that is stuck in the step `step`, or says why nobody is left to.
pub(super) fn help<P: Park>(shared: &Arc<Shared<P>>, index: usize, step: usize) -> Option<String> {
    let core = &shared.cores[index];
    if shared.options.private {
        return None;
    }
    let mut lack = None;
    if !core.watch.is_helped(step) {
        let is_idle = |other: &Core| other.group() == core.group() && other.watch.progress().is_none();
        if shared.cores[..shared.options.workers].iter().any(is_idle) {
            core.watch.set_helped(step);
        } else if let Err(why) = Spares::lend(shared, index, step) {
            // As long as somebody gets on in this group, tasks are served, if not at full speed.
            let is_fit = |other: &Core| other.group() == core.group() && other.is_taken() && !other.watch.is_stuck();
            lack = Some(why).filter(|_| !shared.cores.iter().any(is_fit));
            shared.sentinel.refusals.fetch_add(u64::from(lack.is_some()), Relaxed);
        } else {
            core.watch.set_helped(step);
            shared.sentinel.rescues.fetch_add(1, Relaxed);
        }
    }
    // Either this sees a push, or the push sees that the worker is stuck, and that it is a guest's; see `notify`.
    fence(SeqCst);
    // The injector included: a thread that blocks while it counts as searching hides it from those who push.
    if shared.has_work() {
        shared.wake_where(|_| true);
    }
    // It may have come from there, while others napped.
    shared.attend(core.group());
    lack
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::panic::Location;
    use std::thread;

    use super::*;
    use crate::park::ThreadPark;
    use crate::unhandled::Unhandled;
    use crate::worker::ExecutorOptions;

    /// A bell may have it look at any time; a step is stuck after a tick, not after a look.
    #[test]
    fn two_looks_in_a_row_find_nobody_stuck() {
        let parks = Box::new([Arc::new(ThreadPark::new())]);
        let mut options = ExecutorOptions::multi_thread().workers(1);
        options.spares = 0;
        let unhandled = Arc::new(Unhandled::new(options.unhandled_panic));
        let sentinel = Arc::new(Sentinel::new(true));
        let shared = Arc::new(Shared::new(parks, options, 0, unhandled, sentinel, Location::caller()));
        let mut sighting = Sighting::new(None, &shared.options);
        let mut reporter = Reporter::new();
        let begun = Instant::now();
        shared.cores[0].watch.begin(None, None);
        for _ in 0..2 {
            assert!(look(&shared, 0, &mut sighting, &mut reporter));
        }
        assert!(!shared.cores[0].watch.is_stuck() || begun.elapsed() >= TICK);
        thread::sleep(TICK);
        look(&shared, 0, &mut sighting, &mut reporter);
        assert!(shared.cores[0].watch.is_stuck());
    }
}

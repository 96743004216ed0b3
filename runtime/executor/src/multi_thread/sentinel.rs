//! The thread that notices stuck threads, and has spares stand in for them.
//!
//! Every [`TICK`] it looks at each core. A thread that rests is left alone; the kernel may not have run it yet, but it is
//! not stuck. Any other is asked to look around before its next step, so that many polls of medium length delay no event
//! for long. If its progress has stood still since the last tick, it is *stuck*: its slot may be stolen from, and if no
//! worker of its group is idle, a spare stands in.
//!
//! While all threads rest it sleeps. The pair of fences is the one of [`crate::awake`]:
//!
//! ```text
//!     sentinel                           a thread whose rest is over
//!     asleep = true                      progress = up
//!     fence                              fence
//!     anybody up? stay awake             asleep? asleep = false; ring
//! ```

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use super::{
    core::Core,
    shared::Shared,
    spare::Spares,
    stall::{Clocks, Reporter},
};
use crate::{
    blocking::PoolHost,
    park::{Park, Wait},
    sync::{AtomicUsize, Condvar, Mutex, fence, lock, wait_until},
    unwind,
};

const TICK: Duration = Duration::from_millis(5);

/// After so many ticks at which everybody rested, it sleeps.
const CALM_TICKS: u32 = 25;

pub(super) struct Sentinel {
    /// Not 0: it sleeps until it is roused.
    asleep: AtomicUsize,
    /// It was rung since its last tick.
    rung: Mutex<bool>,
    bell: Condvar,
    pub(super) spares: Spares,
    pub(super) stalls: AtomicU64,
    pub(super) rescues: AtomicU64,
    pub(super) refusals: AtomicU64,
    /// Not 0 once it has been said that there are too few spares.
    complained: AtomicUsize,
}

impl Sentinel {
    /// With these cores for spares.
    pub(super) fn new(spares: Range<usize>) -> Self {
        Self {
            asleep: AtomicUsize::new(0),
            rung: Mutex::new(false),
            bell: Condvar::new(),
            spares: Spares::new(spares),
            stalls: AtomicU64::new(0),
            rescues: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            complained: AtomicUsize::new(0),
        }
    }

    /// After a thread has stored that it is up.
    pub(super) fn rouse(&self) {
        // Pairs with the fence in `pause`; see the head of this module.
        fence(SeqCst);
        if self.asleep.load(Relaxed) != 0 && self.asleep.swap(0, Relaxed) != 0 {
            self.ring();
        }
    }

    /// Has it tick at once.
    pub(super) fn ring(&self) {
        *lock(&self.rung) = true;
        self.bell.notify_one();
        self.spares.ring();
    }

    /// The longest rest of a thread that has to look at something which nobody announces.
    #[allow(clippy::unused_self, reason = "the length may become an option")]
    pub(super) fn next_tick(&self) -> Wait {
        Wait::Until(Instant::now() + TICK)
    }

    /// Waits for the next tick; with `calm`, if all `rest`, until it is roused.
    pub(super) fn pause(&self, calm: bool, rest: impl Fn() -> bool) {
        let mut deadline = Some(Instant::now() + TICK);
        if calm {
            self.asleep.store(1, Relaxed);
            // Pairs with the fence in `rouse`; see the head of this module.
            fence(SeqCst);
            if !rest() {
                self.asleep.store(0, Relaxed);
                return;
            }
            deadline = None;
        }
        let mut rung = lock(&self.rung);
        while !*rung && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            rung = wait_until(&self.bell, rung, deadline);
        }
        *rung = false;
        self.asleep.store(0, Relaxed);
    }
}

/// What was seen of a core.
struct Sighting {
    /// The step that its thread was in; `None`: it rested.
    progress: Option<usize>,
    since: Instant,
    /// What the thread's clocks said when it was found to be stuck.
    clocks: Option<Clocks>,
    /// The stuck thread has been seen to: somebody helps out.
    is_helped: bool,
    /// At the last tick nobody was left to help out.
    is_refused: bool,
    /// It is reported when it has lasted as long.
    report_after: Duration,
}

/// The life of the sentinel.
pub(super) fn watch<P: Park>(shared: &Arc<Shared<P>>, host: Option<&Arc<dyn PoolHost>>) {
    let mut reporter = Reporter::new();
    let sighting = |_: &Core| Sighting {
        progress: None,
        since: Instant::now(),
        clocks: None,
        is_helped: false,
        is_refused: false,
        report_after: Duration::ZERO,
    };
    let mut sightings: Vec<Sighting> = shared.cores.iter().map(sighting).collect();
    let mut calm = 0;
    while !shared.is_closed() {
        let rest = || {
            let mut cores = shared.cores.iter();
            !shared.is_closed() && cores.all(|core| core.watch.progress().is_none())
        };
        shared.sentinel.pause(calm >= CALM_TICKS, rest);
        calm += 1;
        for (index, sighting) in sightings.iter_mut().enumerate() {
            if look(shared, host, index, sighting, &mut reporter) {
                calm = 0;
            }
        }
    }
}

/// Looks at one core. Returns whether its thread is up.
fn look<P: Park>(
    shared: &Arc<Shared<P>>,
    host: Option<&Arc<dyn PoolHost>>,
    index: usize,
    sighting: &mut Sighting,
    reporter: &mut Reporter,
) -> bool {
    let core = &shared.cores[index];
    let progress = core.watch.progress();
    let Some(step) = progress else {
        sighting.progress = None;
        return false;
    };
    core.watch.hurry();
    if sighting.progress != progress {
        *sighting = Sighting {
            progress,
            since: Instant::now(),
            clocks: None,
            is_helped: false,
            is_refused: false,
            report_after: shared.options.stall_threshold,
        };
        // Unless it says itself that it is going to block.
        if !core.watch.is_stuck() {
            return true;
        }
    }
    if core.watch.mark_stuck(step) {
        sighting.clocks = Clocks::of(core.watch.thread());
    }
    help(shared, host, index, step, sighting);
    let lasted = sighting.since.elapsed();
    if sighting.clocks.is_some() && lasted >= sighting.report_after {
        sighting.report_after = lasted * 2;
        let is_stall = reporter.report(shared, index, step, lasted, sighting.clocks);
        if is_stall && sighting.is_refused && shared.sentinel.complained.swap(1, Relaxed) == 0 {
            unwind::report(format_args!(
                "bourn: more threads are stuck than the {} spares of the runtime made at {} can stand in for; tasks may wait \
                 until one comes back. Move blocking calls to spawn_blocking, or raise the number of spares",
                shared.options.spares, shared.location
            ));
        }
    }
    true
}

/// Sees to it that somebody does the work of a stuck thread.
fn help<P: Park>(
    shared: &Arc<Shared<P>>,
    host: Option<&Arc<dyn PoolHost>>,
    index: usize,
    step: usize,
    sighting: &mut Sighting,
) {
    let core = &shared.cores[index];
    if !sighting.is_helped {
        let is_idle_worker = |index: usize, other: &Core| {
            index < shared.options.workers && other.group() == core.group() && other.watch.progress().is_none()
        };
        let mut others = shared.cores.iter().enumerate();
        if others.any(|(index, other)| is_idle_worker(index, other)) {
            sighting.is_helped = true;
        } else if Spares::lend(shared, host, index, step) {
            sighting.is_helped = true;
            shared.sentinel.rescues.fetch_add(1, Relaxed);
        } else {
            // As long as somebody gets on in this group, tasks are served, if not at full speed.
            let is_fit = |other: &Core| other.group() == core.group() && other.is_taken() && !other.watch.is_stuck();
            sighting.is_refused = !shared.cores.iter().any(is_fit);
            let refusals = &shared.sentinel.refusals;
            refusals.fetch_add(u64::from(sighting.is_refused), Relaxed);
        }
    }
    if core.has_work() {
        shared.wake_where(|_| true);
    }
    // It may have come from there, while others napped.
    shared.attend(core.group());
}

//! The run loop of every thread that has a core.
//!
//! A *step* is one poll. Every 61st step comes a look around: a turn that does not wait, and a task from the injector; on
//! private cores, which may be without a sentinel, sooner where polls were long, so that it comes about once in a tick.
//! The same happens when the sentinel asks for it, with what the turn wakes and the injector has. Otherwise the next task is the
//! one in the LIFO slot, but at most three times in a row while the ring has others; then the ring's first; then a share
//! of the injector; then half of what somebody else has. Local tasks take every other step. When nothing is found, the
//! reactors of other groups are turned, in case nobody waits in them; then the thread rests.
//!
//! A *private* core has no thieves, and so neither ring nor slot: all its tasks, local or not, take turns in the thread's
//! own queue, which the look around fills with all that is in the injector.

use std::mem;
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::core::{Core, Lease};
use super::seat::Seat;
use super::sentinel::TICK;
use super::shared::Shared;
use super::sleeper::{Post, guarded};
use crate::context::{self, Context};
use crate::park::{Park, Turn, Wait};
use crate::task::Task;

/// A prime, so that it keeps no step with a pattern among the tasks.
pub(super) const STEPS_PER_LOOK: u32 = 61;

/// How often in a row the LIFO slot may come before the ring.
const LIFO_IN_A_ROW: u32 = 3;

/// As long as tasks from the injector go first, so many of them go between two others.
const INJECTED_IN_A_ROW: u32 = 4;

/// Polls that take as long, on the average, leave the park to somebody else meanwhile: to wake one takes about a tenth of it.
/// Models have no clock.
const LONG_POLL: Duration = if cfg!(any(loom, shuttle)) { Duration::MAX } else { Duration::from_micros(50) };

/// Polls between two rests are timed once in so many rests, at random: each time, a rest would read the clock twice.
const RESTS_PER_SAMPLE: usize = 8;

/// After so many samples that are short, polls do not count as long any more.
const SHORT_SAMPLES: u8 = 8;

/// No more than fit into an empty ring beside what a turn may add.
const SHARE_LIMIT: usize = 255;

/// A thread with a core. Dropping it gives the core back, and what is in it to the others.
pub(super) struct Driver<'a, P: Park> {
    context: &'a Context,
    shared: &'a Arc<Shared<P>>,
    seat: &'a Arc<Seat<P>>,
    /// That of the core's group.
    park: &'a Arc<P>,
    lease: Lease<'a, P>,
    /// Since the last look around, and those that it has skipped.
    steps: u32,
    /// How many steps each look around skips of those to the next.
    skip: u32,
    lifo_in_a_row: u32,
    /// In as many of the next steps tasks from the injector go first, but for one step in five.
    injector_first: u32,
    /// When a sample was begun, if one is under way: at a look around, or at the end of a rest.
    sampled_from: Option<Instant>,
    /// Polls since then.
    polls: u64,
    /// Above zero: polls here are so long that no event should wait for their end. Falls with each short sample.
    long_polls: u8,
    searching: bool,
    /// May have had the post since the last time that another thread was sent there.
    had_post: bool,
    /// The last rest was not ended for this thread's own future or local tasks.
    was_for_others: bool,
    /// The state of the generator that says where a search begins.
    random: u32,
}

impl<'a, P: Park> Driver<'a, P> {
    /// Takes the first of these cores that nobody has.
    pub(super) fn take(
        context: &'a Context,
        shared: &'a Arc<Shared<P>>,
        seat: &'a Arc<Seat<P>>,
        mut cores: Range<usize>,
    ) -> Option<Self> {
        let lease = cores.find_map(|index| Lease::take(context, shared, index))?;
        seat.core.store(lease.index, Relaxed);
        seat.signal.set_driving(true, seat.is_alone());
        lease.core.watch.set_thread(context.thread_number());
        lease.core.watch.begin(None, None);
        shared.sentinel.rouse();
        let driver = Self {
            context,
            shared,
            seat,
            park: shared.park_of(lease.core),
            random: 0x9e37_79b9 ^ lease.index as u32,
            steps: lease.core.counters.steps.get() as u32,
            skip: lease.core.counters.skip.get() as u32,
            lease,
            lifo_in_a_row: 0,
            injector_first: 0,
            sampled_from: None,
            polls: 0,
            long_polls: 0,
            searching: false,
            had_post: false,
            was_for_others: false,
        };
        if shared.options.private && !shared.injector.is_empty() {
            driver.collect_injector();
        }
        Some(driver)
    }

    pub(super) fn core(&self) -> &'a Core {
        self.lease.core
    }

    pub(super) fn park(&self) -> &'a Arc<P> {
        self.park
    }

    /// Polls one task; `false`: there is none.
    #[inline]
    pub(super) fn step(&mut self) -> bool {
        let Some(task) = self.next().or_else(|| self.search()) else {
            return false;
        };
        self.before_poll();
        let core = self.core();
        core.watch.begin(Some(task.id()), Some(task.location()));
        core.counters.polls.add(1);
        self.park().before_poll();
        if let Some(task) = task.run() {
            self.requeue(task);
        }
        true
    }

    /// Queues a task that was woken during its own poll: it gives way to all that is queued already.
    #[inline]
    fn requeue(&self, task: Task) {
        if self.shared.options.private || task.is_local() {
            return self.context.push(task);
        }
        let (shared, is_first, has_slot) = (self.shared, self.core().ring.is_empty(), !self.core().lifo.is_empty());
        shared.push_back(&self.lease.owned(), task);
        // Behind others a look at who rests is enough; see the head of `idle`.
        if has_slot || (!is_first && shared.idle.is_anyone(|index| shared.is_fit(index))) {
            shared.notify();
        }
    }

    /// The future of `block_on` is about to be polled.
    pub(super) fn begin_future(&mut self, location: &'static Location<'static>) {
        // A push that is left to this thread would wait as long as the future likes.
        self.before_poll();
        self.steps += 1;
        self.core().watch.begin(None, Some(location));
    }

    /// A task that is to be had without disturbing anyone.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Task> {
        self.steps += 1;
        let core = self.core();
        let hurry = core.watch.take_hurry();
        if hurry || self.steps >= STEPS_PER_LOOK {
            self.look_around(hurry);
        }
        if self.shared.options.private {
            return self.context.pop().or_else(|| self.share_of_injector());
        }
        if self.injector_first > 0 {
            self.injector_first -= 1;
            if self.shared.injected() == 0 {
                self.injector_first = 0;
            } else if !self.injector_first.is_multiple_of(INJECTED_IN_A_ROW + 1)
                && let Some(task) = self.shared.pop_injected()
            {
                return Some(task);
            }
        }
        let is_host = self.seat.is_host();
        if is_host
            && self.steps.is_multiple_of(2)
            && let Some(task) = self.context.pop()
        {
            return Some(task);
        }
        if self.lifo_in_a_row < LIFO_IN_A_ROW
            && let Some(task) = core.lifo.take()
        {
            self.lifo_in_a_row += 1;
            core.counters.lifo_polls.add(1);
            return Some(task);
        }
        self.lifo_in_a_row = 0;
        core.ring
            .pop()
            .or_else(|| core.lifo.take())
            .or_else(|| if is_host { self.context.pop() } else { None })
            .or_else(|| self.share_of_injector())
    }

    /// How many tasks wait for this thread, not counting the injector.
    pub(super) fn queued(&self) -> usize {
        let core = self.core();
        self.context.queued() + core.ring.len() + usize::from(!core.lifo.is_empty())
    }

    /// Takes what is this thread's share of the injector if all workers come for theirs, and returns the first of it.
    fn share_of_injector(&self) -> Option<Task> {
        let injector = &self.shared.injector;
        let first = self.shared.pop_injected()?;
        if self.shared.options.private {
            self.collect_injector();
            return Some(first);
        }
        let share = injector.len() / self.shared.options.workers;
        for _ in 0..share.min(SHARE_LIMIT) {
            let Some(task) = injector.pop() else { break };
            // The ring is empty, and its owner is here.
            if let Err(task) = self.lease.owned().push(task) {
                injector.push(task);
                break;
            }
        }
        Some(first)
    }

    /// Moves what is in the injector now into the own queue; no more, or a busy pusher could hold the loop here.
    fn collect_injector(&self) {
        for _ in 0..self.shared.injector.len() {
            let Some(task) = self.shared.injector.pop() else { break };
            self.context.push(task);
        }
    }

    /// Asks for events without waiting, and sees to the injector.
    #[cold]
    pub(super) fn look_around(&mut self, hurry: bool) {
        // A turn calls wakers, which may block: as long as this thread counts as searching, pushes wake nobody.
        self.stop_searching();
        self.core().watch.begin(None, None);
        let is_due = self.steps >= STEPS_PER_LOOK;
        if is_due && let Some(per_poll) = self.time_polls() {
            self.core().counters.sample(per_poll, self.queued());
        }
        self.steps = self.skip;
        let mut first = 1;
        if self.shared.options.private {
            self.turn(self.park());
            self.collect_injector();
        } else if hurry {
            // In the time of one tick few polls of medium length fit: what this turn wakes, and what many threads push, does
            // not go behind all that is in the ring.
            context::without_core(|| self.turn(self.park()));
            first = self.shared.injected();
        } else {
            self.turn(self.park());
        }
        if is_due {
            // The clock is read once between two looks, and the turn is no poll.
            (self.sampled_from, self.polls) = (Some(Instant::now()), 0);
        }
        if self.injector_first == 0 && !self.shared.options.private {
            let others = first / INJECTED_IN_A_ROW as usize;
            self.injector_first = u32::try_from(first + others + 1).unwrap_or(u32::MAX);
        }
    }

    /// Ends a sample, if one is under way: how long a poll has taken.
    fn time_polls(&mut self) -> Option<Duration> {
        let per_poll =
            self.sampled_from.take()?.elapsed().checked_div(u32::try_from(self.polls).unwrap_or(u32::MAX))?;
        let is_private = self.shared.options.private;
        if is_private && !cfg!(any(loom, shuttle)) {
            // Shorter at once, longer by and by: some long ones may be among many that are short.
            let polls = TICK.div_duration_f32(per_poll) as u32;
            let pace = polls.min(2 * (STEPS_PER_LOOK - self.skip)).clamp(1, STEPS_PER_LOOK);
            self.skip = STEPS_PER_LOOK - pace;
        }
        let is_long = per_poll >= LONG_POLL && !is_private;
        self.long_polls = if is_long { SHORT_SAMPLES } else { self.long_polls.saturating_sub(1) };
        Some(per_poll)
    }

    /// A turn without waiting; what it wakes is announced at its end.
    fn turn(&self, park: &Arc<P>) {
        let before = self.core().ring.len();
        self.context.turning.set(true);
        let turn = guarded(|| park.turn(Wait::No));
        self.context.turning.set(false);
        match turn {
            Turn::Done => self.core().counters.turns.add(1),
            // Whoever is in it delivers what happens.
            Turn::Busy => {}
            Turn::Failed(error) => self.shared.meet_failure(&error),
        }
        // Less than before: half of the ring went to the injector.
        let (len, shared, lifo) = (self.core().ring.len(), self.shared, &self.core().lifo);
        if len != before && (len > 1 || !shared.injector.is_empty() || !lifo.is_empty()) {
            shared.notify();
        }
    }

    /// A task that another thread has, or that an event of another group wakes.
    pub(super) fn search(&mut self) -> Option<Task> {
        self.searching = self.searching || self.shared.idle.start_search();
        if !self.searching {
            return None;
        }
        let core = self.core();
        let cores = &self.shared.cores;
        let start = self.random(cores.len());
        for offset in 0..cores.len() {
            let index = (start + offset) % cores.len();
            let victim = &cores[index];
            if index == self.lease.index {
                continue;
            }
            let (mut first, count) = self.lease.steal(victim);
            if first.is_none() && victim.has_work() {
                first = victim.lifo.take();
            }
            if first.is_some() {
                core.counters.steals.add(1);
                core.counters.stolen.add(count.max(1) as u64);
                return first;
            }
        }
        for (group, park) in self.shared.parks.iter().enumerate() {
            if group != core.group() {
                // As in `look_around`.
                self.stop_searching();
                self.turn(park);
            }
        }
        core.ring.pop().or_else(|| self.share_of_injector())
    }

    /// Before a task is polled: the last of those who searched sees to it that somebody goes on, if there is more.
    #[inline]
    fn stop_searching(&mut self) {
        // Looks before it writes: this comes before every poll.
        if self.searching && mem::take(&mut self.searching) && self.shared.idle.stop_search() && self.shared.has_work()
        {
            self.shared.notify();
        }
    }

    /// The last of those who searched sees to it that somebody goes on, and who polls long that somebody is in the park.
    #[inline]
    fn before_poll(&mut self) {
        self.stop_searching();
        self.polls += 1;
        if self.long_polls > 0 {
            self.shared.attend(self.core().group());
        }
    }

    /// Rests until there may be something to do, at most as long as `wait` says.
    pub(super) fn rest(&mut self, wait: Wait) {
        let (shared, core, index) = (self.shared, self.core(), self.lease.index);
        self.time_polls();
        shared.idle.publish(index, mem::take(&mut self.searching));
        // The second look; see the head of `idle`.
        // A local task may have been woken by a turn of another group's reactor, at the end of the search.
        let found = shared.has_work() || !core.lifo.is_empty() || self.context.queued() > 0;
        let (mut picked, mut rest) = (None, Ok(false));
        if !found && !shared.is_closed() && !self.seat.signal.is_raised() {
            core.counters.parks.add(1);
            core.watch.rest();
            let post = self.post();
            self.context.turning.set(true);
            rest = core.sleeper.rest(post, &**self.park(), wait, || {
                // Before any waker runs, which may block: from here on nobody counts on this thread.
                picked = Some(shared.idle.withdraw(index));
                core.watch.begin(None, None);
                shared.sentinel.rouse();
            });
            self.context.turning.set(false);
            self.was_for_others = !self.seat.signal.is_raised() && self.context.queued() == 0;
        }
        self.searching = picked.unwrap_or_else(|| shared.idle.withdraw(index));
        let has_turned = rest.unwrap_or_else(|error| {
            shared.meet_failure(&error);
            core.sleeper.rest_aside(Wait::Until(Instant::now() + TICK));
            false
        });
        core.counters.turns.add(has_turned.into());
        let is_sample = !found && self.random(RESTS_PER_SAMPLE) == 0;
        (self.sampled_from, self.polls) = (is_sample.then(Instant::now), 0);
        if found && !self.searching {
            // There is work; the limit of those who search is not to keep this one from it, or it would be back at once.
            shared.idle.search();
            self.searching = true;
        }
        // Once for all that the turn has woken.
        if core.ring.len() > 1 {
            shared.notify();
        }
    }

    /// The post, if the thread is to have it. A guest leaves it to the workers, as long as one of them gets on.
    ///
    /// If that one gets stuck after this, then by the fence in [`Shared::attend`] the guest, which is in the idle set by
    /// now, is sent into the park.
    fn post(&mut self) -> Option<&'a Post> {
        let (shared, group) = (self.shared, self.core().group());
        if self.was_for_others && shared.is_guest(self.lease.index) && shared.workers_get_on(group) {
            self.hand_on();
            return None;
        }
        self.had_post = true;
        Some(&shared.posts[group])
    }

    /// Sends another thread into the park, or it would stay empty while those nap who found the post taken.
    fn hand_on(&mut self) {
        if mem::take(&mut self.had_post) {
            self.shared.attend(self.core().group());
        }
    }

    /// A number below `limit`, by Marsaglia's xorshift.
    fn random(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random as usize % limit
    }

    /// Polls one task, or rests.
    pub(super) fn run_or_rest(&mut self, wait: Wait) {
        self.seat.heed(self.context);
        if !self.step() {
            self.rest(wait);
        }
    }
}

impl<P: Park> Drop for Driver<'_, P> {
    fn drop(&mut self) {
        self.stop_searching();
        self.seat.signal.set_driving(false, self.seat.is_alone());
        let core = self.core();
        // They go on with the next one who takes the core, or a thread that comes and goes would never look around. One that
        // is never there for a whole sample is not to skip steps for ever.
        let pace = (2 * (STEPS_PER_LOOK - self.skip)).min(STEPS_PER_LOOK);
        core.counters.steps.set(self.steps.min(STEPS_PER_LOOK).into());
        core.counters.skip.set((STEPS_PER_LOOK - pace).into());
        let mut moved = false;
        while let Some(task) = core.lifo.take().or_else(|| core.ring.pop()) {
            self.shared.injector.push(task);
            moved = true;
        }
        if moved {
            self.shared.notify();
        }
        self.hand_on();
        core.watch.rest();
    }
}

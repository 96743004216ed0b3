//! The reactor: sources and timers over a poller, turned by whoever sleeps.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::Backend;
use crate::clock;
use crate::context::{self, Entered};
use crate::event::Event;
use crate::poller::{Poller, Wait};
use crate::registered::{Registered, SourceInfo};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sys;
use crate::table::{Table, Token};
use crate::timer::pace::Pace;
use crate::timer::wheel::{Key, NEVER, Wheel};

/// How long a turn rests that the kernel had no memory for.
const SHORTAGE: Duration = Duration::from_millis(1);

/// How many places of the table a list of sources looks at under one lock.
const LISTED: usize = 256;

/// Which runtime a reactor belongs to. Sources move freely between the reactors
/// of one runtime; a source whose home is in another one moves at its next wait,
/// for the other may never turn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RuntimeId(u64);

impl RuntimeId {
    /// An id that no other runtime of this process has.
    #[allow(clippy::new_without_default, reason = "each call gives another value")]
    pub fn new() -> RuntimeId {
        static NEXT: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);
        RuntimeId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What became of a [turn](Reactor::turn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Turned {
    /// It was done; whoever waited for what it found has been woken.
    Done,
    /// Another thread is turning this reactor.
    Busy,
}

/// What a reactor has done so far, and what is in it. The numbers are not of one
/// instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReactorMetrics {
    /// Turns, those that did not wait included.
    pub turns: u64,
    /// Events that the kernel has reported.
    pub events: u64,
    /// Sources that are registered now.
    pub sources: usize,
    /// Registrations so far.
    pub registrations: u64,
    /// Of these, how many were of sources that came from another reactor.
    pub rehomings: u64,
    /// Timers that are set now.
    pub timers: usize,
}

/// Sources and timers, and the wait that serves them.
///
/// A thread [enters](Reactor::enter) a reactor, so that sockets and timers used
/// on it register there, and calls [`turn`](Reactor::turn) when it has nothing
/// else to do. Any thread may turn a reactor; one at a time does.
pub struct Reactor {
    pub(crate) poller: Poller,
    table: Mutex<Table>,
    timers: Mutex<Wheel<Waker>>,
    /// Asked under the lock of `timers`, by turns alone.
    pace: Mutex<Pace>,
    /// No timer is to fire before this (nanoseconds since the clock's epoch): the earliest
    /// deadline, that of a timer taken back included, or what `pace` makes of it. Stored under the lock of `timers`; read
    /// without it by turns.
    earliest: AtomicU64,
    runtime: RuntimeId,
    /// How many turns were made, and how many events they brought. Stored under the
    /// turn lock, by plain stores; std's, for no protocol depends on them.
    turns: core::sync::atomic::AtomicU64,
    events: core::sync::atomic::AtomicU64,
    /// Set before the table is closed, see `Registered::settle`.
    closed: AtomicBool,
    /// Why the kernel wait of the background reactor ended.
    failure: OnceLock<io::Error>,
    /// See [`sys::forks`].
    forks: u32,
}

// Foreign code runs under no lock of a reactor, and every waker under a guard of
// its own, so a panic leaves nothing half-changed that could be seen later.
impl UnwindSafe for Reactor {}
impl RefUnwindSafe for Reactor {}

/// The buffers of one turn.
#[derive(Default)]
pub(crate) struct Batch {
    events: Vec<Event>,
    wakers: Vec<Waker>,
}

impl Reactor {
    /// Makes a reactor over `backend` for `runtime`.
    ///
    /// # Errors
    /// Those of [`Poller::with_backend`].
    pub fn new(backend: Backend, runtime: RuntimeId) -> io::Result<Arc<Reactor>> {
        Ok(Arc::new(Reactor {
            poller: Poller::with_backend(backend)?,
            table: Mutex::new(Table::default()),
            timers: Mutex::new(Wheel::new()),
            pace: Mutex::new(Pace::default()),
            earliest: AtomicU64::new(NEVER),
            runtime,
            turns: core::sync::atomic::AtomicU64::new(0),
            events: core::sync::atomic::AtomicU64::new(0),
            closed: AtomicBool::new(false),
            failure: OnceLock::new(),
            forks: sys::forks(),
        }))
    }

    /// The backend that this reactor waits in.
    pub fn backend(&self) -> Backend {
        self.poller.backend()
    }

    /// Lets the sockets and timers of this thread register here, until the
    /// returned value is dropped, or until the reactor is: that is kept by others.
    ///
    /// # Panics
    /// In a forked child of the process that made the reactor.
    pub fn enter(self: &Arc<Self>) -> Entered {
        self.refuse_after_fork();
        context::enter(self)
    }

    /// Waits as [`Wait`] says, marks what the kernel reports, expires timers, and
    /// wakes whoever waited. A [closed](Reactor::close) reactor waits no more.
    ///
    /// A waker that panics keeps no other from being woken; its panic has been
    /// reported by the panic hook and ends here.
    ///
    /// # Errors
    /// What the kernel says to the wait. Timers are expired and wakers woken
    /// even so. For want of memory (`ENOMEM`) the turn rests 1 ms and is done.
    ///
    /// # Panics
    /// In a forked child of the process that made the reactor.
    pub fn turn(&self, wait: Wait) -> io::Result<Turned> {
        self.turn_then(wait, || {})
    }

    /// As [`turn`](Reactor::turn), and calls `awake` when the wait is over, before
    /// the first waker: wakers may be foreign code that takes long. If another
    /// thread is turning the reactor, it is not called.
    ///
    /// # Errors
    /// Those of [`turn`](Reactor::turn).
    ///
    /// # Panics
    /// In a forked child of the process that made the reactor.
    pub fn turn_then(&self, wait: Wait, awake: impl FnOnce()) -> io::Result<Turned> {
        self.refuse_after_fork();
        let mut batch = context::take_batch();
        let mut result = self.gather(wait, &mut batch);
        if result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOMEM)) {
            // The kernel is short of memory: who turns again finds it with more.
            std::thread::sleep(if wait == Wait::No { Duration::ZERO } else { SHORTAGE });
            result = Ok(Turned::Done);
        }
        if !matches!(result, Ok(Turned::Busy)) {
            awake();
        }
        wake_all(&mut batch.wakers);
        context::give_batch(batch);
        result
    }

    /// The part of a turn that holds the turn lock; no foreign code runs in it.
    fn gather(&self, wait: Wait, batch: &mut Batch) -> io::Result<Turned> {
        let Some(mut turn) = self.poller.try_turn() else { return Ok(Turned::Busy) };
        let result = turn.wait(&mut batch.events, || self.limit(wait));
        for (counter, by) in [(&self.turns, 1), (&self.events, batch.events.len() as u64)] {
            counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
        }
        if !batch.events.is_empty() {
            // The lock of a source is taken inside the table's, never the other way round.
            let table = self.table.lock();
            for event in batch.events.drain(..) {
                if let Some(source) = table.get(Token(event.key)) {
                    source.mark(event.ready, &mut batch.wakers);
                }
            }
        }
        self.expire(&mut batch.wakers);
        drop(turn);
        result.map(|()| Turned::Done)
    }

    /// How long a turn may wait, given the timers.
    fn limit(&self, wait: Wait) -> Wait {
        // Relaxed: see `note_earliest`.
        let earliest = self.earliest.load(Ordering::Relaxed);
        let limit = match wait {
            _ if self.is_closed() => Wait::No,
            _ if earliest == NEVER => wait,
            Wait::No => Wait::No,
            Wait::Until(moment) => Wait::Until(moment.min(clock::moment(earliest))),
            Wait::Forever => Wait::Until(clock::moment(earliest)),
        };
        if matches!(limit, Wait::Until(_)) {
            context::sharpen();
        }
        limit
    }

    fn expire(&self, wakers: &mut Vec<Waker>) {
        // Relaxed: a timer that is inserted now is the next turn's.
        let earliest = self.earliest.load(Ordering::Relaxed);
        if earliest == NEVER {
            return;
        }
        let now = clock::nanos(clock::now());
        if earliest <= now {
            let mut timers = self.timers.lock();
            let before = wakers.len();
            timers.expire(now, wakers);
            let next = self.pace.lock().next(now, wakers.len() - before);
            self.note_earliest(timers.earliest().map(|earliest| earliest.max(next)));
        }
    }

    /// Ends the wait of a turn that is under way, or else the next one that may
    /// block. Costs a system call only if a thread is inside the wait.
    ///
    /// # Errors
    /// What the kernel says to a write into the notifier.
    pub fn unpark(&self) -> io::Result<()> {
        self.poller.notify()
    }

    /// Ends this reactor: its sources lose their home and their waiters are woken
    /// to find another, timers likewise, and later turns return at once.
    pub fn close(&self) {
        // Release: whoever takes the table's, a visited source's or the timers'
        // lock after us sees it through that lock; a turn, through the swap in
        // `notify`; who sees it otherwise finds `failure`, by the Acquire in `is_closed`.
        self.closed.store(true, Ordering::Release);
        if self.is_forked() {
            // The locks may be held for ever, and who waits is the parent's.
            return;
        }
        let mut wakers = Vec::new();
        let sources = self.table.lock().close();
        for source in sources {
            source.leave(self, &mut wakers);
            guarded(|| drop(source));
        }
        let mut timers = self.timers.lock();
        timers.drain(&mut wakers);
        self.note_earliest(None);
        drop(timers);
        // A wait under way then sees `closed`. If the notifier can not be written
        // to, that wait ends with its next event; there is nobody to tell.
        drop(self.unpark());
        wake_all(&mut wakers);
    }

    /// [Closes](Reactor::close) the reactor because its wait has failed.
    pub(crate) fn fail(&self, error: io::Error) {
        // Only the first failure is the cause.
        self.failure.set(error).ok();
        self.close();
    }

    /// Whether [`close`](Reactor::close) has been called.
    #[inline]
    pub fn is_closed(&self) -> bool {
        // Acquire: see `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// Whether sources or timers are registered here.
    pub fn occupied(&self) -> bool {
        let metrics = self.metrics();
        metrics.timers + metrics.sources > 0
    }

    /// What the reactor has done so far.
    pub fn metrics(&self) -> ReactorMetrics {
        let timers = self.timers.lock().len();
        let table = self.table.lock();
        ReactorMetrics {
            turns: self.turns.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
            sources: table.len(),
            registrations: table.registrations,
            rehomings: table.rehomings,
            timers,
        }
    }

    pub(crate) fn count_rehoming(&self) {
        self.table.lock().rehomings += 1;
    }

    /// Every source that is registered here, as it is now; one that comes or goes
    /// meanwhile may be missing.
    pub fn sources(&self) -> Vec<SourceInfo> {
        // Taken out first, for what is told of each allocates; in parts, for events wait for the table's lock.
        let places = (0..).step_by(LISTED).map(|start| start..start + LISTED);
        let parts = places.map_while(|places| self.table.lock().sources(places));
        parts.flatten().map(|source| source.info()).collect()
    }

    pub(crate) fn is_of_same_runtime(&self, other: &Reactor) -> bool {
        self.runtime == other.runtime
    }

    /// Whether this is a forked child's copy, whose kernel objects are the
    /// parent's.
    pub(crate) fn is_forked(&self) -> bool {
        self.forks != sys::forks()
    }

    #[inline]
    pub(crate) fn refuse_after_fork(&self) {
        assert!(
            !self.is_forked(),
            "bourn: this runtime was made before fork(2), and a forked child can not use it: its \
             sockets, timers and threads are the parent's. Make a new runtime in the child, or \
             start the child with exec (std::process::Command)."
        );
    }

    /// The error of registering at a closed reactor.
    pub(crate) fn closed_error(&self) -> io::Error {
        match self.failure.get() {
            Some(cause) => io::Error::new(cause.kind(), format!("the background reactor has stopped: {cause}")),
            None => io::Error::other("the runtime of this thread has shut down"),
        }
    }

    /// Reserves a table entry.
    pub(crate) fn reserve(&self, source: Arc<Registered>) -> io::Result<Token> {
        self.table.lock().insert(source).ok_or_else(|| self.closed_error())
    }

    /// Gives a table entry back.
    pub(crate) fn release(&self, token: Token) {
        let source = self.table.lock().remove(token);
        drop(source);
    }
}

/// Timers.
impl Reactor {
    /// Stores the earliest deadline; called under the lock of `timers`.
    ///
    /// Relaxed: a thread that goes to sleep swaps to PARKED and then loads this;
    /// whoever hastens stores this and then asks [`Poller::is_parked`], which
    /// orders the two: either the timer is seen, or the sleeper is and is woken.
    fn note_earliest(&self, earliest: Option<u64>) {
        self.earliest.store(earliest.unwrap_or(NEVER), Ordering::Relaxed);
    }

    /// Sets a timer; gives the waker back if the reactor is closed.
    ///
    /// # Panics
    /// In a forked child of the process that made the reactor.
    pub(crate) fn set_timer(&self, deadline: Instant, waker: Waker) -> Result<Key, Waker> {
        self.refuse_after_fork();
        let deadline = clock::nanos(deadline);
        let mut timers = self.timers.lock();
        // Under the lock: `close` drains the timers after it has said closed.
        if self.is_closed() {
            return Err(waker);
        }
        let key = timers.insert(deadline, waker);
        self.hasten(deadline);
        drop(timers);
        Ok(key)
    }

    /// Moves a timer; false if it has fired or the reactor was closed.
    pub(crate) fn move_timer(&self, key: Key, deadline: Instant) -> bool {
        let deadline = clock::nanos(deadline);
        let mut timers = self.timers.lock();
        let moved = timers.reset(&key, deadline);
        if moved {
            self.hasten(deadline);
        }
        moved
    }

    /// Notes a deadline that may be the earliest, and ends a wait that does not
    /// know it. Called under the lock of `timers`.
    fn hasten(&self, deadline: u64) {
        if deadline < self.earliest.load(Ordering::Relaxed) {
            self.note_earliest(Some(deadline));
            if self.poller.is_parked() {
                // If the notifier can not be written to, the timer is late by
                // what is left of the wait; the timer itself is in place.
                drop(self.unpark());
            }
        }
    }

    /// Whether the timer waits still; lets it wake `waker` from now on.
    pub(crate) fn watch_timer(&self, key: Key, waker: &Waker) -> bool {
        match self.timers.lock().get_mut(&key) {
            None => return false,
            Some(placed) if placed.will_wake(waker) => return true,
            Some(_) => {}
        }
        // Cloned and dropped outside the lock: that is foreign code.
        let mut waker = waker.clone();
        let mut timers = self.timers.lock();
        let placed = timers.get_mut(&key).map(|placed| std::mem::swap(placed, &mut waker));
        drop(timers);
        placed.is_some()
    }

    /// Takes a timer away, if it has not fired.
    pub(crate) fn cancel_timer(&self, key: Key) {
        if self.is_forked() {
            // Another thread of the parent may have held the lock.
            return;
        }
        // It may leave `earliest` too early: one turn ends in vain, if at all, and the next
        // timer, mostly a later one, has nobody to hasten.
        let waker = self.timers.lock().remove(key);
        drop(waker);
    }
}

impl fmt::Debug for Reactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut about = formatter.debug_struct("Reactor");
        about.field("backend", &self.backend()).field("runtime", &self.runtime).field("closed", &self.is_closed());
        about.finish_non_exhaustive()
    }
}

/// Wakes every waker under a guard of its own.
#[inline]
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        guarded(|| waker.wake());
    }
}

/// Runs foreign code. Its panic has been reported by the panic hook and ends here;
/// so does one of its payload's destructor, whose own payload is leaked.
#[inline]
fn guarded(foreign: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(foreign))
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        std::mem::forget(payload);
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

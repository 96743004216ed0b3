//! What the parts of one server share.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::bell::Bell;
use crate::limits::Limits;
use crate::listener::Addr;
use crate::notice::Notices;
use crate::stats::{Counter, Counters, Stats};
use crate::table::{Table, Unfinished};

/// How far a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Connections are accepted.
    Serving,
    /// Still, but it is told that this will end.
    Announced,
    /// New ones are kept out; those that are under way come in.
    Closing,
    /// Accepted until the queue is empty.
    Emptying,
    /// Nothing is accepted any more.
    Stopped,
}

/// By their numbers.
const PHASES: [Phase; 5] = [Phase::Serving, Phase::Announced, Phase::Closing, Phase::Emptying, Phase::Stopped];

/// Why a server has drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A signal of this number.
    Signal(i32),
    /// [`Control::drain`].
    Asked,
    /// Another process has the listening sockets.
    HandedOver,
}

#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) notices: Notices,
    pub(crate) counters: Counters,
    pub(crate) table: Table,
    phase: AtomicU8,
    /// Rung when the phase changes, a cause is given, or an accept loop ends.
    pub(crate) phase_changed: Bell,
    cause: Mutex<Option<Cause>>,
    /// Another process has the listening sockets as well, and may become their owner.
    pub(crate) sockets_out: AtomicBool,
    /// And it is their owner: written before the phase.
    pub(crate) handed_over: AtomicBool,
    /// Accept loops that have not ended, and the hand-over, which has something to say at the end.
    pub(crate) loops: AtomicUsize,
    /// Where a loop has panicked, and its socket gone with all who were in the queue.
    pub(crate) lost: Mutex<Vec<Addr>>,
    pub(crate) by_listener: OnceLock<Vec<Counter>>,
    /// The time of the limits: moved on by the sweep, and only as long as that runs.
    tick: AtomicU32,
}

impl Shared {
    pub(crate) fn new(limits: Limits, notices: Notices) -> Shared {
        // 0 means "not" where a tick is kept.
        Shared { limits, notices, tick: AtomicU32::new(1), ..Shared::default() }
    }

    pub(crate) fn phase(&self) -> Phase {
        // SeqCst: a hand-over reads it after a word that the drain reads; see there.
        PHASES[usize::from(self.phase.load(Ordering::SeqCst))]
    }

    /// Goes on to `phase`, never back.
    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
        self.phase_changed.ring();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.phase() > Phase::Serving
    }

    /// Waits until `check`, polled whenever the phase or the table changes, is ready.
    pub(crate) async fn until<R>(&self, mut check: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
        let mut ears = [self.phase_changed.ear(), self.table.changed.ear()];
        poll_fn(|cx| {
            ears.iter_mut().for_each(|ear| ear.listen(cx));
            check(cx)
        })
        .await
    }

    pub(crate) fn cause(&self) -> Option<Cause> {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the server to drain; the first cause stays.
    pub(crate) fn drain(&self, cause: Cause) {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(cause);
        self.phase_changed.ring();
    }

    /// Nothing is accepted any more, and nothing is open.
    pub(crate) fn is_over(&self) -> bool {
        self.loops.load(Ordering::Acquire) == 0 && self.is_draining() && self.table.is_empty()
    }

    pub(crate) fn tick(&self) -> u32 {
        self.tick.load(Ordering::Relaxed)
    }

    pub(crate) fn advance_tick(&self) -> u32 {
        // The sweep alone writes it.
        let tick = self.tick().wrapping_add(1).max(1);
        self.tick.store(tick, Ordering::Relaxed);
        tick
    }

    pub(crate) fn stats(&self) -> Stats {
        let (open, outlived) = self.table.counts();
        let by_listener = self.by_listener.get().into_iter().flatten().map(Counter::get).collect();
        Stats { open, outlived, by_listener, ..self.counters.stats() }
    }
}

/// A running server, from elsewhere.
#[derive(Clone, Debug)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

impl Control {
    /// Asks the server to drain, as SIGTERM does.
    pub fn drain(&self) {
        self.shared.drain(Cause::Asked);
    }

    /// Whether the server is draining, so that whatever sends it connections should send
    /// them elsewhere: for health endpoints.
    pub fn is_draining(&self) -> bool {
        self.shared.is_draining() || self.shared.cause().is_some()
    }

    /// What the server has done so far.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// The connections that are open, and the handlers that run.
    pub fn connections(&self) -> Vec<Unfinished> {
        self.shared.table.list()
    }
}

/// How a drain goes.
#[derive(Clone, Debug)]
#[must_use = "a drain's plan binds the server that is given it"]
pub struct Drain {
    pub(crate) announce: Duration,
    pub(crate) handshakes: Duration,
    pub(crate) deadline: Duration,
}

impl Drain {
    /// The defaults: no announcement, 100 ms for handshakes, 30 seconds for handlers.
    pub fn new() -> Drain {
        Drain { announce: Duration::ZERO, handshakes: Duration::from_millis(100), deadline: Duration::from_secs(30) }
    }

    /// How long connections are still accepted while
    /// [`is_draining`](Control::is_draining) is true: longer than whatever balances load
    /// needs to see that by its health checks. Default: zero.
    pub fn announce(self, duration: Duration) -> Drain {
        Drain { announce: duration, ..self }
    }

    /// How long TCP handshakes that are under way may take, after new ones are kept out
    /// and before the listeners are closed: longer than the way to the farthest
    /// peer and back. Default: 100 ms.
    pub fn handshakes(self, duration: Duration) -> Drain {
        Drain { handshakes: duration, ..self }
    }

    /// How long the handlers may take, counted from the end of the announcement. Those
    /// that have not ended by then are dropped where they wait. Default: 30 seconds.
    pub fn deadline(self, duration: Duration) -> Drain {
        Drain { deadline: duration, ..self }
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain::new()
    }
}

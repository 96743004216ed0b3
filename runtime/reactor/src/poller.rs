//! Readiness without futures: a wait for many descriptors, for any event loop.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::Backend;
use crate::clock;
use crate::event::{Event, Interest};
use crate::selector::{self, Registry, Selector};
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::sys;

/// Nobody waits, nothing is to be told.
const EMPTY: u8 = 0;
/// A thread is inside a wait that may block, or about to enter it.
const PARKED: u8 = 1;
/// The next wait that may block returns at once.
const NOTIFIED: u8 = 2;

/// Waits for many descriptors at once, over any [`Backend`].
///
/// Descriptors may be added and removed from any thread, also while another
/// thread waits. One thread waits at a time.
///
/// The contract is that of edge-triggered readiness on every backend: an event
/// says that a direction *became* ready. Go on with non-blocking operations until
/// one says `WouldBlock`, then call [`rearm`](Poller::rearm), then wait. Events
/// may be spurious.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use bourn_reactor::{Interest, Poller};
///
/// # fn main() -> std::io::Result<()> {
/// let (mut near, mut far) = UnixStream::pair()?;
/// near.set_nonblocking(true)?;
///
/// let poller = Poller::new()?;
/// poller.add(&near, 7)?;
/// far.write_all(b"ping")?;
///
/// let mut events = Vec::new();
/// let mut bytes = [0; 16];
/// let length = loop {
///     match near.read(&mut bytes) {
///         Ok(length) => break length,
///         Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
///             poller.rearm(7, Interest::READ);
///             events.clear();
///             poller.wait(&mut events, None)?;
///             assert_eq!(events[0].key, 7);
///         }
///         Err(error) => return Err(error),
///     }
/// };
/// assert_eq!(&bytes[..length], b"ping");
/// poller.remove(&near, 7)?;
/// # Ok(())
/// # }
/// ```
pub struct Poller {
    registry: Registry,
    /// The turn lock: tried, never waited for.
    turn: Mutex<Selector>,
    state: AtomicU8,
    backend: Backend,
}

/// How long a wait may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: only what is ready now.
    No,
    /// Until this moment at the latest.
    Until(Instant),
    /// Until something is ready.
    Forever,
}

impl Poller {
    /// Makes a poller over the backend that [`Backend::from_env`] names.
    ///
    /// # Errors
    /// Those of [`Backend::from_env`] and [`with_backend`](Poller::with_backend).
    pub fn new() -> io::Result<Poller> {
        Poller::with_backend(Backend::from_env()?)
    }

    /// Makes a poller over `backend`.
    ///
    /// # Errors
    /// What the kernel says when it can not make the descriptors that the
    /// backend needs (`EMFILE`, `ENFILE`, `ENOMEM`), and
    /// [`Unsupported`](io::ErrorKind::Unsupported) if this system has no such
    /// backend, or if `select` would need a descriptor above its limit.
    pub fn with_backend(backend: Backend) -> io::Result<Poller> {
        let (registry, selector) = selector::open(backend)?;
        Ok(Poller { registry, turn: Mutex::new(selector), state: AtomicU8::new(EMPTY), backend })
    }

    /// The backend that this poller waits in.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether the backend reports changes by itself. If not, it stops watching
    /// what it has reported until [`rearm`](Poller::rearm).
    pub fn is_edge_triggered(&self) -> bool {
        !matches!(self.backend, Backend::Poll | Backend::Select)
    }

    /// Watches `descriptor` for everything and reports it as `key`. What is
    /// pending already is reported too.
    ///
    /// The descriptor should be non-blocking. [`remove`](Poller::remove) it
    /// before closing it: a duplicate of it would keep it registered.
    ///
    /// # Errors
    /// What the kernel says: `EEXIST` if it is registered already, `EPERM` if it
    /// can not be waited for (a regular file), `ENOMEM`, `ENOSPC`.
    /// [`Unsupported`](io::ErrorKind::Unsupported) on the backend `select` for
    /// descriptors at or above `FD_SETSIZE`, and
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for the key `u64::MAX`,
    /// which is reserved. The level-triggered backends notice only `select`'s
    /// limit; they report other unfit descriptors as ready.
    pub fn add(&self, descriptor: impl AsFd, key: u64) -> io::Result<()> {
        if key == u64::MAX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the key u64::MAX is reserved for the poller's notifier",
            ));
        }
        self.registry.add(descriptor.as_fd(), key)?;
        self.announce();
        Ok(())
    }

    /// Stops watching `descriptor`, which was added as `key`. An event that has
    /// been taken from the kernel before may still be reported.
    ///
    /// # Errors
    /// What the kernel says: `ENOENT` if it is not registered (the
    /// level-triggered backends do not notice).
    pub fn remove(&self, descriptor: impl AsFd, key: u64) -> io::Result<()> {
        self.registry.remove(descriptor.as_fd(), key)?;
        self.announce();
        Ok(())
    }

    /// Asks for `interest` again after an operation has said `WouldBlock`. Does
    /// nothing on the edge-triggered backends.
    pub fn rearm(&self, key: u64, interest: Interest) {
        if !self.is_edge_triggered() {
            self.registry.rearm(key, interest);
            self.announce();
        }
    }

    /// Waits until something is ready, [`notify`](Poller::notify) is called or
    /// `timeout` is over (`None`: for ever), and appends what was reported to
    /// `events`; none is appended when the time is over. Interruptions by signals
    /// (`EINTR`) do not shorten the wait.
    ///
    /// # Errors
    /// [`ResourceBusy`](io::ErrorKind::ResourceBusy) if another thread waits;
    /// otherwise what the kernel says.
    pub fn wait(&self, events: &mut Vec<Event>, timeout: Option<Duration>) -> io::Result<()> {
        let wait = match timeout {
            None => Wait::Forever,
            Some(timeout) if timeout.is_zero() => Wait::No,
            Some(timeout) => Wait::Until(clock::after(clock::now(), timeout)),
        };
        match self.try_turn() {
            Some(mut turn) => turn.wait(events, || wait),
            None => Err(io::Error::new(io::ErrorKind::ResourceBusy, "another thread is waiting in this poller")),
        }
    }

    /// Ends the wait that is under way, or else the next one that may block.
    /// Costs a system call only if a thread is waiting.
    ///
    /// # Errors
    /// What the kernel says to a write into the notifier.
    pub fn notify(&self) -> io::Result<()> {
        // AcqRel: Release hands what the caller did before to the thread whose
        // wait ends (the swap in `Turn::wait`); Acquire is the other end of it.
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED { self.registry.notify() } else { Ok(()) }
    }

    /// The kernel of the loom models.
    #[cfg(all(test, loom))]
    pub(crate) fn model(&self) -> &selector::model::Registry {
        let Registry::Model(model) = &self.registry else { unreachable!("models open nothing else") };
        model
    }

    /// The right to wait, if no other thread has it.
    pub(crate) fn try_turn(&self) -> Option<Turn<'_>> {
        self.turn.try_lock().map(|selector| Turn { poller: self, selector })
    }

    /// Whether a thread is inside a wait that may block. What was changed before
    /// this call is seen by any wait that begins after a `false`.
    ///
    /// A read-modify-write that changes nothing, not a load: it and the swap to
    /// PARKED lie in one order. Either the swap comes first and is seen here, or
    /// this comes first and its Release pairs with the Acquire of the swap.
    pub(crate) fn is_parked(&self) -> bool {
        self.state.fetch_or(0, Ordering::AcqRel) == PARKED
    }

    /// Lets a level-triggered wait that is under way take note of a change. The
    /// mailbox's lock orders the two: a wait that emptied the mailbox before the
    /// change was posted has said PARKED before that.
    fn announce(&self) {
        if !self.is_edge_triggered() && self.is_parked() {
            // A notifier that can not be written to leaves the wait to end by
            // itself; the change is in the mailbox.
            drop(self.notify());
        }
    }
}

/// The right to wait, held.
pub(crate) struct Turn<'a> {
    poller: &'a Poller,
    selector: MutexGuard<'a, Selector>,
}

impl Turn<'_> {
    /// Waits as long as `limit` says. It is asked again before each kernel call,
    /// after this thread has said that it is parked: what it reads then can not
    /// change unnoticed if every change is followed by [`Poller::is_parked`] and,
    /// if so, [`Poller::notify`].
    pub(crate) fn wait(&mut self, events: &mut Vec<Event>, limit: impl Fn() -> Wait) -> io::Result<()> {
        let before = events.len();
        loop {
            let wait = limit();
            if wait == Wait::No {
                // A notification is for a wait that blocks, so it stays.
                return sys::uninterrupted(|| self.selector.wait(events, Some(Duration::ZERO)));
            }
            // Acquire, as in `is_parked` and `notify`; Release, so that who sees
            // PARKED comes after whatever this thread did before.
            let told = self.poller.state.swap(PARKED, Ordering::AcqRel) == NOTIFIED;
            let wait = if told { Wait::No } else { limit() };
            let (timeout, cut) = timeout(wait);
            let result = self.selector.wait(events, timeout);
            // Acquire, as in `notify`.
            let told = self.poller.state.swap(EMPTY, Ordering::AcqRel) == NOTIFIED || told;
            if let Err(error) = result
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            let over = match wait {
                Wait::No => true,
                Wait::Until(deadline) => !cut && clock::now() >= deadline,
                Wait::Forever => false,
            };
            if told || over || events.len() > before {
                return Ok(());
            }
        }
    }
}

/// The time-out to give to the kernel, and whether it is shorter than the wait.
///
/// The kernel may be late by 0.1 % of a time-out (`select_estimate_accuracy` in
/// fs/select.c), so a wait of more than 20 ms is first cut by 1/256 and then
/// finished by a shorter one.
fn timeout(wait: Wait) -> (Option<Duration>, bool) {
    match wait {
        Wait::No => (Some(Duration::ZERO), false),
        Wait::Forever => (None, false),
        Wait::Until(deadline) => {
            let left = deadline.saturating_duration_since(clock::now());
            if left > Duration::from_millis(20) { (Some(left - left / 256), true) } else { (Some(left), false) }
        }
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Poller").field("backend", &self.backend).finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod loom_tests;

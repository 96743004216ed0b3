//! What a task tells about itself.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;
use std::time::Duration;

/// A number that names a task: unique in the process, and never used twice. A later task may
/// have a smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(NonZeroU64);

impl Id {
    /// From the thread's own share, or all threads that spawn would write one cache line.
    pub(super) fn next() -> Self {
        const SHARE: u64 = 64;
        static SHARES: AtomicU64 = AtomicU64::new(0);
        thread_local! {
            /// A multiple of `SHARE`: the thread's share is used up.
            static NEXT: Cell<u64> = const { Cell::new(0) };
        }
        // Relaxed: only uniqueness matters. At a share per nanosecond the counter lasts for nine years.
        let share = || SHARES.fetch_add(SHARE, Relaxed);
        let number = NEXT.try_with(|next| {
            let number = if next.get().is_multiple_of(SHARE) { share() } else { next.get() };
            next.set(number + 1);
            number
        });
        // While the thread's locals are destroyed, each task costs a share.
        Self(NonZeroU64::new(number.unwrap_or_else(|_| share()) + 1).unwrap_or(NonZeroU64::MAX))
    }

    /// The task with this number; none has 0.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number itself, from 1.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a task is spawned, beyond its future.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Options {
    pub(super) name: Option<Arc<str>>,
}

impl Options {
    /// Nothing special: no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the task a name, for reports and tables.
    pub fn name<'a>(mut self, name: impl Into<Cow<'a, str>>) -> Self {
        self.name = Some(match name.into() {
            Cow::Borrowed(name) => Arc::from(name),
            Cow::Owned(name) => Arc::from(name),
        });
        self
    }
}

/// What a task was doing when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits to be woken.
    Waiting,
    /// It was woken and waits for its turn.
    Queued,
    /// It is being polled or dropped.
    Running,
}

/// A live task as it was when it was looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The task's number.
    pub id: Id,
    /// The name that it was given, if any.
    pub name: Option<Arc<str>>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
    /// What it was doing.
    pub state: TaskState,
    /// It is bound to the thread that spawned it.
    pub local: bool,
    /// How long ago it was spawned, if it has a name, or else first waited; to within 10 milliseconds.
    pub age: Duration,
    pub(super) address: usize,
}

impl TaskInfo {
    /// A task of which no more is known than that it is being polled.
    pub(crate) fn of_running(id: Id, location: &'static Location<'static>) -> Self {
        Self { id, name: None, location, state: TaskState::Running, local: false, age: Duration::ZERO, address: 0 }
    }

    /// The address behind every waker of this task ([`Waker::data`]), by which a table of wakers can be joined with
    /// the table of tasks. It is reused when the task is gone.
    #[must_use]
    pub fn waker_data(&self) -> usize {
        self.address
    }

    /// Tells whether `waker` wakes this task, provided that the task still lives.
    #[must_use]
    pub fn is_woken_by(&self, waker: &Waker) -> bool {
        waker.data().addr() == self.address
    }
}

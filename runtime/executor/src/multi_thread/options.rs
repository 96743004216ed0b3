//! How a multi-thread runtime is to be.

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
    thread,
    time::Duration,
};

use super::stall::Stall;
use crate::unhandled::UnhandledPanic;

/// How a [`MultiThread`](crate::MultiThread) runtime is to be.
#[derive(Clone)]
#[must_use]
pub struct MultiThreadOptions {
    pub(super) workers: usize,
    pub(super) workers_per_park: usize,
    /// Cores for threads inside `block_on`. Any further such thread does without.
    pub(super) callers: usize,
    pub(super) spares: usize,
    pub(super) thread_name: Arc<str>,
    pub(super) stack_size: Option<usize>,
    pub(super) unhandled_panic: UnhandledPanic,
    pub(super) rescue: bool,
    pub(super) stall_threshold: Duration,
    pub(super) on_stall: Option<Arc<StallHook>>,
}

pub(super) type StallHook = dyn Fn(&Stall) + Send + Sync;

impl MultiThreadOptions {
    /// A worker for each processor that the process may use, in groups of four.
    pub fn new() -> Self {
        let workers = thread::available_parallelism().map_or(1, |count| count.get());
        Self {
            workers,
            workers_per_park: 4,
            callers: 4,
            spares: workers.max(4),
            thread_name: Arc::from("bourn-worker"),
            stack_size: None,
            unhandled_panic: UnhandledPanic::default(),
            rescue: true,
            stall_threshold: Duration::from_millis(10),
            on_stall: None,
        }
    }

    /// The number of workers, at least 1. The cap of spare threads becomes the same, or 4 if that is more.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self.spares = self.workers.max(4);
        self
    }

    /// How many workers share a [`Park`](crate::Park), at least 1. Default: 4.
    pub fn workers_per_park(mut self, workers: usize) -> Self {
        self.workers_per_park = workers.max(1);
        self
    }

    /// The most threads that may stand in for stuck ones. Default: the number of workers, but at least 4.
    pub fn spares(mut self, spares: usize) -> Self {
        self.spares = spares;
        self
    }

    /// The name of the workers' threads, to which a number is added. Default: `bourn-worker`.
    pub fn thread_name(mut self, name: &str) -> Self {
        self.thread_name = Arc::from(name);
        self
    }

    /// The size of the threads' stacks, in bytes. Default: that of [`std::thread`].
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// What becomes of panics that nobody sees.
    pub fn unhandled_panic(mut self, policy: UnhandledPanic) -> Self {
        self.unhandled_panic = policy;
        self
    }

    /// Whether stuck threads are noticed, reported and stood in for. Default: yes.
    pub fn rescue(mut self, rescue: bool) -> Self {
        self.rescue = rescue;
        self
    }

    /// How long a poll may take before it is reported. Default: 10 milliseconds.
    pub fn stall_threshold(mut self, threshold: Duration) -> Self {
        self.stall_threshold = threshold;
        self
    }

    /// Has `hook` called for each report of a stall, instead of a line on stderr.
    ///
    /// It runs on the thread that notices stalls, which meanwhile notices none: it should be quick.
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        self.on_stall = Some(Arc::new(hook));
        self
    }

    pub(super) fn groups(&self) -> usize {
        self.workers.div_ceil(self.workers_per_park)
    }
}

impl Default for MultiThreadOptions {
    fn default() -> Self {
        Self::new()
    }
}

// The hook is called under a guard, and what its panic leaves half-done is its own.
impl UnwindSafe for MultiThreadOptions {}
impl RefUnwindSafe for MultiThreadOptions {}

impl fmt::Debug for MultiThreadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MultiThreadOptions")
            .field("workers", &self.workers)
            .field("workers_per_park", &self.workers_per_park)
            .field("spares", &self.spares)
            .field("rescue", &self.rescue)
            .finish_non_exhaustive()
    }
}

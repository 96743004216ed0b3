//! How an executor is to be.

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
    thread,
    time::Duration,
};

use super::stall::Stall;
use crate::unhandled::UnhandledPanic;

/// How an [`Executor`](crate::Executor) is to be.
#[derive(Clone)]
#[must_use]
pub struct ExecutorOptions {
    /// Of one shard.
    pub(super) workers: usize,
    pub(super) shards: usize,
    /// No other thread may take a core's tasks.
    pub(super) private: bool,
    pub(super) workers_per_park: usize,
    /// Cores for threads inside `block_on`. Any further such thread does without.
    pub(super) callers: usize,
    pub(super) spares: usize,
    pub(super) pin: bool,
    pub(super) thread_name: Arc<str>,
    pub(super) stack_size: Option<usize>,
    pub(super) unhandled_panic: UnhandledPanic,
    pub(super) rescue: bool,
    /// The sentinel is started when it is needed.
    pub(super) lazy: bool,
    pub(super) stall_threshold: Duration,
    pub(super) on_stall: Option<Arc<StallHook>>,
}

pub(super) type StallHook = dyn Fn(&Stall) + Send + Sync;

impl ExecutorOptions {
    /// No workers: tasks run on the thread that is inside `block_on`, and rest while there is none.
    pub fn current_thread() -> Self {
        Self {
            workers: 0,
            shards: 1,
            private: true,
            workers_per_park: 1,
            callers: 1,
            spares: 0,
            pin: false,
            thread_name: Arc::from("bourn-worker"),
            stack_size: None,
            unhandled_panic: UnhandledPanic::default(),
            rescue: true,
            lazy: true,
            stall_threshold: Duration::from_millis(10),
            on_stall: None,
        }
    }

    /// Workers that share the tasks: one for each processor that the process may use, in groups of four.
    pub fn multi_thread() -> Self {
        let shared = Self { private: false, workers_per_park: 4, callers: 4, lazy: false, ..Self::current_thread() };
        shared.workers(processors())
    }

    /// Workers that share nothing: one for each processor that the process may use, each with tasks and a park of its own.
    pub fn thread_per_core() -> Self {
        Self { workers: 1, shards: processors(), callers: 0, lazy: false, ..Self::current_thread() }
    }

    /// The same, as far as it concerns an executor without workers.
    pub fn without_workers(self) -> Self {
        let Self { workers, shards, private, workers_per_park, callers, spares, .. } = Self::current_thread();
        Self { workers, shards, private, workers_per_park, callers, spares, ..self }
    }

    /// The number of workers, at least 1; where nothing is shared, that of shards. The cap of spare threads becomes the
    /// same, or 4 if that is more. Nothing happens where there are no workers.
    pub fn workers(mut self, workers: usize) -> Self {
        if !self.private {
            self.workers = workers.max(1);
            self.spares = self.workers.max(4);
        } else if self.workers > 0 {
            self.shards = workers.max(1);
        }
        self
    }

    /// How many workers share a [`Park`](crate::Park), at least 1. Default: 4, but 1 where nothing is shared.
    pub fn workers_per_park(mut self, workers: usize) -> Self {
        if !self.private {
            self.workers_per_park = workers.max(1);
        }
        self
    }

    /// Whether each worker stays on one processor, where the system has it. Default: no.
    pub fn pin_workers(mut self, pin: bool) -> Self {
        self.pin = pin;
        self
    }

    /// The most threads that may stand in for stuck ones. Default: the number of workers, but at least 4.
    pub fn spares(mut self, spares: usize) -> Self {
        if !self.private {
            self.spares = spares;
        }
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

    /// Whether stuck threads are noticed, reported and, beside workers that share, stood in for. Default: yes.
    pub fn rescue(mut self, rescue: bool) -> Self {
        self.rescue = rescue;
        self
    }

    /// How long a poll may take before it is reported. Default: 10 milliseconds.
    pub fn stall_threshold(mut self, threshold: Duration) -> Self {
        self.stall_threshold = threshold;
        self.lazy = false;
        self
    }

    /// Has `hook` called for each report of a stall, instead of a line on stderr.
    ///
    /// It runs on the thread that notices stalls, which meanwhile notices none: it should be quick.
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        self.on_stall = Some(Arc::new(hook));
        self.lazy = false;
        self
    }

    /// Of one shard.
    pub(super) fn groups(&self) -> usize {
        self.workers.div_ceil(self.workers_per_park).max(1)
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get())
}

// The hook is called under a guard, and what its panic leaves half-done is its own.
impl UnwindSafe for ExecutorOptions {}
impl RefUnwindSafe for ExecutorOptions {}

impl fmt::Debug for ExecutorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorOptions")
            .field("shards", &self.shards)
            .field("workers", &self.workers)
            .field("workers_per_park", &self.workers_per_park)
            .field("spares", &self.spares)
            .field("rescue", &self.rescue)
            .finish_non_exhaustive()
    }
}

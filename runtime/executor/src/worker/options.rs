//! How an executor is to be.

use std::borrow::Cow;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, thread};

use super::stall::Stall;
use crate::unhandled::UnhandledPanic;

/// How an [`Executor`](crate::Executor) is to be.
#[derive(Clone)]
#[must_use]
#[non_exhaustive]
pub struct ExecutorOptions {
    /// Of one shard.
    pub(super) workers: usize,
    pub(super) shards: usize,
    /// No other thread may take a core's tasks.
    pub(super) private: bool,
    /// Cores for threads inside `block_on`. Any further such thread does without.
    pub(super) callers: usize,
    /// How many workers share a [`Park`](crate::Park), at least 1; where nothing is shared, each has its own. Default: 4.
    pub workers_per_park: usize,
    /// The most threads that may stand in for stuck ones, beside workers that share. Default: the number of workers, but at
    /// least 4.
    pub spares: usize,
    /// Whether each worker stays on one processor, where the system has it. Default: no.
    pub pin_workers: bool,
    /// The name of the workers' threads, to which a number is added. Default: `bourn-worker`.
    pub thread_name: Cow<'static, str>,
    /// The size of the threads' stacks, in bytes. Default: that of [`std::thread`].
    pub stack_size: Option<usize>,
    /// What becomes of panics that nobody sees.
    pub unhandled_panic: UnhandledPanic,
    /// Whether stuck threads are noticed, reported and, beside workers that share, stood in for. Default: beside workers
    /// yes. Without, where nobody could stand in, yes where this crate has `debug_assertions`, and where `stall_threshold` or
    /// `on_stall` are set. [`Executor::start`](crate::Executor::start) starts the thread that does it.
    pub rescue: Option<bool>,
    /// How long a poll may take before it is reported. Default (`None`): 10 milliseconds.
    pub stall_threshold: Option<Duration>,
    /// Called for each report of a stall, instead of a line on stderr.
    ///
    /// It runs on the thread that notices stalls, which meanwhile notices none: it should be quick. As on a
    /// worker, a `block_on` there panics, and so does dropping the executor, which is then shut down without waiting.
    pub on_stall: Option<Arc<StallHook>>,
}

type StallHook = dyn Fn(&Stall) + Send + Sync;

pub(super) const STALL_THRESHOLD: Duration = Duration::from_millis(10);

impl ExecutorOptions {
    /// No workers: tasks run on the thread that is inside `block_on`, and rest while there is none.
    pub fn current_thread() -> Self {
        Self {
            workers: 0,
            shards: 1,
            private: true,
            callers: 1,
            workers_per_park: 4,
            spares: 0,
            pin_workers: false,
            thread_name: Cow::Borrowed("bourn-worker"),
            stack_size: None,
            unhandled_panic: UnhandledPanic::default(),
            rescue: None,
            stall_threshold: None,
            on_stall: None,
        }
    }

    /// Workers that share the tasks: one for each processor that the process may use, in groups of four.
    pub fn multi_thread() -> Self {
        Self { private: false, callers: 4, ..Self::current_thread() }.workers(processors())
    }

    /// Workers that share nothing: one for each processor that the process may use, each with tasks and a park of its own.
    pub fn thread_per_core() -> Self {
        Self { workers: 1, shards: processors(), callers: 0, ..Self::current_thread() }
    }

    /// The same, as far as it concerns an executor without workers.
    pub fn without_workers(self) -> Self {
        Self { workers: 0, shards: 1, private: true, callers: 1, ..self }
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

    /// Of one shard.
    pub(super) fn groups(&self) -> usize {
        self.workers.div_ceil(self.workers_per_park.max(1)).max(1)
    }

    /// The group of worker `index`.
    pub(super) fn group(&self, index: usize) -> usize {
        index / self.workers_per_park.max(1)
    }

    /// Spares of one shard.
    pub(super) fn cap(&self) -> usize {
        if self.private { 0 } else { self.spares }
    }

    /// Whether there is a sentinel.
    pub(super) fn is_watched(&self) -> bool {
        let is_asked_for = self.on_stall.is_some() || self.stall_threshold.is_some();
        self.rescue.unwrap_or(self.workers > 0 || is_asked_for || cfg!(debug_assertions))
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
            .field("rescue", &self.is_watched())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn without_workers_a_sentinel_has_to_be_asked_for() {
        let (alone, shared) = (ExecutorOptions::current_thread(), ExecutorOptions::multi_thread());
        assert!(shared.is_watched() && ExecutorOptions::thread_per_core().is_watched());
        let not_in_release = cfg!(debug_assertions);
        assert_eq!(alone.is_watched(), not_in_release);
        assert_eq!(shared.clone().without_workers().is_watched(), not_in_release);
        assert!(ExecutorOptions { on_stall: Some(Arc::new(|_| {})), ..alone.clone() }.is_watched());
        assert!(ExecutorOptions { stall_threshold: Some(STALL_THRESHOLD), ..alone.clone() }.is_watched());
        assert!(ExecutorOptions { rescue: Some(true), ..alone }.is_watched());
        assert!(!ExecutorOptions { rescue: Some(false), ..shared }.is_watched());
    }
}

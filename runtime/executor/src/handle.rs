//! The way to spawn tasks from anywhere, whatever runs them.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::{fmt, mem};

use crate::park::Park;
use crate::task::{AbortHandle, JoinError, JoinHandle, Options, Schedule, Task, TaskInfo};
use crate::worker::{Metrics, Shared, Sitting, enter};
use crate::{context, misuse};

/// A handle to an executor, for any thread.
///
/// It keeps neither the executor running nor its tasks alive, but what the executor sleeps in (a reactor's descriptors,
/// say) is kept as long as there is a handle, a waker or an [`AbortHandle`](crate::AbortHandle). What is spawned after
/// the shutdown is dropped unpolled, at once or when the driving thread's current poll returns, and its handle yields
/// a cancelled error.
pub struct Handle<P: Park> {
    /// At least one.
    shards: Arc<[Arc<Shared<P>>]>,
}

impl<P: Park> Handle<P> {
    pub(crate) fn new(shards: Arc<[Arc<Shared<P>>]>) -> Self {
        Self { shards }
    }

    /// That of the executor that the calling thread is inside, in `block_on` or as one of its own threads, if it sleeps in this
    /// kind of park.
    #[must_use]
    pub fn current() -> Option<Self> {
        context::sitting::<Sitting<P>>()?.seat.shared.upgrade()?.siblings.get()?.upgrade().map(Self::new)
    }

    /// Runs `future` to its end on this thread, as [`Executor::block_on`](crate::Executor::block_on) does.
    ///
    /// After the shutdown it has no tasks beside it, and nobody turns what the executor sleeps in.
    ///
    /// # Panics
    ///
    /// As `Executor::block_on`.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        enter::block_on(&self.shards[0], None, future, Location::caller())
    }

    /// Starts a task. Without workers it runs when a thread is inside `block_on`; where workers share nothing, it stays
    /// with the one that calls this, or, from elsewhere, they take turns.
    ///
    /// # Panics
    ///
    /// In a forked child of the process that made the executor: its threads are the parent's.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.spawn_with(Options::new(), future)
    }

    /// Starts a task with [`Options`], such as a name.
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_with<T: Send + 'static>(
        &self,
        options: Options,
        future: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        spawn_on(self.shard(), options, future, Location::caller())
    }

    /// Starts a task whose future may not leave this thread. It is dropped before this thread's `block_on` returns
    /// (unless that is a [`LocalExecutor`](crate::LocalExecutor)'s), or, on a thread of the executor's own, at the shutdown.
    ///
    /// # Panics
    ///
    /// If this thread is neither inside `block_on` of this executor nor one of its own.
    #[track_caller]
    pub fn spawn_local<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.spawn_local_with(Options::new(), future)
    }

    /// Starts a task whose future may not leave this thread, with [`Options`], such as a name.
    ///
    /// # Panics
    ///
    /// If this thread is neither inside `block_on` of this executor nor one of its own.
    #[track_caller]
    pub fn spawn_local_with<T: 'static>(
        &self,
        options: Options,
        future: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        let location = Location::caller();
        let is_here = |sitting: &Rc<Sitting<P>>| self.shards.iter().any(|shared| sitting.seat.is_of(shared));
        match context::sitting().filter(is_here) {
            Some(sitting) => sitting.seat.spawn_local(options, future, location),
            None => panic!("{}", misuse::spawn_local_outside(location)),
        }
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Has `make` called for each shard, on its own thread and with its number, and runs there what it returns, which
    /// may stay on that thread. An executor whose workers share, or that has none, is one shard: there the future stays with
    /// whichever thread comes first, and if that is a caller inside `block_on`, it is dropped when that returns.
    #[track_caller]
    pub fn spawn_on_each<M, F>(&self, make: M) -> OnEach<F::Output>
    where
        M: Fn(usize) -> F + Send + Sync + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let (location, make) = (Location::caller(), Arc::new(make));
        let tasks = self.shards.iter().enumerate().map(|(number, shared)| {
            let (handle, make) = (self.clone(), Arc::clone(&make));
            let start = async move {
                let task = handle.spawn_local(make(number));
                let _aborts = AbortOnDrop(task.abort_handle());
                task.await
            };
            spawn_on(shared, Options::new(), start, location)
        });
        OnEach { tasks: tasks.collect(), results: Vec::new() }
    }

    /// The tasks that wait or run, in no particular order; from any thread, also while workers are stuck. One without a
    /// name is listed once it has been polled for the first time.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.shards.iter().flat_map(|shared| shared.tasks()).collect()
    }

    /// How many tasks wait, or have a name.
    #[must_use]
    pub fn task_count(&self) -> usize {
        self.shards.iter().map(|shared| shared.live.len()).sum()
    }

    /// Tells whether the executor has been shut down.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shards[0].is_closed()
    }

    /// Does what the executor's [`UnhandledPanic`](crate::UnhandledPanic) says about a panic elsewhere, which `line`
    /// describes.
    pub fn unhandled_panic(&self, line: &str) {
        self.shards[0].meet_panic(line);
    }

    /// What the executor has done, and what is queued in it.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.shards)
    }

    /// Calls `work`, which may block, and has the tasks that this thread would run meanwhile run by others.
    ///
    /// Where workers share, a spare stands in at once; local tasks of the thread wait. Elsewhere it is a plain call, and
    /// the tasks of the thread wait.
    ///
    /// # Panics
    ///
    /// With the panic of `work`.
    pub fn block_in_place<T>(&self, work: impl FnOnce() -> T) -> T {
        self.shards[0].block_in_place(work)
    }

    /// What the calling thread's shard, or else the first, sleeps in; where that has several, one for each group of
    /// workers, the first.
    #[must_use]
    pub fn park(&self) -> &Arc<P> {
        &self.here().unwrap_or(&self.shards[0]).parks[0]
    }

    /// All that the executor sleeps in.
    pub fn parks(&self) -> impl Iterator<Item = &Arc<P>> {
        self.shards.iter().flat_map(|shared| &shared.parks)
    }

    /// The shard that this thread is a worker of.
    fn here(&self) -> Option<&Arc<Shared<P>>> {
        self.shards.iter().find(|shared| context::is_worker_of(shared.address()))
    }

    /// Where the next task goes.
    fn shard(&self) -> &Arc<Shared<P>> {
        let first = &self.shards[0];
        if self.shards.len() == 1 {
            return first;
        }
        self.here().unwrap_or_else(|| {
            let turn = first.next_shard.fetch_add(1, Relaxed);
            &self.shards[turn % self.shards.len()]
        })
    }
}

fn spawn_on<P: Park, F>(
    shared: &Arc<Shared<P>>,
    options: Options,
    future: F,
    location: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    // The thread that has forked is in the child, and goes on with what it has there.
    let is_lost = context::core_in(shared.address()).is_none() && shared.is_forked();
    assert!(!is_lost, "{}", misuse::forked("a task", "runtime", location));
    let (task, handle) = Task::new(future, shared.for_task(), options, location);
    shared.schedule(task);
    handle
}

impl<P: Park> Clone for Handle<P> {
    fn clone(&self) -> Self {
        Self { shards: Arc::clone(&self.shards) }
    }
}

impl<P: Park> fmt::Debug for Handle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("live", &self.task_count()).field("closed", &self.is_closed()).finish()
    }
}

/// What [`Handle::spawn_on_each`] has started; awaiting it yields what each shard's future yields, by number.
///
/// # Cancel safety
///
/// Dropping it detaches the futures, which go on.
#[derive(Debug)]
#[must_use = "the futures run without it, but nobody hears of their ends"]
pub struct OnEach<T> {
    /// Those that have not yielded their results.
    tasks: VecDeque<JoinHandle<Result<T, JoinError>>>,
    results: Vec<Result<T, JoinError>>,
}

impl<T> OnEach<T> {
    /// How many of the futures have ended.
    #[must_use]
    pub fn finished(&self) -> usize {
        self.results.len() + self.tasks.iter().filter(|task| task.is_finished()).count()
    }

    /// Asks for all the futures to be dropped.
    pub fn abort(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl<T> Future for OnEach<T> {
    type Output = Vec<Result<T, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // All go on by themselves, so it is enough to wait for one after the other.
        while let Some(task) = self.tasks.front_mut() {
            let result = ready!(Pin::new(task).poll(cx)).flatten();
            self.tasks.pop_front();
            self.results.push(result);
        }
        Poll::Ready(mem::take(&mut self.results))
    }
}

impl<T> Unpin for OnEach<T> {}

/// Aborts a task when nobody awaits it any more.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

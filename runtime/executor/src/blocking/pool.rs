//! The pool as its users and its threads see it.

use std::{
    borrow::Cow,
    cell::Cell,
    fmt,
    future::Future,
    io,
    panic::Location,
    pin::Pin,
    process,
    sync::{Arc, mpsc},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::crew::{Brought, Crew, PoolMetrics, Vacancy};
use crate::{
    context, misuse,
    sync::{Condvar, Mutex, lock, start_thread, thread, thread_local, wait_until},
    task::{JoinHandle, Options, Schedule, Task, TaskInfo},
    unwind,
};

thread_local! {
    /// The pool whose crew the thread has left, or 0: what it does now, it does in destructors of thread-locals.
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// What a pool asks of the runtime that it belongs to, if it belongs to one.
pub trait PoolHost: Send + Sync + 'static {
    /// Called on each new thread: calls `serve`, which returns when the thread shall end, with whatever the calls need
    /// around them.
    fn around(&self, serve: &mut dyn FnMut()) {
        serve();
    }

    /// Hears of a panic whose [`JoinHandle`] nobody holds; `line` says which. The default writes it to stderr.
    fn unhandled_panic(&self, line: &str) {
        unwind::report(format_args!("{line}"));
    }
}

/// How a [`BlockingPool`] is made.
#[derive(Clone, Debug)]
#[must_use]
pub struct PoolOptions {
    cap: usize,
    idle: Duration,
    name: Cow<'static, str>,
    stack_size: Option<usize>,
}

impl PoolOptions {
    /// 512 threads, which end after 10 seconds without a call.
    pub fn new() -> Self {
        Self {
            cap: 512,
            idle: Duration::from_secs(10),
            // With three digits after it, as long as the kernel keeps a name: 15 bytes.
            name: Cow::Borrowed("bourn-block"),
            stack_size: None,
        }
    }

    /// The most threads at a time; at least one. Further calls wait in a queue.
    pub fn threads(mut self, cap: usize) -> Self {
        self.cap = cap.max(1);
        self
    }

    /// How long a thread waits for its next call before it ends.
    pub fn idle(mut self, limit: Duration) -> Self {
        self.idle = limit;
        self
    }

    /// What the threads are called, before a hyphen and a number. The default is `bourn-block`.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    /// The size of the threads' stacks in bytes. The default is that of `std::thread`.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Threads for calls that block.
///
/// They start when they are needed and end when they are idle. A clone is another handle to the same pool; without any,
/// the pool makes the calls that are queued and then withers.
///
/// # Examples
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use bourn_executor::{BlockingPool, Executor, PoolOptions, ThreadPark};
///
/// let pool = BlockingPool::new(PoolOptions::new());
/// let runtime = Executor::current_thread(Arc::new(ThreadPark::new()));
/// let hosts = pool.spawn(|| std::fs::read_to_string("/etc/hosts"));
/// assert!(runtime.block_on(hosts).is_ok());
/// assert!(pool.shutdown(Duration::from_secs(1)).is_empty());
/// ```
#[derive(Clone)]
pub struct BlockingPool {
    shared: Arc<Shared>,
}

struct Shared {
    crew: Mutex<Crew>,
    /// Rung for each thread that leaves.
    left: Condvar,
    options: PoolOptions,
    /// The process that has the threads.
    process: u32,
}

impl BlockingPool {
    /// Makes a pool. No thread is started.
    pub fn new(options: PoolOptions) -> Self {
        Self {
            shared: Arc::new(Shared { crew: Mutex::default(), left: Condvar::new(), options, process: process::id() }),
        }
    }

    /// Lets `host` be asked from now on. The pool keeps it until it is [closed](Self::close) and its last thread leaves.
    pub fn set_host(&self, host: Arc<dyn PoolHost>) {
        let host = Some(host);
        let before = std::mem::replace(&mut lock(&self.shared.crew).host, host);
        drop(before);
    }

    /// Has `work` called on a thread of the pool; calls start in the order of their arrival.
    ///
    /// Aborting the handle keeps the call from being made, if it has not begun; a thread that comes to it drops it.
    /// One that has begun goes on to its end. After the [shutdown](Self::shutdown) `work` is dropped at once, and the
    /// handle yields a cancelled error.
    ///
    /// If no thread can be started and there is none, the handle yields the kernel's error
    /// ([`JoinError::is_refused`](crate::JoinError::is_refused)); while there is one, the call waits for it.
    ///
    /// # Panics
    ///
    /// In a forked child of the process that made the pool: the threads are the parent's.
    #[track_caller]
    pub fn spawn<T, W>(&self, work: W) -> JoinHandle<T>
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.spawn_with(Options::new(), work)
    }

    /// As [`spawn`](Self::spawn), with [`Options`], such as a name.
    ///
    /// # Panics
    ///
    /// As `spawn`.
    #[track_caller]
    pub fn spawn_with<T, W>(&self, options: Options, work: W) -> JoinHandle<T>
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let here = Location::caller();
        assert!(!self.is_forked(), "{}", misuse::forked(here));
        let call = Call { work: Some(work) };
        let scheduler = Arc::clone(&self.shared);
        let (task, handle) = Task::new(call, scheduler, options, here);
        self.shared.schedule(task);
        handle
    }

    /// What the pool is doing.
    #[must_use]
    pub fn metrics(&self) -> PoolMetrics {
        lock(&self.shared.crew).metrics()
    }

    /// The calls that are being made.
    #[must_use]
    pub fn running(&self) -> Vec<TaskInfo> {
        lock(&self.shared.crew).running(None)
    }

    /// Tells whether a call that comes now would be made: the pool is not closed, and this is the process that made it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.is_forked() && !lock(&self.shared.crew).closed
    }

    /// Drops every call that has not begun and every one that comes later. Waits for nothing.
    pub fn close(&self) {
        lock(&self.shared.crew).close();
        self.shared.drain();
        self.shared.dismiss_host();
    }

    /// [Closes](Self::close) the pool, waits at most `grace` for the calls that have begun, and returns those that are
    /// still being made; the one that this is called in is none of them.
    ///
    /// A call is over when its thread has noticed: without a grace one that has just ended may still be returned. The
    /// threads, too, are waited for as long as the grace lasts; one that takes longer to end, for a destructor of a
    /// thread-local, goes on by itself. Called again, it waits again for what is left. In a forked child, which has
    /// none of the threads, it does not wait.
    #[must_use = "these calls are still being made"]
    pub fn shutdown(&self, grace: Duration) -> Vec<TaskInfo> {
        let deadline = Instant::now().checked_add(grace);
        let here = thread::current().id();
        self.close();
        if self.is_forked() {
            // fork(2) copies the caller's thread alone: nobody is there who could be waited for, or needs the host.
            let host = lock(&self.shared.crew).host.take();
            unwind::dispose(host);
            return Vec::new();
        }
        let mut crew = lock(&self.shared.crew);
        while crew.has_others(here) && !is_over(deadline) {
            crew = wait_until(&self.shared.left, crew, deadline);
        }
        let still_running = crew.running(Some(here));
        // A thread that has left is joined by the next one that leaves: it must not wait for that one, nor for itself.
        let leavers = if is_over(deadline) || LEFT.with(Cell::get) == self.shared.address() {
            Vec::new()
        } else {
            crew.take_leavers()
        };
        let host = crew.dismiss_host();
        drop(crew);
        unwind::dispose(host);
        join_until(leavers, deadline);
        still_running
    }

    fn is_forked(&self) -> bool {
        process::id() != self.shared.process
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}

impl Shared {
    /// By what a thread knows which pool it has left, and which it is emptying.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn start(self: &Arc<Self>, vacancy: Vacancy) {
        let name = format!("{}-{}", self.options.name, vacancy.key);
        let shared = Arc::clone(self);
        let started = start_thread(name, self.options.stack_size, move || {
            shared.work(vacancy.key);
        });
        match started {
            Ok(thread) => lock(&self.crew).keep(vacancy, thread),
            Err(error) => {
                let stranded = lock(&self.crew).give_up(vacancy);
                self.left.notify_all();
                for task in stranded {
                    task.refuse(duplicate(&error));
                }
                self.dismiss_host();
            }
        }
    }

    /// The life of a thread.
    fn work(&self, key: usize) {
        let host = {
            let mut crew = lock(&self.crew);
            crew.arrive(key, thread::current().id());
            crew.host.clone()
        };
        let mut leavers = None;
        let mut serve = || {
            if leavers.is_none() {
                leavers = Some(self.serve(key));
            }
        };
        if let Some(host) = host {
            if let Err(payload) = unwind::catch(|| host.around(&mut serve)) {
                let line = "bourn: what is around a thread of the blocking pool panicked";
                unwind::report(format_args!("{line}"));
                unwind::discard(payload);
            }
            unwind::dispose(host);
        }
        // Without a host, or with one that failed: the calls are made all the same.
        serve();
        // A call may outlast the shutdown: whoever leaves last lets the host go.
        self.dismiss_host();
        join(leavers.unwrap_or_default());
    }

    /// Makes calls until the thread shall end. Returns the threads that have left before.
    fn serve(&self, key: usize) -> Vec<thread::JoinHandle<()>> {
        loop {
            match self.next(key) {
                Ok(task) => task.run(),
                Err(leavers) => {
                    LEFT.with(|left| left.set(self.address()));
                    self.left.notify_all();
                    return leavers;
                }
            }
        }
    }

    /// The next call of a post, or, after its thread has left the crew, those who left before.
    fn next(&self, key: usize) -> Result<Task, Vec<thread::JoinHandle<()>>> {
        let mut crew = lock(&self.crew);
        if let Some(task) = crew.take(key) {
            return Ok(task);
        }
        if crew.closed {
            return Err(crew.leave(key));
        }
        let deadline = Instant::now().checked_add(self.options.idle);
        let bell = crew.rest(key);
        loop {
            crew = wait_until(&bell, crew, deadline);
            if let Some(task) = crew.handed(key) {
                return Ok(task);
            }
            // One lock over the last look and the leaving: nobody can hand over in between.
            if crew.closed || is_over(deadline) {
                return Err(crew.leave(key));
            }
        }
    }

    /// Lets the host go, if nobody is left who might need it.
    fn dismiss_host(&self) {
        let host = lock(&self.crew).dismiss_host();
        unwind::dispose(host);
    }

    /// Drops the calls that will not be made any more.
    fn drain(&self) {
        context::while_draining(self.address(), || {
            loop {
                let task = lock(&self.crew).pop();
                let Some(task) = task else { return };
                task.cancel();
            }
        });
    }
}

impl Schedule for Arc<Shared> {
    const LOCAL: bool = false;

    fn schedule(&self, task: Task) {
        let brought = lock(&self.crew).bring(task, self.options.cap);
        match brought {
            Brought::Handed(bell) => bell.notify_one(),
            Brought::Queued => {}
            Brought::Start(vacancy) => self.start(vacancy),
            Brought::Closed => self.drain(),
        }
    }

    fn admit(&self, task: Task) -> Result<u32, Task> {
        // A call does not return `Pending`.
        Err(task)
    }

    fn retire(&self, _key: u32) -> Task {
        unreachable!("a blocking call was in the table of waiting tasks")
    }

    fn unhandled_panic(&self, line: &str) {
        let host = lock(&self.crew).host.clone();
        match host {
            Some(host) => host.unhandled_panic(line),
            None => unwind::report(format_args!("{line}")),
        }
    }
}

/// A call, as a future that is ready at once.
struct Call<W> {
    work: Option<W>,
}

impl<W> Unpin for Call<W> {}

impl<T, W: FnOnce() -> T> Future for Call<W> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<T> {
        match self.work.take() {
            Some(work) => Poll::Ready(work()),
            None => unreachable!("a blocking call was polled twice"),
        }
    }
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| deadline <= Instant::now())
}

/// Waits for threads that have nothing left to do but to end.
fn join(leavers: Vec<thread::JoinHandle<()>>) {
    for thread in leavers {
        if let Err(payload) = thread.join() {
            unwind::discard(payload);
        }
    }
}

/// As [`join`], until `deadline`; threads that take longer go on by themselves.
fn join_until(leavers: Vec<thread::JoinHandle<()>>, deadline: Option<Instant>) {
    let Some(deadline) = deadline else {
        return join(leavers);
    };
    if leavers.is_empty() {
        return;
    }
    // A thread's destructors run after `is_finished`, and a join has no limit: so another thread joins, which can be
    // waited for with one. If there can be none, nobody is waited for.
    let (joining, joined) = mpsc::channel::<()>();
    let joiner = start_thread("bourn-join".to_owned(), None, move || {
        join(leavers);
        drop(joining);
    });
    let left = deadline.saturating_duration_since(Instant::now());
    if let Ok(joiner) = joiner
        && joined.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Disconnected)
    {
        join(vec![joiner]);
    }
}

/// The same error for each of several calls.
fn duplicate(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

//! The pool, its threads, and the data under its lock.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use std::{fmt, mem};

use slab::Slab;

use crate::sync::{Condvar, Mutex, MutexGuard, is_over, lock, now, start_thread, thread_local, wait_until, wait_while};
use crate::task::{JoinHandle, Options, Schedule, Task, TaskInfo, TaskState};
use crate::{context, misuse, sys, unwind};

thread_local! {
    /// The pool that the thread belongs to, by its address, or 0; and the key of its post.
    static MEMBER: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
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
#[non_exhaustive]
pub struct PoolOptions {
    /// The most threads at a time; at least one. Further calls wait in a queue. Default: 512.
    pub threads: usize,
    /// How long a thread waits for its next call before it ends. Default: 10 seconds.
    pub idle: Duration,
    /// What the threads are called, before a hyphen and a number. Default: `bourn-block`.
    pub name: Cow<'static, str>,
    /// The size of the threads' stacks in bytes. Default: that of [`std::thread`].
    pub stack_size: Option<usize>,
    /// A call for which no thread can be started does not wait for one that is busy, perhaps for ever: it is refused.
    pub(crate) prompt: bool,
}

impl Default for PoolOptions {
    fn default() -> Self {
        // With three digits after the name, as long as the kernel keeps it: 15 bytes.
        let name = Cow::Borrowed("bourn-block");
        Self { threads: 512, idle: Duration::from_secs(10), name, stack_size: None, prompt: false }
    }
}

/// What a [`BlockingPool`](BlockingPool) was doing when it was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolMetrics {
    /// Threads that exist, whatever they do.
    pub threads: usize,
    /// Threads that make a call.
    pub running: usize,
    /// Threads that wait for a call.
    pub idle: usize,
    /// Calls that wait for a thread.
    pub queued: usize,
    /// Calls that were given to a thread so far.
    pub started: u64,
    /// The longest that any call has waited for a thread so far, those that still wait included.
    pub longest_wait: Duration,
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
/// let pool = BlockingPool::new(PoolOptions::default());
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
    /// Rung for each thread that ends.
    left: Condvar,
    options: PoolOptions,
    /// See [`sys::forks`].
    forks: u32,
}

#[derive(Default)]
struct Crew {
    /// What no thread has taken yet, and since when it waits, oldest first.
    queue: VecDeque<(Task, Instant)>,
    /// Of the threads that take calls, from before their start.
    posts: Slab<Post>,
    /// The posts whose threads rest, and have not been rung for a call. The last one is taken first, so that those who
    /// are not needed time out.
    idle: Vec<usize>,
    /// Threads that have not ended: those that have a post, and those that have just given it up.
    threads: usize,
    /// Each thread keeps it: a call that outlasts the grace may panic, too.
    host: Option<Weak<dyn PoolHost>>,
    closed: bool,
    started: u64,
    longest_wait: Duration,
}

#[derive(Default)]
struct Post {
    /// Rung for a call, and when the crew is closed.
    bell: Arc<Condvar>,
    running: Option<TaskInfo>,
}

impl BlockingPool {
    /// Makes a pool. No thread is started.
    pub fn new(options: PoolOptions) -> Self {
        Self { shared: Arc::new(Shared { crew: Mutex::default(), left: Condvar::new(), options, forks: sys::forks() }) }
    }

    /// Lets `host` be asked from now on. The pool does not keep it, but each thread that starts while it is there does.
    pub fn set_host<H: PoolHost>(&self, host: &Arc<H>) {
        let host = Arc::downgrade(host);
        lock(&self.shared.crew).host = Some(host);
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
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        self.spawn_with(Options::new(), work)
    }

    /// As [`spawn`](Self::spawn), with [`Options`], such as a name.
    ///
    /// # Panics
    ///
    /// As `spawn`.
    #[track_caller]
    pub fn spawn_with<T: Send + 'static>(
        &self,
        options: Options,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let here = Location::caller();
        assert!(!self.is_forked(), "{}", misuse::forked("a blocking call", "pool", here));
        let (task, handle) = Task::new(async { work() }, Arc::clone(&self.shared), options, here);
        self.shared.schedule(task);
        handle
    }

    /// What the pool is doing.
    #[must_use]
    pub fn metrics(&self) -> PoolMetrics {
        let crew = lock(&self.shared.crew);
        let waiting = crew.queue.front().map(|(_, since)| since.elapsed());
        PoolMetrics {
            threads: crew.posts.len(),
            running: crew.posts.iter().filter(|(_, post)| post.running.is_some()).count(),
            idle: crew.idle.len(),
            queued: crew.queue.len(),
            started: crew.started,
            longest_wait: crew.longest_wait.max(waiting.unwrap_or_default()),
        }
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
        if self.is_forked() {
            // The lock may be held for ever, and what is queued is the parent's.
            return;
        }
        {
            let mut crew = lock(&self.shared.crew);
            crew.closed = true;
            for (_, post) in &crew.posts {
                post.bell.notify_one();
            }
        }
        self.shared.drain();
    }

    /// [Closes](Self::close) the pool, waits at most `grace` for the calls that have begun, and returns those that are
    /// still being made; the one that this is called in is none of them.
    ///
    /// A call is over when its thread has noticed: without a grace one that has just ended may still be returned. Of a
    /// thread that has made its last call, only the destructors of its thread-locals may still run afterwards. Called
    /// again, it waits again for what is left. In a forked child, which has none of the threads, it does not wait.
    #[must_use = "these calls are still being made"]
    pub fn shutdown(&self, grace: Duration) -> Vec<TaskInfo> {
        let deadline = now().checked_add(grace);
        self.close();
        if self.is_forked() {
            // fork(2) copies the caller's thread alone: nobody is there who could be waited for.
            return Vec::new();
        }
        let (pool, key) = MEMBER.try_with(Cell::get).unwrap_or_default();
        let own = (pool == self.shared.address()).then_some(key);
        wait_while(&self.shared.left, lock(&self.shared.crew), deadline, |crew| {
            crew.threads > usize::from(own.is_some())
        })
        .running(own)
    }

    fn is_forked(&self) -> bool {
        self.shared.forks != sys::forks()
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPool").field("metrics", &self.metrics()).finish_non_exhaustive()
    }
}

impl Crew {
    /// The next call for a post.
    fn take(&mut self, key: usize) -> Option<Task> {
        self.posts[key].running = None;
        if self.closed {
            return None;
        }
        let (task, since) = self.queue.pop_front()?;
        self.started += 1;
        self.longest_wait = self.longest_wait.max(since.elapsed());
        let mut info = task.describe();
        info.state = TaskState::Running;
        self.posts[key].running = Some(info);
        Some(task)
    }

    /// The calls that are being made, but for the one of the post `but`.
    fn running(&self, but: Option<usize>) -> Vec<TaskInfo> {
        let posts = self.posts.iter().filter(|(key, _)| Some(*key) != but);
        posts.filter_map(|(_, post)| post.running.clone()).collect()
    }
}

impl Shared {
    /// By what a thread knows which pool it belongs to, and which it is emptying.
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn start(self: &Arc<Self>, key: usize, crew: Option<MutexGuard<'_, Crew>>) {
        let name = format!("{}-{key}", self.options.name);
        let shared = Arc::clone(self);
        let started = start_thread(name, self.options.stack_size, move || shared.work(key));
        if let Err(error) = started {
            let stranded = {
                let mut crew = crew.unwrap_or_else(|| lock(&self.crew));
                crew.posts.remove(key);
                // While there is another thread, it comes to them.
                let stays = if crew.posts.is_empty() { 0 } else { crew.queue.len() - usize::from(self.options.prompt) };
                crew.queue.split_off(stays)
            };
            let error = Arc::new(error);
            for (task, _) in stranded {
                task.refuse(Arc::clone(&error));
            }
            self.leave();
        }
    }

    /// The life of a thread.
    fn work(&self, key: usize) {
        MEMBER.with(|member| member.set((self.address(), key)));
        let host = self.host();
        let mut is_done = false;
        let mut serve = || {
            if !mem::replace(&mut is_done, true) {
                self.serve(key);
            }
        };
        if let Some(host) = &host
            && let Err(payload) = unwind::catch(|| host.around(&mut serve))
        {
            unwind::report(format_args!("bourn: what is around a thread of the blocking pool panicked"));
            unwind::discard(payload);
        }
        // Without a host, or with one that failed: the calls are made all the same.
        serve();
        unwind::dispose(host);
        // Destructors of thread-locals are no part of the pool any more.
        MEMBER.with(|member| member.set((0, 0)));
        self.leave();
    }

    /// A thread ends, or could not be started.
    fn leave(&self) {
        lock(&self.crew).threads -= 1;
        self.left.notify_all();
    }

    fn host(&self) -> Option<Arc<dyn PoolHost>> {
        lock(&self.crew).host.as_ref()?.upgrade()
    }

    /// Makes calls until the thread shall end, and gives its post up.
    fn serve(&self, key: usize) {
        let mut crew = lock(&self.crew);
        let mut deadline = None;
        loop {
            if let Some(task) = crew.take(key) {
                drop(crew);
                // A call has no second poll.
                drop(task.run());
                deadline = None;
                crew = lock(&self.crew);
                continue;
            }
            let until = *deadline.get_or_insert_with(|| now().checked_add(self.options.idle));
            // One lock over the last look and the leaving: nobody can count on this thread in between.
            if crew.closed || is_over(until) {
                crew.posts.remove(key);
                MEMBER.with(|member| member.set((self.address(), usize::MAX)));
                return;
            }
            let bell = Arc::clone(&crew.posts[key].bell);
            crew.idle.push(key);
            crew = wait_until(&bell, crew, until);
            crew.idle.retain(|&idle| idle != key);
        }
    }

    /// Drops the calls that will not be made any more.
    fn drain(&self) {
        context::while_draining(self.address(), || {
            loop {
                let queued = lock(&self.crew).queue.pop_front();
                let Some((task, _)) = queued else { return };
                task.cancel();
            }
        });
    }
}

impl Schedule for Arc<Shared> {
    const LOCAL: bool = false;

    fn queue(&self, task: Task) {
        let mut crew = lock(&self.crew);
        crew.queue.push_back((task, Instant::now()));
        if crew.closed {
            drop(crew);
            self.drain();
        } else if let Some(key) = crew.idle.pop() {
            // Should another thread be faster, it rests again.
            crew.posts[key].bell.notify_one();
        } else if crew.posts.len() < self.options.threads.max(1) {
            let key = crew.posts.insert(Post::default());
            crew.threads += 1;
            // A prompt pool's stays locked until it is known whether there is a thread: the call is the last in the queue.
            self.start(key, self.options.prompt.then_some(crew));
        }
    }

    fn admit(&self, task: Task) -> Result<(), Task> {
        // A call does not return `Pending`.
        Err(task)
    }

    fn retire(&self, _key: u32) -> Task {
        unreachable!("a blocking call was in the table of waiting tasks")
    }

    fn unhandled_panic(&self, line: &str) {
        match self.host() {
            Some(host) => host.unhandled_panic(line),
            None => unwind::report(format_args!("{line}")),
        }
    }
}

//! Who works in the pool, and on what: the data under its lock.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use slab::Slab;

use super::pool::PoolHost;
use crate::{
    sync::{
        Condvar,
        thread::{JoinHandle, ThreadId},
    },
    task::{Task, TaskInfo, TaskState},
};

/// What a [`BlockingPool`](super::BlockingPool) was doing when it was looked at.
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

#[derive(Default)]
pub(super) struct Crew {
    /// What no thread has taken yet, oldest first. Empty while a thread is idle, until the crew is closed.
    queue: VecDeque<Queued>,
    posts: Slab<Post>,
    /// The posts whose threads rest. The last one is taken first, so that those who are not needed time out.
    idle: Vec<usize>,
    /// The threads that have given up their posts, and may not have ended yet.
    leavers: Vec<JoinHandle<()>>,
    /// Kept until nobody is left who might need it: a call that outlasts the grace may panic, too.
    pub(super) host: Option<Arc<dyn PoolHost>>,
    pub(super) closed: bool,
    started: u64,
    /// The next post's number.
    number: u64,
    longest_wait: Duration,
}

struct Queued {
    task: Task,
    since: Instant,
}

/// A thread's place in the crew, from before its start until it is about to end.
struct Post {
    /// Unlike its key, never used twice.
    number: u64,
    /// Rung when a call is handed over, and when the crew is closed.
    bell: Arc<Condvar>,
    /// Handed over, and not taken up yet.
    handed: Option<Task>,
    running: Option<TaskInfo>,
    /// Once it has started.
    id: Option<ThreadId>,
    /// Once its starter has it.
    thread: Option<JoinHandle<()>>,
}

/// What is left to do for whoever has brought a call, outside the lock.
pub(super) enum Brought {
    /// Ring: an idle thread has it.
    Handed(Arc<Condvar>),
    /// Nothing: it waits for one of the threads that there are.
    Queued,
    /// Start a thread for this post.
    Start(Vacancy),
    /// Drop what is queued: there will be no threads any more.
    Closed,
}

/// A post whose thread is yet to be started.
#[derive(Clone, Copy)]
pub(super) struct Vacancy {
    pub(super) key: usize,
    number: u64,
}

impl Crew {
    pub(super) fn bring(&mut self, task: Task, cap: usize) -> Brought {
        let queued = Queued { task, since: Instant::now() };
        if !self.closed
            && let Some(key) = self.idle.pop()
        {
            self.assign(key, queued);
            return Brought::Handed(Arc::clone(&self.posts[key].bell));
        }
        self.queue.push_back(queued);
        if self.closed {
            Brought::Closed
        } else if self.posts.len() >= cap {
            Brought::Queued
        } else {
            let number = self.number;
            self.number += 1;
            let key = self.posts.insert(Post {
                number,
                bell: Arc::default(),
                handed: None,
                running: None,
                id: None,
                thread: None,
            });
            Brought::Start(Vacancy { key, number })
        }
    }

    fn assign(&mut self, key: usize, queued: Queued) {
        self.started += 1;
        self.longest_wait = self.longest_wait.max(queued.since.elapsed());
        let mut info = queued.task.describe();
        info.state = TaskState::Running;
        let post = &mut self.posts[key];
        post.running = Some(info);
        post.handed = Some(queued.task);
    }

    /// The thread of a post begins.
    pub(super) fn arrive(&mut self, key: usize, id: ThreadId) {
        self.posts[key].id = Some(id);
    }

    /// The thread of a post wants its next call.
    pub(super) fn take(&mut self, key: usize) -> Option<Task> {
        self.posts[key].running = None;
        if !self.closed
            && let Some(queued) = self.queue.pop_front()
        {
            self.assign(key, queued);
        }
        self.posts[key].handed.take()
    }

    /// What was handed to an idle thread, if anything was.
    pub(super) fn handed(&mut self, key: usize) -> Option<Task> {
        self.posts[key].handed.take()
    }

    /// The thread of a post has nothing to do; what it waits for is the returned bell.
    pub(super) fn rest(&mut self, key: usize) -> Arc<Condvar> {
        self.idle.push(key);
        Arc::clone(&self.posts[key].bell)
    }

    /// The thread of a post ends. It has to wait for those that are returned, who have left before it.
    pub(super) fn leave(&mut self, key: usize) -> Vec<JoinHandle<()>> {
        self.idle.retain(|&idle| idle != key);
        let own = self.posts.remove(key).thread;
        mem::replace(&mut self.leavers, own.into_iter().collect())
    }

    /// The thread of a post was started.
    pub(super) fn keep(&mut self, vacancy: Vacancy, thread: JoinHandle<()>) {
        match self.posts.get_mut(vacancy.key) {
            Some(post) if post.number == vacancy.number => post.thread = Some(thread),
            // It has left already.
            _ => self.leavers.push(thread),
        }
    }

    /// The thread of a post could not be started. Returns the calls that now nobody would ever make.
    pub(super) fn give_up(&mut self, vacancy: Vacancy) -> Vec<Task> {
        self.posts.remove(vacancy.key);
        if self.posts.is_empty() { self.queue.drain(..).map(|queued| queued.task).collect() } else { Vec::new() }
    }

    /// Sends the idle threads home, and all others when they are done.
    pub(super) fn close(&mut self) {
        self.closed = true;
        for &key in &self.idle {
            self.posts[key].bell.notify_one();
        }
    }

    /// The host, once the crew is closed and has no thread.
    pub(super) fn dismiss_host(&mut self) -> Option<Arc<dyn PoolHost>> {
        if self.closed && self.posts.is_empty() { self.host.take() } else { None }
    }

    /// A call that is left after the crew was closed.
    pub(super) fn pop(&mut self) -> Option<Task> {
        self.queue.pop_front().map(|queued| queued.task)
    }

    /// Tells whether there is a thread but that one.
    pub(super) fn has_others(&self, id: ThreadId) -> bool {
        self.posts.iter().any(|(_, post)| post.id != Some(id))
    }

    pub(super) fn take_leavers(&mut self) -> Vec<JoinHandle<()>> {
        mem::take(&mut self.leavers)
    }

    /// The calls that are being made, but for the one that `but` makes.
    pub(super) fn running(&self, but: Option<ThreadId>) -> Vec<TaskInfo> {
        let posts = self.posts.iter();
        posts.filter(|(_, post)| but.is_none() || post.id != but).filter_map(|(_, post)| post.running.clone()).collect()
    }

    pub(super) fn metrics(&self) -> PoolMetrics {
        let waiting = self.queue.front().map(|oldest| oldest.since.elapsed());
        PoolMetrics {
            threads: self.posts.len(),
            running: self.posts.iter().filter(|(_, post)| post.running.is_some()).count(),
            idle: self.idle.len(),
            queued: self.queue.len(),
            started: self.started,
            longest_wait: self.longest_wait.max(waiting.unwrap_or_default()),
        }
    }
}

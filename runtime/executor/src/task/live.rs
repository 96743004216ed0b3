//! The table of live tasks: those that have returned `Pending` or have a name, and have not ended.
//!
//! It is in several parts, so that threads that admit and retire tasks at the same time do not meet at one lock. A key
//! says in its low bits which part it belongs to.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use slab::Slab;

use super::info::{Id, TaskInfo};
use super::reference::Task;
use crate::sync::{Mutex, lock};
use crate::sys;

pub(crate) struct Live {
    /// A power of two of them.
    parts: Box<[Part]>,
}

/// On cache lines of its own, like the lock in it.
#[repr(align(128))]
struct Part {
    table: Mutex<Table>,
}

struct Table {
    entries: Slab<Entry>,
    closed: bool,
}

struct Entry {
    task: Task,
    /// The seat that the task is bound to, by its address; 0 for a task that any thread may run.
    seat: usize,
    /// When it was entered.
    since: Duration,
}

impl Live {
    /// A table with room for `threads` threads to work on it at once.
    pub(crate) fn new(threads: usize) -> Self {
        let part = |_| Part { table: Mutex::new(Table { entries: Slab::new(), closed: false }) };
        Self { parts: (0..threads.next_power_of_two()).map(part).collect() }
    }

    /// Enters a task and tells it its key, or gives it back once the table is closed. `thread` is any number that tells
    /// the threads apart.
    pub(crate) fn admit(&self, task: Task, seat: usize, thread: usize) -> Result<(), Task> {
        let number = thread % self.parts.len();
        let mut table = lock(&self.parts[number].table);
        if table.closed {
            return Err(task);
        }
        let place = table.entries.vacant_key() * self.parts.len() + number;
        let Some(key) = u32::try_from(place).ok().filter(|key| *key < u32::MAX) else {
            // Four billion live tasks do not fit into any memory that the rest of the cells fit into.
            return Err(task);
        };
        task.header().live.store(key, Relaxed);
        table.entries.insert(Entry { task, seat, since: sys::coarse_now() });
        Ok(())
    }

    /// Takes an ended task out. Only the thread that ended it does so, once.
    pub(crate) fn retire(&self, key: u32) -> Task {
        let (place, number) = (key as usize / self.parts.len(), key as usize % self.parts.len());
        lock(&self.parts[number].table).entries.remove(place).task
    }

    /// Admits no more tasks.
    pub(crate) fn close(&self) {
        for part in &self.parts {
            lock(&part.table).closed = true;
        }
    }

    /// References to all tasks that are bound to this seat, or, with 0, to none.
    pub(crate) fn of_seat(&self, seat: usize) -> Vec<Task> {
        self.collect(|entry| (entry.seat == seat).then(|| entry.task.clone()))
    }

    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(&part.table).entries.len()).sum()
    }

    pub(crate) fn describe(&self) -> Vec<TaskInfo> {
        let now = sys::coarse_now();
        self.collect(|entry| {
            let mut info = entry.task.describe();
            info.age = now.saturating_sub(entry.since);
            Some(info)
        })
    }

    /// The name of the task with this number, if it is here and has one.
    pub(crate) fn name_of(&self, id: Id) -> Option<Arc<str>> {
        let find = |entry: &Entry| (entry.task.id() == id).then(|| entry.task.describe().name);
        self.collect(find).pop().flatten()
    }

    fn collect<T>(&self, pick: impl Fn(&Entry) -> Option<T>) -> Vec<T> {
        let mut picked = Vec::new();
        for part in &self.parts {
            picked.extend(lock(&part.table).entries.iter().filter_map(|(_, entry)| pick(entry)));
        }
        picked
    }
}

//! The table of live tasks: those that have returned `Pending` and have not ended.

use slab::Slab;

use super::{info::TaskInfo, reference::Task};
use crate::sync::{Mutex, lock};

pub(crate) struct Live {
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
}

impl Live {
    pub(crate) fn new() -> Self {
        Self { table: Mutex::new(Table { entries: Slab::new(), closed: false }) }
    }

    /// Enters a task and returns its key; gives the task back once the table is closed.
    pub(crate) fn admit(&self, task: Task, seat: usize) -> Result<u32, Task> {
        let mut table = lock(&self.table);
        if table.closed {
            return Err(task);
        }
        let Ok(key) = u32::try_from(table.entries.vacant_key()) else {
            // Four billion live tasks do not fit into any memory that the rest of the cells fit into.
            return Err(task);
        };
        table.entries.insert(Entry { task, seat });
        Ok(key)
    }

    /// Takes an ended task out. Only the thread that ended it does so, once.
    pub(crate) fn retire(&self, key: u32) -> Task {
        lock(&self.table).entries.remove(key as usize).task
    }

    /// Admits no more tasks.
    pub(crate) fn close(&self) {
        lock(&self.table).closed = true;
    }

    /// References to all tasks that are bound to this seat, or, with 0, to none.
    pub(crate) fn of_seat(&self, seat: usize) -> Vec<Task> {
        let table = lock(&self.table);
        table.entries.iter().filter(|(_, entry)| entry.seat == seat).map(|(_, entry)| entry.task.clone()).collect()
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.table).entries.len()
    }

    pub(crate) fn describe(&self) -> Vec<TaskInfo> {
        let table = lock(&self.table);
        table.entries.iter().map(|(_, entry)| entry.task.describe()).collect()
    }
}

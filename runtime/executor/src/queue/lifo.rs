//! The slot for the task that was made runnable last: what it needs is still in the cache, and it runs next.

use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::sync::AtomicPtr;
use crate::task::Task;

/// Holds a task or nothing. Any thread may take and replace; each task comes out once.
pub(crate) struct LifoSlot {
    /// Null, or a reference to a task, which the slot owns.
    task: AtomicPtr<()>,
}

impl LifoSlot {
    pub(crate) fn new() -> Self {
        Self { task: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Puts a task in, and returns the one that it displaces.
    pub(crate) fn replace(&self, task: Task) -> Option<Task> {
        self.swap(task.into_raw().as_ptr())
    }

    /// Takes the task out.
    pub(crate) fn take(&self) -> Option<Task> {
        // The load spares the common case, nothing there, a write.
        if self.is_empty() { None } else { self.swap(ptr::null_mut()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        // Relaxed: whoever must not miss a task has a fence of its own (see `worker::idle`).
        self.task.load(Relaxed).is_null()
    }

    fn swap(&self, next: *mut ()) -> Option<Task> {
        // AcqRel: Release hands the task's contents to whoever takes it, Acquire is the other end of it.
        let before = self.task.swap(next, AcqRel);
        NonNull::new(before).map(|task| {
            // SAFETY: what is in the slot came from `into_raw`, and the swap took it out for us alone.
            unsafe { Task::from_raw(task) }
        })
    }
}

impl Drop for LifoSlot {
    fn drop(&mut self) {
        drop(self.take());
    }
}

//! The references to a task: what the rest of the crate holds of a cell.
//!
//! Which access is whose is argued at the head of the parent module; the comments here name the argument.

use std::future::Future;
use std::io;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use super::cell::{Cell, Header, Schedule};
use super::info::{Id, Options, TaskInfo};
use super::join::JoinHandle;
use super::join_error::Failure;
use super::local::Local;

/// A reference to a task.
pub(crate) struct Task {
    /// Points to a whole cell, which this reference keeps.
    pub(super) cell: NonNull<Header>,
}

// SAFETY: what another thread can do through a task is to change its state word, to read the parts of the header that
// never change, to queue it (schedulers are Sync), to run it and to free it. The future is `Send`, by the bounds on
// the constructors or as a `Local`. Its output is either `Send` too, or made, and dropped or taken, on one thread: the
// runner is on the thread of the `Local`, and a `JoinHandle` of such an output cannot leave the thread of the spawn.
unsafe impl Send for Task {}
// SAFETY: as above; the methods that take `&self` only change the state word and queue the task.
unsafe impl Sync for Task {}

impl Task {
    /// Makes a task, and returns the reference that must be queued and the handle.
    pub(crate) fn new<T: Send + 'static, S: Schedule>(
        future: impl Future<Output = T> + Send + 'static,
        scheduler: S,
        options: Options,
        location: &'static Location<'static>,
    ) -> (Self, JoinHandle<T>) {
        Self::both(Cell::allocate(future, scheduler, options.name, location))
    }

    /// Makes a task that can be run and dropped on this thread only.
    pub(crate) fn new_local<T: 'static, S: Schedule>(
        future: impl Future<Output = T> + 'static,
        scheduler: S,
        options: Options,
        location: &'static Location<'static>,
    ) -> (Self, JoinHandle<T>) {
        Self::both(Cell::allocate(Local::new(future), scheduler, options.name, location))
    }

    /// The two references that the state of a new cell counts.
    fn both<T>(cell: NonNull<Header>) -> (Self, JoinHandle<T>) {
        (Self { cell }, JoinHandle::new(Self { cell }))
    }

    /// Turns the reference into a pointer, for a queue that stores it in a word.
    pub(crate) fn into_raw(self) -> NonNull<()> {
        ManuallyDrop::new(self).cell.cast()
    }

    /// The reference behind a pointer.
    ///
    /// # Safety
    ///
    /// The pointer comes from [`into_raw`](Self::into_raw), and is turned back once.
    pub(crate) unsafe fn from_raw(pointer: NonNull<()>) -> Self {
        Self { cell: pointer.cast() }
    }

    /// Polls the future, or does what else the state asks for. The task came out of a queue; it is returned if it was
    /// woken meanwhile, and then belongs behind all that is queued already.
    #[inline]
    #[must_use]
    pub(crate) fn run(self) -> Option<Self> {
        let cell = ManuallyDrop::new(self).cell;
        let run = header(&cell).calls.run;
        // SAFETY: `calls` is the table of this cell's type, and the reference is handed over.
        let again = unsafe { run(cell) };
        again.then_some(cell).map(|cell| Self { cell })
    }

    /// Drops the future now, unless it is gone or running; in the last case its runner will.
    pub(crate) fn cancel(self) {
        self.fail(Failure::Cancelled);
    }

    /// As [`cancel`](Self::cancel), because the system refused what the task needs.
    pub(crate) fn refuse(self, error: Arc<io::Error>) {
        self.fail(Failure::Refused(error));
    }

    fn fail(self, failure: Failure) {
        let cell = ManuallyDrop::new(self).cell;
        let cancel = header(&cell).calls.cancel;
        // SAFETY: `calls` is the table of this cell's type, and the reference is handed over.
        unsafe { cancel(cell, failure) };
    }

    /// Asks whoever runs the task to drop the future.
    pub(crate) fn abort(&self) {
        let header = self.header();
        if header.state.abort() {
            // SAFETY: `calls` is the table of this cell's type; `abort` added the reference that is consumed, and
            // `self` keeps the cell meanwhile.
            unsafe { (header.calls.schedule)(self.cell) };
        }
    }

    pub(crate) fn id(&self) -> Id {
        self.header().id
    }

    pub(crate) fn location(&self) -> &'static Location<'static> {
        self.header().location
    }

    pub(crate) fn is_local(&self) -> bool {
        self.header().calls.local
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.header().state.is_complete()
    }

    pub(crate) fn describe(&self) -> TaskInfo {
        let header = self.header();
        TaskInfo {
            id: header.id,
            name: header.name.as_deref().cloned(),
            location: header.location,
            state: header.state.doing(),
            local: header.calls.local,
            age: Duration::ZERO,
            address: self.cell.addr().get(),
        }
    }

    pub(super) fn header(&self) -> &Header {
        header(&self.cell)
    }
}

impl Clone for Task {
    fn clone(&self) -> Self {
        self.header().state.retain();
        Self { cell: self.cell }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        release(self.cell, 1);
    }
}

/// The header behind a pointer that its holder has a reference for.
///
/// The lifetime is that of the borrowed pointer. Every pointer in this module and in the cell's stands for a reference as long as it is
/// used, which is the invariant of [`Task::cell`] and the contract of each function in [`Calls`](super::cell::Calls).
pub(super) fn header(cell: &NonNull<Header>) -> &Header {
    // SAFETY: the cell lives, by the above; what is behind a header's reference changes in atomics and cells only.
    unsafe { cell.as_ref() }
}

/// Gives `count` references up, and frees the cell with the last one.
#[inline]
pub(super) fn release(cell: NonNull<Header>, count: usize) {
    let header = header(&cell);
    let free = header.calls.free;
    if header.state.release(count) {
        // SAFETY: `calls` is the table of this cell's type, and these were the last references.
        unsafe { free(cell) };
    }
}

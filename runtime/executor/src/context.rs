//! What a thread knows about the `block_on` that it is inside.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::VecDeque,
    panic::Location,
    sync::Arc,
};

use crate::{sync::thread_local, task::Task};

thread_local! {
    static CONTEXT: Context = const { Context::new() };
}

/// The calling thread's place in a runtime. A thread is in one at a time, for `block_on` does not nest.
///
/// Runtimes and seats are known by their addresses, which are only compared. No borrow of the cells here is alive while
/// foreign code runs.
pub(crate) struct Context {
    /// The runtime whose `block_on` the thread is inside, or 0.
    runtime: Cell<usize>,
    /// The same seat as in `seat_handle`, or 0.
    seat: Cell<usize>,
    /// The thread drives the runtime: tasks that any thread may run, woken here, go to `queue`.
    driving: Cell<bool>,
    /// Where the `block_on` was called.
    entered_at: Cell<Option<&'static Location<'static>>>,
    /// The runtime whose injector the thread is emptying for good, or 0.
    draining: Cell<usize>,
    seat_handle: RefCell<Option<Arc<dyn Any + Send + Sync>>>,
    /// The thread's own run queue.
    queue: RefCell<VecDeque<Task>>,
}

impl Context {
    const fn new() -> Self {
        Self {
            runtime: Cell::new(0),
            seat: Cell::new(0),
            driving: Cell::new(false),
            entered_at: Cell::new(None),
            draining: Cell::new(0),
            seat_handle: RefCell::new(None),
            queue: RefCell::new(VecDeque::new()),
        }
    }

    /// Puts the thread into a runtime. The caller has seen that it is in none.
    pub(crate) fn enter<T: Any + Send + Sync>(
        &self,
        runtime: usize,
        seat: Arc<T>,
        location: &'static Location<'static>,
    ) {
        self.runtime.set(runtime);
        self.seat.set(Arc::as_ptr(&seat).addr());
        self.entered_at.set(Some(location));
        *self.seat_handle.borrow_mut() = Some(seat);
    }

    /// Takes the thread out again. Its queue is empty, and it drives nothing.
    pub(crate) fn leave(&self) {
        debug_assert!(!self.driving.get() && self.queue.borrow().is_empty());
        self.runtime.set(0);
        self.seat.set(0);
        self.entered_at.set(None);
        let seat = self.seat_handle.borrow_mut().take();
        drop(seat);
    }

    /// Makes the thread the one that drives its runtime; what it has queued already goes to the end of the core's queue.
    pub(crate) fn start_driving(&self, mut core: VecDeque<Task>) {
        self.driving.set(true);
        let mut queue = self.queue.borrow_mut();
        core.append(&mut queue);
        *queue = core;
    }

    pub(crate) fn stop_driving(&self) {
        self.driving.set(false);
    }

    pub(crate) fn is_driving(&self) -> bool {
        self.driving.get()
    }

    pub(crate) fn push(&self, task: Task) {
        self.queue.borrow_mut().push_back(task);
    }

    pub(crate) fn pop(&self) -> Option<Task> {
        self.queue.borrow_mut().pop_front()
    }

    pub(crate) fn take_queue(&self) -> VecDeque<Task> {
        self.queue.take()
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.borrow().len()
    }
}

/// Calls `body` with the calling thread's context.
///
/// # Panics
///
/// In a destructor of a thread-local, after the context itself is gone.
pub(crate) fn with<R>(body: impl FnOnce(&Context) -> R) -> R {
    CONTEXT.with(body)
}

/// Queues a task on the calling thread, if that thread drives the runtime; else gives it back.
pub(crate) fn push_driven(runtime: usize, task: Task) -> Result<(), Task> {
    push_where(task, |context| context.driving.get() && context.runtime.get() == runtime)
}

/// Queues a task on the calling thread, if that thread sits on the seat; else gives it back.
pub(crate) fn push_seated(seat: usize, task: Task) -> Result<(), Task> {
    push_where(task, |context| context.seat.get() == seat)
}

#[inline]
fn push_where(task: Task, is_here: impl FnOnce(&Context) -> bool) -> Result<(), Task> {
    let mut task = Some(task);
    // While the thread's locals are destroyed there is no context, and every push is one from elsewhere.
    let _gone = CONTEXT.try_with(|context| {
        if is_here(context)
            && let Some(task) = task.take()
        {
            context.push(task);
        }
    });
    task.map_or(Ok(()), Err)
}

/// Tells whether the calling thread sits on the seat.
pub(crate) fn is_seated(seat: usize) -> bool {
    CONTEXT.try_with(|context| context.seat.get() == seat).unwrap_or(false)
}

/// Where the `block_on` that the calling thread is inside was called.
pub(crate) fn entered_at() -> Option<&'static Location<'static>> {
    CONTEXT.try_with(|context| context.entered_at.get()).ok().flatten()
}

/// The calling thread's seat, if it is of this type and in this runtime.
pub(crate) fn seat_in<T: Any + Send + Sync>(runtime: usize) -> Option<Arc<T>> {
    let handle = CONTEXT
        .try_with(|context| if context.runtime.get() == runtime { context.seat_handle.borrow().clone() } else { None })
        .ok()
        .flatten()?;
    handle.downcast().ok()
}

/// Calls `drain` unless the calling thread is inside such a call for the same runtime already.
///
/// Dropping one task may push another one, which has to be dropped as well. The outer call's loop finds it; a nested
/// loop for each would run out of stack on a long chain of tasks.
pub(crate) fn while_draining(runtime: usize, drain: impl FnOnce()) {
    let outer = CONTEXT.try_with(|context| context.draining.replace(runtime)).unwrap_or(0);
    if outer != runtime {
        // Nothing in here unwinds: tasks guard what is foreign in them.
        drain();
    }
    let _gone = CONTEXT.try_with(|context| context.draining.set(outer));
}

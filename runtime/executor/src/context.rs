//! What a thread knows about the `block_on` that it is inside.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::panic::Location;
use std::rc::Rc;

use crate::sync::thread_local;
use crate::task::Task;
use crate::{sys, unwind};

thread_local! {
    static CONTEXT: Context = const { Context::new() };
}

thread_local! {
    /// The address of the task that the thread polls, or 0, and what it has done to itself meanwhile.
    static POLLED: Cell<(usize, Notes)> = const { Cell::new((0, Notes(0))) };
}

/// What a task does to itself while it is polled, noted without an atomic operation until the poll is over: whether it has
/// woken itself, and, in the bits above, how many clones of its waker it has made.
#[derive(Clone, Copy)]
pub(crate) struct Notes(usize);

impl Notes {
    const WOKEN: usize = 1;
    const LENT: usize = 2;

    pub(crate) fn woken(self) -> bool {
        self.0 & Self::WOKEN != 0
    }

    pub(crate) fn lent(self) -> usize {
        self.0 / Self::LENT
    }
}

/// Of the clones that a task makes of its own waker, so many in one poll are noted.
pub(crate) const MOST_LENT: usize = 1 << 16;

/// What a thread is in its runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// It is inside the `block_on` that was called here.
    BlockOn(&'static Location<'static>),
    /// It is one of the threads of the runtime that was made here.
    Worker(&'static Location<'static>),
}

/// The calling thread's place in a runtime. A thread is in one at a time, for `block_on` does not nest.
///
/// Runtimes and seats are known by their addresses, which are only compared. No borrow of the cells here is alive while
/// foreign code runs.
pub(crate) struct Context {
    /// The runtime whose `block_on` the thread is inside, or 0.
    runtime: Cell<usize>,
    /// The seat that the thread sits on, or 0.
    seat: Cell<usize>,
    pub(crate) place: Cell<Option<Place>>,
    /// One more than the number of the thread's core in its runtime, or 0.
    core: Cell<usize>,
    /// The kernel's number of the thread, once it was asked for.
    number: Cell<Option<u64>>,
    /// The thread is inside a turn of a park: what is woken is announced once, when the turn is over.
    pub(crate) turning: Cell<bool>,
    /// The runtime whose injector the thread is emptying for good, or 0.
    draining: Cell<usize>,
    /// How deep the thread is inside [`drop_in_turn`].
    depth: Cell<usize>,
    /// What it found to drop at the greatest depth.
    left_to_drop: RefCell<Vec<Box<dyn FnOnce()>>>,
    /// What the thread sits on, or has kept for the next time.
    pub(crate) sitting: RefCell<Option<Rc<dyn Any>>>,
    /// The thread's own run queue: local tasks, and, where a runtime's cores are private, all others too.
    queue: RefCell<VecDeque<Task>>,
    /// How many references to the runtime, of which it has a core, the thread keeps.
    pub(crate) spares: Cell<usize>,
}

impl Context {
    const fn new() -> Self {
        Self {
            runtime: Cell::new(0),
            seat: Cell::new(0),
            place: Cell::new(None),
            core: Cell::new(0),
            number: Cell::new(None),
            turning: Cell::new(false),
            draining: Cell::new(0),
            depth: Cell::new(0),
            left_to_drop: RefCell::new(Vec::new()),
            sitting: RefCell::new(None),
            queue: RefCell::new(VecDeque::new()),
            spares: Cell::new(0),
        }
    }

    /// Puts the thread into a runtime. The caller has seen that it is in none.
    pub(crate) fn enter(&self, runtime: usize, seat: usize, sitting: Rc<dyn Any>, place: Place) {
        self.runtime.set(runtime);
        self.seat.set(seat);
        self.place.set(Some(place));
        let before = self.sitting.replace(Some(sitting));
        drop(before);
    }

    /// Takes the thread out again, which may keep what it sits on. Its queue is empty, and it drives nothing.
    pub(crate) fn leave(&self, keep: bool) {
        debug_assert!(self.core.get() == 0 && self.queue.borrow().is_empty());
        // A turn may have panicked.
        self.turning.set(false);
        self.runtime.set(0);
        self.seat.set(0);
        self.place.set(None);
        let left = if keep { None } else { self.sitting.take() };
        drop(left);
    }

    /// Makes core number `core` of its runtime the thread's own, or with `None` takes it away.
    pub(crate) fn set_core(&self, core: Option<usize>) {
        self.core.set(core.map_or(0, |core| core + 1));
    }

    /// Whether the thread has a core of that runtime.
    #[inline]
    fn drives(&self, runtime: usize) -> bool {
        self.core.get() > 0 && self.runtime.get() == runtime
    }

    /// The kernel's number of the thread, or 0 where it does not tell.
    pub(crate) fn thread_number(&self) -> u64 {
        let number = self.number.get().unwrap_or_else(sys::thread_number);
        self.number.set(Some(number));
        number
    }

    #[inline]
    pub(crate) fn push(&self, task: Task) {
        self.queue.borrow_mut().push_back(task);
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Task> {
        self.queue.borrow_mut().pop_front()
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

/// As [`with`], but the default after that.
#[inline]
fn read<R: Default>(body: impl FnOnce(&Context) -> R) -> R {
    CONTEXT.try_with(body).unwrap_or_default()
}

/// Queues what `make` makes on the calling thread, if that thread has a core of the runtime; else `false`.
#[inline]
pub(crate) fn push_driven(runtime: usize, make: impl FnOnce() -> Option<Task>) -> bool {
    push_where(make, |context| context.drives(runtime))
}

/// Queues what `make` makes on the calling thread, if that thread sits on the seat; else `false`.
#[inline]
pub(crate) fn push_seated(seat: usize, make: impl FnOnce() -> Option<Task>) -> bool {
    push_where(make, |context| context.seat.get() == seat)
}

#[inline]
fn push_where(make: impl FnOnce() -> Option<Task>, is_here: impl FnOnce(&Context) -> bool) -> bool {
    // While the thread's locals are destroyed there is no context, and every push is one from elsewhere.
    read(|context| {
        let is_here = is_here(context);
        if is_here && let Some(task) = make() {
            context.push(task);
        }
        is_here
    })
}

/// Calls `poll`, which polls the task at this address. Returns also what was noted.
#[inline]
pub(crate) fn while_polled<R>(task: usize, poll: impl FnOnce() -> R) -> (R, Notes) {
    let outer = POLLED.with(|polled| polled.replace((task, Notes(0))));
    let result = poll();
    (result, POLLED.with(|polled| polled.replace(outer)).1)
}

/// Notes a clone of the waker of the task at this address, if the calling thread polls it; else `false`.
#[inline]
pub(crate) fn lend(task: usize) -> bool {
    POLLED.with(|polled| {
        let (address, Notes(notes)) = polled.get();
        let may_lend = address == task && notes < MOST_LENT * Notes::LENT;
        polled.set((address, Notes(notes + usize::from(may_lend) * Notes::LENT)));
        may_lend
    })
}

/// Notes a wake of the task at this address, if the calling thread polls it; else `false`.
#[inline]
pub(crate) fn wake_polled(task: usize) -> bool {
    POLLED.with(|polled| {
        let (address, Notes(notes)) = polled.get();
        let is_it = address == task;
        polled.set((address, Notes(notes | (usize::from(is_it) * Notes::WOKEN))));
        is_it
    })
}

/// The number of the calling thread's core in the runtime, if it has one, and whether the thread is inside a turn.
#[inline]
pub(crate) fn core_in(runtime: usize) -> Option<(usize, bool)> {
    read(|context| context.drives(runtime).then(|| (context.core.get() - 1, context.turning.get())))
}

/// Changes the number of references to that runtime that the calling thread keeps, if it has a core there and `change` has
/// a new number; else `false`.
#[inline]
pub(crate) fn change_spares(runtime: usize, change: impl FnOnce(usize) -> Option<usize>) -> bool {
    read(|context| {
        let changed = if context.drives(runtime) { change(context.spares.get()) } else { None };
        changed.inspect(|&spares| context.spares.set(spares)).is_some()
    })
}

/// Tells whether the calling thread is inside a turn of that runtime.
pub(crate) fn is_turning(runtime: usize) -> bool {
    read(|context| context.turning.get() && context.runtime.get() == runtime)
}

/// Calls `work` as if the thread had no core.
pub(crate) fn without_core<T>(work: impl FnOnce() -> T) -> T {
    struct Back(usize);
    impl Drop for Back {
        fn drop(&mut self) {
            with(|context| context.core.set(self.0));
        }
    }
    let _back = Back(with(|context| context.core.replace(0)));
    work()
}

/// Tells whether the calling thread is one of that runtime's own.
pub(crate) fn is_worker_of(runtime: usize) -> bool {
    read(|context| context.runtime.get() == runtime && matches!(context.place.get(), Some(Place::Worker(_))))
}

/// Tells whether the calling thread sits on the seat.
pub(crate) fn is_seated(seat: usize) -> bool {
    read(|context| context.seat.get() == seat)
}

/// What the calling thread is in a runtime, if it is in one.
pub(crate) fn place() -> Option<Place> {
    read(|context| context.place.get())
}

/// What the calling thread sits on, if it is in a runtime, and it is of this type.
pub(crate) fn sitting<T: Any>() -> Option<Rc<T>> {
    read(|context| context.sitting.borrow().clone().filter(|_| context.seat.get() != 0))?.downcast().ok()
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

/// Calls `work`, which drops something foreign: now, or, deep inside such calls, after them, for what is dropped may own
/// the next, and so on.
pub(crate) fn drop_in_turn(work: impl FnOnce() + 'static) {
    const DEPTH: usize = if cfg!(any(loom, shuttle)) { 2 } else { 16 };
    let mut work = Some(work);
    let depth = CONTEXT.try_with(|context| {
        let depth = context.depth.get() + 1;
        if depth > DEPTH {
            let work = work.take().map(|work| Box::new(work) as Box<dyn FnOnce()>);
            context.left_to_drop.borrow_mut().extend(work);
        } else {
            context.depth.set(depth);
        }
        depth
    });
    let Some(work) = work else { return };
    unwind::run(work);
    let Ok(depth) = depth else { return };
    while depth == DEPTH
        && let Some(work) = with(|context| context.left_to_drop.borrow_mut().pop())
    {
        unwind::run(work);
    }
    with(|context| context.depth.set(depth - 1));
}

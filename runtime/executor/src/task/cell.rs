//! The allocation of a task, and everything that reaches into it.
//!
//! Which access is whose is argued at the head of the parent module; the comments here name the argument.

use std::future::Future;
use std::mem::{self, ManuallyDrop};
use std::panic::Location;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use super::info::Id;
use super::join_error::Failure;
use super::reference::{Task, release};
use super::state::{Pend, Start, State};
use crate::context::{self, Notes};
use crate::sync::{AtomicU32, UnsafeCell};
use crate::unwind::{self, Payload};

/// Where a task goes when it can run.
pub(crate) trait Schedule: Send + Sync + 'static {
    /// Its tasks stay on one thread.
    const LOCAL: bool;

    /// Calls `make`, and queues on the calling thread what it makes: from there only this thread takes it, later. Where
    /// that is not so, it does neither, and returns `false`.
    fn queue_here(&self, _make: impl FnOnce() -> Option<Task>) -> bool {
        false
    }

    /// Queues a task where `queue_here` does not. Another thread may run it at once.
    fn queue(&self, task: Task);

    /// Queues a task that has just become runnable. Any thread may call it, and keeps the scheduler.
    fn schedule(&self, task: Task) {
        let mut task = Some(task);
        if !self.queue_here(|| task.take())
            && let Some(task) = task
        {
            self.queue(task);
        }
    }

    /// Enters a task into the live table when it first returns `Pending`, or, if it has a name, when it is made; gives it
    /// back if the table is closed. What is in the table may be cancelled at once.
    fn admit(&self, task: Task) -> Result<(), Task>;

    /// Takes a task that has ended out of the live table.
    fn retire(&self, key: u32) -> Task;

    /// Is dropped, for a task that has ended.
    fn let_go(self)
    where
        Self: Sized,
    {
    }

    /// Hears, in one line, of a panic in a task whose handle nobody holds. May run foreign code.
    fn unhandled_panic(&self, line: &str) {
        unwind::report(format_args!("{line}"));
    }
}

/// The key of a task that is not in the live table.
const NOT_LIVE: u32 = u32::MAX;

/// What every task has, whatever its future.
pub(super) struct Header {
    pub(super) state: State,
    pub(super) calls: &'static Calls,
    pub(super) id: Id,
    pub(super) location: &'static Location<'static>,
    /// In a box, for most tasks have none: so it takes one word.
    pub(super) name: Option<Box<Arc<str>>>,
    /// The task's key in the live table. Stored under the table's lock, for the runner, or for the maker of a task that
    /// nobody else has; read by runners, to whom the state word hands it on.
    pub(super) live: AtomicU32,
}

/// The start of every cell with the scheduler `S`: all that a waker needs to know the layout of.
#[repr(C)]
struct Head<S> {
    header: Header,
    /// Taken out when the cell is freed.
    scheduler: ManuallyDrop<S>,
}

/// The allocation.
#[repr(C)]
pub(super) struct Cell<F: Future, S> {
    head: Head<S>,
    stage: UnsafeCell<Stage<F>>,
    join_waker: UnsafeCell<Option<Waker>>,
}

enum Stage<F: Future> {
    Future(F),
    Ended(Result<F::Output, Failure>),
    Taken,
}

/// The code that knows the type of a task's future. Each takes a pointer to a live cell of that type.
pub(super) struct Calls {
    /// Takes a reference out of a queue, and does what the state asks for. `true`: the task was woken meanwhile, and the
    /// reference goes back into a queue.
    pub(super) run: unsafe fn(NonNull<Header>) -> bool,
    /// Drops the future unless it is gone or running, and makes that the result. Consumes a reference.
    pub(super) cancel: unsafe fn(NonNull<Header>, Failure),
    /// Queues the task, consuming one reference, while the caller holds another.
    pub(super) schedule: unsafe fn(NonNull<Header>),
    /// Moves the result to where the second pointer points, a `Option<Result<Output, Failure>>`. The stage is the
    /// caller's.
    pub(super) take: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the result. The stage is the caller's.
    pub(super) discard: unsafe fn(NonNull<Header>),
    /// Moves the join waker out or in. It is the caller's.
    pub(super) swap_waker: unsafe fn(NonNull<Header>, Option<Waker>) -> Option<Waker>,
    /// Frees the cell. Its last reference is gone.
    pub(super) free: unsafe fn(NonNull<Header>),
    pub(super) local: bool,
}

impl<S: Schedule> Head<S> {
    const WAKER: &'static RawWakerVTable =
        &RawWakerVTable::new(Self::clone_waker, Self::wake, Self::wake_by_ref, Self::drop_waker);

    /// A waker without a reference of its own: it must not outlive the caller's, and not be dropped.
    fn borrowed_waker(cell: NonNull<Header>) -> ManuallyDrop<Waker> {
        // SAFETY: the functions of the table keep the contract of a raw waker: they are thread-safe because a task is
        // Send and Sync, and `data` points to a cell whose scheduler is an `S`.
        ManuallyDrop::new(unsafe { Waker::new(cell.as_ptr().cast_const().cast(), Self::WAKER) })
    }

    fn from_data<'a>(data: *const ()) -> &'a Self {
        // SAFETY: `data` comes from `borrowed_waker` with the table of `Self`, and stands for a reference to a cell
        // that starts with a `Head<S>`. The callers do not use the result after they have given that reference up.
        unsafe { &*data.cast::<Self>() }
    }

    fn cell(data: *const ()) -> NonNull<Header> {
        // SAFETY: `data` was made from a `NonNull`. It has to be used, not a pointer made from `from_data`, for it
        // has the right to the whole cell.
        unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
    }

    unsafe fn clone_waker(data: *const ()) -> RawWaker {
        // The poll's end counts those that the task itself has made.
        if !context::lend(data.addr()) {
            Self::from_data(data).header.state.retain();
        }
        RawWaker::new(data, Self::WAKER)
    }

    unsafe fn wake(data: *const ()) {
        let head = Self::from_data(data);
        let mut is_given = false;
        // What this thread alone takes out of a queue keeps the cell, and so the scheduler, until `queue_here` is
        // through: the waker's reference can go to that queue.
        let is_here = head.scheduler.queue_here(|| {
            is_given = head.header.state.wake(true);
            is_given.then(|| Task { cell: Self::cell(data) })
        });
        if !is_here {
            // Otherwise it is given up at the end only: another thread may have run and freed the task before.
            // SAFETY: the same contract, and the reference is still held.
            unsafe { Self::wake_by_ref(data) };
        }
        if !is_given {
            release(Self::cell(data), 1);
        }
    }

    unsafe fn wake_by_ref(data: *const ()) {
        // The poll's end sees to it.
        if context::wake_polled(data.addr()) {
            return;
        }
        let head = Self::from_data(data);
        if head.header.state.wake(false) {
            // `wake` added the reference that goes to the queue.
            head.scheduler.schedule(Task { cell: Self::cell(data) });
        }
    }

    unsafe fn drop_waker(data: *const ()) {
        release(Self::cell(data), 1);
    }
}

impl<F, S> Cell<F, S>
where
    F: Future + Send + 'static,
    F::Output: 'static,
    S: Schedule,
{
    const CALLS: &'static Calls = &Calls {
        run: Self::run,
        cancel: Self::cancel,
        schedule: Self::schedule,
        take: Self::take,
        discard: Self::discard,
        swap_waker: Self::swap_waker,
        free: Self::free,
        local: S::LOCAL,
    };

    /// Makes a cell with two references: for a queue and for the handle.
    pub(super) fn allocate(
        future: F,
        scheduler: S,
        name: Option<Arc<str>>,
        location: &'static Location<'static>,
    ) -> NonNull<Header> {
        let header = Header {
            state: State::new(),
            calls: Self::CALLS,
            id: Id::next(),
            location,
            name: name.map(Box::new),
            live: AtomicU32::new(NOT_LIVE),
        };
        let cell = Box::new(Self {
            head: Head { header, scheduler: ManuallyDrop::new(scheduler) },
            stage: UnsafeCell::new(Stage::Future(future)),
            join_waker: UnsafeCell::new(None),
        });
        // The header is the first field of the first field, both `repr(C)`; the pointer keeps the right to the whole.
        let pointer = NonNull::from(Box::leak(cell)).cast::<Header>();
        // SAFETY: the pointer was made here, and the caller gets the references that keep the cell.
        let cell = unsafe { Self::from_header(pointer) };
        if cell.head.header.name.is_some() {
            // Whoever gave it a name wants to find it, also in its first poll. Once it is in the table, a shutdown may
            // cancel it, and gives the table's reference up. Without a table, the task is dropped where it is queued.
            cell.head.header.state.retain();
            drop(cell.head.scheduler.admit(Task { cell: pointer }));
        }
        pointer
    }

    /// The whole cell behind a pointer that its holder has a reference for.
    ///
    /// # Safety
    ///
    /// The cell is of this type. The result is not used after the holder has given its reference up.
    unsafe fn from_header<'a>(cell: NonNull<Header>) -> &'a Self {
        // SAFETY: the header is the start of the cell, and the pointer was made from one to the whole.
        unsafe { cell.cast::<Self>().as_ref() }
    }

    unsafe fn run(pointer: NonNull<Header>) -> bool {
        // SAFETY: the contract of `Calls`; every path below gives the reference up, or hands it back, last.
        let cell = unsafe { Self::from_header(pointer) };
        let (result, lent) = match cell.head.header.state.start() {
            Start::Skip => {
                release(pointer, 1);
                return false;
            }
            Start::Cancel => (Err(Failure::Cancelled), 0),
            Start::Poll => match context::while_polled(pointer.addr().get(), || cell.poll(pointer)) {
                // SAFETY: this is the runner, which hands its reference over.
                (Ok(Poll::Pending), notes) => return unsafe { Self::pend(pointer, notes) },
                (Ok(Poll::Ready(output)), notes) => (Ok(output), notes.lent()),
                (Err(payload), notes) => (Err(Failure::panicked(payload)), notes.lent()),
            },
        };
        // SAFETY: this is the runner, which hands its reference over.
        unsafe { Self::end(pointer, result, lent) };
        false
    }

    unsafe fn cancel(pointer: NonNull<Header>, failure: Failure) {
        // SAFETY: the contract of `Calls`; both paths below give the reference up last.
        let cell = unsafe { Self::from_header(pointer) };
        match cell.head.header.state.cancel() {
            // SAFETY: `cancel` made this the runner, which hands its reference over.
            Start::Cancel => unsafe { Self::end(pointer, Err(failure), 0) },
            Start::Skip | Start::Poll => release(pointer, 1),
        }
    }

    unsafe fn schedule(pointer: NonNull<Header>) {
        // SAFETY: the contract of `Calls`: the caller holds another reference than the one that is handed on.
        let cell = unsafe { Self::from_header(pointer) };
        cell.head.scheduler.schedule(Task { cell: pointer });
    }

    unsafe fn take(pointer: NonNull<Header>, into: *mut ()) {
        // SAFETY: the contract of `Calls`.
        let cell = unsafe { Self::from_header(pointer) };
        if let Stage::Ended(result) = cell.replace(Stage::Taken) {
            // SAFETY: `into` points to an `Option` of this type, which holds nothing that needs to be dropped.
            unsafe { into.cast::<Option<Result<F::Output, Failure>>>().write(Some(result)) };
        }
    }

    unsafe fn discard(pointer: NonNull<Header>) {
        // SAFETY: the contract of `Calls`.
        let cell = unsafe { Self::from_header(pointer) };
        if !mem::needs_drop::<F::Output>() {
            return cell.discard_result();
        }
        cell.head.header.state.retain();
        let task = Task { cell: pointer };
        // What is dropped may hold the handle of a task whose output holds the next, and so on.
        context::drop_in_turn(move || {
            // All of it, not its pointer alone.
            let task = task;
            // SAFETY: `task` keeps the cell, and the stage was handed over by the caller.
            unsafe { Self::from_header(task.cell) }.discard_result();
        });
    }

    unsafe fn swap_waker(pointer: NonNull<Header>, waker: Option<Waker>) -> Option<Waker> {
        // SAFETY: the contract of `Calls`.
        let cell = unsafe { Self::from_header(pointer) };
        cell.join_waker.with_mut(|kept| {
            // SAFETY: the waker is the caller's, by the contract of `Calls`; nothing foreign runs in here.
            unsafe { ptr::replace(kept, waker) }
        })
    }

    unsafe fn free(pointer: NonNull<Header>) {
        // Loom knows of accesses to what is in a cell, not of its end. Before anything is freed, so that what fails here in
        // a model fails, and does not crash.
        #[cfg(loom)]
        {
            // SAFETY: the contract of `Calls`.
            let cell = unsafe { Self::from_header(pointer) };
            // First, for the look at the state is one more way to see what others did.
            cell.stage.with_mut(|_stage| ());
            assert!(cell.head.header.state.is_complete(), "an unfinished task was freed");
        }
        // No join waker is left: whoever took it out of its cell last put none in.
        // SAFETY: the pointer comes from a leaked box of this type, and its last reference is gone.
        let mut cell = unsafe { Box::from_raw(pointer.cast::<Self>().as_ptr()) };
        // The future of an unfinished task could not be without a reference: see the head of the parent module.
        debug_assert!(cell.head.header.state.is_complete());
        // SAFETY: nobody uses it any more, and the cell is dropped without it.
        let scheduler = unsafe { ManuallyDrop::take(&mut cell.head.scheduler) };
        drop(cell);
        scheduler.let_go();
    }

    /// Only for the runner.
    fn poll(&self, pointer: NonNull<Header>) -> Result<Poll<F::Output>, Payload> {
        let waker = Head::<S>::borrowed_waker(pointer);
        self.stage.with_mut(|stage| {
            // SAFETY: the stage is the runner's.
            let stage = unsafe { &mut *stage };
            let Stage::Future(future) = stage else {
                // `start` lets nobody poll after COMPLETE, and until then the stage holds the future.
                unreachable!("a task without a future was polled");
            };
            // SAFETY: the cell never moves, and the future is dropped in place.
            let future = unsafe { Pin::new_unchecked(future) };
            unwind::catch(|| future.poll(&mut Context::from_waker(&waker)))
        })
    }

    /// After a poll that returned `Pending`, with what was noted in it; gives the runner's reference up, or returns `true`
    /// and leaves it to the caller.
    ///
    /// It takes no `&self`, and `end` likewise: an argument counts as alive until the function returns, and another
    /// thread may free the cell before that.
    ///
    /// # Safety
    ///
    /// Only for the runner, with the pointer to a cell of this type.
    unsafe fn pend(pointer: NonNull<Header>, notes: Notes) -> bool {
        // SAFETY: the caller's promise; it is not used after the reference is given up.
        let cell = unsafe { Self::from_header(pointer) };
        let admit = cell.head.header.live.load(Relaxed) == NOT_LIVE;
        if admit {
            // The table's reference is counted by `pend`. Until then the runner's keeps the cell, and only the runner
            // takes the task out of the table.
            if let Err(task) = cell.head.scheduler.admit(Task { cell: pointer }) {
                mem::forget(task);
                // SAFETY: the caller's promise, handed on.
                unsafe { Self::end(pointer, Err(Failure::Cancelled), notes.lent()) };
                return false;
            }
        }
        let pend = cell.head.header.state.pend(notes.lent() + usize::from(admit), notes.woken());
        if pend == Pend::Cancel {
            // SAFETY: the caller's promise, handed on.
            unsafe { Self::end(pointer, Err(Failure::Cancelled), 0) };
        }
        pend == Pend::Again
    }

    /// Drops the future. A panic of its destructor takes the place of the result, unless there was a panic before. Only
    /// for the runner.
    fn drop_future(&self, result: Result<F::Output, Failure>) -> Result<F::Output, Failure> {
        let dropped = self.stage.with_mut(|stage| {
            let dropped = unwind::catch(|| {
                // SAFETY: the stage is the runner's. Also after a panic it is not dropped again, for it is overwritten.
                unsafe { ptr::drop_in_place(stage) }
            });
            // SAFETY: the stage is the runner's, and what it held has been dropped.
            unsafe { stage.write(Stage::Taken) };
            dropped
        });
        match (dropped, result) {
            (Ok(()), result) => result,
            (Err(payload), first @ Err(Failure::Panicked(_))) => {
                unwind::discard(payload);
                first
            }
            (Err(payload), result) => {
                unwind::dispose(result);
                Err(Failure::panicked(payload))
            }
        }
    }

    /// Drops the future, stores the result, tells who waits for it, and gives the runner's reference up.
    ///
    /// # Safety
    ///
    /// As for `pend`.
    unsafe fn end(pointer: NonNull<Header>, result: Result<F::Output, Failure>, lent: usize) {
        // SAFETY: the caller's promise; it is not used after the reference is given up.
        let cell = unsafe { Self::from_header(pointer) };
        cell.replace(Stage::Ended(cell.drop_future(result)));
        let key = cell.head.header.live.load(Relaxed);
        let mut references = 1;
        if key != NOT_LIVE {
            mem::forget(cell.head.scheduler.retire(key));
            references = 2;
        }
        let Some(left) = cell.head.header.state.complete(lent, references) else { return };
        if left.waker {
            // SAFETY: COMPLETE was set while JOIN_WAKER was, so the waker is the runner's.
            let waker = unsafe { Self::swap_waker(pointer, None) };
            if let Some(Err(payload)) = waker.map(|waker| unwind::catch(|| waker.wake())) {
                let line = cell.describe("the waker of whoever awaited it panicked", payload);
                unwind::report(format_args!("{line}"));
            }
        }
        if left.output {
            // SAFETY: COMPLETE was set while HANDLE was not, so the stage is the runner's.
            unsafe { Self::discard(pointer) };
        }
        release(pointer, references);
    }

    /// Drops a result that nobody will take. Only for the owner of the stage.
    fn discard_result(&self) {
        let (what, payload) = match self.replace(Stage::Taken) {
            Stage::Ended(Ok(output)) => match unwind::catch(|| drop(output)) {
                Ok(()) => return,
                Err(payload) => ("its output, which nobody took, panicked when it was dropped", payload),
            },
            Stage::Ended(Err(failure)) => match failure.into_panic() {
                Ok(payload) => ("it panicked, and nobody awaited it", payload),
                Err(_) => return,
            },
            Stage::Future(_) | Stage::Taken => return,
        };
        let line = self.describe(what, payload);
        self.head.scheduler.unhandled_panic(&line);
    }

    /// Puts into one line what nobody else will hear of.
    fn describe(&self, what: &str, payload: Payload) -> String {
        let header = &self.head.header;
        let name = header.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
        let message = unwind::message(&*payload).map(|text| format!(": {text:?}")).unwrap_or_default();
        unwind::discard(payload);
        format!("bourn: task {}{name} (spawned at {}): {what}{message}", header.id, header.location)
    }

    /// Puts a stage in the place of one that needs no pinned drop. Only for the owner of the stage.
    fn replace(&self, next: Stage<F>) -> Stage<F> {
        self.stage.with_mut(|stage| {
            // SAFETY: the stage is the caller's. It holds no future: those are dropped by `drop_future` alone.
            unsafe { stage.replace(next) }
        })
    }
}

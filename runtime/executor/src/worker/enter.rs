//! Threads inside a runtime: its workers, and callers of `block_on`.
//!
//! A caller claims one of the cores for callers and runs tasks while its future waits. Beside workers it is a *guest*: they
//! are woken for tasks, and wait in the park; see `Driver::post`. If no core is free it is a *stranger*: it polls its own
//! future and its local tasks, rests by itself, and is called when one becomes free.

use std::cell::RefCell;
use std::future::Future;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};

use super::driver::{Driver, STEPS_PER_LOOK};
use super::seat::Sitting;
use super::shared::Shared;
use crate::context::{self, Context, Place};
use crate::misuse;
use crate::park::{Park, Wait};
use crate::signal::{WOKEN, WORK};

/// Panics if this thread is inside a `block_on` already.
#[track_caller]
pub(super) fn refuse_nested(location: &Location<'_>) {
    if let Some(place) = context::place() {
        panic!("{}", misuse::nested_block_on(location, place));
    }
}

/// A thread's stay. Dropping it drops the thread's local tasks, unless they are kept for the next stay, and leaves.
pub(super) struct Stay<'a, P: Park> {
    context: &'a Context,
    shared: &'a Arc<Shared<P>>,
    sitting: Rc<Sitting<P>>,
    keep: bool,
}

impl<'a, P: Park> Stay<'a, P> {
    fn begin(context: &'a Context, shared: &'a Arc<Shared<P>>, kept: Option<&Rc<Sitting<P>>>, place: Place) -> Self {
        let sitting = kept.map_or_else(|| Sitting::again(context, shared), Rc::clone);
        context.enter(shared.address(), sitting.seat.address(), Rc::clone(&sitting) as _, place);
        Self { context, shared, sitting, keep: kept.is_some() }
    }

    /// Empties the thread's queue.
    #[inline]
    fn evict(&self) {
        if self.context.queued() > 0 || !self.sitting.seat.is_alone() {
            self.sitting.seat.evict(self.context, self.shared, self.keep && !self.shared.is_closed());
        }
    }

    /// Takes one of the cores for callers, if one is free.
    fn claim_core(&self) -> Option<Driver<'_, P>> {
        let cores = if self.shared.is_closed() { 0..0 } else { self.shared.callers() };
        Driver::take(self.context, self.shared, &self.sitting.seat, cores)
    }

    /// Whether local tasks live here.
    pub(super) fn has_local(&self) -> bool {
        self.sitting.seat.is_host() && (self.sitting.seat.has_live() || self.context.queued() > 0)
    }
}

impl<P: Park> Drop for Stay<'_, P> {
    fn drop(&mut self) {
        let seat = &self.sitting.seat;
        let can_be_kept = !self.keep && seat.is_alone() && !seat.is_host();
        if !self.keep && !can_be_kept {
            seat.signal.close();
        }
        self.evict();
        if self.shared.is_closed() {
            self.shared.sweep();
            // Their destructors are still inside the runtime, and may have spawned.
            self.evict();
        }
        self.context.leave(can_be_kept && !self.shared.is_closed());
    }
}

/// The life of worker `index`.
pub(super) fn work<P: Park>(shared: &Arc<Shared<P>>, index: usize) {
    serve(shared, index, |_, driver| {
        while !shared.is_closed() {
            driver.run_or_rest(Wait::Forever);
        }
    });
}

/// Runs `body` with core `index`, as a thread of the runtime's own.
pub(super) fn serve<P: Park>(
    shared: &Arc<Shared<P>>,
    index: usize,
    body: impl FnOnce(&Stay<'_, P>, &mut Driver<'_, P>),
) {
    context::with(|context| {
        let stay = Stay::begin(context, shared, None, Place::Worker(shared.location));
        let Some(mut driver) = Driver::take(context, shared, &stay.sitting.seat, index..index + 1) else {
            return;
        };
        let _entered = driver.park().enter();
        body(&stay, &mut driver);
        stay.evict();
        drop(driver);
    });
}

#[track_caller]
pub(crate) fn block_on<P: Park, F: Future>(
    shared: &Arc<Shared<P>>,
    kept: Option<&Rc<Sitting<P>>>,
    future: F,
    location: &'static Location<'static>,
) -> F::Output {
    refuse_nested(location);
    context::with(|context| {
        let stay = Stay::begin(context, shared, kept, Place::BlockOn(location));
        // A core comes before the future's first poll: what it spawns there is then run here as soon as it waits, and
        // needs no other thread to be woken.
        let caller = Caller { stay: &stay, location, driver: RefCell::new(stay.claim_core()) };
        let group = caller.driver.borrow().as_ref().map_or(0, |driver| driver.core().group());
        let _entered = shared.parks[group].enter();
        // Declared last, so it is dropped first, inside the runtime.
        let future = pin!(future);
        caller.run(future)
    })
}

/// A thread inside `block_on`, with a core if one was free.
struct Caller<'a, P: Park> {
    stay: &'a Stay<'a, P>,
    location: &'static Location<'static>,
    driver: RefCell<Option<Driver<'a, P>>>,
}

impl<P: Park> Caller<'_, P> {
    fn run<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        let mut cx = task::Context::from_waker(&self.stay.sitting.waker);
        loop {
            if let Poll::Ready(output) = self.poll(future.as_mut(), &mut cx) {
                return output;
            }
            let mut may_rest = false;
            loop {
                if self.stay.shared.is_closed() {
                    self.give_up();
                }
                // What was heeded before is found before the thread rests.
                may_rest = !self.run_round(may_rest);
                if self.stay.sitting.seat.heed(self.stay.context) & WOKEN != 0 {
                    break;
                }
            }
        }
    }

    fn poll<F: Future>(&self, future: Pin<&mut F>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            driver.begin_future(self.location);
        }
        self.stay.shared.parks[0].before_poll();
        future.poll(cx)
    }

    /// Runs as many tasks as are queued, but at least one, for a future that is always woken must starve no task, and not
    /// those that they queue, for tasks that are always woken must not starve the future. If there is none and it may,
    /// rests. Returns whether it ran one.
    fn run_round(&self, may_rest: bool) -> bool {
        // Those that waited for the thread to come back, and those that others have woken during the future's poll.
        if self.stay.sitting.seat.signal.has(WORK) {
            self.stay.sitting.seat.collect(self.stay.context);
        }
        // No borrow by others: tasks cannot get here, for `block_on` does not nest.
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            let mut left = driver.queued().clamp(1, STEPS_PER_LOOK as usize);
            while driver.step() {
                left -= 1;
                if left == 0 || self.stay.shared.is_closed() {
                    return true;
                }
            }
            if may_rest {
                driver.rest(Wait::Forever);
            }
            return false;
        }
        if let Some(task) = self.stay.context.pop() {
            self.stay.shared.parks[0].before_poll();
            if let Some(task) = task.run() {
                self.stay.context.push(task);
            }
            return true;
        }
        if may_rest {
            self.rest_as_stranger();
        }
        false
    }

    fn rest_as_stranger(&self) {
        let Stay { shared, sitting, .. } = self.stay;
        if shared.enroll_stranger(&sitting.seat) {
            sitting.seat.signal.wait();
            shared.dismiss_stranger(&sitting.seat);
        } else if shared.is_closed() {
            // Perhaps since a moment ago; its tasks are dropped before the future waits on.
            self.give_up();
            sitting.seat.signal.wait();
        } else {
            drop(self.driver.replace(self.stay.claim_core()));
        }
    }

    /// After a shutdown: drops the local tasks, and leaves the core.
    fn give_up(&self) {
        self.stay.evict();
        if self.driver.take().is_some() {
            self.stay.shared.sweep();
        } else {
            self.stay.shared.tell_of_dropped();
        }
        if let Some(line) = self.stay.shared.unhandled.fatal() {
            panic!("{}", misuse::shut_down_by_panic(self.location, line));
        }
    }
}

impl<P: Park> Drop for Caller<'_, P> {
    fn drop(&mut self) {
        // While the core is still here: what the local tasks' destructors wake goes along with it.
        self.stay.evict();
        drop(self.driver.take());
    }
}

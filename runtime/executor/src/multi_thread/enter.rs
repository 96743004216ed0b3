//! Threads inside a multi-thread runtime: its workers, and callers of `block_on`.

use std::{
    cell::RefCell,
    future::Future,
    panic::Location,
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll, Waker},
};

use super::{driver::Driver, shared::Shared};
use crate::{
    context::{self, Context},
    current_thread::refuse_nested,
    misuse,
    park::{Park, Wait},
    seat::Seat,
    signal::WOKEN,
};

/// A thread's stay. Dropping it drops the thread's local tasks, and leaves.
pub(super) struct Stay<'a, P: Park> {
    context: &'a Context,
    shared: &'a Arc<Shared<P>>,
    pub(super) seat: Arc<Seat<Shared<P>>>,
}

impl<'a, P: Park> Stay<'a, P> {
    pub(super) fn begin(
        context: &'a Context,
        shared: &'a Arc<Shared<P>>,
        location: &'static Location<'static>,
    ) -> Self {
        let seat = Arc::new(Seat::new(Arc::clone(shared)));
        context.enter(shared.address(), Arc::clone(&seat), location);
        Self { context, shared, seat }
    }

    /// Drops the local tasks.
    fn evict(&self) {
        // In a multi-thread runtime the thread's queue holds nothing else.
        let others = self.seat.evict(self.context);
        debug_assert!(others.is_empty());
    }

    /// Whether local tasks live here.
    pub(super) fn has_local(&self) -> bool {
        self.seat.is_host() && (self.seat.live_count() > 0 || self.context.queued() > 0)
    }
}

impl<P: Park> Drop for Stay<'_, P> {
    fn drop(&mut self) {
        self.seat.signal.close();
        self.evict();
        self.context.leave();
        if self.shared.is_closed() {
            self.shared.sweep();
        }
    }
}

/// The life of worker `index`.
pub(super) fn work<P: Park>(shared: &Arc<Shared<P>>, index: usize) {
    serve(shared, index, None, |_, driver| {
        while !shared.is_closed() {
            run_or_rest(driver, Wait::Forever);
        }
    });
}

/// Runs `body` with core `index`, as a thread of the runtime's own; in the park of another group if one is given.
pub(super) fn serve<P: Park>(
    shared: &Arc<Shared<P>>,
    index: usize,
    group: Option<usize>,
    body: impl FnOnce(&Stay<'_, P>, &mut Driver<'_, P>),
) {
    context::with(|context| {
        let stay = Stay::begin(context, shared, shared.location);
        context.set_worker();
        let Some(mut driver) = Driver::take(context, shared, &stay.seat, index) else {
            return;
        };
        if let Some(group) = group {
            driver.join_group(group);
        }
        driver.core().watch.set_thread(super::stall::thread_number());
        let _entered = driver.park().enter();
        body(&stay, &mut driver);
        stay.evict();
        drop(driver);
    });
}

pub(super) fn run_or_rest<P: Park>(driver: &mut Driver<'_, P>, wait: Wait) {
    driver.heed();
    if !driver.step() {
        driver.rest(wait);
    }
}

#[track_caller]
pub(super) fn block_on<P: Park, F: Future>(
    shared: &Arc<Shared<P>>,
    future: F,
    location: &'static Location<'static>,
) -> F::Output {
    refuse_nested(location);
    context::with(|context| {
        let stay = Stay::begin(context, shared, location);
        let caller = Caller { context, shared, stay: &stay, location, driver: RefCell::new(None) };
        caller.claim_core();
        let group = caller.driver.borrow().as_ref().map_or(0, |driver| driver.core().group());
        let _entered = shared.parks()[group].enter();
        // Declared last, so it is dropped first, inside the runtime.
        let future = pin!(future);
        caller.run(future)
    })
}

/// A thread inside `block_on`, with a core if one was free.
struct Caller<'a, P: Park> {
    context: &'a Context,
    shared: &'a Arc<Shared<P>>,
    stay: &'a Stay<'a, P>,
    location: &'static Location<'static>,
    driver: RefCell<Option<Driver<'a, P>>>,
}

impl<P: Park> Caller<'_, P> {
    /// Takes one of the cores for callers, if one is free.
    ///
    /// That comes before the future's first poll: what it spawns there is then run here as soon as it waits, and needs
    /// no other thread to be woken.
    fn claim_core(&self) {
        let workers = self.shared.options.workers;
        for index in workers..workers + self.shared.options.callers {
            let driver = Driver::take(self.context, self.shared, &self.stay.seat, index);
            if let Some(driver) = driver {
                driver.core().watch.set_thread(super::stall::thread_number());
                self.driver.replace(Some(driver));
                return;
            }
        }
    }

    fn run<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        let waker = Waker::from(Arc::clone(&self.stay.seat));
        let mut cx = task::Context::from_waker(&waker);
        loop {
            if let Poll::Ready(output) = self.poll(future.as_mut(), &mut cx) {
                return output;
            }
            // One step at least: a future that is always woken starves no task.
            let mut may_rest = false;
            loop {
                if self.shared.is_closed() {
                    self.give_up();
                }
                let ran = self.step(may_rest);
                let reasons = self.heed();
                if reasons & WOKEN != 0 {
                    break;
                }
                // A reason that is not for the future is looked into before resting: nobody gives it twice.
                may_rest = !ran && reasons == 0;
            }
        }
    }

    fn poll<F: Future>(&self, future: Pin<&mut F>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        if let Some(driver) = &*self.driver.borrow() {
            driver.core().watch.begin(None, Some(self.location));
        }
        self.shared.parks()[0].before_poll();
        future.poll(cx)
    }

    /// Runs a task, or, if there is none and it may, rests. Returns whether it ran one.
    fn step(&self, may_rest: bool) -> bool {
        // No borrow by others: tasks cannot get here, for `block_on` does not nest.
        if let Some(driver) = &mut *self.driver.borrow_mut() {
            let ran = driver.step();
            if !ran && may_rest {
                driver.rest(Wait::Forever);
            }
            return ran;
        }
        if let Some(task) = self.context.pop() {
            self.shared.parks()[0].before_poll();
            task.run();
            return true;
        }
        if may_rest && self.shared.enroll_stranger(&self.stay.seat) {
            self.stay.seat.signal.wait();
            self.shared.dismiss_stranger(&self.stay.seat);
        } else if may_rest {
            // The runtime is closed, perhaps since a moment ago; its tasks are dropped before the future waits on.
            self.give_up();
            self.stay.seat.signal.wait();
        }
        false
    }

    fn heed(&self) -> usize {
        let reasons = self.stay.seat.signal.take();
        if reasons != 0 {
            self.stay.seat.collect(self.context);
        }
        reasons
    }

    /// After a shutdown: drops the local tasks, and leaves the core.
    fn give_up(&self) {
        self.stay.evict();
        if self.driver.take().is_some() {
            self.shared.sweep();
        }
        if let Some(line) = self.shared.unhandled.fatal() {
            panic!("{}", misuse::shut_down_by_panic(self.location, line));
        }
    }
}

impl<P: Park> Drop for Caller<'_, P> {
    fn drop(&mut self) {
        // While the core is still here: what the local tasks' destructors wake goes along with it.
        self.stay.evict();
    }
}

//! The run loop: what a thread does inside `block_on`.
//!
//! A *step* is one poll, of a task or of the future of `block_on`. The loop goes in rounds: the future if it was woken,
//! then at most as many tasks as were queued at the round's start, so that neither side starves the other. Every 61st
//! step, events are asked for without waiting and the injector is emptied. When nothing is left to run, the thread
//! sleeps; the wait that it sleeps in delivers the same events, so no turn without waiting comes before it.

use std::{
    cell::Cell,
    future::Future,
    panic::Location,
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll, Waker},
};

use super::{
    seat::Seat,
    shared::{Claim, Shared},
};
use crate::{
    context::{self, Context},
    misuse,
    park::{Park, Turn, Wait},
    signal::{WOKEN, WORK},
    sync::thread,
    task::Task,
};

/// Steps between two looks at the events and the injector while there is always something to run. A prime, so that it
/// keeps no step with a pattern among the tasks.
const STEPS_PER_TURN: usize = 61;

/// Panics if this thread is inside a `block_on` already.
#[track_caller]
pub(super) fn refuse_nested(location: &Location<'_>) {
    if let Some(outer) = context::entered_at() {
        panic!("{}", misuse::nested_block_on(location, outer));
    }
}

#[track_caller]
pub(super) fn block_on<P: Park, F: Future>(
    shared: &Arc<Shared<P>>,
    future: F,
    location: &'static Location<'static>,
) -> F::Output {
    refuse_nested(location);
    let _entered = shared.park.enter();
    context::with(|context| {
        let place = Place::take(context, shared, location);
        // Declared after `place`, so it is dropped before the local tasks are and inside the runtime.
        let future = pin!(future);
        place.run(future)
    })
}

/// A thread inside `block_on`. Dropping it, also in a panic, leaves.
struct Place<'a, P: Park> {
    context: &'a Context,
    seat: Arc<Seat<P>>,
    location: &'static Location<'static>,
    /// The seat may be on the list of those who wait for the core.
    waiting: Cell<bool>,
}

impl<'a, P: Park> Place<'a, P> {
    fn take(context: &'a Context, shared: &Arc<Shared<P>>, location: &'static Location<'static>) -> Self {
        let seat = Arc::new(Seat::new(Arc::clone(shared)));
        context.enter(shared.address(), Arc::clone(&seat), location);
        Self { context, seat, location, waiting: Cell::new(false) }
    }

    fn run<F: Future>(&self, mut future: Pin<&mut F>) -> F::Output {
        let waker = Waker::from(Arc::clone(&self.seat));
        let mut cx = task::Context::from_waker(&waker);
        // The first poll comes before the fight for the core: a future that is ready needs none.
        let mut woken = true;
        let mut steps = 0;
        loop {
            if woken {
                steps += 1;
                self.park().before_poll();
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return output;
                }
            }
            self.settle();
            steps += self.run_queued();
            if steps >= STEPS_PER_TURN {
                steps = 0;
                self.look_around();
            }
            let mut reasons = self.heed();
            // Any reason, also one that is not for the future, is looked into before sleeping: it has been taken, and
            // nobody gives it twice.
            if reasons == 0 && self.context.queued() == 0 {
                self.sleep();
                reasons = self.heed();
            }
            woken = reasons & WOKEN != 0;
        }
    }

    /// Takes the core if it is there; after a shutdown, gives up all tasks.
    fn settle(&self) {
        let shared = &self.seat.shared;
        if shared.awake.is_closed() {
            self.leave_core();
            if let Some(line) = shared.unhandled.fatal() {
                panic!("{}", misuse::shut_down_by_panic(self.location, line));
            }
        } else if !self.context.is_driving() {
            match shared.take_core(&self.seat) {
                Claim::Core(core) => {
                    self.context.start_driving(core);
                    self.seat.signal.set_driving(true);
                    self.collect();
                }
                Claim::Waiting => self.waiting.set(true),
                Claim::Closed => self.leave_core(),
            }
        }
    }

    /// Runs the tasks that are queued now, but not those that they queue. Returns the number of steps.
    fn run_queued(&self) -> usize {
        let round = self.context.queued().min(STEPS_PER_TURN);
        let mut steps = 0;
        while steps < round
            && !self.seat.shared.awake.is_closed()
            && let Some(task) = self.context.pop()
        {
            self.park().before_poll();
            task.run();
            steps += 1;
        }
        steps
    }

    /// Asks for events without waiting, and for what other threads have pushed.
    fn look_around(&self) {
        if self.context.is_driving() {
            self.turn(Wait::No);
        }
        self.collect();
    }

    /// Moves what other threads have pushed into the own queue; only what is there now, or a busy pusher could hold
    /// the loop here.
    fn collect(&self) {
        self.seat.collect(self.context);
        if self.context.is_driving() {
            let injector = &self.seat.shared.injector;
            for _ in 0..injector.len() {
                let Some(task) = injector.pop() else { break };
                self.context.push(task);
            }
        }
    }

    /// Takes the reasons to get up.
    fn heed(&self) -> usize {
        let reasons = self.seat.signal.take();
        if reasons & WORK != 0 {
            self.seat.collect(self.context);
        }
        reasons
    }

    /// Waits until there may be something to run.
    fn sleep(&self) {
        if !self.context.is_driving() {
            self.seat.signal.wait();
            return;
        }
        self.collect();
        if self.context.queued() > 0 {
            return;
        }
        let shared = &self.seat.shared;
        shared.awake.lie_down();
        // The second look, after the word says that this thread sleeps: see `awake`.
        if shared.injector.is_empty() && !self.seat.signal.is_raised() && !shared.awake.is_closed() {
            self.turn(Wait::Forever);
        }
        shared.awake.get_up();
        self.collect();
    }

    fn turn(&self, wait: Wait) {
        match self.park().turn(wait) {
            Turn::Done => {}
            // Somebody else turns our park just now, and delivers what happens; `CurrentThread::new` forbids him to
            // wait in there.
            Turn::Busy => thread::yield_now(),
            Turn::Failed(error) => panic!("{}", misuse::turn_failed(self.location, &error)),
        }
    }

    /// Drops the local tasks and gives the core back; after a shutdown, drops the tasks in it too.
    fn leave_core(&self) {
        let shared = &self.seat.shared;
        loop {
            let mut rest = self.seat.evict(self.context);
            if self.context.is_driving() {
                // From here on what is woken on this thread goes to the injector.
                self.context.stop_driving();
                self.seat.signal.set_driving(false);
                rest = shared.put_core(rest);
            }
            if rest.is_empty() {
                return;
            }
            // Their destructors may spawn local tasks, which the next round drops.
            rest.into_iter().for_each(Task::cancel);
        }
    }

    fn park(&self) -> &P {
        &self.seat.shared.park
    }
}

impl<P: Park> Drop for Place<'_, P> {
    fn drop(&mut self) {
        // Awake, if a failed turn panicked between lying down and getting up.
        if self.context.is_driving() {
            self.seat.shared.awake.get_up();
        }
        self.seat.signal.close();
        self.leave_core();
        if self.waiting.get() {
            self.seat.shared.forget(&self.seat);
        }
        self.context.leave();
    }
}

//! Wakes from many threads at once: none is lost, and a sleep costs at most one unpark.

mod support;

use std::future::poll_fn;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::thread;

use bourn_executor::{Executor, ExecutorOptions, Handle, Park, ThreadPark, Turn, Wait};
use support::{Door, watchdog, with, workers_with};

const THREADS: usize = 8;
const ROUNDS: usize = if cfg!(miri) { 20 } else { 5_000 };

/// On one thread, on workers that share, and on workers that share nothing.
fn on_each_flavor(body: impl Fn(&Executor<ThreadPark>)) {
    let flavors = [
        ExecutorOptions::current_thread(),
        ExecutorOptions::multi_thread().workers(2),
        ExecutorOptions::multi_thread().workers(8),
        ExecutorOptions::thread_per_core().workers(2),
    ];
    for options in flavors {
        let _watchdog = watchdog();
        body(&workers_with(with(options, |options| options.on_stall = Some(Arc::new(|_| {})))));
    }
}

/// A counter that one task follows and one thread drives, step by step: the thread goes on only when the task has
/// seen the last step, so a single lost wake hangs the test.
#[derive(Default)]
struct Step {
    state: Mutex<(usize, usize, Option<Waker>)>,
    seen: std::sync::Condvar,
}

impl Step {
    fn advance(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        let waker = state.2.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        let state = self.state.lock().unwrap();
        drop(self.seen.wait_while(state, |state| state.1 < state.0).unwrap());
    }

    async fn follow(&self) {
        poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            state.1 = state.0;
            self.seen.notify_one();
            if state.0 == ROUNDS {
                return Poll::Ready(());
            }
            state.2 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[test]
fn each_wake_of_eight_threads_arrives() {
    on_each_flavor(|runtime| {
        let handle = runtime.handle();
        let mut tasks = Vec::new();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let step = Arc::new(Step::default());
                let follower = step.clone();
                tasks.push(handle.spawn(async move { follower.follow().await }));
                thread::spawn(move || (0..ROUNDS).for_each(|_| step.advance()))
            })
            .collect();
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Runs a storm of spawns from another thread in each wait, while the driver certainly sleeps.
#[derive(Default)]
struct Stormy {
    handle: Mutex<Option<Handle<Stormy>>>,
    door: OnceLock<Arc<Door>>,
    unparks: AtomicUsize,
    waits: AtomicUsize,
}

impl Park for Stormy {
    type Entered = ();

    fn enter(self: &Arc<Self>) {}

    fn turn(&self, wait: Wait) -> Turn {
        if wait != Wait::No {
            self.waits.fetch_add(1, SeqCst);
            let handle = self.handle.lock().unwrap().clone().unwrap();
            let door = self.door.get().unwrap().clone();
            let storm = move || {
                (0..1_000).for_each(|_| drop(handle.spawn(async {})));
                door.open();
            };
            thread::spawn(storm).join().unwrap();
        }
        Turn::Done
    }

    fn unpark(&self) {
        self.unparks.fetch_add(1, SeqCst);
    }

    fn close(&self) {
        // The handle leads back to this.
        *self.handle.lock().unwrap() = None;
    }
}

#[test]
fn a_storm_into_a_sleep_costs_one_unpark() {
    let _watchdog = watchdog();
    let park = Arc::new(Stormy::default());
    let runtime = Executor::current_thread(park.clone());
    *park.handle.lock().unwrap() = Some(runtime.handle());
    // Sleeps once; what the storm spawned wakes the future in its turn.
    let door = Door::new();
    let last = runtime.handle().spawn({
        let (park, door) = (park.clone(), door.clone());
        async move {
            door.pass().await;
            park.waits.load(SeqCst)
        }
    });
    park.door.set(door).ok().unwrap();
    assert_eq!(runtime.block_on(last).unwrap(), 1);
    assert_eq!(park.unparks.load(SeqCst), 1);
}

#[test]
fn many_wakes_of_one_task_are_one_poll_at_a_time() {
    on_each_flavor(|runtime| {
        let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
        let ready = Door::new();
        let polls = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(AtomicUsize::new(0));
        let task = runtime.handle().spawn({
            let (waker, ready, polls, done) = (waker.clone(), ready.clone(), polls.clone(), done.clone());
            poll_fn(move |cx| {
                *waker.lock().unwrap() = Some(cx.waker().clone());
                ready.open();
                polls.fetch_add(1, SeqCst);
                if done.load(SeqCst) == THREADS { Poll::Ready(()) } else { Poll::Pending }
            })
        });
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (waker, ready, done) = (waker.clone(), ready.clone(), done.clone());
                thread::spawn(move || {
                    ready.wait();
                    let waker = waker.lock().unwrap().clone().unwrap();
                    for _ in 0..ROUNDS {
                        waker.wake_by_ref();
                    }
                    done.fetch_add(1, SeqCst);
                    waker.wake();
                })
            })
            .collect();
        runtime.block_on(task).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(polls.load(SeqCst) <= 1 + THREADS * (ROUNDS + 1));
    });
}

#[test]
fn tasks_spawned_by_eight_threads_all_run() {
    on_each_flavor(|runtime| {
        let count = Arc::new(AtomicUsize::new(0));
        let all = Door::new();
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (handle, count, all) = (runtime.handle(), count.clone(), all.clone());
                thread::spawn(move || {
                    for _ in 0..ROUNDS {
                        let (count, all) = (count.clone(), all.clone());
                        drop(handle.spawn(async move {
                            if count.fetch_add(1, SeqCst) + 1 == THREADS * ROUNDS {
                                all.open();
                            }
                        }));
                    }
                })
            })
            .collect();
        runtime.block_on(all.pass());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(count.load(SeqCst), THREADS * ROUNDS);
    });
}

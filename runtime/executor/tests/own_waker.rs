//! A task's clones of its own waker: however many there are, and wherever they go, the task is freed after the last one.

mod support;

use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use bourn_executor::{Executor, ThreadPark};
use support::{Drops, watchdog};

/// More than a runner counts aside in one poll.
const MANY: usize = 100_000;

/// Runs a task that calls `lend` with its waker in each of its two polls, and yields what that returned.
fn run<T: Send + 'static>(lend: impl Fn(&Waker) -> T + Send + 'static) {
    let (park, drops) = (Arc::new(ThreadPark::new()), Drops::default());
    let runtime = Executor::current_thread(Arc::clone(&park));
    let (kept, mut lent) = (drops.value(), Vec::new());
    let task = runtime.handle().spawn(poll_fn(move |cx| {
        let _kept = &kept;
        lent.push(lend(cx.waker()));
        cx.waker().wake_by_ref();
        if lent.len() == 2 { Poll::Ready(mem::take(&mut lent)) } else { Poll::Pending }
    }));
    let lent = runtime.block_on(task).unwrap();
    drop(runtime);
    // A cell keeps its executor, and that its park.
    let is_kept = Arc::strong_count(&park) > 1;
    assert_eq!((drops.count(), is_kept), (1, size_of::<T>() > 0), "a task is there as long as its wakers");
    drop(lent);
    assert_eq!(Arc::strong_count(&park), 1, "a task was not freed");
}

#[test]
fn is_freed_after_the_last_of_many() {
    let _watchdog = watchdog();
    run(|waker| vec![waker.clone(); MANY]);
}

#[test]
fn is_not_freed_by_those_that_another_thread_drops_in_the_poll() {
    let _watchdog = watchdog();
    run(|waker| {
        let wakers = vec![waker.clone(); MANY];
        thread::spawn(|| drop(wakers)).join().unwrap();
    });
}

/// What a task does to its own waker is noted aside; what it does to another's is not.
#[test]
fn is_not_that_of_the_task_that_another_wakes() {
    let _watchdog = watchdog();
    let runtime = Executor::current_thread(Arc::new(ThreadPark::new()));
    let handle = runtime.handle();
    let slot = Arc::new(Mutex::new(None::<Waker>));
    let woken = handle.spawn(poll_fn({
        let slot = Arc::clone(&slot);
        move |cx| {
            let was_there = slot.lock().unwrap().replace(cx.waker().clone()).is_some();
            if was_there { Poll::Ready(()) } else { Poll::Pending }
        }
    }));
    let waking = handle.spawn(async move {
        let waker = slot.lock().unwrap().clone();
        waker.expect("the other task came first").wake_by_ref();
    });
    runtime.block_on(async {
        waking.await.unwrap();
        woken.await.unwrap();
    });
}

//! Local tasks never leave their thread, and do not outlive its `block_on`.

mod support;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

use bourn_executor::{Options, yield_now};
use support::{Door, runtime, watchdog};

/// Notes on which thread it is dropped, if it is.
struct Tracked(Arc<Mutex<Vec<ThreadId>>>, Rc<()>);

impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(thread::current().id());
    }
}

#[test]
fn share_their_threads_values() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let log = Rc::new(RefCell::new(Vec::new()));
    let total = runtime.block_on(async {
        let tasks: Vec<_> = (0..4)
            .map(|number| {
                let log = log.clone();
                handle.spawn_local(async move {
                    yield_now().await;
                    log.borrow_mut().push(number);
                    Rc::new(number)
                })
            })
            .collect();
        let mut total = 0;
        for task in tasks {
            total += *task.await.unwrap();
        }
        total
    });
    assert_eq!(total, 6);
    assert_eq!(*log.borrow(), [0, 1, 2, 3]);
}

#[test]
fn are_dropped_before_block_on_returns() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let drops = Arc::new(Mutex::new(Vec::new()));
    let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
    let mut waiting = None;
    let mut other = None;
    runtime.block_on(async {
        let (tracked, kept) = (Tracked(drops.clone(), Rc::new(())), kept.clone());
        waiting = Some(handle.spawn_local(async move {
            let _tracked = &tracked.1;
            poll_fn(|cx| {
                kept.lock().unwrap().push(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        }));
        yield_now().await;
        // Never polled.
        let tracked = Tracked(drops.clone(), Rc::new(()));
        drop(handle.spawn_local(async move { drop(tracked) }));
        other = Some(handle.spawn(async {
            yield_now().await;
            6
        }));
    });
    assert_eq!(*drops.lock().unwrap(), [thread::current().id(); 2]);
    assert!(waiting.as_ref().unwrap().is_finished());
    assert_eq!(handle.task_count(), 0);
    // A wake after the end, here and elsewhere, does nothing.
    let wakers = std::mem::take(&mut *kept.lock().unwrap());
    wakers[0].wake_by_ref();
    thread::spawn(move || wakers.into_iter().for_each(Waker::wake)).join().unwrap();
    // The other task stays.
    assert_eq!(runtime.block_on(other.unwrap()).unwrap(), 6);
    assert!(runtime.block_on(waiting.unwrap()).unwrap_err().is_cancelled());
}

#[test]
fn spawned_by_destructors_are_dropped_too() {
    struct Spawns(bourn_executor::Handle<bourn_executor::ThreadPark>, Rc<Cell<u32>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            self.1.set(self.1.get() + 1);
            if self.1.get() < 5 {
                let next = Spawns(self.0.clone(), self.1.clone());
                drop(self.0.spawn_local(async move { drop(next) }));
            }
        }
    }
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let count = Rc::new(Cell::new(0));
    runtime.block_on(async {
        let first = Spawns(handle.clone(), count.clone());
        drop(handle.spawn_local(async move {
            pending::<()>().await;
            drop(first);
        }));
        yield_now().await;
    });
    assert_eq!(count.get(), 5);
    assert_eq!(Rc::strong_count(&count), 1);
}

#[test]
fn are_woken_and_aborted_from_other_threads_on_their_own() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let drops = Arc::new(Mutex::new(Vec::new()));
    let door = Door::new();
    runtime.block_on(async {
        let here = thread::current().id();
        let woken = handle.spawn_local({
            let (door, rc) = (door.clone(), Rc::new(1));
            async move {
                door.pass().await;
                assert_eq!(thread::current().id(), here);
                *rc
            }
        });
        let tracked = Tracked(drops.clone(), Rc::new(()));
        let aborted = handle.spawn_local(async move {
            pending::<()>().await;
            drop(tracked);
        });
        yield_now().await;
        let abort = aborted.abort_handle();
        let other = thread::spawn(move || {
            door.open();
            abort.abort();
            drop(abort);
        });
        assert_eq!(woken.await.unwrap(), 1);
        assert!(aborted.await.unwrap_err().is_cancelled());
        other.join().unwrap();
        assert_eq!(*drops.lock().unwrap(), [here]);
    });
}

#[test]
fn race_of_wakes_with_the_end_of_block_on() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    for _ in 0..if cfg!(miri) { 5 } else { 500 } {
        let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
        let polled = Door::new();
        let other = thread::spawn({
            let (kept, polled) = (kept.clone(), polled.clone());
            move || {
                polled.wait();
                let waker = kept.lock().unwrap().take().unwrap();
                for _ in 0..20 {
                    waker.wake_by_ref();
                }
            }
        });
        runtime.block_on(async {
            let rc = Rc::new(());
            drop(handle.spawn_local(poll_fn(move |cx| {
                let _rc = &rc;
                kept.lock().unwrap().get_or_insert_with(|| cx.waker().clone());
                polled.open();
                Poll::<()>::Pending
            })));
            yield_now().await;
        });
        assert_eq!(handle.task_count(), 0);
        other.join().unwrap();
    }
}

#[test]
fn are_listed_like_others() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    runtime.block_on(async {
        let task = handle.spawn_local_with(Options::new().name("mine"), pending::<()>());
        yield_now().await;
        let tasks = thread::spawn({
            let handle = handle.clone();
            move || handle.tasks()
        })
        .join()
        .unwrap();
        assert_eq!(tasks.len(), 1);
        assert!(tasks[0].local && tasks[0].id == task.id() && tasks[0].name.as_deref() == Some("mine"));
    });
}

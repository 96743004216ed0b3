//! The local tasks of a `LocalExecutor` outlive one `block_on`, and end with it, on their thread.

mod support;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use bourn_executor::{LocalExecutor, ThreadPark, yield_now};
use support::{Door, runtime, watchdog};

fn local() -> LocalExecutor<ThreadPark> {
    LocalExecutor::new(runtime())
}

#[test]
fn tasks_outlive_one_block_on() {
    let _watchdog = watchdog();
    let executor = local();
    let count = Rc::new(Cell::new(0));
    let task = executor.spawn_local({
        let count = count.clone();
        async move {
            for _ in 0..5 {
                count.set(count.get() + 1);
                yield_now().await;
            }
        }
    });
    let handle = executor.executor().handle();
    let mut inner = None;
    executor.block_on(async { inner = Some(handle.spawn_local(async { Rc::new(7) })) });
    assert!(count.get() < 5);
    // Also beside another executor's.
    assert_eq!(runtime().block_on(async { 1 }), 1);
    executor.block_on(task).unwrap();
    assert_eq!(count.get(), 5);
    assert_eq!(*executor.block_on(inner.unwrap()).unwrap(), 7);
}

#[test]
fn a_wake_between_two_calls_is_kept() {
    let _watchdog = watchdog();
    let (executor, door) = (local(), Door::new());
    let task = executor.spawn_local({
        let (door, rc) = (door.clone(), Rc::new(3));
        async move {
            door.pass().await;
            *rc
        }
    });
    executor.block_on(yield_now());
    thread::spawn(move || door.open()).join().unwrap();
    assert_eq!(executor.block_on(task).unwrap(), 3);
}

#[test]
fn the_end_drops_every_task_here_and_once() {
    struct Here(Rc<RefCell<Vec<thread::ThreadId>>>);
    impl Drop for Here {
        fn drop(&mut self) {
            self.0.borrow_mut().push(thread::current().id());
        }
    }
    let _watchdog = watchdog();
    let executor = local();
    let drops = Rc::new(RefCell::new(Vec::new()));
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let (here, kept) = (Here(drops.clone()), slot.clone());
    drop(executor.spawn_local(async move {
        let _here = here;
        poll_fn(|cx| {
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
        .await;
    }));
    executor.block_on(yield_now());
    // Never polled.
    let here = Here(drops.clone());
    let unpolled = executor.spawn_local(async move {
        let _here = here;
        pending::<()>().await;
    });
    let waker = slot.lock().unwrap().take().unwrap();
    let storm = thread::spawn(move || (0..1_000).for_each(|_| waker.wake_by_ref()));
    drop(executor);
    storm.join().unwrap();
    assert!(unpolled.is_finished());
    assert_eq!(*drops.borrow(), [thread::current().id(); 2]);
}

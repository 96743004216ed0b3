//! Task-locals: where they have a value, and that they lose it in no panic and no
//! drop.

mod harness;

use std::cell::Cell;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use bourn::runtime::Runtime;
use bourn::task::yield_now;

bourn::task_local! {
    static NUMBER: u32;
    /// Documented, and visible elsewhere.
    pub static NAME: String;
}
bourn::task_local!(static CELL: Cell<u8>);
bourn::task_local!();

/// Tells, when it is dropped, which number it sees.
struct Witness(Arc<Mutex<Vec<Option<u32>>>>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(NUMBER.try_get().ok());
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn each_task_has_its_own_value() {
    harness::watched("values", || {
        Runtime::new().unwrap().block_on(async {
            let tasks: Vec<_> = (0..10)
                .map(|number| {
                    bourn::spawn(NUMBER.scope(number, async move {
                        for _ in 0..10 {
                            yield_now().await;
                            assert_eq!(NUMBER.get(), number);
                        }
                        // What is spawned inside is outside.
                        let inner = bourn::spawn(async { NUMBER.try_get() });
                        inner.await.unwrap().unwrap_err();
                    }))
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
    assert!(NUMBER.try_with(|_| ()).is_err());
}

#[test]
fn scopes_nest_and_mix() {
    let future = NUMBER.scope(1, async {
        assert_eq!(NUMBER.get(), 1);
        NUMBER.scope(2, async { assert_eq!(NUMBER.get(), 2) }).await;
        NAME.scope("x".to_owned(), async {
            assert_eq!((NUMBER.get(), NAME.get()), (1, "x".to_owned()));
        })
        .await;
        NUMBER.sync_scope(3, || assert_eq!(NUMBER.get(), 3));
        assert!(NAME.try_get().is_err());
        NUMBER.get()
    });
    assert_eq!(poll(pin!(future)), Poll::Ready(1));
    CELL.sync_scope(Cell::new(1), || {
        CELL.with(|cell| cell.set(cell.get() + 1));
        assert_eq!(CELL.with(Cell::get), 2);
    });
}

#[test]
fn the_value_goes_over_threads_with_its_future() {
    let mut future = Box::pin(NUMBER.scope(5, async {
        yield_now().await;
        NUMBER.get()
    }));
    assert!(poll(future.as_mut()).is_pending());
    let polled = thread::spawn(move || {
        let polled = poll(future.as_mut());
        (polled, future.as_mut().take_value(), future.as_mut().take_value())
    });
    assert_eq!(polled.join().unwrap(), (Poll::Ready(5), Some(5), None));
    assert!(NUMBER.try_get().is_err());
}

#[test]
fn the_value_is_there_when_the_future_is_dropped() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let witness = || Witness(Arc::clone(&seen));
    let waiting = |witness| async move {
        let _witness = witness;
        pending::<()>().await;
    };
    // Never polled; dropped while it waits; dropped because it is ready.
    drop(NUMBER.scope(1, waiting(witness())));
    {
        let mut future = pin!(NUMBER.scope(2, waiting(witness())));
        assert!(poll(future.as_mut()).is_pending());
    }
    let held = witness();
    let mut future = pin!(NUMBER.scope(3, async move { drop(held) }));
    assert!(poll(future.as_mut()).is_ready());
    // Aborted as a task.
    let held = witness();
    Runtime::new().unwrap().block_on(async {
        let task = bourn::spawn(NUMBER.scope(4, waiting(held)));
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    });
    // Elsewhere there is none.
    drop(witness());
    assert_eq!(*seen.lock().unwrap(), [Some(1), Some(2), Some(3), Some(4), None]);
}

#[test]
fn a_panic_restores_the_value_from_further_out() {
    NUMBER.sync_scope(1, || {
        let inner = catch_unwind(|| NUMBER.sync_scope(2, || panic!("inside")));
        assert!(inner.is_err());
        assert_eq!(NUMBER.get(), 1);
        let mut future = Box::pin(NUMBER.scope(3, async { panic!("in a poll") }));
        assert!(catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()).map(|(): ()| ()))).is_err());
        assert_eq!(NUMBER.get(), 1);
        assert_eq!(future.as_mut().take_value(), Some(3));
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                assert_eq!(NUMBER.get(), 4);
                panic!("in a drop");
            }
        }
        let bomb = Bomb;
        let future = NUMBER.scope(4, async move { drop(bomb) });
        assert!(catch_unwind(AssertUnwindSafe(|| drop(future))).is_err());
        assert_eq!(NUMBER.get(), 1);
    });
    assert!(NUMBER.try_get().is_err());
}

#[test]
fn misuse_says_where_and_what_to_do() {
    let message = |body: fn()| *catch_unwind(body).unwrap_err().downcast::<String>().unwrap();
    let absent = message(|| NUMBER.with(|_| ()));
    assert!(absent.starts_with("bourn: a task-local was read at "), "{absent}");
    assert!(absent.contains(file!()) && absent.contains("Run the future inside the key's scope"), "{absent}");
    let borrowed = message(|| NUMBER.sync_scope(1, || NUMBER.with(|_| NUMBER.sync_scope(2, || ()))));
    assert!(borrowed.contains(file!()) && borrowed.contains("inside `with` of the same key"), "{borrowed}");
}

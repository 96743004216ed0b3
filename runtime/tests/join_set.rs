//! Sets of tasks: what is joined, in which order, at which cost, and what becomes
//! of those that are not.

mod harness;

use std::future::{pending, poll_fn, ready};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use bourn::runtime::Runtime;
use bourn::task::{self, JoinSet, yield_now};

use harness::watched;

fn run<F: Future>(what: &str, body: F) -> F::Output {
    watched(what, || Runtime::new().unwrap().block_on(body))
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Yields that many times.
async fn turns(count: usize) -> usize {
    for _ in 0..count {
        yield_now().await;
    }
    count
}

#[test]
fn tasks_are_joined_as_they_end() {
    run("the order", async {
        let mut set: JoinSet<usize> = [9, 3, 6].into_iter().map(turns).collect();
        assert_eq!((set.len(), set.is_empty()), (3, false));
        assert!(set.try_join_next().is_none(), "none has begun");
        let mut order = Vec::new();
        while let Some(count) = set.join_next().await {
            order.push(count.unwrap());
        }
        assert_eq!(order, [3, 6, 9]);
        assert!(set.is_empty() && set.join_next().await.is_none());
    });
}

#[test]
fn results_come_with_the_number_of_their_task() {
    run("numbers", async {
        let mut set = JoinSet::new();
        let good = set.spawn(ready(1));
        let bad = set.spawn(async { panic!("in the set") });
        let stuck = set.spawn(pending());
        assert_eq!(set.join_next_with_id().await.unwrap().unwrap(), (good.id(), 1));
        let error = set.join_next_with_id().await.unwrap().unwrap_err();
        assert!(error.is_panic());
        assert_eq!(error.id(), bad.id());
        stuck.abort();
        let error = set.join_next().await.unwrap().unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(error.id(), stuck.id());
    });
}

#[test]
fn every_kind_of_task_can_be_in_a_set() {
    run("kinds", async {
        let mut set = JoinSet::new();
        let shared = Rc::new(1);
        set.spawn(ready(1));
        set.spawn_on(ready(2), &bourn::Handle::current());
        set.spawn_local(async move { *shared + 2 });
        set.spawn_blocking(|| 4);
        set.insert(task::Builder::new().name("five").spawn(ready(5)));
        let mut all = set.join_all().await;
        all.sort();
        assert_eq!(all, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn dropping_the_set_aborts_and_detaching_does_not() {
    run("drop and detach", async {
        let (kept, gone) = (Arc::new(()), Arc::new(()));
        let mut set = JoinSet::new();
        for _ in 0..10 {
            let gone = Arc::clone(&gone);
            set.spawn(async move {
                let _gone = gone;
                pending::<()>().await;
            });
        }
        yield_now().await;
        drop(set);
        yield_now().await;
        assert_eq!(Arc::strong_count(&gone), 1, "all aborted");

        let mut set = JoinSet::new();
        let detached = Arc::clone(&kept);
        let handle = set.spawn(async move {
            turns(3).await;
            drop(detached);
        });
        set.detach_all();
        assert!(set.is_empty());
        drop(set);
        turns(10).await;
        assert!(handle.is_finished());
        assert_eq!(Arc::strong_count(&kept), 1, "it went on to its end");
    });
}

#[test]
fn shutdown_waits_until_the_tasks_are_gone() {
    run("shutdown", async {
        let held = Arc::new(());
        let mut set = JoinSet::new();
        for _ in 0..100 {
            let held = Arc::clone(&held);
            set.spawn(async move {
                let _held = held;
                pending::<()>().await;
            });
        }
        yield_now().await;
        set.shutdown().await;
        assert!(set.is_empty());
        assert_eq!(Arc::strong_count(&held), 1);
    });
}

#[test]
fn join_all_passes_a_panic_on_and_aborts_the_rest() {
    let held = Arc::new(());
    let rest = Arc::clone(&held);
    let error = run("join_all", async {
        let panics = bourn::spawn(async {
            let mut set = JoinSet::new();
            set.spawn(async move {
                let _rest = rest;
                pending::<()>().await;
            });
            set.spawn(async { panic!("one of all") });
            set.join_all().await;
        });
        panics.await.unwrap_err()
    });
    assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "one of all");
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn only_what_has_ended_is_looked_at() {
    const MANY: usize = 10_000;
    run("the cost of a wake", async {
        let mut set = JoinSet::new();
        for _ in 0..MANY {
            set.spawn(pending::<usize>());
        }
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        // The first looks, one at each task, as far as the budget of each poll goes.
        let mut polls = 0;
        loop {
            assert!(set.poll_join_next(&mut cx).is_pending());
            polls += 1;
            if wakes.0.swap(0, SeqCst) == 0 {
                break;
            }
            yield_now().await;
        }
        assert!(polls > MANY / 1000, "a set of many gives way to others");
        // From now on a wake comes for one that has ended, and it is found at once.
        for round in 0..100 {
            let task = set.spawn(async move { round });
            while !task.is_finished() {
                yield_now().await;
            }
            let found = set.poll_join_next(&mut cx);
            assert!(matches!(found, Poll::Ready(Some(Ok(number))) if number == round), "{found:?}");
        }
        assert_eq!(set.len(), MANY);
    });
}

#[test]
fn a_set_may_be_awaited_by_one_after_another() {
    run("wakers", async {
        let mut set = JoinSet::new();
        let task = set.spawn(turns(2));
        let (first, second) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
        for wakes in [&first, &second] {
            let waker = Waker::from(Arc::clone(wakes));
            assert!(set.poll_join_next(&mut Context::from_waker(&waker)).is_pending());
        }
        while !task.is_finished() {
            yield_now().await;
        }
        assert_eq!((first.0.load(SeqCst), second.0.load(SeqCst)), (0, 1), "the last one is woken");
        assert_eq!(poll_fn(|cx| set.poll_join_next(cx)).await.unwrap().unwrap(), 2);
    });
}

#[test]
fn a_set_that_is_always_ready_gives_way() {
    run("the budget", async {
        let mut set = JoinSet::new();
        let tasks: Vec<_> = (0..1000).map(|_| set.spawn(ready(()))).collect();
        while !tasks.iter().all(|task| task.is_finished()) {
            yield_now().await;
        }
        let other = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&other);
        bourn::spawn(async move {
            loop {
                counter.fetch_add(1, SeqCst);
                yield_now().await;
            }
        });
        while set.join_next().await.is_some() {}
        assert!(other.load(SeqCst) >= 5, "the other task ran {} times", other.load(SeqCst));
    });
}

//! Workers that share nothing: tasks stay where they are spawned, and something can be started on each worker.

mod support;

use std::collections::BTreeSet;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use bourn_executor::{Executor, ExecutorOptions, Options, StallCause, ThreadPark, UnhandledPanic, yield_now};
use futures_lite::future::block_on;
use support::{Door, Drops, watchdog, with, workers_with};

fn shards(count: usize) -> Executor<ThreadPark> {
    workers_with(ExecutorOptions::thread_per_core().workers(count))
}

#[test]
fn a_task_and_what_it_spawns_stay_on_one_thread() {
    let _watchdog = watchdog();
    let runtime = shards(3);
    let handle = runtime.handle();
    let mut seen = BTreeSet::new();
    for _ in 0..6 {
        let inner = handle.clone();
        let task = handle.spawn(async move {
            let here = thread::current().id();
            for _ in 0..20 {
                let there = inner.spawn(async { thread::current().id() }).await.unwrap();
                assert_eq!(there, here);
                yield_now().await;
                assert_eq!(thread::current().id(), here);
            }
            format!("{here:?}")
        });
        seen.insert(block_on(task).unwrap());
    }
    assert_eq!(seen.len(), 3, "from outside, the workers take turns");
}

#[test]
fn something_starts_on_each_and_may_stay_there() {
    let _watchdog = watchdog();
    let runtime =
        workers_with(with(ExecutorOptions::thread_per_core().workers(3), |options| options.pin_workers = true));
    let each = runtime.handle().spawn_on_each(|number| async move {
        let (here, kept) = (thread::current().id(), Rc::new(number));
        yield_now().await;
        assert_eq!(thread::current().id(), here);
        (*kept, format!("{here:?}"))
    });
    let results: Vec<_> = runtime.block_on(each).into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(results.into_iter().map(|(_, thread)| thread).collect::<BTreeSet<_>>().len(), 3);
}

#[test]
fn one_that_fails_or_is_aborted_says_so() {
    let _watchdog = watchdog();
    let runtime = shards(2);
    let each = runtime.handle().spawn_on_each(|number| async move { assert_eq!(number, 0) });
    let results = runtime.block_on(each);
    assert!(results[0].is_ok() && results[1].as_ref().unwrap_err().is_panic());

    let (drops, started) = (Drops::default(), Arc::new(AtomicUsize::new(0)));
    let each = runtime.handle().spawn_on_each({
        let (drops, started) = (drops.clone(), started.clone());
        move |_| {
            let (kept, started) = (drops.value(), started.clone());
            async move {
                let _kept = kept;
                started.fetch_add(1, SeqCst);
                pending::<()>().await;
            }
        }
    });
    while started.load(SeqCst) < 2 {
        thread::yield_now();
    }
    each.abort();
    assert!(runtime.block_on(each).iter().all(|result| result.as_ref().unwrap_err().is_cancelled()));
    while drops.count() < 2 {
        thread::yield_now();
    }
}

#[test]
fn block_on_from_outside_has_tasks_of_its_own() {
    let _watchdog = watchdog();
    let runtime = shards(2);
    let handle = runtime.handle();
    let sum = runtime.block_on(async {
        let local = handle.spawn_local(async {
            yield_now().await;
            *Rc::new(1)
        });
        local.await.unwrap() + handle.spawn(async { 2 }).await.unwrap()
    });
    assert_eq!(sum, 3);
}

#[test]
fn the_end_drops_each_task_once() {
    let _watchdog = watchdog();
    let (runtime, drops) = (shards(3), Drops::default());
    let handle = runtime.handle();
    for number in 0..1_000 {
        let kept = drops.value();
        drop(handle.spawn(async move {
            let _kept = kept;
            for _ in 0..number % 4 {
                yield_now().await;
            }
            pending::<()>().await;
        }));
    }
    drop(runtime);
    assert_eq!(drops.count(), 1_000);
    assert!(handle.tasks().is_empty());
    let kept = drops.value();
    assert!(block_on(handle.spawn(async move { drop(kept) })).unwrap_err().is_cancelled());
    assert_eq!(drops.count(), 1_001);
}

#[test]
fn a_blocked_worker_is_named_and_holds_up_its_own_tasks_only() {
    let _watchdog = watchdog();
    let (told, heard) = std::sync::mpsc::channel();
    let options = ExecutorOptions::thread_per_core().workers(2);
    let runtime = workers_with(with(options, |options| {
        options.on_stall = Some(Arc::new(move |stall| drop(told.send(stall.clone()))))
    }));
    let (handle, release) = (runtime.handle(), Door::new());
    let blocked = handle.spawn_with(Options::new().name("culprit"), {
        let release = release.clone();
        async move { release.wait() }
    });
    let stall = heard.recv().unwrap();
    assert_eq!((stall.task, stall.name.as_deref()), (Some(blocked.id()), Some("culprit")), "in its first poll, too");
    assert_eq!(stall.cause, StallCause::Blocked);
    assert!(stall.lasted >= Duration::from_millis(10));
    let listed = handle.tasks();
    assert!(listed.iter().any(|task| task.id == blocked.id()), "{listed:?}");
    // Of two in turn, one is on the other worker.
    let others = [handle.spawn(async {}), handle.spawn(async {})];
    while !others.iter().any(|other| other.is_finished()) {
        thread::yield_now();
    }
    assert_eq!(handle.metrics().rescues, 0);
    release.open();
    block_on(blocked).unwrap();
}

/// Nobody stands in: each of them is told of.
#[test]
fn one_and_then_all_blocked_workers_are_named() {
    let _watchdog = watchdog();
    let (told, heard) = std::sync::mpsc::channel();
    let options = ExecutorOptions::thread_per_core().workers(3);
    let runtime = workers_with(with(options, |options| {
        options.on_stall = Some(Arc::new(move |stall| drop(told.send(stall.clone()))))
    }));
    let (handle, release) = (runtime.handle(), Door::new());
    let mut blocked = Vec::new();
    let mut named = BTreeSet::new();
    for number in 0..3 {
        let release = release.clone();
        let name = format!("culprit {number}");
        let asked = Instant::now();
        blocked.push(handle.spawn_with(Options::new().name(name.clone()), async move { release.wait() }));
        // Those before are reported again meanwhile.
        let stall = loop {
            let stall = heard.recv().unwrap();
            assert_eq!(stall.cause, StallCause::Blocked);
            if named.insert(stall.name.clone().unwrap()) {
                break stall;
            }
        };
        assert_eq!((stall.task, stall.name.as_deref()), (Some(blocked[number].id()), Some(&*name)));
        assert_eq!(stall.location.unwrap().file(), file!());
        assert!(stall.lasted >= Duration::from_millis(10) && stall.lasted <= asked.elapsed());
    }
    let others: Vec<_> = (0..3).map(|_| handle.spawn(async {})).collect();
    assert!(others.iter().all(|other| !other.is_finished()), "they are not helped");
    assert_eq!(handle.metrics().rescues, 0);
    release.open();
    blocked.into_iter().chain(others).for_each(|task| block_on(task).unwrap());
}

#[test]
fn without_workers_a_blocked_task_is_reported_as_well() {
    let _watchdog = watchdog();
    let (told, heard) = std::sync::mpsc::channel();
    let options = with(ExecutorOptions::current_thread(), |options| {
        options.on_stall = Some(Arc::new(move |stall| drop(told.send(stall.clone()))))
    });
    let runtime = workers_with(options);
    let task = runtime.handle().spawn(async move { heard.recv().unwrap() });
    let id = task.id();
    assert_eq!(runtime.block_on(task).unwrap().task, Some(id));
}

#[test]
fn a_panic_that_shuts_down_ends_every_shard() {
    let _watchdog = watchdog();
    let runtime = {
        let mut options = ExecutorOptions::thread_per_core().workers(3);
        options.unhandled_panic = UnhandledPanic::Shutdown;
        workers_with(options)
    };
    let handle = runtime.handle();
    // They take turns: one on each.
    let waiting: Vec<_> = (0..3).map(|_| handle.spawn(pending::<()>())).collect();
    drop(handle.spawn(async { panic!("alone") }));
    for task in waiting {
        assert!(block_on(task).unwrap_err().is_cancelled());
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(pending::<()>())));
    assert!(outcome.unwrap_err().is::<String>(), "whichever shard it was");
}

//! Blocked threads keep nothing else from running, and are named.
//!
//! A ticker that another thread drives every 20 ms measures how late a task is served. The bounds are those that the
//! runtime promises, with room for a machine that is busy with other tests.

mod support;

use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bourn_executor::{Executor, ExecutorOptions, Handle, Options, Stall, StallCause, ThreadPark, yield_now};
use support::{Door, watchdog, with, workers_with};

const BLOCK: Duration = Duration::from_millis(400);
const LATE: Duration = Duration::from_millis(100);

/// Spawns tasks one after the other from a foreign thread; returns how long the slowest took to run.
fn worst_delay(handle: &Handle<ThreadPark>, duration: Duration) -> Duration {
    let end = Instant::now() + duration;
    let mut worst = Duration::ZERO;
    while Instant::now() < end {
        let asked = Instant::now();
        let (ran, has_run) = mpsc::channel();
        drop(handle.spawn(async move { ran.send(asked.elapsed()).unwrap() }));
        worst = worst.max(has_run.recv().unwrap());
        thread::sleep(Duration::from_millis(20));
    }
    worst
}

fn quiet(workers: usize) -> ExecutorOptions {
    with(ExecutorOptions::multi_thread().workers(workers), |options| options.on_stall = Some(Arc::new(|_| {})))
}

/// All workers are kept busy by `block`, at once and once.
fn all_blocked(block: impl Fn() + Send + Sync + Clone + 'static) {
    let _watchdog = watchdog();
    let runtime = workers_with(quiet(2));
    let handle = runtime.handle();
    let started = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let (block, started) = (block.clone(), started.clone());
        drop(handle.spawn(async move {
            started.fetch_add(1, SeqCst);
            block();
        }));
    }
    while started.load(SeqCst) < 2 {
        thread::yield_now();
    }
    let worst = worst_delay(&handle, BLOCK / 2);
    assert!(worst < LATE, "a task waited {worst:?}");
    assert!(handle.metrics().rescues > 0);
}

#[test]
fn sleeping_in_every_worker() {
    all_blocked(|| thread::sleep(BLOCK));
}

#[test]
fn spinning_in_every_worker() {
    all_blocked(|| {
        let end = Instant::now() + BLOCK;
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    });
}

#[test]
fn sleeping_in_a_destructor() {
    struct Slow;
    impl Drop for Slow {
        fn drop(&mut self) {
            thread::sleep(BLOCK);
        }
    }
    all_blocked(|| drop(Slow));
}

#[test]
fn sleeping_in_a_waker() {
    struct Slow;
    impl Wake for Slow {
        fn wake(self: Arc<Self>) {
            thread::sleep(BLOCK);
        }
    }
    all_blocked(|| Waker::from(Arc::new(Slow)).wake());
}

#[test]
fn the_future_of_block_on_that_blocks_keeps_no_task() {
    let _watchdog = watchdog();
    let runtime = workers_with(quiet(1));
    let handle = runtime.handle();
    let (ran, has_run) = mpsc::channel();
    runtime.block_on(async {
        // Into the slot of this thread's own core, where nobody looks unless it is stuck.
        drop(handle.spawn(async move { ran.send(thread::current().id()).unwrap() }));
        let other = has_run.recv_timeout(BLOCK).expect("it was not run elsewhere");
        assert_ne!(other, thread::current().id());
    });
}

#[test]
fn a_task_in_the_slot_of_a_stuck_worker_is_run() {
    let _watchdog = watchdog();
    let runtime = workers_with(quiet(2));
    let handle = runtime.handle();
    let task = handle.spawn({
        let handle = handle.clone();
        async move {
            let (ran, has_run) = mpsc::channel();
            // What a worker has just woken is for itself.
            drop(handle.spawn(async move { ran.send(()).unwrap() }));
            has_run.recv_timeout(BLOCK).expect("nobody took it");
        }
    });
    futures_lite::future::block_on(task).unwrap();
}

#[test]
fn block_in_place_is_stood_in_for() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(quiet(1), |options| options.spares = 1));
    let handle = runtime.handle();
    let task = handle.spawn({
        let handle = handle.clone();
        async move {
            let (ran, has_run) = mpsc::channel();
            drop(handle.spawn(async move { ran.send(()).unwrap() }));
            handle.block_in_place(|| has_run.recv_timeout(BLOCK).expect("nobody took it"));
        }
    });
    futures_lite::future::block_on(task).unwrap();
    assert_eq!(handle.metrics().stalls, 0, "it was declared");
}

#[test]
fn waves_of_blockers_are_each_rescued_up_to_the_cap() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(quiet(2), |options| options.spares = 3));
    let handle = runtime.handle();
    let release = Door::new();
    let inside = Arc::new(AtomicUsize::new(0));
    for _ in 0..6 {
        let (release, inside) = (release.clone(), inside.clone());
        drop(handle.spawn(async move {
            inside.fetch_add(1, SeqCst);
            release.wait();
        }));
    }
    // Two workers and three spares, one after the other; the sixth blocker finds nobody.
    while inside.load(SeqCst) < 5 || handle.metrics().refused_rescues == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(inside.load(SeqCst), 5);
    release.open();
    let worst = worst_delay(&handle, BLOCK / 4);
    assert!(worst < LATE, "after the storm a task waited {worst:?}");
    assert_eq!(inside.load(SeqCst), 6);
}

#[test]
fn a_local_task_on_a_spare_lives_on() {
    let _watchdog = watchdog();
    let runtime = workers_with(quiet(1));
    let handle = runtime.handle();
    let blocked = Arc::new(AtomicBool::new(true));
    let blocker = handle.spawn({
        let blocked = blocked.clone();
        async move {
            while blocked.load(SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
        }
    });
    let door = Door::new();
    let (spawned, has_spawned) = mpsc::channel();
    drop(handle.spawn({
        let (handle, door) = (handle.clone(), door.clone());
        async move {
            let local = handle.spawn_local(async move {
                door.pass().await;
                5
            });
            spawned.send(local.abort_handle()).unwrap();
            assert_eq!(local.await.unwrap(), 5);
        }
    }));
    let local = has_spawned.recv().unwrap();
    blocked.store(false, SeqCst);
    futures_lite::future::block_on(blocker).unwrap();
    // Whatever the spare does when its victim is back, it does within a few ticks.
    thread::sleep(Duration::from_millis(30));
    assert!(!local.is_finished(), "it was dropped with the spare");
    door.open();
    while !local.is_finished() {
        thread::sleep(Duration::from_millis(1));
    }
}

fn reports_of(block: impl FnOnce() + Send + 'static) -> Vec<Stall> {
    let reports: Arc<Mutex<Vec<Stall>>> = Arc::default();
    let runtime = workers_with(with(ExecutorOptions::multi_thread().workers(2), |options| {
        let reports = reports.clone();
        options.on_stall = Some(Arc::new(move |stall| reports.lock().unwrap().push(stall.clone())));
    }));
    let task = runtime.handle().spawn_with(Options::new().name("culprit"), async move {
        // In the live table, from which its name is read.
        yield_now().await;
        block();
    });
    let id = task.id();
    futures_lite::future::block_on(task).unwrap();
    let reports = std::mem::take(&mut *reports.lock().unwrap());
    assert!(!reports.is_empty(), "nobody noticed");
    for report in &reports {
        assert_eq!(report.task, Some(id));
        assert_eq!(report.name.as_deref(), Some("culprit"));
        assert_eq!(report.location.unwrap().file(), file!());
    }
    // With doubling intervals.
    assert!(reports.len() <= 6, "{} reports", reports.len());
    assert!(reports.windows(2).all(|pair| pair[1].lasted >= pair[0].lasted * 2), "{reports:?}");
    reports
}

#[test]
fn a_blocked_task_is_named() {
    let _watchdog = watchdog();
    let reports = reports_of(|| thread::sleep(BLOCK));
    assert_eq!(reports.last().unwrap().cause, StallCause::Blocked);
    assert!(format!("{}", reports[0]).contains("\"culprit\""), "{}", reports[0]);
}

#[test]
fn many_medium_polls_are_not_reported_but_hurried() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(quiet(1), |options| options.spares = 0));
    let handle = runtime.handle();
    let (stop, started) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..20 {
        let (stop, started) = (stop.clone(), started.clone());
        drop(handle.spawn(async move {
            started.fetch_add(1, SeqCst);
            while !stop.load(SeqCst) {
                thread::sleep(Duration::from_millis(2));
                yield_now().await;
            }
        }));
    }
    while started.load(SeqCst) < 20 {
        thread::sleep(Duration::from_millis(1));
    }
    // 20 tasks of 2 ms each between two looks of every 61st step would be 122 ms.
    let worst = worst_delay(&handle, BLOCK);
    stop.store(true, SeqCst);
    assert!(worst < LATE, "a task waited {worst:?}");
}

#[test]
fn without_rescue_nothing_is_noticed() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(quiet(1), |options| options.rescue = Some(false)));
    let handle = runtime.handle();
    let task = handle.spawn(async { thread::sleep(BLOCK / 8) });
    let later = handle.spawn(poll_fn(|_| Poll::Ready(Instant::now())));
    futures_lite::future::block_on(task).unwrap();
    futures_lite::future::block_on(later).unwrap();
    let metrics = handle.metrics();
    assert_eq!((metrics.stalls, metrics.rescues), (0, 0));
}

#[test]
fn a_shutdown_names_what_still_blocks() {
    let _watchdog = watchdog();
    let runtime = workers_with(quiet(2));
    let handle = runtime.handle();
    let (inside, release) = (Door::new(), Door::new());
    let stuck = handle.spawn_with(Options::new().name("stubborn"), {
        let (inside, release) = (inside.clone(), release.clone());
        async move {
            yield_now().await;
            inside.open();
            release.wait();
            pending::<()>().await;
        }
    });
    inside.wait();
    let left = runtime.shutdown(Duration::from_millis(20));
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].id, stuck.id());
    assert_eq!(left[0].name.as_deref(), Some("stubborn"));
    release.open();
    assert!(futures_lite::future::block_on(stuck).unwrap_err().is_cancelled());
    assert!(runtime.shutdown(Duration::from_secs(10)).is_empty());
}

#[test]
fn a_runtime_that_is_dropped_in_its_own_hook_is_not_waited_for() {
    let _watchdog = watchdog();
    let slot = Arc::new(Mutex::new(None));
    let (told, heard) = mpsc::channel();
    let hook = {
        let slot = Arc::clone(&slot);
        move |_: &Stall| {
            let Some(runtime) = slot.lock().unwrap().take() else { return };
            let outcome = catch_unwind(AssertUnwindSafe(|| drop::<Executor<ThreadPark>>(runtime)));
            told.send(outcome.map_err(|payload| *payload.downcast::<String>().unwrap())).unwrap();
        }
    };
    let runtime = workers_with(with(ExecutorOptions::multi_thread().workers(1), |options| {
        options.on_stall = Some(Arc::new(hook));
    }));
    let task = runtime.handle().spawn(async { thread::sleep(BLOCK / 4) });
    *slot.lock().unwrap() = Some(runtime);
    // Had it waited, it would not have panicked.
    let message = heard.recv().unwrap().unwrap_err();
    assert!(message.starts_with("bourn: a runtime was dropped on a worker of the runtime made at "), "{message}");
    drop(futures_lite::future::block_on(task));
}

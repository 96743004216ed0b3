//! The blocking pool: how many threads there are and for how long, who is served when, and how it all ends.

mod support;

use std::panic::set_hook;
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bourn_executor::{BlockingPool, Options, PoolHost, PoolMetrics, PoolOptions, TaskState};
use futures_lite::future::block_on;
use support::{Door, DropBomb, Drops, watchdog, with};

const LONG: Duration = Duration::from_secs(40);

fn pool(cap: usize) -> BlockingPool {
    BlockingPool::new(with(PoolOptions::default(), |options| options.threads = cap))
}

/// Waits for a state that is bound to come; the watchdog sees to it that it does.
fn until(pool: &BlockingPool, reached: impl Fn(PoolMetrics) -> bool) {
    while !reached(pool.metrics()) {
        thread::yield_now();
    }
}

#[test]
fn has_as_many_threads_as_it_needs_up_to_the_cap() {
    let _watchdog = watchdog();
    let (pool, door) = (pool(3), Door::new());
    assert_eq!(pool.metrics().threads, 0, "none before the first call");
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let (door, running, most) = (door.clone(), running.clone(), most.clone());
            pool.spawn(move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                door.wait();
                running.fetch_sub(1, SeqCst);
            })
        })
        .collect();
    until(&pool, |metrics| metrics.running == 3);
    let metrics = pool.metrics();
    assert_eq!((metrics.threads, metrics.queued, metrics.idle), (3, 7, 0), "{metrics:?}");
    assert_eq!(pool.running().len(), 3);
    door.open();
    for call in calls {
        block_on(call).unwrap();
    }
    assert_eq!(most.load(SeqCst), 3);
    until(&pool, |metrics| metrics.idle == 3);
    let metrics = pool.metrics();
    assert_eq!((metrics.started, metrics.running), (10, 0));
    assert!(metrics.longest_wait > Duration::ZERO);
    assert!(pool.shutdown(LONG).is_empty());
}

#[test]
fn begins_calls_in_the_order_of_their_arrival() {
    let _watchdog = watchdog();
    let (pool, door) = (pool(1), Door::new());
    let order = Arc::new(Mutex::new(Vec::new()));
    drop(pool.spawn({
        let door = door.clone();
        move || door.wait()
    }));
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let order = order.clone();
            pool.spawn(move || order.lock().unwrap().push(number))
        })
        .collect();
    door.open();
    for call in calls {
        block_on(call).unwrap();
    }
    assert!(order.lock().unwrap().iter().copied().eq(0..100));
    assert!(pool.shutdown(LONG).is_empty());
}

#[test]
fn lets_idle_threads_end() {
    let _watchdog = watchdog();
    let idle = Duration::from_millis(20);
    let pool = BlockingPool::new(with(PoolOptions::default(), |options| {
        (options.idle, options.name) = (idle, "short".into())
    }));
    let begun = Instant::now();
    let name = block_on(pool.spawn(|| thread::current().name().map(str::to_owned))).unwrap();
    assert_eq!(name.as_deref(), Some("short-0"));
    until(&pool, |metrics| metrics.threads == 0);
    assert!(begun.elapsed() >= idle, "it left too early");
    assert_eq!(block_on(pool.spawn(|| 1)).unwrap(), 1, "and new ones start again");
}

#[test]
fn takes_the_thread_that_rested_last() {
    let _watchdog = watchdog();
    let (pool, door) = (pool(4), Door::new());
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let door = door.clone();
            pool.spawn(move || door.wait())
        })
        .collect();
    door.open();
    for call in calls {
        block_on(call).unwrap();
    }
    let mut threads = Vec::new();
    for _ in 0..20 {
        until(&pool, |metrics| metrics.idle == 4);
        threads.push(block_on(pool.spawn(|| thread::current().id())).unwrap());
    }
    threads.dedup();
    assert_eq!(threads.len(), 1, "the other three are to time out");
    assert!(pool.shutdown(LONG).is_empty());
}

#[test]
fn an_abort_keeps_a_call_from_beginning_but_not_from_ending() {
    let _watchdog = watchdog();
    let (pool, door, drops) = (pool(1), Door::new(), Drops::default());
    let begun = pool.spawn({
        let door = door.clone();
        move || {
            door.wait();
            5
        }
    });
    until(&pool, |metrics| metrics.running == 1);
    let kept = drops.value();
    let queued = pool.spawn(move || {
        let _kept = kept;
        unreachable!("called after the abort");
    });
    begun.abort();
    queued.abort();
    door.open();
    assert_eq!(block_on(begun).unwrap(), 5);
    let error = block_on(queued).map(|(): ()| ()).unwrap_err();
    assert!(error.is_cancelled());
    assert_eq!(drops.count(), 1);
    assert!(pool.shutdown(LONG).is_empty());
}

#[test]
fn a_panic_ends_the_call_and_not_the_thread() {
    let _watchdog = watchdog();
    let pool = pool(1);
    let before = block_on(pool.spawn(|| thread::current().id())).unwrap();
    let error = block_on(pool.spawn(|| panic!("in a call"))).map(|(): ()| ());
    assert!(error.unwrap_err().to_string().ends_with("panicked: in a call"));
    drop(pool.spawn(|| DropBomb("an output")));
    let after = block_on(pool.spawn(|| thread::current().id())).unwrap();
    assert_eq!(before, after);
    assert!(pool.shutdown(LONG).is_empty());
}

#[test]
fn shutdown_drops_what_has_not_begun_and_waits_for_what_has() {
    let _watchdog = watchdog();
    let (pool, door, drops) = (pool(1), Door::new(), Drops::default());
    let begun = pool.spawn({
        let door = door.clone();
        move || door.wait()
    });
    until(&pool, |metrics| metrics.running == 1);
    let kept = drops.value();
    let queued = pool.spawn(move || {
        let _kept = kept;
        unreachable!("called after the shutdown");
    });
    let opener = thread::spawn({
        let (pool, drops) = (pool.clone(), drops.clone());
        move || {
            // Comes after the shutdown has begun: it is what drops the queued call.
            while drops.count() == 0 {
                thread::yield_now();
            }
            assert_eq!(pool.metrics().running, 1);
            door.open();
        }
    });
    assert!(pool.shutdown(LONG).is_empty());
    assert!(begun.is_finished(), "waited for");
    opener.join().unwrap();
    assert!(block_on(queued).map(|(): ()| ()).unwrap_err().is_cancelled());
    assert!(block_on(pool.spawn(|| 1)).unwrap_err().is_cancelled(), "too late");
    assert_eq!((drops.count(), pool.metrics().threads), (1, 0));
}

#[test]
fn shutdown_names_what_outlasts_the_grace() {
    let _watchdog = watchdog();
    let (pool, door) = (pool(2), Door::new());
    let line = line!() + 1;
    let call = pool.spawn_with(Options::new().name("stuck"), {
        let door = door.clone();
        move || door.wait()
    });
    block_on(pool.spawn(|| ())).unwrap();
    until(&pool, |metrics| metrics.running == 1);
    let (grace, begun) = (Duration::from_millis(20), Instant::now());
    let left = pool.shutdown(grace);
    assert!(begun.elapsed() >= grace);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, call.id());
    assert_eq!(left[0].name.as_deref(), Some("stuck"));
    assert_eq!((left[0].location.file(), left[0].location.line()), (file!(), line));
    assert_eq!(left[0].state, TaskState::Running);
    door.open();
    assert!(pool.shutdown(LONG).is_empty(), "asked again, it is gone");
    block_on(call).unwrap();
}

#[test]
fn shutdown_on_a_thread_of_the_pool_does_not_wait_for_itself() {
    let _watchdog = watchdog();
    let pool = pool(2);
    let inner = pool.clone();
    let call = pool.spawn(move || inner.shutdown(LONG));
    assert!(block_on(call).unwrap().is_empty(), "nor does it name itself");
}

#[test]
fn a_refused_thread_is_told_to_the_caller() {
    let _watchdog = watchdog();
    // No address space has room for that stack.
    let pool = BlockingPool::new(with(PoolOptions::default(), |options| options.stack_size = Some(1 << 60)));
    let drops = Drops::default();
    let kept = drops.value();
    let call = pool.spawn(move || drop(kept));
    assert!(call.is_finished(), "nobody is there to make it");
    let error = block_on(call).unwrap_err();
    assert!(error.is_refused() && !error.is_panic() && !error.is_cancelled());
    assert!(error.to_string().starts_with("no thread could be started for task "));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!source.is_empty() && error.to_string().ends_with(&source));
    assert_eq!(drops.count(), 1);
    let metrics = pool.metrics();
    assert_eq!((metrics.threads, metrics.queued), (0, 0));
    assert!(pool.shutdown(LONG).is_empty());
}

#[test]
fn a_host_is_around_each_thread() {
    struct Around(AtomicUsize, AtomicUsize, bool);
    impl PoolHost for Around {
        fn around(&self, serve: &mut dyn FnMut()) {
            self.0.fetch_add(1, SeqCst);
            assert!(!self.2, "a host that fails");
            serve();
            self.1.fetch_add(1, SeqCst);
        }
    }
    let _watchdog = watchdog();
    for fails in [false, true] {
        let (pool, host) = (pool(1), Arc::new(Around(0.into(), AtomicUsize::new(0), fails)));
        pool.set_host(&host);
        assert_eq!(block_on(pool.spawn(|| 7)).unwrap(), 7, "fails: {fails}");
        assert_eq!(host.0.load(SeqCst), 1);
        assert!(pool.shutdown(LONG).is_empty());
        assert_eq!(host.1.load(SeqCst), usize::from(!fails), "joined");
        assert_eq!(Arc::strong_count(&host), 1, "let go");
    }
}

#[test]
fn the_host_stays_for_a_call_that_outlasts_the_shutdown() {
    struct Hears(Mutex<mpsc::Sender<String>>);
    impl PoolHost for Hears {
        fn unhandled_panic(&self, line: &str) {
            self.0.lock().unwrap().send(line.to_owned()).unwrap();
        }
    }
    let _watchdog = watchdog();
    let (pool, door) = (pool(1), Door::new());
    let (told, heard) = mpsc::channel();
    let host = Arc::new(Hears(Mutex::new(told)));
    pool.set_host(&host);
    drop(pool.spawn({
        let door = door.clone();
        move || {
            door.wait();
            panic!("too late");
        }
    }));
    until(&pool, |metrics| metrics.running == 1);
    assert_eq!(pool.shutdown(Duration::ZERO).len(), 1);
    drop(host);
    door.open();
    assert!(heard.recv().unwrap().ends_with("\"too late\""));
    heard.recv().expect_err("the last to leave lets it go");
}

#[test]
fn a_long_chain_of_calls_is_dropped_without_a_deep_stack() {
    struct Chain(BlockingPool, usize, Drops);
    impl Drop for Chain {
        fn drop(&mut self) {
            drop(self.2.value());
            if self.1 > 0 {
                let next = Chain(self.0.clone(), self.1 - 1, self.2.clone());
                drop(self.0.spawn(move || drop(next)));
            }
        }
    }
    let _watchdog = watchdog();
    let (pool, drops) = (pool(1), Drops::default());
    assert!(pool.shutdown(LONG).is_empty());
    drop(Chain(pool, 100_000, drops.clone()));
    assert_eq!(drops.count(), 100_001);
}

const CHILD: &str = "BOURN_TEST_BLOCKING_CHILD";

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Counts the threads of the whole process, so it has one of its own.
#[test]
#[cfg(target_os = "linux")]
fn no_thread_is_left_behind() {
    let _watchdog = watchdog();
    if env::var_os(CHILD).is_none() {
        let name = "no_thread_is_left_behind";
        let status = Command::new(env::current_exe().unwrap()).args(["--exact", name]).env(CHILD, "1").status();
        assert!(status.unwrap().success());
        return;
    }
    set_hook(Box::new(|_| {}));
    let before = threads();
    for _ in 0..200 {
        let pool = BlockingPool::new(with(PoolOptions::default(), |options| {
            (options.threads, options.idle) = (4, Duration::from_micros(50))
        }));
        let calls: Vec<_> = (0..8).map(|_| pool.spawn(thread::yield_now)).collect();
        for call in calls {
            block_on(call).unwrap();
        }
        assert!(pool.shutdown(LONG).is_empty());
        // A thread that has been joined may be listed for another moment: the kernel wakes who joins it first.
        while threads() > before {
            thread::yield_now();
        }
    }
}

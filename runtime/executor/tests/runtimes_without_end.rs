//! Runtimes that come and go leave nothing behind: no thread and no byte. Alone in its file: it counts those of the
//! process.
#![cfg(target_os = "linux")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::poll_fn;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicIsize};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use std::{fs, thread};

use bourn_executor::{Executor, ExecutorOptions, ThreadPark, yield_now};
use support::{watchdog, with, workers_with};

/// Counts what is allocated and not freed.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// Two tasks wait; a thread that is not the runtime's wakes them, and spawns, until the runtime is gone.
fn come_and_go(runtime: Executor<ThreadPark>) {
    let handle = runtime.handle();
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    for _ in 0..2 {
        let wakers = wakers.clone();
        drop(handle.spawn(poll_fn(move |cx| {
            let mut wakers = wakers.lock().unwrap();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::<()>::Pending
        })));
    }
    runtime.block_on(async {
        while wakers.lock().unwrap().len() < 2 {
            yield_now().await;
        }
    });
    let (over, fires) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let storm = thread::spawn({
        let (over, fires) = (over.clone(), fires.clone());
        let wakers = std::mem::take(&mut *wakers.lock().unwrap());
        move || {
            while !over.load(SeqCst) {
                wakers.iter().for_each(Waker::wake_by_ref);
                drop(handle.spawn(yield_now()));
                fires.store(true, SeqCst);
                // Or it would have a processor that the workers need to end.
                thread::yield_now();
            }
        }
    });
    while !fires.load(SeqCst) {
        thread::yield_now();
    }
    drop(runtime);
    over.store(true, SeqCst);
    storm.join().unwrap();
}

#[test]
fn leave_nothing() {
    let rounds = |count: usize| {
        for round in 0..count {
            let options = match round % 3 {
                0 => ExecutorOptions::current_thread(),
                1 => ExecutorOptions::multi_thread().workers(2),
                _ => ExecutorOptions::thread_per_core().workers(2),
            };
            // For each some: the whole takes longer than the watchdog's minute where the sanitizer watches.
            let _watchdog = (round % 500 == 0).then(watchdog);
            come_and_go(workers_with(with(options, |options| options.on_stall = Some(Arc::new(|_| {})))));
        }
    };
    // What the process keeps for good is there after some.
    rounds(100);
    let (before, bytes) = (threads(), LIVE.load(Relaxed));
    // Where the sanitizer watches, it is 10,000; `tests/heavy` has as many with a reactor each.
    rounds(std::env::var("BOURN_ROUNDS").map_or(1_000, |number| number.parse().unwrap()));
    // A thread has left the runtime a moment before it has left the process.
    let end = Instant::now() + Duration::from_secs(10);
    // Less than a byte for each runtime.
    while threads() > before || LIVE.load(Relaxed) > bytes + 5_000 {
        assert!(
            Instant::now() < end,
            "{} threads, {before} before; {} bytes, {bytes} before",
            threads(),
            LIVE.load(Relaxed)
        );
        thread::sleep(Duration::from_millis(1));
    }
}

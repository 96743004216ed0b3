//! Many workers, for long: no wake is lost, and nothing is left behind.

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{pending, poll_fn};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bourn::runtime::{Builder, Runtime};
use bourn::task::JoinHandle;
use bourn_heavy::{child, descriptors, is_child, succeeded, watched};

fn workers(count: usize) -> Runtime {
    small(Builder::new_multi_thread().worker_threads(count))
}

/// With threads that have 256 KiB of stack.
fn small(builder: Builder) -> Runtime {
    builder.thread_stack_size(STACK).on_stall(|_| {}).build().expect("a runtime")
}

const STACK: usize = 256 * 1024;

fn flavors() -> [(&'static str, Builder); 3] {
    [
        ("one thread", Builder::new_current_thread()),
        ("two workers", Builder::new_multi_thread().worker_threads(2)),
        ("two shards", Builder::new_thread_per_core().worker_threads(2)),
    ]
}

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

/// What two tasks hand each other.
#[derive(Default)]
struct Ball {
    state: Mutex<(usize, [Option<Waker>; 2])>,
}

impl Ball {
    async fn play(&self, side: usize, rounds: usize) {
        for round in 0..rounds {
            poll_fn(|cx| {
                let mut state = self.state.lock().expect("the ball");
                if state.0 != 2 * round + side {
                    state.1[side] = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                state.0 += 1;
                let other = state.1[1 - side].take();
                drop(state);
                if let Some(other) = other {
                    other.wake();
                }
                Poll::Ready(())
            })
            .await;
        }
    }
}

fn play(runtime: &Runtime, rounds: usize) -> [JoinHandle<()>; 2] {
    let ball = Arc::new(Ball::default());
    [0, 1].map(|side| {
        let ball = ball.clone();
        runtime.spawn(async move { ball.play(side, rounds).await })
    })
}

#[test]
fn ten_million_ping_pongs_lose_no_wake() {
    for count in [1, 2, 8] {
        watched(&format!("ping-pong on {count} workers"), || {
            for player in play(&workers(count), 5_000_000) {
                futures_lite::future::block_on(player).expect("a player");
            }
        });
    }
    watched("ping-pong on a shard", || {
        let runtime = small(Builder::new_thread_per_core().worker_threads(2));
        let ball = Arc::new(Ball::default());
        let both = runtime.spawn(async move {
            // What a task spawns stays with it.
            let players = [0, 1].map(|side| {
                let ball = ball.clone();
                bourn::spawn(async move { ball.play(side, 5_000_000).await })
            });
            for player in players {
                player.await.expect("a player");
            }
        });
        futures_lite::future::block_on(both).expect("the players");
    });
    watched("ping-pong on one thread", || {
        let runtime = small(Builder::new_current_thread());
        for player in play(&runtime, 5_000_000) {
            runtime.block_on(player).expect("a player");
        }
    });
}

/// Each wake is one from another thread, which may be about to sleep: a thousandth of the speed.
#[test]
fn ping_pongs_between_shards_lose_no_wake() {
    watched("ping-pong between shards", || {
        let runtime = small(Builder::new_thread_per_core().worker_threads(2));
        // From outside, the shards take turns.
        for player in play(&runtime, 250_000) {
            futures_lite::future::block_on(player).expect("a player");
        }
    });
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("this process's threads").count()
}

/// Two tasks wait; a thread that is not the runtime's wakes them, and spawns, until the runtime is gone.
fn come_and_go(runtime: Runtime) {
    let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
    for _ in 0..2 {
        let wakers = wakers.clone();
        drop(runtime.spawn(poll_fn(move |cx| {
            let mut wakers = wakers.lock().expect("the wakers");
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::<()>::Pending
        })));
    }
    runtime.block_on(async {
        while wakers.lock().expect("the wakers").len() < 2 {
            bourn::task::yield_now().await;
        }
        bourn::time::sleep(Duration::from_micros(10)).await;
    });
    let (over, fires) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let storm = thread::spawn({
        let (over, fires, handle) = (over.clone(), fires.clone(), runtime.handle().clone());
        let wakers = std::mem::take(&mut *wakers.lock().expect("the wakers"));
        move || {
            while !over.load(SeqCst) {
                wakers.iter().for_each(Waker::wake_by_ref);
                drop(handle.spawn(bourn::task::yield_now()));
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
    storm.join().expect("the storm");
}

#[test]
fn ten_thousand_runtimes_leave_nothing() {
    if !is_child() {
        let told = child("ten_thousand_runtimes_leave_nothing", &[]).output().expect("a child");
        print!("{}", succeeded(told));
        return;
    }
    watched("10,000 runtimes", || {
        let rounds = |count: usize| {
            for (_, builder) in flavors().iter().cycle().take(count) {
                come_and_go(small(builder.clone()));
            }
        };
        let alone = threads();
        let left = || (threads(), descriptors(), LIVE.load(Relaxed));
        // What the process keeps for good is there after some.
        rounds(100);
        let settle = |(threads, descriptors, bytes): (usize, usize, isize)| {
            // The last threads of the last runtime may be on their way out.
            let end = Instant::now() + Duration::from_secs(10);
            loop {
                let now = left();
                if now.0 <= threads && now.1 <= descriptors && now.2 <= bytes {
                    return now;
                }
                assert!(
                    Instant::now() < end,
                    "{now:?} threads, descriptors and bytes are left of {threads}, {descriptors}, {bytes}"
                );
                thread::sleep(Duration::from_millis(1));
            }
        };
        // For each runtime less than a byte.
        let before = settle((alone, usize::MAX, isize::MAX));
        rounds(10_000);
        let after = settle((before.0, before.1, before.2 + 5_000));
        println!("before: {before:?}, after: {after:?}");
    });
}

#[test]
fn a_million_live_tasks_end_on_small_stacks() {
    for (flavor, builder) in flavors() {
        watched(&format!("a million tasks, {flavor}"), || {
            let runtime = small(builder);
            let (last, polled) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
            for _ in 0..1_000_000 {
                let (kept, polled) = (last.clone(), polled.clone());
                drop(runtime.spawn(async move {
                    let _kept = kept;
                    polled.fetch_add(1, Relaxed);
                    pending::<()>().await;
                }));
            }
            runtime.block_on(async {
                while polled.load(Relaxed) < 1_000_000 {
                    bourn::time::sleep(Duration::from_millis(1)).await;
                }
            });
            thread::Builder::new()
                .stack_size(STACK)
                .spawn(move || drop(runtime))
                .expect("a thread")
                .join()
                .expect("the drop");
            assert_eq!(Arc::strong_count(&last), 1);
        });
    }
}

/// Eight threads that are not the runtime's spawn as fast as they can.
#[test]
fn storms_of_spawns_lose_no_task() {
    const EACH: usize = 100_000;
    for (flavor, builder) in
        flavors().into_iter().chain([("eight workers", Builder::new_multi_thread().worker_threads(8))])
    {
        watched(&format!("a storm of spawns, {flavor}"), || {
            let runtime = small(builder);
            let ended = Arc::new(AtomicUsize::new(0));
            let storms: Vec<_> = (0..8)
                .map(|_| {
                    let (handle, ended) = (runtime.handle().clone(), ended.clone());
                    thread::spawn(move || {
                        for number in 0..EACH {
                            let ended = ended.clone();
                            drop(handle.spawn(async move {
                                if number % 4 == 0 {
                                    bourn::task::yield_now().await;
                                }
                                ended.fetch_add(1, Relaxed);
                            }));
                        }
                    })
                })
                .collect();
            runtime.block_on(async {
                while ended.load(Relaxed) < 8 * EACH {
                    bourn::time::sleep(Duration::from_millis(1)).await;
                }
            });
            storms.into_iter().for_each(|storm| storm.join().expect("a storm"));
        });
    }
}

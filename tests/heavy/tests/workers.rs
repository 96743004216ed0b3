//! Many workers, for long: no wake is lost, and nothing is left behind.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bourn::runtime::{Builder, Runtime};
use bourn_heavy::{child, descriptors, is_child, succeeded, watched};

fn workers(count: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(count).on_stall(|_| {}).build().expect("a runtime")
}

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

#[test]
fn ten_million_ping_pongs_lose_no_wake() {
    for count in [1, 2, 8] {
        watched(&format!("ping-pong on {count} workers"), || {
            let runtime = workers(count);
            let ball = Arc::new(Ball::default());
            let players = [0, 1].map(|side| {
                let ball = ball.clone();
                runtime.spawn(async move { ball.play(side, 5_000_000).await })
            });
            for player in players {
                futures_lite::future::block_on(player).expect("a player");
            }
        });
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("this process's threads").count()
}

#[test]
fn ten_thousand_runtimes_leave_nothing() {
    if !is_child() {
        let told = child("ten_thousand_runtimes_leave_nothing", &[]).output().expect("a child");
        succeeded(told);
        return;
    }
    watched("10,000 runtimes", || {
        drop(workers(2));
        let before = (threads(), descriptors());
        for _ in 0..10_000 {
            let runtime = workers(2);
            let handle = runtime.handle().clone();
            let storm = thread::spawn(move || (0..10).for_each(|_| drop(handle.spawn(bourn::task::yield_now()))));
            runtime.block_on(async { bourn::time::sleep(Duration::from_micros(10)).await });
            drop(runtime);
            storm.join().expect("the storm");
        }
        // The last threads of the last runtime may be on their way out.
        let end = Instant::now() + Duration::from_secs(10);
        while (threads(), descriptors()) > before {
            assert!(Instant::now() < end, "{:?}, {before:?} before", (threads(), descriptors()));
            thread::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_million_live_tasks_end_on_small_stacks() {
    watched("a million tasks", || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(256 * 1024)
            .on_stall(|_| {})
            .build()
            .expect("a runtime");
        let last = Arc::new(());
        for _ in 0..1_000_000 {
            let kept = last.clone();
            drop(runtime.spawn(async move {
                let _kept = kept;
                pending::<()>().await;
            }));
        }
        while runtime.handle().tasks().len() < 1_000_000 {
            thread::sleep(Duration::from_millis(10));
        }
        thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || drop(runtime))
            .expect("a thread")
            .join()
            .expect("the drop");
        assert_eq!(Arc::strong_count(&last), 1);
    });
}

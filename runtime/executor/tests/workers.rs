//! Many workers share the tasks: none is lost, none runs twice, none waits while somebody could run it.

mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use bourn_executor::{ExecutorOptions, yield_now};
use support::{Door, watchdog, with, workers, workers_with};

/// What two tasks hand each other, one at a time.
#[derive(Default)]
struct Ball {
    state: Mutex<(usize, [Option<Waker>; 2])>,
}

impl Ball {
    async fn play(&self, side: usize, rounds: usize) {
        for round in 0..rounds {
            let turn = 2 * round + side;
            poll_fn(|cx| {
                let mut state = self.state.lock().unwrap();
                if state.0 == turn {
                    state.0 += 1;
                    let other = state.1[1 - side].take();
                    drop(state);
                    if let Some(other) = other {
                        other.wake();
                    }
                    return Poll::Ready(());
                }
                state.1[side] = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
        }
    }
}

#[test]
fn ping_pong_loses_no_wake() {
    let _watchdog = watchdog();
    for count in [1, 2, 4] {
        let runtime = workers(count);
        let handle = runtime.handle();
        let pairs: Vec<_> = (0..3)
            .flat_map(|_| {
                let ball = Arc::new(Ball::default());
                [0, 1].map(|side| {
                    let ball = ball.clone();
                    handle.spawn(async move { ball.play(side, 30_000).await })
                })
            })
            .collect();
        runtime.block_on(async {
            for player in pairs {
                player.await.unwrap();
            }
        });
    }
}

#[test]
fn tasks_run_at_the_same_time() {
    let _watchdog = watchdog();
    let runtime = workers(4);
    let handle = runtime.handle();
    // Each waits for the three others without giving way.
    let barrier = Arc::new(Barrier::new(4));
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let barrier = barrier.clone();
            handle.spawn(async move {
                barrier.wait();
                thread::current().id()
            })
        })
        .collect();
    let threads: HashSet<_> = runtime.block_on(async {
        let mut threads = HashSet::new();
        for task in tasks {
            threads.insert(task.await.unwrap());
        }
        threads
    });
    assert_eq!(threads.len(), 4);
}

#[test]
fn storms_of_spawns_and_wakes_from_eight_threads() {
    let _watchdog = watchdog();
    let runtime = workers(4);
    let (count, all) = (Arc::new(AtomicUsize::new(0)), Door::new());
    let rounds = 5_000;
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (handle, count, all) = (runtime.handle(), count.clone(), all.clone());
            thread::spawn(move || {
                for round in 0..rounds {
                    let (count, all) = (count.clone(), all.clone());
                    let task = handle.spawn(async move {
                        if round % 3 == 0 {
                            yield_now().await;
                        }
                        if count.fetch_add(1, SeqCst) + 1 == 8 * rounds {
                            all.open();
                        }
                    });
                    if round % 100 == 0 {
                        futures_lite::future::block_on(task).unwrap();
                    }
                }
            })
        })
        .collect();
    runtime.block_on(all.pass());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(count.load(SeqCst), 8 * rounds);
}

#[test]
fn a_full_ring_overflows_to_all() {
    let _watchdog = watchdog();
    let runtime = workers(2);
    let handle = runtime.handle();
    let count = Arc::new(AtomicUsize::new(0));
    let spawner = handle.spawn({
        let (handle, count) = (handle.clone(), count.clone());
        async move {
            let tasks: Vec<_> = (0..20_000)
                .map(|_| {
                    let count = count.clone();
                    handle.spawn(async move {
                        yield_now().await;
                        count.fetch_add(1, SeqCst);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
    });
    runtime.block_on(spawner).unwrap();
    assert_eq!(count.load(SeqCst), 20_000);
    let metrics = handle.metrics();
    assert!(metrics.workers.iter().chain(&metrics.helpers).any(|worker| worker.overflows > 0), "{metrics:?}");
}

#[test]
fn many_threads_block_on_at_once() {
    let _watchdog = watchdog();
    let runtime = Arc::new(workers(2));
    let sum = Arc::new(AtomicUsize::new(0));
    // More than there are cores for callers.
    let callers: Vec<_> = (0..8)
        .map(|number| {
            let (runtime, sum) = (runtime.clone(), sum.clone());
            thread::spawn(move || {
                for round in 0..300 {
                    let (handle, sum) = (runtime.handle(), sum.clone());
                    let local = Rc::new(RefCell::new(0));
                    runtime.block_on(async move {
                        let task = handle.spawn(async move {
                            for _ in 0..(number + round) % 4 {
                                yield_now().await;
                            }
                            sum.fetch_add(1, SeqCst);
                        });
                        let add = local.clone();
                        let beside = handle.spawn_local(async move {
                            yield_now().await;
                            *add.borrow_mut() += 1;
                        });
                        task.await.unwrap();
                        beside.await.unwrap();
                        assert_eq!(*local.borrow(), 1);
                    });
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert_eq!(sum.load(SeqCst), 8 * 300);
}

#[test]
fn local_tasks_stay_on_their_worker() {
    let _watchdog = watchdog();
    let runtime = workers(3);
    let handle = runtime.handle();
    let tasks: Vec<_> = (0..30)
        .map(|_| {
            let handle2 = handle.clone();
            handle.spawn(async move {
                let door = Door::new();
                let opener = door.clone();
                let here = thread::current().id();
                let local = handle2.spawn_local(async move {
                    let rc = Rc::new(7);
                    door.pass().await;
                    yield_now().await;
                    assert_eq!(thread::current().id(), here);
                    *rc
                });
                // Woken from wherever this runs by then.
                yield_now().await;
                opener.open();
                local.await.unwrap()
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            assert_eq!(task.await.unwrap(), 7);
        }
    });
}

#[test]
fn a_victim_waits_at_most_61_polls_of_a_busy_worker() {
    let _watchdog = watchdog();
    // One worker and nobody else: what the victim waits for are the polls of the others.
    let runtime =
        workers_with(with(ExecutorOptions::multi_thread().workers(1), |options| options.rescue = Some(false)));
    let handle = runtime.handle();
    let polls = Arc::new(AtomicUsize::new(0));
    let busy: Vec<_> = (0..2)
        .map(|_| {
            let polls = polls.clone();
            handle.spawn(async move {
                loop {
                    polls.fetch_add(1, SeqCst);
                    yield_now().await;
                }
            })
        })
        .collect();
    let ball = Arc::new(Ball::default());
    let players = [0, 1].map(|side| {
        let (ball, polls) = (ball.clone(), polls.clone());
        handle.spawn(async move {
            loop {
                polls.fetch_add(1, SeqCst);
                ball.play(side, usize::MAX / 4).await;
            }
        })
    });
    while polls.load(SeqCst) < 10_000 {
        thread::yield_now();
    }
    let mut worst = 0;
    for _ in 0..200 {
        let before = Arc::new(AtomicUsize::new(0));
        // Counted from its first poll: when it is pushed from here nothing is known of where the worker is.
        let victim = handle.spawn({
            let (polls, before) = (polls.clone(), before.clone());
            async move {
                before.store(polls.load(SeqCst), SeqCst);
                yield_now().await;
                polls.load(SeqCst) - before.load(SeqCst)
            }
        });
        worst = worst.max(futures_lite::future::block_on(victim).unwrap());
    }
    assert!(worst <= 61, "{worst} polls");
    busy.iter().for_each(|task| task.abort());
    players.iter().for_each(|task| task.abort());
}

#[test]
fn idle_workers_rest() {
    let _watchdog = watchdog();
    let runtime = workers(4);
    let handle = runtime.handle();
    runtime.block_on(handle.spawn(yield_now())).unwrap();
    // All settle; then nothing moves any more, whoever looks.
    let parks = || -> u64 { handle.metrics().workers.iter().map(|w| w.parks).sum() };
    let mut before = parks();
    for _ in 0..200 {
        thread::sleep(std::time::Duration::from_millis(20));
        let now = parks();
        if now == before {
            return;
        }
        before = now;
    }
    panic!("the workers of an idle runtime never rest: {:?}", handle.metrics());
}

#[test]
fn tasks_of_a_chain_wake_each_other_across_groups() {
    let _watchdog = watchdog();
    let runtime =
        workers_with(with(ExecutorOptions::multi_thread().workers(4), |options| options.workers_per_park = 1));
    let handle = runtime.handle();
    let doors: Vec<_> = (0..200).map(|_| Door::new()).collect();
    let tasks: Vec<_> = doors
        .windows(2)
        .map(|pair| {
            let (mine, next) = (pair[0].clone(), pair[1].clone());
            handle.spawn(async move {
                mine.pass().await;
                next.open();
            })
        })
        .collect();
    doors[0].open();
    runtime.block_on(async {
        doors[199].pass().await;
        for task in tasks {
            task.await.unwrap();
        }
    });
}

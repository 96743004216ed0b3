//! Several threads inside `block_on` of one runtime: one runs the tasks, and all get their results.

mod support;

use std::future::poll_fn;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use bourn_executor::yield_now;
use support::{Door, runtime, watchdog};

#[test]
fn the_second_takes_over_when_the_first_leaves() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let (inside, leave) = (Door::new(), Door::new());
    let (started, finish) = (Door::new(), Door::new());
    let task = handle.spawn({
        let (started, finish) = (started.clone(), finish.clone());
        async move {
            started.open();
            finish.pass().await;
            8
        }
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                started.pass().await;
                inside.open();
                leave.pass().await;
            });
            // Only now, when this thread has left, is the task woken: the other one has to have taken over.
            finish.open();
        });
        inside.wait();
        let second = scope.spawn(|| runtime.block_on(task).unwrap());
        leave.open();
        assert_eq!(second.join().unwrap(), 8);
    });
}

/// A thread that does not drive hears of its local tasks' wakes from other threads.
#[test]
fn a_stranger_s_local_task_is_woken_from_elsewhere() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let (driving, leave) = (Door::new(), Door::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                // Drives as soon as it has waited once.
                yield_now().await;
                driving.open();
                leave.pass().await;
            });
        });
        driving.wait();
        runtime.block_on(async {
            let (send, receive) = mpsc::channel::<Waker>();
            let mut polls = 0;
            let task = handle.spawn_local(poll_fn(move |cx| {
                polls += 1;
                if polls == 1 {
                    send.send(cx.waker().clone()).unwrap();
                    return Poll::Pending;
                }
                Poll::Ready(())
            }));
            scope.spawn(move || receive.recv().unwrap().wake());
            task.await.unwrap();
        });
        leave.open();
    });
}

#[test]
fn a_stranger_runs_its_own_local_tasks() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let (inside, leave) = (Door::new(), Door::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            runtime.block_on(async {
                // Drives as soon as it has waited once.
                yield_now().await;
                inside.open();
                leave.pass().await;
            });
        });
        inside.wait();
        let sum = runtime.block_on(async {
            let local = handle.spawn_local(async {
                yield_now().await;
                std::rc::Rc::new(1)
            });
            // The other thread runs this one.
            let shared = handle.spawn(async { 2 });
            *local.await.unwrap() + shared.await.unwrap()
        });
        assert_eq!(sum, 3);
        leave.open();
    });
}

#[test]
fn many_threads_come_and_go() {
    let _watchdog = watchdog();
    let runtime = Arc::new(runtime());
    let (threads, rounds) = if cfg!(miri) { (3, 3) } else { (6, 300) };
    let barrier = Arc::new(Barrier::new(threads));
    let sum = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..threads)
        .map(|number| {
            let (runtime, barrier, sum) = (runtime.clone(), barrier.clone(), sum.clone());
            thread::spawn(move || {
                barrier.wait();
                for round in 0..rounds {
                    let handle = runtime.handle();
                    let sum = sum.clone();
                    runtime.block_on(async move {
                        let task = handle.spawn(async move {
                            for _ in 0..(number + round) % 5 {
                                yield_now().await;
                            }
                            sum.fetch_add(1, SeqCst);
                        });
                        task.await.unwrap();
                    });
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert_eq!(sum.load(SeqCst), threads * rounds);
}

/// Of a handle: on a thread of one's own, beside the owner's, and after the end without tasks.
#[test]
fn a_handle_blocks_on_a_future_too() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let local = handle.block_on(async { handle.spawn_local(async { 3 }).await.unwrap() });
    assert_eq!(local, 3);
    let other = thread::spawn({
        let handle = handle.clone();
        move || handle.block_on(handle.spawn(async { 4 }))
    });
    assert_eq!(runtime.block_on(handle.spawn(async { 5 })).unwrap(), 5);
    assert_eq!(other.join().unwrap().unwrap(), 4);
    drop(runtime);
    assert!(handle.block_on(handle.spawn(async {})).unwrap_err().is_cancelled());
}

//! Nobody starves: tasks take turns, the future of `block_on` takes its own, and events are looked at in between.

mod support;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

use bourn_executor::{Executor, yield_now};
use support::{CountingPark, Door, runtime, watchdog};

#[test]
fn tasks_run_in_the_order_of_their_wakes() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let order = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..3)
            .map(|number| {
                let order = order.clone();
                handle.spawn(async move {
                    for _ in 0..3 {
                        order.lock().unwrap().push(number);
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_busy_task_starves_neither_the_caller_nor_events_nor_other_threads() {
    let _watchdog = watchdog();
    let park = Arc::new(CountingPark::default());
    let runtime = Executor::current_thread(park.clone());
    let handle = runtime.handle();
    let turns = Arc::new(AtomicUsize::new(0));
    let busy = handle.spawn({
        let turns = turns.clone();
        async move {
            loop {
                turns.fetch_add(1, SeqCst);
                yield_now().await;
            }
        }
    });
    let rounds = 610;
    runtime.block_on(async {
        for _ in 0..rounds {
            yield_now().await;
        }
    });
    let turns = turns.load(SeqCst);
    assert!((rounds - 2..=rounds + 2).contains(&turns), "{rounds} turns of the caller against {turns} of the task");
    // Two steps a round, and a look every 61st.
    let glances = park.glances.load(SeqCst);
    assert!((15..=21).contains(&glances), "{glances} looks at the events");
    assert_eq!(park.waits.load(SeqCst), 0, "waited with work at hand");

    // A wake from elsewhere is heard although the runtime never sleeps.
    let door = Door::new();
    let other = std::thread::spawn({
        let (door, handle) = (door.clone(), handle.clone());
        move || drop(handle.spawn(async move { door.open() }))
    });
    runtime.block_on(door.pass());
    other.join().unwrap();
    busy.abort();
}

#[test]
fn the_hook_runs_before_every_poll() {
    let _watchdog = watchdog();
    let park = Arc::new(CountingPark::default());
    let runtime = Executor::current_thread(park.clone());
    let task = runtime.handle().spawn(async {
        yield_now().await;
        yield_now().await;
    });
    runtime.block_on(task).unwrap();
    // Three polls of the task, two of the future.
    assert_eq!(park.polls.load(SeqCst), 5);
}

#[test]
fn waking_on_the_own_thread_unparks_nobody() {
    let _watchdog = watchdog();
    let park = Arc::new(CountingPark::default());
    let runtime = Executor::current_thread(park.clone());
    let handle = runtime.handle();
    runtime.block_on(async {
        let door = Door::new();
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let door = door.clone();
                handle.spawn(async move { door.pass().await })
            })
            .collect();
        yield_now().await;
        door.open();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(park.unparks.load(SeqCst), 0);
    assert_eq!(park.waits.load(SeqCst), 0);
}

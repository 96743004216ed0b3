//! Nobody starves: tasks take turns, the future of `block_on` takes its own, and events are looked at in between.

mod support;

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    assert!((15..=25).contains(&glances), "{glances} looks at the events");
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

/// Without a sentinel, which this one has not, for nobody has started it.
#[test]
fn events_wait_for_few_polls_of_medium_length() {
    let _watchdog = watchdog();
    let park = Arc::new(CountingPark::default());
    let runtime = Executor::current_thread(park.clone());
    let polls = async |count| {
        for _ in 0..count {
            std::thread::sleep(Duration::from_millis(2));
            yield_now().await;
        }
        park.glances.load(SeqCst)
    };
    runtime.block_on(async {
        // Two steps a poll, and a look every 61st, until it is known how long they take.
        let at_first = polls(55).await;
        assert!((1..=2).contains(&at_first), "{at_first} looks at the events");
        let before = polls(10).await;
        let after = polls(60).await;
        assert!(after - before >= 15, "{} looks in 60 polls of 2 ms", after - before);
        // And back: quick ones are not interrupted more often than is worth it.
        for _ in 0..610 {
            yield_now().await;
        }
        let glances = park.glances.load(SeqCst) - after;
        assert!((15..=25).contains(&glances), "{glances} looks at the events");
    });
}

/// As a game does it: a little in each frame.
#[test]
fn calls_that_come_and_go_look_at_events_too() {
    let _watchdog = watchdog();
    let park = Arc::new(CountingPark::default());
    let runtime = Executor::current_thread(park.clone());
    let yields = |calls, count| {
        let before = park.glances.load(SeqCst);
        for _ in 0..calls {
            runtime.block_on(async {
                for _ in 0..count {
                    yield_now().await;
                }
            });
        }
        park.glances.load(SeqCst) - before
    };
    // Two steps for each yield, and one for the end.
    let glances = yields(100, 5);
    assert!((15..=25).contains(&glances), "{glances} looks at the events");
    // After long polls, calls that are too short for a sample find back to that.
    runtime.block_on(async {
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(5));
            yield_now().await;
        }
    });
    yields(10, 1);
    let glances = yields(400, 1);
    assert!((15..=30).contains(&glances), "{glances} looks at the events");
}

#[test]
fn events_wait_for_few_long_polls_among_many_that_are_short() {
    let _watchdog = watchdog();
    let park = Arc::new(CountingPark::default());
    let runtime = Executor::current_thread(park.clone());
    runtime.block_on(async {
        let before = park.glances.load(SeqCst);
        for number in 0..360 {
            if number % 30 == 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
            yield_now().await;
        }
        // Sixty steps for each of the long ones: four looks, each after about twice as many steps as the one before.
        let glances = park.glances.load(SeqCst) - before;
        assert!(glances >= 36, "{glances} looks at the events");
    });
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

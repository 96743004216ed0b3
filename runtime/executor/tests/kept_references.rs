//! Tasks that end leave their references to the runtime to those that begin on the same thread: none is lost, or taken twice.

mod support;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bourn_executor::{Executor, ExecutorOptions, ThreadPark};
use support::{runtime, watchdog};

/// More than a thread keeps.
const MANY: usize = 3_000;

/// Runs many tasks, twice, and one that is left when the runtime is gone; returns how often its park is still held.
fn run(options: ExecutorOptions) -> usize {
    let park = Arc::new(ThreadPark::new());
    let runtime = Executor::new(options, || Ok(Arc::clone(&park))).unwrap();
    runtime.start(None).unwrap();
    let handle = runtime.handle();
    for _ in 0..2 {
        let handle = handle.clone();
        runtime.block_on(async move {
            let tasks: Vec<_> = (0..MANY).map(|number| handle.spawn(async move { number })).collect();
            for (number, task) in tasks.into_iter().enumerate() {
                assert_eq!(task.await.unwrap(), number);
            }
        });
    }
    let left = handle.spawn(async {});
    drop((handle, runtime));
    assert!(Arc::strong_count(&park) > 1, "a task that is held lets go of its runtime");
    drop(left);
    // The runtime's threads let go of it a moment after it has waited for them.
    let begun = Instant::now();
    while Arc::strong_count(&park) > 1 && begun.elapsed() < Duration::from_secs(5) {
        thread::yield_now();
    }
    Arc::strong_count(&park)
}

#[test]
fn end_with_the_runtime() {
    let _watchdog = watchdog();
    assert_eq!(run(ExecutorOptions::current_thread()), 1);
    assert_eq!(run(ExecutorOptions::multi_thread().workers(2)), 1);
}

#[test]
fn are_not_those_of_another_runtime() {
    let _watchdog = watchdog();
    let park = Arc::new(ThreadPark::new());
    let other = Executor::current_thread(Arc::clone(&park));
    let tasks: Vec<_> = (0..10).map(|_| other.handle().spawn(async {})).collect();
    other.block_on(async {
        for _ in 0..20 {
            bourn_executor::yield_now().await;
        }
    });
    assert!(tasks.iter().all(|task| task.is_finished()));
    runtime().block_on(async { drop(tasks) });
    drop(other);
    assert_eq!(Arc::strong_count(&park), 1);
}

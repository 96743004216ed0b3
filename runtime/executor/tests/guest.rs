//! A caller beside workers, who run the tasks as long as one of them gets on.

mod support;

use std::sync::mpsc;

use bourn_executor::ExecutorOptions;
use support::{watchdog, with, workers_with};

/// Nobody is left but the caller: no spare, and no sentinel that would call it.
#[test]
fn a_guest_runs_what_is_spawned_while_every_worker_blocks_in_place() {
    let _watchdog = watchdog();
    let options = with(ExecutorOptions::multi_thread().workers(1), |options| {
        (options.spares, options.rescue) = (0, Some(false));
    });
    let runtime = workers_with(options);
    let (handle, spawner) = (runtime.handle(), runtime.handle());
    let (block, is_blocked) = mpsc::channel();
    let (go, on_go) = mpsc::channel::<()>();
    let task = runtime.handle().spawn(async move {
        handle.block_in_place(|| {
            block.send(()).unwrap();
            on_go.recv().unwrap();
            let (done, is_done) = mpsc::channel();
            drop(spawner.spawn(async move { done.send(7).unwrap() }));
            is_done.recv().unwrap()
        })
    });
    is_blocked.recv().unwrap();
    // Rests before the worker goes on: the first wake is that of the task that has been queued for it.
    let waker = runtime.handle();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while waker.metrics().helpers[0].parks == 0 {
                std::thread::yield_now();
            }
            go.send(()).unwrap();
        });
        assert_eq!(runtime.block_on(task).unwrap(), 7);
    });
}

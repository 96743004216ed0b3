//! Runtimes that come and go leave no thread behind. Alone in its file: it counts the threads of the process.
#![cfg(target_os = "linux")]

mod support;

use std::time::{Duration, Instant};
use std::{fs, thread};

use bourn_executor::yield_now;
use support::{watchdog, workers};

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn leave_no_thread() {
    let _watchdog = watchdog();
    let before = threads();
    for round in 0..1_000 {
        let runtime = workers(2);
        let handle = runtime.handle();
        if round % 2 == 0 {
            let task = handle.spawn(async move {
                yield_now().await;
                round
            });
            assert_eq!(runtime.block_on(task).unwrap(), round);
        }
        // Woken from elsewhere while the runtime goes.
        let storm = thread::spawn(move || (0..10).for_each(|_| drop(handle.spawn(yield_now()))));
        drop(runtime);
        storm.join().unwrap();
    }
    // A thread has left the runtime a moment before it has left the process.
    let end = Instant::now() + Duration::from_secs(10);
    while threads() > before {
        assert!(Instant::now() < end, "{} threads, {before} before", threads());
        thread::sleep(Duration::from_millis(1));
    }
}

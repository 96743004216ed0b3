//! A runtime that has nothing to do sleeps, its sentinel included.
//!
//! The only test in its file: it counts what all threads of the process do.

#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use bourn_executor::yield_now;
use support::{watchdog, workers};

/// How often each of the runtime's threads has gone to sleep (proc(5): `voluntary_ctxt_switches`), by number.
fn sleeps() -> BTreeMap<String, String> {
    let threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path());
    let ours = threads.filter(|thread| fs::read_to_string(thread.join("comm")).unwrap().starts_with("bourn-"));
    let sleeps = ours.map(|thread| {
        let status = fs::read_to_string(thread.join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        (thread.display().to_string(), line.to_owned())
    });
    sleeps.collect()
}

#[test]
fn nothing_ticks_in_an_idle_runtime() {
    let _watchdog = watchdog();
    let runtime = workers(2);
    runtime.block_on(runtime.handle().spawn(yield_now())).unwrap();
    // The sentinel takes a tenth of a second to come to rest, and longer on a busy machine; one that ticked would never.
    loop {
        let before = sleeps();
        thread::sleep(Duration::from_millis(300));
        // Two workers and the sentinel, once they have names.
        if before.len() == 3 && sleeps() == before {
            return;
        }
    }
}

//! A spare for which the system has no thread is refused at once, counted, said, and asked for again.
//!
//! Each test is a process of its own: it limits what the whole process may have, and what it says is read.

#![cfg(target_os = "linux")]

mod support;

use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;
use std::{env, fs};

use bourn_executor::{Executor, ExecutorOptions, Options, ThreadPark};
use support::{Door, watchdog, with, workers_with};

/// No thread with such a stack fits into `ROOM`.
const STACK: usize = 512 << 20;
const ROOM: u64 = 128 << 20;

/// Limits the address space to what is in use and `room`; `None`: no more.
fn limit_address_space(room: Option<u64>) {
    let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
    // SAFETY: no pointers.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for a write.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) }, 0);
    limit.rlim_cur = room.map_or(limit.rlim_max, |room| pages * page + room);
    // SAFETY: the pointer is valid for a read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// Set in the process of a test.
const CHILD: &str = "BOURN_TEST_REFUSED_SPARE_CHILD";

/// Has `test`, which is called `name`, run in a process of its own; returns the one complaint that was written there.
fn complaint(name: &str, test: impl FnOnce()) -> Option<String> {
    let _watchdog = watchdog();
    if env::var_os(CHILD).is_some() {
        test();
        return None;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    let mut complaints = stderr.lines().filter(|line| line.starts_with("bourn: nobody stands in for "));
    let complaint = complaints.next().map(str::to_owned);
    assert!(complaint.is_some() && complaints.next().is_none(), "{stderr}");
    complaint
}

/// A worker and `others` spares that are stuck until the door opens, of at most `spares`; `last` is called by the last of
/// them. Returns when nobody was found for that one, and it has been said.
fn stuck(others: usize, spares: usize, last: fn()) -> (Executor<ThreadPark>, Arc<Door>) {
    let (report, reports) = mpsc::channel();
    let runtime = workers_with(with(ExecutorOptions::multi_thread().workers(1), |options| {
        options.on_stall = Some(Arc::new(move |stall| {
            if stall.name.as_deref() == Some("last") {
                // The test may have gone on.
                let _ = report.send(());
            }
        }));
        (options.stack_size, options.spares) = (Some(STACK), spares);
    }));
    let door = Door::new();
    for blocker in 0..=others {
        let (release, is_last) = (Arc::clone(&door), blocker == others);
        let options = Options::new().name(if is_last { "last" } else { "first" });
        drop(runtime.handle().spawn_with(options, async move {
            if is_last {
                last();
            }
            release.wait();
        }));
    }
    for _ in 0..2 {
        // What is said of a step follows its report, and comes before the next one.
        reports.recv_timeout(Duration::from_secs(30)).expect("nothing was reported");
    }
    assert!(runtime.handle().metrics().refused_rescues > 0);
    (runtime, door)
}

#[test]
fn a_spare_without_a_thread_does_not_wait_for_one_that_is_stuck() {
    let complaint = complaint("a_spare_without_a_thread_does_not_wait_for_one_that_is_stuck", || {
        let (runtime, door) = stuck(1, 3, || limit_address_space(Some(ROOM)));
        let handle = runtime.handle();
        let (ran, has_run) = mpsc::channel();
        drop(handle.spawn(async move { ran.send(()).unwrap() }));
        limit_address_space(None);
        has_run.recv_timeout(Duration::from_secs(30)).expect("no spare was asked for again");
        assert!(handle.metrics().rescues >= 2);
        door.open();
    });
    if let Some(complaint) = complaint {
        assert!(complaint.contains(": the system has no thread for a spare ("), "{complaint}");
    }
}

#[test]
fn where_all_spares_are_stuck_it_is_said_so() {
    let complaint = complaint("where_all_spares_are_stuck_it_is_said_so", || stuck(1, 1, || {}).1.open());
    if let Some(complaint) = complaint {
        assert!(complaint.contains(": of its 1 spares none is free;"), "{complaint}");
    }
}

//! A spare for which the system has no thread is refused at once, counted, and asked for again.
//!
//! The only test in its file: it limits what the whole process may have.

#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bourn_executor::ExecutorOptions;
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

/// The worker is stuck, and so is the only spare; nobody can be started until the limit is lifted.
#[test]
fn a_spare_without_a_thread_does_not_wait_for_one_that_is_stuck() {
    let _watchdog = watchdog();
    let runtime = workers_with(with(ExecutorOptions::multi_thread().workers(1), |options| {
        options.on_stall = Some(Arc::new(|_| {}));
        (options.stack_size, options.spares) = (Some(STACK), 3);
    }));
    let handle = runtime.handle();
    let (release, inside) = (Door::new(), Arc::new(AtomicUsize::new(0)));
    for is_last in [false, true] {
        let (release, inside) = (release.clone(), inside.clone());
        drop(handle.spawn(async move {
            if is_last {
                limit_address_space(Some(ROOM));
            }
            inside.fetch_add(1, SeqCst);
            release.wait();
        }));
    }
    let end = Instant::now() + Duration::from_secs(10);
    while inside.load(SeqCst) < 2 || handle.metrics().refused_rescues == 0 {
        assert!(Instant::now() < end, "nothing was refused: {:?}", handle.metrics());
        thread::sleep(Duration::from_millis(1));
    }
    let (ran, has_run) = mpsc::channel();
    drop(handle.spawn(async move { ran.send(()).unwrap() }));
    limit_address_space(None);
    has_run.recv_timeout(Duration::from_secs(10)).expect("no spare was asked for again");
    assert!(handle.metrics().rescues >= 2);
    release.open();
}

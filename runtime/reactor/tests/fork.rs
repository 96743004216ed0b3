//! What a forked child has of its parent it can drop, whatever the parent's other
//! threads were doing.
#![allow(unsafe_code, reason = "fork(2)")]

mod harness;

use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bourn_reactor::{Direction, Kind, Sleep, Source, Ticket};

fn registered() -> Source {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let source = Source::new(near.into(), Kind::Other);
    // Nothing comes but the end.
    wait(&source);
    drop(far);
    source
}

fn wait(source: &Source) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(source.poll_reported(&mut cx, Direction::Read, &mut Ticket::new()).is_pending());
}

fn set() -> Sleep {
    let mut sleep = Sleep::after(Duration::from_secs(600));
    assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    sleep
}

/// Another thread holds the locks of the reactor half of the time, so that a child
/// which takes them hangs soon.
#[test]
fn a_forked_child_drops_sources_and_sleeps_without_their_locks() {
    harness::watched("a_forked_child_drops_sources_and_sleeps_without_their_locks", || {
        let busy = Arc::new(AtomicBool::new(true));
        let theirs = Arc::clone(&busy);
        let holder = thread::spawn(move || {
            let other = registered();
            while theirs.load(Ordering::Relaxed) {
                drop(set());
                drop(registered());
            }
            drop(other);
        });
        let (mut source, mut sleep) = (Some(registered()), Some(set()));
        for number in 0..200 {
            // SAFETY: the child drops two values, and ends by _exit(2).
            let child = unsafe { libc::fork() };
            assert_ne!(child, -1);
            if child == 0 {
                drop((source.take(), sleep.take()));
                // SAFETY: takes no pointer.
                unsafe { libc::_exit(0) };
            }
            let start = Instant::now();
            let mut status = 0;
            // SAFETY: `status` is writable.
            while unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } == 0 {
                if start.elapsed() > Duration::from_secs(10) {
                    // SAFETY: a child of ours that has not been waited for.
                    unsafe { libc::kill(child, libc::SIGKILL) };
                    panic!("child {number} hangs");
                }
                thread::sleep(Duration::from_micros(100));
            }
            assert_eq!(status, 0, "child {number}");
        }
        busy.store(false, Ordering::Relaxed);
        holder.join().unwrap();
    });
}

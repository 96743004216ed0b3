//! Signals reach every listener, none is lost between two waits, and none crosses a
//! fork. Each test is a process of its own, for signals are the process's.
#![allow(unsafe_code, reason = "raise(3), fork(2), fcntl(2)")]

mod harness;

use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::process::Command;
use std::task::{Context, Poll, Waker};

use bourn::Backend;
use bourn::runtime::Builder;
use bourn::signal::unix::{SignalKind, signal};

use harness::watched;

const ALONE: &str = "BOURN_TEST_SIGNALS";

/// Calls `body` in a process of its own, in which no other test runs.
fn alone(name: &str, body: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return watched(name, body);
    }
    let arguments = ["--exact", name, "--test-threads", "1", "--nocapture"];
    let output = Command::new(std::env::current_exe().unwrap()).args(arguments).env(ALONE, "1").output().unwrap();
    assert!(output.status.success(), "{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{name} was not found");
}

/// Runs `body` in every flavour on every backend, and under other executors.
fn everywhere<F: Future<Output = ()> + Send + 'static>(name: &str, body: fn() -> F) {
    alone(name, || {
        for backend in Backend::ALL {
            let flavours = [Builder::new_current_thread(), Builder::new_multi_thread()];
            for flavour in flavours {
                let runtime = flavour.backend(*backend).build().unwrap();
                runtime.block_on(async { bourn::spawn(body()).await.unwrap() });
            }
        }
        smol::block_on(smol::spawn(body()));
        futures_lite::future::block_on(body());
    });
}

fn raise(number: i32) {
    // SAFETY: every test raises only what it has a handler for.
    assert_eq!(unsafe { libc::raise(number) }, 0);
}

fn own_id() -> libc::pid_t {
    std::process::id().try_into().unwrap()
}

async fn pends(future: impl Future) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[test]
fn a_signal_wakes_who_waits() {
    everywhere("a_signal_wakes_who_waits", || async {
        let mut listener = signal(SignalKind::user_defined1()).unwrap();
        for _ in 0..3 {
            assert!(pends(listener.recv()).await);
            let killer = std::thread::spawn(|| {
                // SAFETY: as in `raise`; to the process, not to this thread.
                assert_eq!(unsafe { libc::kill(own_id(), libc::SIGUSR1) }, 0);
            });
            assert_eq!(listener.recv().await, Some(()));
            killer.join().unwrap();
        }
    });
}

#[test]
fn ctrl_c_is_sigint() {
    everywhere("ctrl_c_is_sigint", || async {
        let mut waiting = pin!(bourn::signal::ctrl_c());
        assert!(pends(waiting.as_mut()).await);
        raise(libc::SIGINT);
        waiting.await.unwrap();
    });
}

#[test]
fn what_comes_between_two_waits_is_kept_and_told_once() {
    everywhere("what_comes_between_two_waits_is_kept_and_told_once", || async {
        let mut listener = signal(SignalKind::user_defined1()).unwrap();
        for count in [1, 3, 10_000] {
            for _ in 0..count {
                raise(libc::SIGUSR1);
            }
            assert_eq!(listener.recv().await, Some(()));
            assert!(pends(listener.recv()).await, "{count} signals were told twice");
        }
    });
}

#[test]
fn every_listener_is_told_and_only_of_its_kind() {
    everywhere("every_listener_is_told_and_only_of_its_kind", || async {
        let mut first = signal(SignalKind::user_defined1()).unwrap();
        let mut second = signal(SignalKind::from_raw(libc::SIGUSR1)).unwrap();
        let mut other = signal(SignalKind::terminate()).unwrap();
        raise(libc::SIGUSR1);
        assert_eq!(first.recv().await, Some(()));
        assert_eq!(poll_fn(|cx| second.poll_recv(cx)).await, Some(()));
        assert!(pends(poll_fn(|cx| second.poll_recv(cx))).await);
        assert!(pends(other.recv()).await);
        drop(first);
        raise(libc::SIGUSR1);
        assert_eq!(second.recv().await, Some(()));
        raise(libc::SIGTERM);
        assert_eq!(other.recv().await, Some(()));
    });
}

#[test]
fn a_listener_leaves_no_descriptor() {
    alone("a_listener_leaves_no_descriptor", || {
        bourn::block_on(async {
            let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
            drop(signal(SignalKind::hangup()).unwrap());
            let before = count();
            for _ in 0..100 {
                let mut listener = signal(SignalKind::hangup()).unwrap();
                assert!(pends(listener.recv()).await);
            }
            assert_eq!(count(), before);
            // Nobody listens, but the handler stays: the process lives on.
            raise(libc::SIGHUP);
        });
    });
}

#[test]
fn what_can_not_be_caught_is_refused() {
    for number in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, 0, -1, 10_000] {
        let error = signal(SignalKind::from_raw(number)).expect_err("it is not a signal to wait for");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{number}: {error}");
    }
}

/// Row 42: the kernel says by a signal that a socket is ready.
#[test]
fn row_42_sigio_can_be_listened_to() {
    everywhere("row_42_sigio_can_be_listened_to", || async {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut ready = signal(SignalKind::io()).unwrap();
        // SAFETY: fcntl(2) with integers only, on a descriptor that is open.
        let set = unsafe { libc::fcntl(near.as_raw_fd(), libc::F_SETOWN, own_id()) };
        assert_eq!(set, 0);
        // SAFETY: as above.
        let set = unsafe { libc::fcntl(near.as_raw_fd(), libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK) };
        assert_eq!(set, 0);
        far.write_all(b"x").unwrap();
        assert_eq!(ready.recv().await, Some(()));
    });
}

#[test]
fn a_forked_child_tells_its_parent_nothing() {
    alone("a_forked_child_tells_its_parent_nothing", || {
        bourn::block_on(async {
            let mut listener = signal(SignalKind::user_defined1()).unwrap();
            raise(libc::SIGUSR1);
            // SAFETY: the child makes no allocation that a lock of another thread
            // could keep waiting, and ends by _exit(2).
            let child = unsafe { libc::fork() };
            if child == 0 {
                raise(libc::SIGUSR1);
                // What the parent is owed is not taken away here.
                let polled = listener.poll_recv(&mut Context::from_waker(Waker::noop()));
                let refused = polled == Poll::Ready(None) && futures_lite::future::block_on(listener.recv()).is_none();
                drop(listener);
                // SAFETY: takes no pointer.
                unsafe { libc::_exit(i32::from(!refused)) };
            }
            let mut status = 0;
            // SAFETY: `status` is writable.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0, "the child has received its parent's signal");
            assert_eq!(listener.recv().await, Some(()));
            assert!(pends(listener.recv()).await, "the child's signal has crossed");
        });
    });
}

//! Models of timers and closing against a thread that goes to sleep: a lost one
//! is a deadlock, which loom reports. Each model names the mutations (in
//! `.ci/mutations`) that it must notice.

use loom::thread;
use std::sync::atomic::AtomicUsize;
use std::task::Wake;

use super::*;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Killed by it: `reactor-timer-before-parked`, `reactor-parked-load`.
#[test]
fn loom_reactor_a_timer_is_seen_by_who_goes_to_sleep() {
    loom::model(|| {
        let reactor = Reactor::new(Backend::Epoll, RuntimeId::new()).unwrap();
        let wakes = Arc::new(Wakes::default());
        let inserter = {
            let (reactor, waker) = (Arc::clone(&reactor), Waker::from(Arc::clone(&wakes)));
            thread::spawn(move || {
                assert!(reactor.set_timer(crate::clock::moment(0), waker).is_ok());
            })
        };
        // Nothing but the timer can end it.
        assert_eq!(reactor.turn(Wait::Forever).unwrap(), Turned::Done);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        inserter.join().unwrap();
    });
}

/// Killed by it: `reactor-timer-after-close`.
#[test]
fn loom_reactor_a_timer_is_refused_or_woken_by_a_close() {
    loom::model(|| {
        let reactor = Reactor::new(Backend::Epoll, RuntimeId::new()).unwrap();
        let wakes = Arc::new(Wakes::default());
        let closer = {
            let reactor = Arc::clone(&reactor);
            thread::spawn(move || reactor.close())
        };
        let deadline = crate::clock::moment(1 << 60);
        let set = reactor.set_timer(deadline, Waker::from(Arc::clone(&wakes)));
        closer.join().unwrap();
        assert_eq!(wakes.0.load(Ordering::Relaxed), usize::from(set.is_ok()));
        assert!(!reactor.occupied());
    });
}

/// Killed by it: `reactor-close-unparks-first`.
#[test]
fn loom_reactor_a_close_ends_the_wait() {
    loom::model(|| {
        let reactor = Reactor::new(Backend::Epoll, RuntimeId::new()).unwrap();
        let closer = {
            let reactor = Arc::clone(&reactor);
            thread::spawn(move || reactor.close())
        };
        while !reactor.is_closed() {
            assert_eq!(reactor.turn(Wait::Forever).unwrap(), Turned::Done);
        }
        assert_eq!(reactor.turn(Wait::Forever).unwrap(), Turned::Done);
        closer.join().unwrap();
    });
}

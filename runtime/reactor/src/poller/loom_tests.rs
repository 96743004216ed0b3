//! Models of falling asleep and being notified. A notification that gets lost is
//! a deadlock, which loom reports. Each model names the mutations (in
//! `.ci/mutations`) that it must notice.

use loom::sync::atomic::AtomicBool;
use loom::thread;
use std::sync::Arc;

use super::*;

/// Killed by it: `reactor-notified-unnoticed`, `reactor-notify-relaxed`.
#[test]
fn loom_poller_a_notification_is_not_lost() {
    loom::model(|| {
        let poller = Arc::new(Poller::with_backend(Backend::Epoll).unwrap());
        let news = Arc::new(AtomicBool::new(false));
        let notifier = {
            let (poller, news) = (Arc::clone(&poller), Arc::clone(&news));
            thread::spawn(move || {
                news.store(true, Ordering::Relaxed);
                poller.notify().unwrap();
            })
        };
        poller.wait(&mut Vec::new(), None).unwrap();
        assert!(news.load(Ordering::Relaxed), "the notification came without what it tells of");
        notifier.join().unwrap();
    });
}

/// Killed by it: `reactor-zero-wait-eats-notification`.
#[test]
fn loom_poller_a_wait_that_does_not_block_leaves_the_notification() {
    loom::model(|| {
        let poller = Arc::new(Poller::with_backend(Backend::Epoll).unwrap());
        let notifier = {
            let poller = Arc::clone(&poller);
            thread::spawn(move || poller.notify().unwrap())
        };
        poller.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
        poller.wait(&mut Vec::new(), None).unwrap();
        notifier.join().unwrap();
    });
}

//! A task whose future may not leave its thread is polled and dropped there, on every
//! flavor, whoever wakes, aborts or forgets it.

mod harness;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use bourn::runtime::Runtime;
use bourn::task::{AbortHandle, yield_now};
use bourn::time::sleep;
use harness::{flavors, watched};

/// What the tests count.
#[derive(Default)]
struct Watch {
    made: AtomicUsize,
    polls: AtomicUsize,
    dropped: AtomicUsize,
    /// A poll or a drop that took place elsewhere.
    astray: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

/// Ends at its `last`th poll, which others have to bring about.
struct Homebody {
    watch: Arc<Watch>,
    home: ThreadId,
    polls: usize,
    last: usize,
    /// Not `Send`.
    _shared: Rc<()>,
}

impl Homebody {
    fn new(watch: &Arc<Watch>, last: usize) -> Homebody {
        watch.made.fetch_add(1, SeqCst);
        Homebody { watch: watch.clone(), home: thread::current().id(), polls: 0, last, _shared: Rc::new(()) }
    }

    fn check(&self) {
        if thread::current().id() != self.home {
            self.watch.astray.store(true, SeqCst);
        }
    }
}

impl Future for Homebody {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.check();
        self.watch.polls.fetch_add(1, SeqCst);
        self.polls += 1;
        if self.polls == self.last {
            return Poll::Ready(());
        }
        self.watch.wakers.lock().expect("the wakers").push(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Homebody {
    fn drop(&mut self) {
        self.check();
        self.watch.dropped.fetch_add(1, SeqCst);
    }
}

/// Wakes from four threads until it is told to stop.
fn foreign_wakes(watch: &Arc<Watch>, stop: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<()>> {
    (0..4)
        .map(|_| {
            let (watch, stop) = (watch.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let wakers = std::mem::take(&mut *watch.wakers.lock().expect("the wakers"));
                    for waker in wakers {
                        waker.wake_by_ref();
                        // Once too often.
                        waker.wake();
                    }
                    thread::yield_now();
                }
            })
        })
        .collect()
}

/// Local tasks spawned from a task that any worker may run, and their ends.
async fn spawn_some(watch: Arc<Watch>, last: usize) -> Vec<AbortHandle> {
    let locals: Vec<_> = (0..3).map(|_| bourn::spawn_local(Homebody::new(&watch, last)).abort_handle()).collect();
    yield_now().await;
    locals
}

fn on_every_flavor(what: &str, body: impl Fn(Runtime, &Arc<Watch>)) {
    for (flavor, builder) in flavors() {
        watched(&format!("{what} on {flavor}"), || {
            let watch = Arc::default();
            body(builder.build().expect("a runtime"), &watch);
            assert!(watch.made.load(SeqCst) > 0);
            assert_eq!(watch.dropped.load(SeqCst), watch.made.load(SeqCst), "{what} on {flavor}");
            assert!(!watch.astray.load(SeqCst), "{what} on {flavor}: polled or dropped elsewhere");
        });
    }
}

#[test]
fn woken_from_everywhere() {
    on_every_flavor("foreign wakes", |runtime, watch| {
        let stop = Arc::default();
        let wakes = foreign_wakes(watch, &stop);
        runtime.block_on(async {
            let spawners: Vec<_> = (0..8)
                .map(|_| {
                    let watch = watch.clone();
                    bourn::spawn(async move {
                        let locals = spawn_some(watch, 50).await;
                        while locals.iter().any(|local| !local.is_finished()) {
                            sleep(Duration::from_micros(100)).await;
                        }
                    })
                })
                .collect();
            let own = bourn::spawn_local(Homebody::new(watch, 50));
            for spawner in spawners {
                spawner.await.expect("a spawner");
            }
            own.await.expect("a task of the caller");
        });
        assert_eq!(watch.polls.load(SeqCst), 50 * watch.made.load(SeqCst), "{}", watch.polls.load(SeqCst));
        stop.store(true, SeqCst);
        wakes.into_iter().for_each(|thread| thread.join().expect("a waker"));
    });
}

#[test]
fn aborted_from_another_thread() {
    on_every_flavor("aborts", |runtime, watch| {
        runtime.block_on(async {
            let spawners: Vec<_> = (0..8).map(|_| bourn::spawn(spawn_some(watch.clone(), usize::MAX))).collect();
            let mut locals = Vec::new();
            for spawner in spawners {
                locals.extend(spawner.await.expect("a spawner"));
            }
            let aborts = locals.clone();
            thread::spawn(move || aborts.iter().for_each(AbortHandle::abort)).join().expect("the aborts");
            while locals.iter().any(|local| !local.is_finished()) {
                sleep(Duration::from_micros(100)).await;
            }
        });
    });
}

#[test]
fn left_behind_at_the_end() {
    on_every_flavor("the end", |runtime, watch| {
        let stop = Arc::default();
        let wakes = foreign_wakes(watch, &stop);
        runtime.block_on(async {
            drop(bourn::spawn_local(Homebody::new(watch, usize::MAX)));
            for _ in 0..8 {
                bourn::spawn(spawn_some(watch.clone(), usize::MAX)).await.expect("a spawner");
            }
        });
        drop(runtime);
        stop.store(true, SeqCst);
        wakes.into_iter().for_each(|thread| thread.join().expect("a waker"));
        // The wakers outlive the runtime, and are inert.
        let polls = watch.polls.load(SeqCst);
        std::mem::take(&mut *watch.wakers.lock().expect("the wakers")).into_iter().for_each(Waker::wake);
        assert_eq!(watch.polls.load(SeqCst), polls);
    });
}

/// Others run what a blocked thread has, but not this.
#[test]
fn beside_blocked_threads() {
    on_every_flavor("blocked", |runtime, watch| {
        let stop = Arc::default();
        let wakes = foreign_wakes(watch, &stop);
        runtime.block_on(async {
            let spawners: Vec<_> = (0..4)
                .map(|_| {
                    let watch = watch.clone();
                    bourn::spawn(async move {
                        let locals = spawn_some(watch, 5).await;
                        thread::sleep(Duration::from_millis(40));
                        locals
                    })
                })
                .collect();
            for spawner in spawners {
                for local in spawner.await.expect("a spawner") {
                    while !local.is_finished() {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        });
        stop.store(true, SeqCst);
        wakes.into_iter().for_each(|thread| thread.join().expect("a waker"));
    });
}

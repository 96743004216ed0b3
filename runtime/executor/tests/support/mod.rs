//! What the tests share: a runtime each, and a watchdog that says what hung.

// Each test file uses its own part of this.
#![allow(dead_code)]

use std::future::Future;
use std::io::{self, Write};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use std::{process, thread};

use bourn_executor::{Executor, ExecutorOptions, Park, ThreadPark, Turn, Wait};

pub type Runtime = Executor<ThreadPark>;

pub fn runtime() -> Runtime {
    Executor::current_thread(Arc::new(ThreadPark::new()))
}

/// A runtime with workers that runs.
pub fn workers(count: usize) -> Executor<ThreadPark> {
    workers_with(ExecutorOptions::multi_thread().workers(count))
}

/// These options, changed.
pub fn with<T>(mut options: T, change: impl FnOnce(&mut T)) -> T {
    change(&mut options);
    options
}

pub fn workers_with(options: ExecutorOptions) -> Executor<ThreadPark> {
    let runtime = Executor::new(options, || Ok(Arc::new(ThreadPark::new()))).unwrap();
    runtime.start(None).unwrap();
    runtime
}

/// Ends the process with the place of the test if the test is not over in time.
#[must_use]
#[track_caller]
pub fn watchdog() -> Watchdog {
    let location = Location::caller();
    let name = thread::current().name().unwrap_or("main").to_owned();
    let (alive, ended) = mpsc::channel::<()>();
    thread::spawn(move || {
        if let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_secs(60)) {
            let _ = writeln!(io::stderr(), "watchdog: {name} ({location}) hangs");
            process::abort();
        }
    });
    Watchdog { _alive: alive }
}

pub struct Watchdog {
    _alive: Sender<()>,
}

/// Counts how often the values that were made from it are dropped.
#[derive(Clone, Default)]
pub struct Drops(Arc<AtomicUsize>);

impl Drops {
    pub fn value(&self) -> Dropped {
        Dropped(Arc::clone(&self.0))
    }

    pub fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

pub struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Panics when it is dropped.
pub struct DropBomb(pub &'static str);

impl Drop for DropBomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

pub fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// A door that tasks and threads wait at until it is opened.
#[derive(Default)]
pub struct Door {
    state: Mutex<(bool, Vec<Waker>)>,
    opened: Condvar,
}

impl Door {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn open(&self) {
        let wakers = {
            let mut state = self.state.lock().unwrap();
            state.0 = true;
            std::mem::take(&mut state.1)
        };
        self.opened.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub fn wait(&self) {
        let state = self.state.lock().unwrap();
        drop(self.opened.wait_while(state, |state| !state.0).unwrap());
    }

    pub async fn pass(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// A park that counts what is asked of it.
#[derive(Default)]
pub struct CountingPark {
    park: Arc<ThreadPark>,
    pub unparks: AtomicUsize,
    pub polls: AtomicUsize,
    pub glances: AtomicUsize,
    pub waits: AtomicUsize,
    pub closes: AtomicUsize,
}

impl Park for CountingPark {
    type Entered = ();

    fn enter(self: &Arc<Self>) {}

    fn turn(&self, wait: Wait) -> Turn {
        let counter = if wait == Wait::No { &self.glances } else { &self.waits };
        counter.fetch_add(1, SeqCst);
        self.park.turn(wait)
    }

    fn unpark(&self) {
        self.unparks.fetch_add(1, SeqCst);
        self.park.unpark();
    }

    fn close(&self) {
        self.closes.fetch_add(1, SeqCst);
        self.park.close();
    }

    fn before_poll(&self) {
        self.polls.fetch_add(1, SeqCst);
    }
}

/// A waker that panics when it is woken.
pub struct WakeBomb;

impl Wake for WakeBomb {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

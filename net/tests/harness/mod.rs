//! What the socket tests share: one body run on every backend, peers made of std's
//! sockets, and a watchdog that says what hung.
#![allow(dead_code, unused_imports, unused_macros, reason = "each test file uses its own part")]

use std::cell::{Cell, RefCell};
use std::fs;
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::net;
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use bourn_net::{TcpListener, TcpStream};
use bourn_reactor::{Backend, Reactor, RuntimeId, Wait};

pub mod kernel;

/// How long a test may take, on a machine that is busy with all the others.
const LIMIT: Duration = Duration::from_secs(60);
/// Set in a process that runs one test.
const ALONE: &str = "BOURN_TEST_ALONE";

/// Makes a test of each function for each backend, and one that runs under a
/// foreign executor with the background reactor.
macro_rules! on_every_backend {
    ($($(#[$attribute:meta])* async fn $name:ident() $body:block)*) => {
        $($(#[$attribute])* async fn $name() $body)*
        $crate::harness::on_every_backend!(@each run; $($name)*);
    };
    (alone; $($(#[$attribute:meta])* async fn $name:ident() $body:block)*) => {
        $($(#[$attribute])* async fn $name() $body)*
        $crate::harness::on_every_backend!(@each run_alone; $($name)*);
    };
    (@each $run:ident; $($name:ident)*) => {
        $crate::harness::on_every_backend!(@module epoll, Some(bourn_reactor::Backend::Epoll), $run; $($name)*);
        $crate::harness::on_every_backend!(@module poll, Some(bourn_reactor::Backend::Poll), $run; $($name)*);
        $crate::harness::on_every_backend!(@module select, Some(bourn_reactor::Backend::Select), $run; $($name)*);
        $crate::harness::on_every_backend!(@module mio, Some(bourn_reactor::Backend::Mio), $run; $($name)*);
        $crate::harness::on_every_backend!(@module background, None, $run; $($name)*);
    };
    (@module $module:ident, $backend:expr, $run:ident; $($name:ident)*) => {
        mod $module {
            $(#[test]
            fn $name() {
                let path = concat!(module_path!(), "::", stringify!($name));
                let (_, name) = path.split_once("::").expect("a test is in a crate");
                $crate::harness::$run(name, $backend, super::$name);
            })*
        }
    };
}
pub(crate) use on_every_backend;

thread_local! {
    static POLLS: Cell<u64> = const { Cell::new(0) };
    static TURNS: Cell<u64> = const { Cell::new(0) };
    static REACTOR: RefCell<Option<Arc<Reactor>>> = const { RefCell::new(None) };
}

/// Runs one test: at a reactor over `backend` that this thread turns, or with the
/// background reactor; in a runtime instead of the former, if `BOURN_FLAVOR` names one.
pub fn run<F: Future<Output = ()>>(name: &str, backend: Option<Backend>, test: fn() -> F) {
    watched(name, || {
        let mut test = pin!(test());
        let counted = poll_fn(|cx| {
            POLLS.set(POLLS.get() + 1);
            test.as_mut().poll(cx)
        });
        match (backend, std::env::var("BOURN_FLAVOR")) {
            (Some(backend), Ok(flavor)) => runtime(backend, &flavor).block_on(counted),
            (Some(backend), Err(_)) => {
                let reactor = Reactor::new(backend, RuntimeId::new()).expect("a reactor");
                turn_until(&reactor, counted);
            }
            (None, _) => futures_lite::future::block_on(counted),
        }
    });
}

/// A runtime as `current_thread`, `multi_thread:N` or `thread_per_core:N`.
fn runtime(backend: Backend, flavor: &str) -> bourn::Runtime {
    use bourn::runtime::Builder;

    let (name, workers) = flavor.split_once(':').unwrap_or((flavor, "1"));
    let builder = match name {
        "current_thread" => Builder::new_current_thread(),
        "multi_thread" => Builder::new_multi_thread(),
        "thread_per_core" => Builder::new_thread_per_core(),
        _ => panic!("no flavor {flavor}"),
    };
    let builder = if name == flavor { builder } else { builder.worker_threads(workers.parse().expect("a number")) };
    // Whoever looks at a stuck thread opens a file for a moment: not beside a test that counts or limits what is open.
    let rescue = std::env::var_os(ALONE).is_none();
    builder.backend(backend).rescue(rescue).on_stall(|_| {}).build().expect("a runtime")
}

/// Like `run`, in a process of its own: for tests that count or limit what a
/// process has.
pub fn run_alone<F: Future<Output = ()>>(name: &str, backend: Option<Backend>, test: fn() -> F) {
    if std::env::var_os(ALONE).is_some() {
        return run(name, backend, test);
    }
    let alone = Command::new(std::env::current_exe().expect("the path of the tests"))
        .args(["--exact", name, "--test-threads", "1", "--nocapture"])
        .env(ALONE, "1")
        // glibc opens a file for a moment to count processors, in whichever thread makes the ninth arena, and another
        // when it first shrinks one. With one arena it does neither (mallopt(3)).
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .expect("a process for the test");
    let said = String::from_utf8_lossy(&alone.stdout);
    let wrong = String::from_utf8_lossy(&alone.stderr);
    assert!(alone.status.success(), "{name}: {}\n{said}\n{wrong}", alone.status);
    assert!(said.contains("1 passed"), "{name} was not found:\n{said}");
}

/// Calls `test`; ends the process with a message if that takes too long.
pub fn watched(name: &str, test: impl FnOnce()) {
    let (over, end) = mpsc::channel::<()>();
    let watched = name.to_owned();
    thread::spawn(move || {
        if end.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
            // Not `eprintln!`, which the test harness keeps to itself, and loses here.
            let _told = writeln!(std::io::stderr(), "the test {watched} has hung for {LIMIT:?}");
            std::process::abort();
        }
    });
    test();
    drop(over);
}

struct Unpark {
    reactor: Arc<Reactor>,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.reactor.unpark().expect("the notifier works");
    }
}

/// Polls `future` on this thread, and turns `reactor` between the polls.
pub fn turn_until<R>(reactor: &Arc<Reactor>, future: impl Future<Output = R>) -> R {
    let _entered = reactor.enter();
    REACTOR.set(Some(Arc::clone(reactor)));
    let unpark = Arc::new(Unpark { reactor: Arc::clone(reactor), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let result = loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
            break result;
        }
        while !unpark.woken.swap(false, Ordering::Acquire) {
            TURNS.set(TURNS.get() + 1);
            let _ = reactor.turn(Wait::Forever).expect("the wait works");
        }
    };
    REACTOR.set(None);
    reactor.close();
    result
}

/// How many times the test of this thread was polled until now.
pub fn polls() -> u64 {
    POLLS.get()
}

/// Lets `wait` wait for 100 ms, in which it must neither end nor be woken nor make
/// the reactor turn but for the end of that time: nothing spins.
pub async fn is_calm<R: std::fmt::Debug>(wait: impl Future<Output = R>) {
    let (polls, turns, cpu) = (POLLS.get(), TURNS.get(), cpu_time());
    let time = Duration::from_millis(100);
    futures_lite::future::or(
        async {
            let ended = wait.await;
            panic!("there was nothing to wake for: {ended:?}");
        },
        async {
            bourn_reactor::Sleep::after(time).await;
        },
    )
    .await;
    let (polls, turns) = (POLLS.get() - polls, TURNS.get() - turns);
    // The first events may still be on their way, and a wait ends in two steps;
    // level-triggered backends ask again after 1, 2, 4... ms.
    assert!(polls <= 4, "woken {polls} times");
    assert!(turns <= 24, "{turns} turns of the reactor");
    // The background reactor turns uncounted, beside the other tests of this
    // process if there are any.
    if reactor().is_none() && std::env::var_os(ALONE).is_some() {
        let spent = cpu_time() - cpu;
        assert!(spent * 4 < time, "{spent:?} of {time:?}");
    }
}

/// The reactor that the test turns; none under a foreign executor.
pub fn reactor() -> Option<Arc<Reactor>> {
    REACTOR.with_borrow(Clone::clone)
}

/// The backend that the test runs on; none under a foreign executor.
pub fn backend() -> Option<Backend> {
    let ours = reactor().map(|reactor| reactor.backend());
    ours.or_else(|| bourn::Handle::try_current().map(|handle| handle.backend()))
}

/// The id of the thread that turns the reactor of the test that calls this.
pub fn turning_thread() -> String {
    let tasks = || {
        fs::read_dir("/proc/self/task")
            .expect("procfs")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("a number"))
    };
    if bourn::Handle::try_current().is_some() {
        // Whichever of them waits.
        return "self".to_owned();
    }
    if reactor().is_none() {
        return tasks()
            .find(|task| {
                fs::read_to_string(format!("/proc/self/task/{task}/comm"))
                    .is_ok_and(|comm| comm.trim() == "bourn-reactor")
            })
            .expect("the background reactor has started");
    }
    let own = fs::read_link("/proc/thread-self").expect("procfs");
    own.file_name().expect("an id").to_str().expect("a number").to_owned()
}

/// Returns when the thread sleeps in the kernel call number `call`.
pub fn wait_until_inside(thread: &str, calls: &[i64]) {
    let tasks = || -> Vec<String> {
        if thread != "self" {
            return vec![thread.to_owned()];
        }
        let tasks = fs::read_dir("/proc/self/task").expect("procfs");
        tasks.map(|entry| entry.expect("an entry").file_name().into_string().expect("a number")).collect()
    };
    loop {
        for task in tasks() {
            let inside = fs::read_to_string(format!("/proc/self/task/{task}/syscall")).unwrap_or_default();
            let call = inside.split(' ').next().and_then(|call| call.parse::<i64>().ok());
            if call.is_some_and(|call| calls.contains(&call)) {
                return;
            }
        }
        thread::yield_now();
    }
}

/// The processor time of all threads that live.
pub fn cpu_time() -> Duration {
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task").expect("procfs") {
        let path = task.expect("an entry").path().join("schedstat");
        // A thread may end in between.
        let text = fs::read_to_string(path).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanoseconds)
}

/// How many descriptors the process has.
pub fn descriptors() -> usize {
    // The sentinel opens files there for a moment, as this does itself.
    let lasts = |entry: io::Result<fs::DirEntry>| {
        let what = entry.and_then(|entry| fs::read_link(entry.path()));
        what.is_ok_and(|what| !what.starts_with("/proc"))
    };
    fs::read_dir("/proc/self/fd").expect("procfs").map(lasts).filter(|lasts| *lasts).count()
}

/// Two ends of ours.
pub async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let addr = listener.local_addr().expect("it is bound");
    let client = TcpStream::connect(addr).await.expect("somebody listens");
    let (server, _) = listener.accept().await.expect("somebody connects");
    (client, server)
}

/// One end of ours and a blocking one of std's.
pub async fn pair_with_std() -> (TcpStream, net::TcpStream) {
    let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let addr = listener.local_addr().expect("it is bound");
    let ours = TcpStream::connect(addr).await.expect("somebody listens");
    let (theirs, _) = listener.accept().expect("somebody connects");
    theirs.set_read_timeout(Some(LIMIT / 2)).expect("an option");
    (ours, theirs)
}

/// Drops `future` when it is still pending after `polls` polls, each of which was
/// asked for by a wake-up.
pub async fn cut_after<R>(polls: usize, future: impl Future<Output = R>) -> Option<R> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Polls once; says whether the future is still pending.
pub async fn pends<F: Future + ?Sized>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

/// Awaits both; two tasks of a kind.
pub use futures_lite::future::zip as both;

/// A blocking `work` on a thread of its own, to be awaited.
pub fn elsewhere<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> impl Future<Output = R> {
    struct Shared<R> {
        result: Option<thread::Result<R>>,
        waker: Option<Waker>,
    }
    let shared = Arc::new(Mutex::new(Shared { result: None, waker: None }));
    let theirs = Arc::clone(&shared);
    thread::spawn(move || {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        let mut shared = theirs.lock().expect("no panic under the lock");
        shared.result = Some(result);
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    });
    poll_fn(move |cx| {
        let mut shared = shared.lock().expect("no panic under the lock");
        match shared.result.take() {
            Some(Ok(result)) => Poll::Ready(result),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => {
                shared.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
}

/// `length` bytes that look random, the same for the same `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64 (Marsaglia 2003)
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_ne_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The kind of an error, for comparisons.
pub fn kind<T>(result: io::Result<T>) -> Result<T, io::ErrorKind> {
    result.map_err(|error| error.kind())
}

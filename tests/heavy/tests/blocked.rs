//! Blocked threads keep nobody waiting.
//!
//! Each way of blocking a thread is tried twenty times with blocks of 300 ms, and once with one of two seconds; first with
//! one worker blocked beside idle ones, then with all of them. While they block, a ticker of 20 ms says how late a timer
//! is served, and a connection whose home is the reactor of a blocked worker is asked for an echo. The bounds hold where
//! the machine has processors to give: a thread of std's sleeps at the same time, and what the kernel is late for it is
//! allowed on top.

use std::fs;
use std::io::{Read, Write};
use std::net;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bourn::net::{TcpListener, TcpStream};
use bourn::runtime::{Builder, Runtime};
use bourn::task::yield_now;
use bourn::time::sleep;
use bourn_heavy::{named_threads, rests, watched};

const ROUNDS: u32 = 20;
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(20);

/// While another worker is idle.
const BESIDE_IDLE: Duration = Duration::from_millis(10);
/// While all are blocked.
const BESIDE_NOBODY: Duration = Duration::from_millis(25);
/// Beside endless polls of medium length.
const BESIDE_MEDIUM: Duration = Duration::from_millis(40);

fn workers(count: usize) -> Builder {
    Builder::new_multi_thread().worker_threads(count).on_stall(|_| {})
}

type Block = fn(Duration);

fn asleep(length: Duration) {
    thread::sleep(length);
}

fn spinning(length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        std::hint::spin_loop();
    }
}

fn in_a_drop(length: Duration) {
    struct Slow(Duration);
    impl Drop for Slow {
        fn drop(&mut self) {
            thread::sleep(self.0);
        }
    }
    drop(Slow(length));
}

fn in_a_waker(length: Duration) {
    struct Slow(Duration);
    impl Wake for Slow {
        fn wake(self: Arc<Self>) {
            thread::sleep(self.0);
        }
    }
    Waker::from(Arc::new(Slow(length))).wake();
}

/// How late things were at worst.
#[derive(Debug, Default)]
struct Late {
    ticker: Duration,
    echo: Duration,
    /// A thread of std's that slept at the same time.
    machine: Duration,
}

impl Late {
    #[track_caller]
    fn check(&self, what: &str, bound: Duration) {
        let bound = bound + self.machine;
        assert!(self.ticker <= bound && self.echo <= bound, "{what}: {self:?}, at most {bound:?} is allowed");
    }
}

/// Measures until `length` has passed. `echo` is asked from a thread that is not the runtime's.
fn measure(runtime: &Runtime, mut echo: net::TcpStream, length: Duration) -> Late {
    let start = Instant::now();
    let ticker = runtime.spawn(async move {
        let mut worst = Duration::ZERO;
        while start.elapsed() < length {
            let asked = Instant::now();
            sleep(TICK).await;
            worst = worst.max(asked.elapsed().saturating_sub(TICK));
        }
        worst
    });
    let echo = thread::spawn(move || {
        let mut worst = Duration::ZERO;
        while start.elapsed() < length {
            let asked = Instant::now();
            echo.write_all(b"ping").expect("a question");
            echo.read_exact(&mut [0; 4]).expect("an answer");
            worst = worst.max(asked.elapsed());
            thread::sleep(TICK);
        }
        worst
    });
    let mut machine = Duration::ZERO;
    while start.elapsed() < length {
        let asked = Instant::now();
        thread::sleep(TICK);
        machine = machine.max(asked.elapsed().saturating_sub(TICK));
    }
    Late {
        ticker: futures_lite::future::block_on(ticker).expect("the ticker"),
        echo: echo.join().expect("the echo"),
        machine,
    }
}

async fn serve(stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..length]).await.expect("an echo");
    }
}

/// Accepts a connection, has its first wait take place on this very worker, leaves it to a task and blocks here.
async fn serve_and_block(listener: Arc<TcpListener>, block: Block, length: Duration, blocks: mpsc::Sender<ThreadId>) {
    let (stream, _) = listener.accept().await.expect("a connection");
    let mut home;
    loop {
        home = thread::current().id();
        stream.read_exact(&mut [0; 1]).await.expect("a byte");
        let is_here = thread::current().id() == home;
        stream.write_all(if is_here { b"y" } else { b"n" }).await.expect("an answer");
        if is_here {
            break;
        }
    }
    drop(bourn::spawn(serve(stream)));
    blocks.send(home).expect("the test");
    block(length);
}

/// Connects, and sends bytes until one has woken the server where it waited for it.
fn connect(addr: net::SocketAddr) -> net::TcpStream {
    let mut stream = net::TcpStream::connect(addr).expect("a connection");
    stream.set_nodelay(true).expect("an option");
    loop {
        // What is there before the wait needs no home.
        thread::sleep(Duration::from_millis(5));
        stream.write_all(b"x").expect("a byte");
        let mut answer = [0; 1];
        stream.read_exact(&mut answer).expect("an answer");
        if answer == *b"y" {
            return stream;
        }
    }
}

/// `blocked` workers of `count` are blocked for `length` each.
fn delays(count: usize, blocked: usize, block: Block, length: Duration) -> Late {
    // A reactor for each, so that a home is a worker's own.
    let runtime = workers(count).workers_per_reactor(1).build().expect("a runtime");
    let listener = runtime.spawn(async { TcpListener::bind("127.0.0.1:0").await.expect("a listener") });
    let listener = Arc::new(futures_lite::future::block_on(listener).expect("a listener"));
    let addr = listener.local_addr().expect("its address");
    let (blocks, has_blocked) = mpsc::channel();
    drop(runtime.spawn(serve_and_block(listener, block, length, blocks.clone())));
    let echo = connect(addr);
    for _ in 1..blocked {
        let blocks = blocks.clone();
        drop(runtime.spawn(async move {
            blocks.send(thread::current().id()).expect("the test");
            block(length);
        }));
    }
    for _ in 0..blocked {
        has_blocked.recv_timeout(LONG).expect("a blocker");
    }
    // Each wave of blockers costs one detection, and the last began just now.
    thread::sleep(Duration::from_millis(10));
    let late = measure(&runtime, echo, length.mul_f32(0.8));
    drop(runtime.shutdown_background());
    late
}

fn blocked(what: &str, block: Block) {
    // Spinning threads leave no processor to an idle worker if there are as many as processors.
    let count = if what == "spinning" { 2 } else { 4 };
    for (blocked, bound) in [(1, BESIDE_IDLE), (count, BESIDE_NOBODY)] {
        let mut worst = Late::default();
        for length in (0..ROUNDS).map(|_| SHORT).chain([LONG]) {
            let late = watched(what, || delays(count, blocked, block, length));
            late.check(&format!("{blocked} of {count} workers {what} for {length:?}"), bound);
            worst.ticker = worst.ticker.max(late.ticker);
            worst.echo = worst.echo.max(late.echo);
            worst.machine = worst.machine.max(late.machine);
        }
        println!("{blocked} of {count} workers {what}: {worst:?}");
    }
}

#[test]
fn workers_that_sleep() {
    blocked("sleeping in a poll", asleep);
}

#[test]
fn workers_that_spin() {
    blocked("spinning", spinning);
}

#[test]
fn workers_that_sleep_in_a_drop() {
    blocked("sleeping in a drop", in_a_drop);
}

#[test]
fn workers_that_sleep_in_a_waker() {
    blocked("sleeping in a waker", in_a_waker);
}

/// The thread inside `block_on` runs tasks, too, and its reactor is that of a worker.
#[test]
fn a_caller_that_sleeps() {
    for (all, bound) in [(false, BESIDE_IDLE), (true, BESIDE_NOBODY)] {
        let mut worst = Late::default();
        for length in (0..ROUNDS).map(|_| SHORT).chain([LONG]) {
            let late = watched("a caller", || {
                let runtime = Arc::new(workers(2).build().expect("a runtime"));
                let (inside, is_inside) = mpsc::channel();
                let caller = {
                    let runtime = runtime.clone();
                    thread::spawn(move || {
                        runtime.block_on(async {
                            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
                            let client = net::TcpStream::connect(listener.local_addr().expect("an address"));
                            let (stream, _) = listener.accept().await.expect("a connection");
                            // In the slot of this thread's own core.
                            drop(bourn::spawn(serve(stream)));
                            if all {
                                for _ in 0..2 {
                                    drop(bourn::spawn(async move { thread::sleep(length) }));
                                }
                            }
                            inside.send(client.expect("a client")).expect("the test");
                            thread::sleep(length);
                        });
                    })
                };
                let client = is_inside.recv().expect("the caller");
                thread::sleep(Duration::from_millis(20));
                let late = measure(&runtime, client, length.mul_f32(0.8));
                caller.join().expect("the caller");
                late
            });
            late.check(&format!("a caller asleep for {length:?}, the workers too: {all}"), bound);
            worst.ticker = worst.ticker.max(late.ticker);
            worst.echo = worst.echo.max(late.echo);
            worst.machine = worst.machine.max(late.machine);
        }
        println!("a caller asleep, the workers too: {all}: {worst:?}");
    }
}

/// Never stuck, and yet in everybody's way.
#[test]
fn many_medium_polls() {
    for (micros, tasks) in [(2_000, 20), (9_900, 4), (9_900, 20)] {
        let mut worst = Late::default();
        for _ in 0..5 {
            let late = watched("medium polls", || {
                let runtime = workers(2).build().expect("a runtime");
                let client = runtime.spawn(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
                    let client = net::TcpStream::connect(listener.local_addr().expect("an address"));
                    let (stream, _) = listener.accept().await.expect("a connection");
                    drop(bourn::spawn(serve(stream)));
                    client.expect("a client")
                });
                let client = futures_lite::future::block_on(client).expect("a client");
                for _ in 0..tasks {
                    drop(runtime.spawn(async move {
                        loop {
                            thread::sleep(Duration::from_micros(micros));
                            yield_now().await;
                        }
                    }));
                }
                thread::sleep(Duration::from_millis(50));
                let late = measure(&runtime, client, 2 * SHORT);
                drop(runtime.shutdown_background());
                late
            });
            worst.ticker = worst.ticker.max(late.ticker);
            worst.echo = worst.echo.max(late.echo);
            worst.machine = worst.machine.max(late.machine);
        }
        println!("{tasks} tasks with polls of {micros} us: {worst:?}");
        worst.check(&format!("{tasks} tasks with polls of {micros} us"), BESIDE_MEDIUM);
    }
}

/// A loop that blocks in every poll grows no threads beyond the cap, and what it grew rests afterwards.
#[test]
fn spares_are_as_many_as_allowed_and_rest_afterwards() {
    watched("spares", || {
        // Those of the runtimes of other tests may be on their way out.
        while !named_threads("bourn-spare").is_empty() {
            thread::yield_now();
        }
        let runtime = workers(2).max_spare_threads(3).build().expect("a runtime");
        let polls = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let polls = polls.clone();
                runtime.spawn(async move {
                    loop {
                        polls.fetch_add(1, SeqCst);
                        thread::sleep(Duration::from_millis(12));
                        yield_now().await;
                    }
                })
            })
            .collect();
        let mut most = 0;
        while polls.load(SeqCst) < 500 {
            most = most.max(named_threads("bourn-spare").len());
            thread::sleep(Duration::from_millis(5));
        }
        assert!((1..=3).contains(&most), "{most} spares");
        assert!(runtime.metrics().refused_rescues > 0, "the cap was not reached");
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            assert!(futures_lite::future::block_on(task).expect_err("an aborted task").is_cancelled());
        }
        let spares = named_threads("bourn-spare");
        rests(&spares);
        rests(&named_threads("bourn-worker"));
        // Recovered: a blocker is stood in for again.
        let before = runtime.metrics().rescues;
        let late = (0..2).map(|_| runtime.spawn(async { thread::sleep(SHORT) })).collect::<Vec<_>>();
        let asked = Instant::now();
        while runtime.metrics().rescues == before {
            assert!(asked.elapsed() < SHORT, "nobody stands in");
            thread::sleep(Duration::from_millis(1));
        }
        late.into_iter().for_each(|task| futures_lite::future::block_on(task).expect("a blocker"));
    });
}

/// What is told of a stall: the task, its line, in time; and not of one that is the kernel's fault.
#[test]
fn the_report_is_in_time() {
    watched("reports", || {
        let reports: Arc<Mutex<Vec<(Instant, bourn::runtime::Stall)>>> = Arc::default();
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .on_stall({
                let reports = reports.clone();
                move |stall| reports.lock().expect("the reports").push((Instant::now(), stall.clone()))
            })
            .build()
            .expect("a runtime");
        for round in 0..40 {
            let block: Block = if round % 2 == 0 { asleep } else { spinning };
            let culprit = {
                let _inside = runtime.enter();
                let task = bourn::task::Builder::new().name(format!("culprit {round}"));
                task.spawn(async move {
                    yield_now().await;
                    let start = Instant::now();
                    block(Duration::from_millis(150));
                    start
                })
            };
            let line = line!() - 7;
            let machine = {
                let mut worst = Duration::ZERO;
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(150) {
                    let asked = Instant::now();
                    thread::sleep(Duration::from_millis(1));
                    worst = worst.max(asked.elapsed() - Duration::from_millis(1));
                }
                worst
            };
            let id = culprit.id();
            let start = futures_lite::future::block_on(culprit).expect("the culprit");
            let reports = std::mem::take(&mut *reports.lock().expect("the reports"));
            assert!(!reports.is_empty(), "round {round} was not noticed");
            let late = reports[0].0.saturating_duration_since(start + Duration::from_millis(10));
            // A thread that the kernel keeps from running is looked at again after twice as long.
            let bound = Duration::from_millis(20) + 3 * machine;
            assert!(
                late <= bound,
                "round {round}: reported {late:?} after the threshold, at most {bound:?} is allowed"
            );
            // 10 ms, and then after at least twice as long each time.
            assert!(reports.len() <= 5, "round {round}: {} reports", reports.len());
            for (_, stall) in &reports {
                assert_eq!(stall.task, Some(id));
                assert_eq!(stall.name.as_deref(), Some(&*format!("culprit {round}")));
                let location = stall.location.expect("a location");
                assert_eq!((location.file(), location.line()), (file!(), line));
            }
        }
    });
}

/// Pins this thread to one processor, at the lowest priority that there is if `idle`.
fn pin(processor: usize, idle: bool) {
    // SAFETY: a set of processors is plain data, for which zeroes mean none.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a set has room for 1,024 processors.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: the set outlives the call, and has the size that is told.
    let pinned = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(pinned, 0, "{}", std::io::Error::last_os_error());
    if idle {
        // SAFETY: a priority is plain data; SCHED_IDLE needs 0.
        let priority: libc::sched_param = unsafe { std::mem::zeroed() };
        // SAFETY: the priority outlives the call.
        let set = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &priority) };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}

#[test]
fn a_worker_that_the_kernel_does_not_run_is_not_reported() {
    watched("starved", || {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .on_stall({
                let reports = reports.clone();
                move |stall| reports.lock().expect("the reports").push(stall.clone())
            })
            .build()
            .expect("a runtime");
        let processor = fs::read_to_string("/proc/self/status")
            .expect("the status")
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .and_then(|list| list.trim().split(['-', ',']).next()?.parse().ok())
            .expect("a processor");
        let end = Instant::now() + Duration::from_secs(2);
        let hogs: Vec<_> = (0..2)
            .map(|_| {
                thread::spawn(move || {
                    pin(processor, false);
                    while Instant::now() < end {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let longest = runtime.spawn(async move {
            pin(processor, true);
            let mut longest = Duration::ZERO;
            // Each poll computes for a millisecond or so, and lasts as long as the hogs let it.
            while Instant::now() < end {
                yield_now().await;
                let start = Instant::now();
                for number in 0..300_000 {
                    std::hint::black_box(number);
                }
                longest = longest.max(start.elapsed());
            }
            longest
        });
        let longest = futures_lite::future::block_on(longest).expect("the starved task");
        hogs.into_iter().for_each(|hog| hog.join().expect("a hog"));
        assert!(longest > Duration::from_millis(50), "it was not kept from running: {longest:?}");
        let reports = reports.lock().expect("the reports");
        assert!(reports.is_empty(), "{reports:#?}");
    });
}

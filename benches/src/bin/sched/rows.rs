//! What is measured: each function does it once, for one runtime.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::memory;
use bourn_bench::peers::{Peer, clock, cpu_time};

/// Far enough away that it never comes.
const LIMIT: Duration = Duration::from_secs(30);

/// 1,000,000 tasks, a thousand at a time: how long one takes.
pub fn spawn_join<P: Peer>(peer: P) -> f64 {
    spawn_join_of(peer, 1_000)
}

/// So many thousand tasks.
pub fn spawn_join_of<P: Peer>(peer: P, batches: u32) -> f64 {
    const TASKS: u32 = 1_000;
    let elapsed = peer.run(async move {
        let start = Instant::now();
        let mut tasks = Vec::with_capacity(TASKS as usize);
        for _ in 0..batches {
            tasks.extend((0..TASKS).map(|number| peer.spawn(async move { number })));
            for (number, task) in (0..TASKS).zip(tasks.drain(..)) {
                assert_eq!(task.await, number);
            }
        }
        start.elapsed()
    });
    per(elapsed, batches * TASKS)
}

/// 1,000 tasks that yield 1,000 times each: how long one takes.
pub fn yields<P: Peer>(peer: P) -> f64 {
    yields_of(peer, 1_000)
}

/// So many times each.
pub fn yields_of<P: Peer>(peer: P, yields: u32) -> f64 {
    const TASKS: u32 = 1_000;
    let elapsed = peer.run(async move {
        let start = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                peer.spawn(async move {
                    for _ in 0..yields {
                        P::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        start.elapsed()
    });
    per(elapsed, TASKS * yields)
}

/// Two tasks and two channels that hold one message: how long there and back takes.
pub fn ping_pong<P: Peer>(peer: P) -> f64 {
    const ROUNDS: u32 = 200_000;
    let elapsed = peer.run(async move {
        let (ping, pinged) = smol::channel::bounded(1);
        let (pong, ponged) = smol::channel::bounded(1);
        let other = peer.spawn(async move {
            while let Ok(round) = pinged.recv().await {
                if pong.send(round).await.is_err() {
                    break;
                }
            }
        });
        let start = Instant::now();
        for round in 0..ROUNDS {
            ping.send(round).await.expect("the other side");
            assert_eq!(ponged.recv().await, Ok(round));
        }
        let elapsed = start.elapsed();
        drop(ping);
        other.await;
        elapsed
    });
    per(elapsed, ROUNDS)
}

/// A thread wakes a task of an idle runtime: how long until it runs.
pub fn foreign_wakes<P: Peer>(peer: P) -> Vec<f64> {
    const WAKES: usize = 5_000;
    let (wake, woken) = smol::channel::bounded::<Instant>(1);
    let (ready, is_ready) = mpsc::channel();
    let waker = thread::spawn(move || {
        for _ in 0..WAKES {
            is_ready.recv().expect("the task");
            // Until the runtime sleeps.
            thread::sleep(Duration::from_micros(100));
            wake.send_blocking(Instant::now()).expect("the task");
        }
    });
    let samples = peer.run(async move {
        let mut samples = Vec::with_capacity(WAKES);
        for _ in 0..WAKES {
            ready.send(()).expect("the thread");
            let asked = woken.recv().await.expect("the thread");
            samples.push(micros(asked.elapsed()));
        }
        samples
    });
    waker.join().expect("the thread");
    samples
}

/// 1,000,000 time-outs that never fire, in 100 tasks: how long one takes.
pub fn time_outs<P: Peer>(peer: P) -> f64 {
    const TASKS: u32 = 100;
    const EACH: u32 = 10_000;
    let elapsed = peer.run(async move {
        let start = Instant::now();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                peer.spawn(async {
                    for _ in 0..EACH {
                        P::in_time(LIMIT, P::yield_now()).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        start.elapsed()
    });
    per(elapsed, TASKS * EACH)
}

/// 100,000 sleeps between 200 and 1,200 ms: the processor time for each, in nanoseconds.
pub fn sleeps<P: Peer>(peer: P) -> f64 {
    const SLEEPS: u32 = 100_000;
    let before = cpu_time();
    peer.run(async move {
        let tasks: Vec<_> = (0..SLEEPS)
            .map(|number| {
                let duration = Duration::from_micros(200_000 + u64::from(number) * 7_919 % 1_000_000);
                peer.spawn(P::sleep_owned(duration))
            })
            .collect();
        for task in tasks {
            task.await;
        }
    });
    per(cpu_time() - before, SLEEPS)
}

/// `P::sleep` as a future of its own.
trait SleepOwned: Peer {
    fn sleep_owned(duration: Duration) -> impl Future<Output = ()> + Send + 'static;
}

impl<P: Peer> SleepOwned for P {
    async fn sleep_owned(duration: Duration) {
        P::sleep(duration).await;
    }
}

async fn serve<P: Peer>(mut stream: P::Stream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = P::read(&mut stream, &mut buffer).await {
        if P::write_all(&mut stream, &buffer[..length]).await.is_err() {
            break;
        }
    }
}

async fn read_exact<P: Peer>(stream: &mut P::Stream, buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        match P::read(stream, &mut buffer[filled..]).await.expect("an answer") {
            0 => panic!("the end"),
            length => filled += length,
        }
    }
}

/// 64 connections with both ends in the runtime: how long there and back takes, of all at once.
pub fn echo<P: Peer>(peer: P) -> f64 {
    echo_of(peer, 1_000)
}

/// So many on each connection.
pub fn echo_of<P: Peer>(peer: P, each: u32) -> f64 {
    const CONNECTIONS: u32 = 64;
    let elapsed = peer.run(async move {
        let (listener, addr) = P::listen().await;
        drop_task(peer.spawn(async move {
            for _ in 0..CONNECTIONS {
                let stream = P::accept(&listener).await;
                drop_task(peer.spawn(serve::<P>(stream)));
            }
        }));
        let start = Instant::now();
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                peer.spawn(async move {
                    let mut stream = P::connect(addr).await;
                    let mut answer = [0; 64];
                    for _ in 0..each {
                        P::write_all(&mut stream, &[7; 64]).await.expect("a question");
                        read_exact::<P>(&mut stream, &mut answer).await;
                    }
                })
            })
            .collect();
        for client in clients {
            client.await;
        }
        start.elapsed()
    });
    per(elapsed, CONNECTIONS * each)
}

/// Lets it go on by itself. smol's tasks end with their handles, so it is forgotten; these are few.
fn drop_task<T>(task: T) {
    std::mem::forget(task);
}

/// Requests that cost `cpu` each, at `load` of two processors, for a while: how long each took.
///
/// They come over 64 connections, at random moments that do not depend on the answers (Poisson), from one thread that
/// is the same for all: bourn's current-thread runtime.
pub fn requests<P: Peer>(peer: P, cpu: Duration, load: f64) -> Vec<f64> {
    const CONNECTIONS: usize = 64;
    const LENGTH: Duration = Duration::from_millis(1_500);
    let (bound, is_bound) = mpsc::channel::<SocketAddr>();
    let (finish, finished) = smol::channel::bounded::<()>(1);
    let clients = thread::spawn(move || {
        let addr = is_bound.recv().expect("the server");
        let samples = bourn::Runtime::new().expect("a runtime").block_on(clients(addr, CONNECTIONS, cpu, load, LENGTH));
        drop(finish);
        samples
    });
    peer.run(async move {
        let (listener, addr) = P::listen().await;
        bound.send(addr).expect("the clients");
        let servers: Vec<_> = {
            let mut servers = Vec::new();
            for _ in 0..CONNECTIONS {
                let mut stream = P::accept(&listener).await;
                servers.push(peer.spawn(async move {
                    let mut request = [0; 64];
                    while let Ok(1..) = P::read(&mut stream, &mut request).await {
                        compute(cpu);
                        if P::write_all(&mut stream, &request).await.is_err() {
                            break;
                        }
                    }
                }));
            }
            servers
        };
        assert!(finished.recv().await.is_err());
        for server in servers {
            server.await;
        }
    });
    clients.join().expect("the clients")
}

/// Takes the thread's processor time, not the clock's: a thread that was interrupted has not done its work.
fn compute(cpu: Duration) {
    let start = thread_time();
    while thread_time() - start < cpu {
        std::hint::spin_loop();
    }
}

async fn clients(addr: SocketAddr, connections: usize, cpu: Duration, load: f64, length: Duration) -> Vec<f64> {
    let samples = Arc::new(Mutex::new(Vec::new()));
    let (idle, is_idle) = smol::channel::unbounded();
    for _ in 0..connections {
        idle.try_send(bourn::net::TcpStream::connect(addr).await.expect("a connection")).expect("room");
    }
    bourn::time::sleep(Duration::from_millis(50)).await;
    let mean = cpu.as_secs_f64() / (2.0 * load);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let start = Instant::now();
    let mut next = start;
    let mut asked = Vec::new();
    while start.elapsed() < length {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let uniform = (random >> 11) as f64 / (1u64 << 53) as f64;
        next += Duration::from_secs_f64(-mean * (1.0 - uniform).ln());
        bourn::time::sleep_until(next).await;
        let (samples, idle, is_idle, at) = (samples.clone(), idle.clone(), is_idle.clone(), next);
        asked.push(bourn::spawn(async move {
            // Waits, and is the later for it, if all are busy.
            let stream: bourn::net::TcpStream = is_idle.recv().await.expect("a connection");
            stream.write_all(&[7; 64]).await.expect("a request");
            stream.read_exact(&mut [0; 64]).await.expect("an answer");
            samples.lock().expect("the samples").push(micros(at.elapsed()));
            idle.try_send(stream).expect("room");
        }));
    }
    for request in asked {
        request.await.expect("a request");
    }
    std::mem::take(&mut *samples.lock().expect("the samples"))
}

/// Bytes on the heap for each task that waits for ever, with its handle dropped.
pub fn task_bytes<P: Peer>(peer: P) -> f64 {
    const TASKS: usize = 100_000;
    peer.run(async move {
        let before = memory::live();
        for _ in 0..TASKS {
            drop_task(peer.spawn(std::future::pending::<()>()));
        }
        settle::<P>().await;
        (memory::live() - before) as f64 / TASKS as f64
    })
}

/// Bytes on the heap for each connection that a task reads from with a buffer of 16 bytes, the task included.
pub fn connection_bytes<P: Peer>(peer: P) -> f64 {
    const CONNECTIONS: usize = 2_000;
    let (bound, is_bound) = mpsc::channel::<SocketAddr>();
    let (done, is_done) = mpsc::channel::<()>();
    let clients = thread::spawn(move || {
        let addr = is_bound.recv().expect("the server");
        let streams: Vec<_> =
            (0..CONNECTIONS).map(|_| std::net::TcpStream::connect(addr).expect("a connection")).collect();
        let _ = is_done.recv();
        drop(streams);
    });
    let bytes = peer.run(async move {
        let (listener, addr) = P::listen().await;
        bound.send(addr).expect("the clients");
        // The first ones, with whatever is made once.
        let mut before = 0;
        for number in 0..CONNECTIONS {
            if number == CONNECTIONS / 2 {
                settle::<P>().await;
                before = memory::live();
            }
            let mut stream = P::accept(&listener).await;
            drop_task(peer.spawn(async move { while let Ok(1..) = P::read(&mut stream, &mut [0; 16]).await {} }));
        }
        settle::<P>().await;
        let bytes = (memory::live() - before) as f64 / (CONNECTIONS / 2) as f64;
        drop(done);
        bytes
    });
    clients.join().expect("the clients");
    bytes
}

/// Until every task has been polled.
async fn settle<P: Peer>() {
    for _ in 0..100 {
        P::yield_now().await;
    }
    P::sleep(Duration::from_millis(200)).await;
}

fn per(time: Duration, count: u32) -> f64 {
    time.as_nanos() as f64 / f64::from(count)
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1_000.0
}

fn thread_time() -> Duration {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

//! Ten waves of 9,000 connections: no descriptor is left, and no memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bourn::net::{TcpListener, TcpStream};
use bourn::runtime::{Builder, Runtime};
use bourn_heavy::{child, descriptors, is_child, resident, succeeded, watched};

const WAVES: usize = 10;
const CONNECTIONS: usize = 9_000;
/// How many connects are under way at most.
const AT_ONCE: usize = 2_000;

/// Both ends of all connections are this process's.
fn raise_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is written to.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is read.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let wanted = 2 * CONNECTIONS as u64 + 100;
    assert!(limit.rlim_max >= wanted, "{} descriptors are allowed, {wanted} needed", limit.rlim_max);
}

/// Counts what is allocated and not freed: what the system's allocator keeps for
/// itself, above all beside several threads, is no leak of ours.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller says.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

async fn serve(listener: TcpListener) {
    let mut incoming = listener.incoming();
    loop {
        let stream = incoming.next().await.expect("a connection");
        bourn::spawn(async move {
            let mut buf = [0; 8];
            while stream.read_exact(&mut buf).await.is_ok() {
                stream.write_all(&buf).await?;
            }
            std::io::Result::Ok(())
        });
    }
}

/// Connects as long as the wave is not complete.
async fn clients(addr: SocketAddr, begun: Arc<AtomicUsize>) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    loop {
        let number = begun.fetch_add(1, Ordering::Relaxed);
        if number >= CONNECTIONS {
            return streams;
        }
        let stream = TcpStream::connect(addr).await.expect("it listens");
        stream.write_all(&number.to_ne_bytes()).await.expect("there is room");
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await.expect("an echo");
        assert_eq!(answer, number.to_ne_bytes());
        streams.push(stream);
    }
}

async fn wave(before: usize) {
    // A port for each wave, or those of the clients would run out (TIME_WAIT).
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let addr = listener.local_addr().expect("bound");
    let server = bourn::spawn(serve(listener));
    let begun = Arc::new(AtomicUsize::new(0));
    let tasks: Vec<_> = (0..AT_ONCE).map(|_| bourn::spawn(clients(addr, begun.clone()))).collect();
    let mut streams = Vec::new();
    for task in tasks {
        streams.extend(task.await.expect("no panic"));
    }
    assert_eq!(streams.len(), CONNECTIONS);
    assert!(descriptors() >= before + 2 * CONNECTIONS, "they are open all at once");
    drop(streams);
    server.abort();
    assert!(server.await.expect_err("it has no end").is_cancelled());
    while descriptors() > before {
        bourn::time::sleep(Duration::from_millis(1)).await;
    }
}

/// With one arena, for the system's allocator has one for each thread otherwise, and what
/// one wave frees in the arena of one thread, the next may want in another's: they go on
/// growing by chance, though no more is live.
///
/// More than `percent` of what is resident may not be added. (What is live is counted exactly.)
fn waves(name: &str, percent: usize, build: impl FnOnce() -> Runtime) {
    if !is_child() {
        let output = child(name, &["env", "MALLOC_ARENA_MAX=1"]).output().expect("a child");
        print!("{}", succeeded(output));
        return;
    }
    raise_limit();
    watched(name, || {
        build().block_on(async {
            // What is made once is made.
            bourn::time::sleep(Duration::from_millis(1)).await;
            let before = descriptors();
            let mut second = (0, 0);
            let mut last = (0, 0);
            let mut resident_after = Vec::new();
            for number in 1..=WAVES {
                wave(before).await;
                last = (LIVE.load(Ordering::Relaxed), resident());
                resident_after.push(last.1);
                println!("after wave {number}: {} KiB live, {} KiB resident", last.0 / 1024, last.1 / 1024);
                if number == 2 {
                    second = last;
                }
            }
            // What the wave that is largest yet leaves behind is room in tables. One
            // object for each connection would be far more.
            let more = last.0.saturating_sub(second.0);
            assert!(more < (WAVES - 2) * CONNECTIONS * 16, "{more} bytes more are live than after the second wave");
            // The middle one of several, for it goes up and down with the stacks of threads.
            let [early, late] = [1..WAVES / 2, WAVES / 2..WAVES].map(|waves| {
                let mut some = resident_after[waves].to_vec();
                some.sort_unstable();
                some[some.len() / 2]
            });
            assert!(late * 100 <= early * (100 + percent), "{late} bytes are resident, {early} in the first half");
        });
    });
}

#[test]
fn ten_waves_of_nine_thousand_on_one_thread() {
    waves("ten_waves_of_nine_thousand_on_one_thread", 5, || {
        Builder::new_current_thread().backend(bourn::Backend::Epoll).build().expect("a runtime")
    });
}

#[test]
fn ten_waves_of_nine_thousand_on_workers() {
    // Where the pieces lie depends on which thread has freed them.
    waves("ten_waves_of_nine_thousand_on_workers", 10, || {
        Builder::new_multi_thread().worker_threads(2).on_stall(|_| {}).build().expect("a runtime")
    });
}

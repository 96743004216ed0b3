//! Sockets and timers on many workers.

mod harness;

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bourn::net::{TcpListener, TcpStream};
use bourn::runtime::{Builder, Runtime};
use bourn::time::sleep;

fn runtimes() -> impl Iterator<Item = Runtime> {
    [(1, 4), (2, 4), (4, 1), (8, 4)].into_iter().map(|(workers, group)| {
        Builder::new_multi_thread()
            .worker_threads(workers)
            .workers_per_reactor(group)
            .on_stall(|_| {})
            .build()
            .expect("a runtime")
    })
}

async fn echo(stream: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        stream.write_all(&buffer[..length]).await.expect("an echo");
    }
}

async fn serve() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let addr = listener.local_addr().expect("its address");
    bourn::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            bourn::spawn(echo(stream));
        }
    });
    addr
}

async fn ask(stream: &TcpStream, rounds: u32) {
    let mut answer = [0; 4];
    for round in 0..rounds {
        stream.write_all(&round.to_le_bytes()).await.expect("a question");
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(u32::from_le_bytes(answer), round);
    }
}

#[test]
fn echo_on_any_number_of_workers() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let addr = serve().await;
            let clients: Vec<_> = (0..20)
                .map(|_| {
                    bourn::spawn(async move {
                        let stream = TcpStream::connect(addr).await.expect("a connection");
                        ask(&stream, 200).await;
                    })
                })
                .collect();
            for client in clients {
                client.await.expect("a client");
            }
        });
    }
}

#[test]
fn sleeps_on_any_number_of_workers_are_never_early() {
    for runtime in runtimes() {
        let fired = Arc::new(AtomicUsize::new(0));
        runtime.block_on(async {
            let tasks: Vec<_> = (0..500u64)
                .map(|number| {
                    let fired = fired.clone();
                    bourn::spawn(async move {
                        let (start, length) = (Instant::now(), Duration::from_micros(number * 100));
                        sleep(length).await;
                        assert!(start.elapsed() >= length);
                        fired.fetch_add(1, SeqCst);
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("a sleeper");
            }
        });
        assert_eq!(fired.load(SeqCst), 500);
    }
}

/// The promise: any number of workers may block.
#[test]
fn a_ticker_and_an_echo_go_on_beside_blocked_workers() {
    let runtime = Builder::new_multi_thread().worker_threads(4).on_stall(|_| {}).build().expect("a runtime");
    // In a task: the future of `block_on` can not be run elsewhere if its thread picks a blocker up.
    let test = runtime.spawn(async {
        let addr = serve().await;
        let stream = TcpStream::connect(addr).await.expect("a connection");
        ask(&stream, 1).await;
        // Long beside what a busy machine adds to a detection.
        let block = Duration::from_secs(2);
        let blocked: Vec<_> = (0..6).map(|_| bourn::spawn(async move { thread::sleep(block) })).collect();
        let ticker = bourn::spawn(async move {
            let (start, mut worst) = (Instant::now(), Duration::ZERO);
            while start.elapsed() < block {
                let asked = Instant::now();
                sleep(Duration::from_millis(20)).await;
                worst = worst.max(asked.elapsed() - Duration::from_millis(20));
            }
            worst
        });
        let asked = Instant::now();
        ask(&stream, 100).await;
        // Far less than the blockers last; each question may meet one detection at most.
        assert!(asked.elapsed() < block / 2, "the echo took {:?}", asked.elapsed());
        let worst = ticker.await.expect("the ticker");
        assert!(worst < block / 4, "the ticker was {worst:?} late");
        for task in blocked {
            task.await.expect("a blocker");
        }
    });
    runtime.block_on(test).expect("the test");
    assert!(runtime.metrics().rescues > 0);
}

/// A worker that comes from the reactor with one task leaves nobody there, while the other naps.
#[test]
fn timers_go_on_while_the_worker_that_waited_for_them_blocks() {
    let runtime = Builder::new_multi_thread().worker_threads(2).on_stall(|_| {}).build().expect("a runtime");
    let block = Duration::from_secs(2);
    let blocker = runtime.spawn(async move {
        sleep(Duration::from_millis(20)).await;
        thread::sleep(block);
        Instant::now()
    });
    let sleeper = runtime.spawn(async move {
        sleep(Duration::from_millis(50)).await;
        Instant::now()
    });
    // Not on this thread: inside `block_on` it would help.
    let end = futures_lite::future::block_on(blocker).expect("the blocker");
    let slept = futures_lite::future::block_on(sleeper).expect("the sleeper");
    assert!(slept + block / 2 < end, "the timer fired only {:?} before the end", end - slept);
}

#[test]
fn a_socket_moves_from_one_runtime_to_another() {
    let first = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let second = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let addr = second.block_on(serve());
    let stream = first.block_on(async {
        bourn::spawn(async move {
            let stream = TcpStream::connect(addr).await.expect("a connection");
            ask(&stream, 10).await;
            stream
        })
        .await
        .expect("a stream")
    });
    drop(first);
    second.block_on(async { bourn::spawn(async move { ask(&stream, 10).await }).await.expect("the second half") });
}

#[test]
fn runtimes_come_and_go_with_sockets_in_them() {
    for round in 0..if cfg!(debug_assertions) { 200 } else { 1_000 } {
        let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        if round % 4 == 0 {
            runtime.block_on(async {
                let addr = serve().await;
                let stream = TcpStream::connect(addr).await.expect("a connection");
                ask(&stream, 1).await;
                // Waits for ever; is dropped in the middle of it.
                bourn::spawn(async move { stream.read(&mut [0; 4]).await });
            });
        }
    }
}

#[test]
fn a_shutdown_in_async_code_waits_for_nothing() {
    let inner = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let task = inner.spawn(std::future::pending::<()>());
    bourn::block_on(async move {
        inner.shutdown_background();
        assert!(task.await.expect_err("a cancelled task").is_cancelled());
    });
}

#[bourn::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_attribute_makes_workers() {
    let task = bourn::spawn(async { thread::current().name().map(str::to_owned) });
    assert!(task.await.is_ok());
    let blocked = bourn::spawn(async { bourn::task::block_in_place(|| 7) });
    assert_eq!(blocked.await.expect("a result"), 7);
    assert_eq!(bourn::Handle::current().metrics().workers.len(), 3);
}

/// What a task's destructor finds when the runtime ends.
#[test]
fn tasks_are_dropped_inside_their_runtime() {
    struct Probe(Arc<AtomicUsize>);
    impl Drop for Probe {
        fn drop(&mut self) {
            self.0.fetch_add(if bourn::runtime::Handle::try_current().is_some() { 1 } else { 100 }, SeqCst);
        }
    }
    let found = Arc::new(AtomicUsize::new(0));
    let wait = |probe: Probe| async move {
        let _probe = probe;
        std::future::pending::<()>().await;
    };
    let runtimes = || {
        let builders = [Builder::new_current_thread(), Builder::new_multi_thread(), Builder::new_thread_per_core()];
        builders.into_iter().map(|builder| {
            let runtime = builder.worker_threads(2).build().unwrap();
            runtime.spawn(wait(Probe(found.clone())));
            runtime.block_on(bourn::task::yield_now());
            runtime
        })
    };
    runtimes().for_each(drop);
    for runtime in runtimes() {
        assert!(runtime.shutdown_timeout(Duration::from_secs(60)).is_empty());
    }
    let local = bourn::runtime::LocalRuntime::new().unwrap();
    local.spawn_local(wait(Probe(found.clone())));
    local.block_on(bourn::task::yield_now());
    drop(local);
    assert_eq!(found.load(SeqCst), 7);
}

/// The thread of `block_on` may wait in the reactor until something comes that is not its own; then a worker does, and
/// serves: not two threads that wake each other for each event.
#[test]
fn a_main_future_that_waits_leaves_the_sockets_to_the_workers() {
    const ROUNDS: u32 = 1_000;
    harness::watched("a main future that waits", || {
        let runtime = Builder::new_multi_thread().worker_threads(1).on_stall(|_| {}).build().expect("a runtime");
        // The worker is held until the first answer, so that it is the main thread that waits in the reactor.
        let (hold, held) = mpsc::channel::<()>();
        let (tell, is_held) = mpsc::channel();
        runtime.spawn(async move {
            tell.send(()).expect("the test");
            assert!(held.recv().is_err(), "it is let go, not sent anything");
        });
        is_held.recv().expect("the worker");
        let (handle, rests) = (runtime.handle().clone(), runtime.metrics().workers[0].parks);
        let (main, on_main) = (thread::current().id(), Arc::new(AtomicUsize::new(0)));
        let count = on_main.clone();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
            let addr = listener.local_addr().expect("its address");
            let client = thread::spawn(move || {
                let mut stream = std::net::TcpStream::connect(addr).expect("a connection");
                let mut hold = Some(hold);
                for round in 0..ROUNDS {
                    let mut answer = [0; 4];
                    stream.write_all(&round.to_le_bytes()).expect("a question");
                    stream.read_exact(&mut answer).expect("an answer");
                    if hold.take().is_some() {
                        // It naps, for the main thread is in the reactor.
                        while handle.metrics().workers[0].parks == rests {
                            thread::yield_now();
                        }
                    }
                }
            });
            let (stream, _) = listener.accept().await.expect("a connection");
            let server = bourn::spawn(async move {
                let mut message = [0; 4];
                while stream.read_exact(&mut message).await.is_ok() {
                    count.fetch_add(usize::from(thread::current().id() == main), SeqCst);
                    stream.write_all(&message).await.expect("an answer");
                }
            });
            server.await.expect("a server");
            client.join().expect("a client");
        });
        let on_main = on_main.load(SeqCst);
        assert!(on_main < ROUNDS as usize / 4, "{on_main} of {ROUNDS} messages were served on the main thread");
    });
}

/// Who is found to poll long leaves the reactor to a worker that rests, without help from the sentinel.
#[test]
fn long_polls_keep_no_event_waiting() {
    const TRIES: usize = 20;
    let runtime =
        Builder::new_multi_thread().worker_threads(2).rescue(false).on_stall(|_| {}).build().expect("a runtime");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let served = Arc::new(AtomicUsize::new(0));
    let (ask, asked) = mpsc::channel();
    let count = Arc::clone(&served);
    runtime.spawn(async move {
        theirs.set_nonblocking(true).expect("a socket that does not block");
        let stream = bourn::net::UnixStream::from_std(theirs).expect("a stream");
        while let Ok(1..) = stream.read(&mut [0]).await {
            count.fetch_add(1, SeqCst);
        }
    });
    let computing = runtime.spawn(async move {
        let mut in_time = 0;
        for round in 0..80 + TRIES {
            sleep(Duration::from_millis(1)).await;
            let (begun, before) = (Instant::now(), served.load(SeqCst));
            if round < 80 {
                while begun.elapsed() < Duration::from_millis(1) {}
                continue;
            }
            ask.send(()).expect("somebody who asks");
            // No task runs on this thread meanwhile.
            while served.load(SeqCst) == before && begun.elapsed() < Duration::from_millis(200) {
                thread::sleep(Duration::from_micros(100));
            }
            in_time += usize::from(served.load(SeqCst) != before);
        }
        in_time
    });
    // From outside, for a caller in `block_on` may be in the reactor.
    for () in asked {
        (&ours).write_all(&[0]).expect("a question");
    }
    let in_time = runtime.block_on(computing).expect("the tries");
    assert!(in_time > TRIES / 2, "{in_time} of {TRIES} events did not wait for the end of a poll");
}

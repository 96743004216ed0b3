//! A socket belongs to no runtime: it works under whichever waits for it, also when
//! the one before is gone, and on whichever worker, without losing a byte.

mod harness;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::net;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use bourn::net::{TcpListener, TcpStream};
use bourn::runtime::{Builder, Runtime};
use bourn::task::yield_now;
use harness::{flavors, watched};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("a connection");
    let (server, _) = listener.accept().await.expect("a connection");
    (client, server)
}

/// There and back, with a wait for the answer, in a task and in the caller.
fn talk(runtime: &Runtime, client: &Arc<TcpStream>, server: &Arc<TcpStream>, round: u8) {
    runtime.block_on(async {
        let ours = server.clone();
        let answers = bourn::spawn(async move {
            let mut question = [0; 1000];
            ours.read_exact(&mut question).await.expect("a question");
            assert!(question.iter().all(|&byte| byte == round));
            bourn::time::sleep(Duration::from_millis(1)).await;
            ours.write_all(&question).await.expect("an answer");
        });
        yield_now().await;
        client.write_all(&[round; 1000]).await.expect("a question");
        let mut answer = [0; 1000];
        client.read_exact(&mut answer).await.expect("an answer");
        assert!(answer.iter().all(|&byte| byte == round));
        answers.await.expect("the other side");
    });
}

#[test]
fn a_socket_goes_from_runtime_to_runtime() {
    for (first_flavor, first) in flavors() {
        for (second_flavor, second) in flavors() {
            watched(&format!("{first_flavor} and {second_flavor}"), || {
                let first = first.build().expect("a runtime");
                let second = second.build().expect("a runtime");
                let (client, server) = first.block_on(pair());
                let (client, server) = (Arc::new(client), Arc::new(server));
                // Both live: there, here, and back.
                for round in 0..3 {
                    talk(&first, &client, &server, 2 * round);
                    talk(&second, &client, &server, 2 * round + 1);
                }
                talk(&first, &client, &server, 7);
                drop(first);
                talk(&second, &client, &server, 8);
                // Under no runtime of ours at all.
                drop(second);
                futures_lite::future::block_on(async {
                    client.write_all(b"x").await.expect("a question");
                    server.read_exact(&mut [0; 1]).await.expect("it arrives");
                });
            });
        }
    }
}

/// A wait that is under way when its runtime goes on elsewhere.
#[test]
fn a_wait_outlives_the_runtime_it_began_under() {
    for (flavor, builder) in flavors() {
        watched(&flavor, || {
            let first = builder.build().expect("a runtime");
            let second = builder.build().expect("a runtime");
            let (client, server) = first.block_on(pair());
            let (client, server) = (Arc::new(client), Arc::new(server));
            // Registered and waiting there.
            let theirs = server.clone();
            let waits = first.spawn(async move { drop(theirs.read(&mut [0; 1]).await) });
            first.block_on(async {
                while bourn::Handle::current().sources().iter().all(|source| source.readers.is_empty()) {
                    yield_now().await;
                }
            });
            let ours = server.clone();
            let waits_too = second.spawn(async move {
                let mut bytes = [0; 2];
                ours.read_exact(&mut bytes).await.expect("two bytes");
                bytes
            });
            second.block_on(async {
                for _ in 0..10 {
                    yield_now().await;
                }
            });
            drop(first);
            assert!(futures_lite::future::block_on(waits).expect_err("its runtime is gone").is_cancelled());
            second.block_on(async {
                client.write_all(b"ok").await.expect("a write");
                assert_eq!(waits_too.await.expect("the reader"), *b"ok");
            });
        });
    }
}

/// The descriptors of this process's epoll instances that watch `fd` (proc(5), fdinfo).
fn homes(fd: i32) -> HashSet<String> {
    let mut homes = HashSet::new();
    for entry in fs::read_dir("/proc/self/fdinfo").expect("procfs") {
        let entry = entry.expect("an entry");
        // Other tests' descriptors come and go.
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let watches = |line: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some("tfd:") && words.next().and_then(|word| word.parse().ok()) == Some(fd)
        };
        if info.lines().any(watches) {
            homes.insert(entry.file_name().into_string().expect("a number"));
        }
    }
    homes
}

/// Reads in turns with the other side, ten waits each; returns the homes that it saw.
async fn read_in_turns(side: usize, stream: Arc<TcpStream>, progress: Arc<Progress>) -> HashSet<String> {
    let mut seen = HashSet::new();
    let mut buffer = [0; 64];
    loop {
        while progress.turn.load(SeqCst) != side {
            yield_now().await;
        }
        for _ in 0..10 {
            let mut expected = progress.bytes.load(SeqCst);
            if expected == BYTES {
                break;
            }
            let length = stream.read(&mut buffer).await.expect("a read");
            for &byte in &buffer[..length] {
                assert_eq!(byte, (expected % 251) as u8, "byte {expected}");
                expected += 1;
            }
            progress.bytes.store(expected, SeqCst);
            let homes = homes(stream.as_raw_fd());
            assert!(homes.len() <= 1, "watched in {homes:?}");
            seen.extend(homes);
        }
        progress.turn.store(1 - side, SeqCst);
        if progress.bytes.load(SeqCst) == BYTES {
            return seen;
        }
    }
}

const BYTES: usize = 40_000;

#[derive(Default)]
struct Progress {
    turn: AtomicUsize,
    bytes: AtomicUsize,
}

/// Two tasks that may not leave their workers, which have a reactor each, take turns.
#[test]
fn a_socket_that_moves_between_workers_changes_home_and_loses_nothing() {
    watched("a socket that moves", || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .workers_per_reactor(1)
            .backend(bourn::Backend::Epoll)
            .rescue(false)
            .build()
            .expect("a runtime");
        let listener = net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let addr = listener.local_addr().expect("its address");
        let (progress, stream) = (Arc::new(Progress::default()), Arc::new(std::sync::OnceLock::new()));
        // Both workers are here at once, each with one of the tasks.
        let barrier = Arc::new(Barrier::new(2));
        let readers = [0, 1].map(|side| {
            let (barrier, progress, stream) = (barrier.clone(), progress.clone(), stream.clone());
            runtime.spawn(async move {
                barrier.wait();
                bourn::spawn_local(async move {
                    if side == 0 {
                        let connected = TcpStream::connect(addr).await.expect("a connection");
                        assert!(stream.set(Arc::new(connected)).is_ok());
                    }
                    while stream.get().is_none() {
                        yield_now().await;
                    }
                    let stream = stream.get().expect("a connection").clone();
                    read_in_turns(side, stream, progress).await
                })
                .await
                .expect("a reader")
            })
        });
        let (mut writer, _) = listener.accept().expect("a connection");
        writer.set_nodelay(true).expect("an option");
        let bytes: Vec<u8> = (0..BYTES).map(|number| (number % 251) as u8).collect();
        for chunk in bytes.chunks(40) {
            writer.write_all(chunk).expect("a write");
            // So that the reader waits for the next, as a rule.
            let written = chunk.as_ptr_range().end as usize - bytes.as_ptr() as usize;
            while progress.bytes.load(SeqCst) < written {
                thread::yield_now();
            }
        }
        let seen = readers.map(|reader| futures_lite::future::block_on(reader).expect("a reader"));
        assert!(seen.iter().all(|homes| homes.len() == 2), "it stayed where it was: {seen:?}");
    });
}

//! One wait that finds k of n descriptors ready, on each backend; beside it mio's own `Poll`, which tokio waits with.
//! Hypothesis: epoll pays for k, poll and select for n; what a backend adds to the bare call is small against it.

mod harness;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bourn_reactor::{Backend, Interest, Poller};
use criterion::{BenchmarkId, Criterion};
use mio::unix::SourceFd;
use mio::{Events, Poll, Token};

const BACKENDS: [Backend; 4] = [Backend::Epoll, Backend::Poll, Backend::Select, Backend::Mio];

/// How many sources, and how many of them are ready.
const CASES: [(usize, usize); 4] = [(64, 1), (64, 64), (400, 1), (400, 64)];

/// The ends that are waited for, and those that make them ready.
fn pairs(count: usize) -> (Vec<UnixStream>, Vec<UnixStream>) {
    let pair = |_| {
        let (near, far) = UnixStream::pair().expect("a pair");
        near.set_nonblocking(true).expect("an option");
        (near, far)
    };
    (0..count).map(pair).unzip()
}

/// Makes `ready` of them ready, spread over all.
fn fill(far: &mut [UnixStream], ready: usize) {
    let step = far.len() / ready;
    far.iter_mut().step_by(step).take(ready).for_each(|far| far.write_all(b"x").expect("room"));
}

/// Until nothing is there, as an edge asks for.
fn empty(near: &mut UnixStream) {
    let mut byte = [0; 8];
    while near.read(&mut byte).is_ok() {}
}

fn turns(criterion: &mut Criterion) {
    for (sources, ready) in CASES {
        let mut group = criterion.benchmark_group(format!("turn, {ready} of {sources} ready"));
        for backend in BACKENDS {
            let (mut near, mut far) = pairs(sources);
            let poller = Poller::with_backend(backend).expect("a poller");
            for (key, near) in near.iter().enumerate() {
                poller.add(near, key as u64).expect("a descriptor");
            }
            let mut events = Vec::with_capacity(sources);
            // What is writable is told once.
            loop {
                events.clear();
                poller.wait(&mut events, Some(Duration::ZERO)).expect("a wait");
                if events.is_empty() {
                    break;
                }
            }
            group.bench_function(BenchmarkId::from_parameter(format!("bourn {backend}")), |bencher| {
                bencher.iter_custom(|times| {
                    let mut elapsed = Duration::ZERO;
                    for _ in 0..times {
                        fill(&mut far, ready);
                        events.clear();
                        let start = std::time::Instant::now();
                        poller.wait(&mut events, None).expect("a wait");
                        elapsed += start.elapsed();
                        assert_eq!(events.len(), ready);
                        for event in &events {
                            empty(&mut near[event.key as usize]);
                            poller.rearm(event.key, Interest::READ);
                        }
                    }
                    elapsed
                });
            });
        }
        let (mut near, mut far) = pairs(sources);
        let mut poll = Poll::new().expect("a poll");
        for (key, near) in near.iter().enumerate() {
            let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
            poll.registry().register(&mut SourceFd(&near.as_raw_fd()), Token(key), interest).expect("a descriptor");
        }
        let mut events = Events::with_capacity(1024);
        poll.poll(&mut events, Some(Duration::ZERO)).expect("a wait");
        group.bench_function("mio itself", |bencher| {
            bencher.iter_custom(|times| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..times {
                    fill(&mut far, ready);
                    let start = std::time::Instant::now();
                    poll.poll(&mut events, None).expect("a wait");
                    elapsed += start.elapsed();
                    assert_eq!(events.iter().count(), ready);
                    events.iter().for_each(|event| empty(&mut near[event.token().0]));
                }
                elapsed
            });
        });
        group.finish();
    }
}

fn main() {
    harness::ask(turns);
}

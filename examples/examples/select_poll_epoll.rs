//! What one wake-up costs when 10, 100, ... 18,000 descriptors are watched, on each backend of bourn.
//!
//! `select` and `poll` hand the kernel the whole set at every call, `epoll` keeps it there. Rows 19 and 41 of the sockets
//! checklist. The loop uses the public `Poller`: no futures, no tasks.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bourn_examples::picture::{self, Axis};
use bourn_reactor::{Backend, Interest, Poller};

/// select(2) takes no descriptor from 1,024 on, and a few are open already.
const SELECT: usize = 1_000;

fn main() -> picture::Result<()> {
    let limit = rlimit::increase_nofile_limit(u64::MAX)? as usize;
    let most = (limit - 100).min(18_000);
    println!("1. at most {limit} descriptors for this process, so up to {most} are watched");

    // Idle ones: duplicates of the reading end of a pipe into which nobody writes.
    let (idle, _writer) = io::pipe()?;
    let mut curves = Vec::new();
    for (step, backend) in [Backend::Select, Backend::Poll, Backend::Epoll, Backend::Mio].into_iter().enumerate() {
        let mut points = Vec::new();
        let mut watched = Vec::new();
        // Made first, so that select can name them.
        let (mut near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        let poller = Poller::with_backend(backend)?;
        poller.add(&near, 0)?;
        for count in [10, 30, 100, 300, SELECT, 3_000, 10_000, 18_000].map(|count| count.min(most)) {
            if backend == Backend::Select && count > SELECT {
                break;
            }
            while watched.len() < count {
                watched.push(idle.try_clone()?);
                poller.add(&watched[watched.len() - 1], watched.len() as u64)?;
            }
            points.push((count as f64, wake_ups(&poller, &mut near, &far)?));
        }
        let told: Vec<String> = points.iter().map(|(count, cost)| format!("{count}: {cost:.1}")).collect();
        println!("{}. {:<6} us for one wake-up, by watched descriptors: {}", step + 2, backend.name(), told.join(", "));
        curves.push((backend.name(), points));
    }

    let title = "The cost of one wake-up against the number of watched descriptors";
    let x = Axis { label: "watched descriptors, all but one of them idle", logarithmic: true };
    let y = Axis { label: "time for one wake-up (us)", logarithmic: true };
    picture::lines("select_poll_epoll", title, x, y, &curves)?;

    let growth = |curve: usize| {
        let points = &curves[curve].1;
        points[points.len() - 1].1 / points[0].1
    };
    assert!(growth(0) > 3.0, "select pays for each of {SELECT} descriptors: {:.1} times", growth(0));
    assert!(growth(1) > 10.0, "poll pays for each of {most} descriptors: {:.1} times", growth(1));
    assert!(growth(2) < 5.0, "epoll pays for those that are ready: {:.1} times", growth(2));
    println!(
        "6. holds: from 10 to {most} descriptors poll became {:.0} times dearer, epoll {:.1} times",
        growth(1),
        growth(2)
    );
    Ok(())
}

/// Microseconds from "the peer writes" to "the byte has been read": the best of five rounds, for others use this machine.
fn wake_ups(poller: &Poller, near: &mut UnixStream, mut far: &UnixStream) -> io::Result<f64> {
    let mut events = Vec::new();
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        for _ in 0..20 {
            far.write_all(b"x")?;
            events.clear();
            while !events.iter().any(|event: &bourn_reactor::Event| event.key == 0) {
                poller.wait(&mut events, None)?;
            }
            assert_eq!(near.read(&mut [0; 8])?, 1);
            // Dry again: say so, as the contract asks; the next byte is then reported.
            assert!(near.read(&mut [0; 8]).is_err());
            poller.rearm(0, Interest::READ);
        }
        best = best.min(began.elapsed() / 20);
    }
    Ok(best.as_secs_f64() * 1e6)
}

//! The load generator: one thread, in this process, and nothing but system calls in its loops.
//!
//! Each way of asking comes in two kinds, for they change who wins: with one message for each system call, and in bursts.

mod buffers;
mod churn;
mod exchange;
mod flow;
mod slow;

pub use churn::{ChurnBursts, ChurnEach};
pub use exchange::{Bursts, Each, Exchange};
pub use flow::{Direction, FlowBursts, FlowEach};
pub use slow::Slow;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use io_uring::{IoUring, Submitter, types};

use crate::histogram::Histogram;
use crate::{Outcome, sys};

/// After this long without an answer a server counts as hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a slice of time brought.
#[derive(Default)]
pub struct Slice {
    /// Requests, connections or mebibytes.
    pub units: f64,
    pub wall: Duration,
    /// The generator's own processor time.
    pub generator: Duration,
    pub latencies: Histogram,
}

/// Asks one server. Connections stay open between the slices, and idle.
pub trait Load {
    /// Asks for so long, and waits for the last answers.
    ///
    /// # Errors
    /// If an answer is wrong or does not come.
    fn slice(&mut self, duration: Duration) -> Outcome<Slice>;
}

/// How a generator sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// One message for each system call, told by epoll when there is an answer.
    Each,
    /// Batches of io_uring: it waits for a quarter of the answers, and sends as many requests with one system call.
    Bursts,
}

impl Sending {
    pub const ALL: [Sending; 2] = [Sending::Each, Sending::Bursts];

    pub fn name(self) -> &'static str {
        match self {
            Sending::Each => "one by one",
            Sending::Bursts => "bursts",
        }
    }
}

/// Takes the time of a slice, and the generator's.
struct Stopwatch {
    start: Instant,
    processor: Duration,
    end: u64,
}

impl Stopwatch {
    fn start(duration: Duration) -> Outcome<Stopwatch> {
        let processor = sys::own_processor_time()?;
        Ok(Stopwatch { start: Instant::now(), processor, end: duration.as_nanos() as u64 })
    }

    /// Nanoseconds since the start.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn is_over(&self, now: u64) -> bool {
        now >= self.end
    }

    fn stop(self, units: f64, latencies: Histogram) -> Outcome<Slice> {
        let wall = self.start.elapsed();
        Ok(Slice { units, wall, generator: sys::own_processor_time()? - self.processor, latencies })
    }
}

/// A ring whose completions are looked for only when this thread asks.
fn ring(entries: usize) -> Outcome<IoUring> {
    let entries = (entries as u32).next_power_of_two();
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(entries)
        .map_err(|error| format!("no io_uring: {error}").into())
}

/// Submits, and waits for so many completions.
fn submit_and_wait(ring: &IoUring, wanted: usize) -> io::Result<()> {
    wait_for(&ring.submitter(), wanted)
}

/// The same of a ring that was taken apart.
fn wait_for(submitter: &Submitter<'_>, wanted: usize) -> io::Result<()> {
    let patience = types::Timespec::from(PATIENCE);
    let limit = types::SubmitArgs::new().timespec(&patience);
    loop {
        // ETIME: an answer is missing.
        match submitter.submit_with_args(wanted, &limit) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(drop),
        }
    }
}

/// Whether the kernel lets us use io_uring at all, and if not, why.
pub fn bursts_are_possible() -> Outcome<()> {
    ring(8).map(drop)
}

/// An answer that is not the one that was due.
fn wrong(address: SocketAddr, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
    format!("the server at {address} answers wrongly: {what}").into()
}

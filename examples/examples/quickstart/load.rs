//! The clients: as many connections at once, each asking again as soon as it has
//! its answer.
//!
//! They are tasks on bourn as well, on one thread, the same for every server.
//! Tasks of one thread can share their statistics without any lock.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bourn::Backend;
use bourn::net::TcpStream;
use bourn::runtime::Builder;
use bourn::spawn_local;
use bourn::time::{interval_at, timeout_at};

use crate::http::verify_greeting;
use crate::usage::Usage;

/// How long clients may take to connect, and then ask.
const CONNECT: Duration = Duration::from_secs(3);
const ASK: Duration = Duration::from_secs(4);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// More than the answer needs.
const ANSWER: usize = 1024;

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How long each answer took, in microseconds, the fastest first.
    pub latencies: Vec<u32>,
    pub clients: usize,
    /// How many clients got at least one answer.
    pub served: usize,
    pub failures: Failures,
    pub elapsed: Duration,
    pub usage: Option<Usage>,
}

/// Clients that did not get along with the server; waiting in vain does not count.
#[derive(Debug, Default)]
pub struct Failures {
    pub count: usize,
    pub first: Option<io::Error>,
}

impl Failures {
    /// Counts one more client, and keeps the first one's error.
    pub fn add(&mut self, error: io::Error) {
        self.count += 1;
        self.first.get_or_insert(error);
    }
}

/// What the clients have seen so far.
#[derive(Default)]
struct Tally {
    latencies: Vec<u32>,
    served: usize,
    failures: Failures,
}

/// Puts `clients` connections on the server at `addr`. `usage` is asked once, when
/// the load is over and every connection still open.
///
/// # Errors
/// If the clients have no runtime to run in; what happens to a client is part of
/// the outcome.
pub fn run(addr: SocketAddr, clients: usize, usage: impl FnOnce() -> Option<Usage>) -> io::Result<Outcome> {
    // `BOURN_BACKEND` is for the server: the clients are the same, whatever it says.
    let runtime = Builder::new_current_thread().backend(Backend::default()).build()?;
    runtime.block_on(async {
        let tally = Rc::new(RefCell::new(Tally::default()));
        let streams = connect(addr, clients, &tally).await?;
        eprintln!("  {} of {clients} clients are connected", streams.len());

        let start = Instant::now();
        let progress = spawn_local(report_progress(start, Rc::clone(&tally)));
        let tasks: Vec<_> =
            streams.into_iter().map(|stream| spawn_local(be_client(stream, start + ASK, Rc::clone(&tally)))).collect();
        let mut streams = Vec::with_capacity(clients);
        for task in tasks {
            streams.push(task.await.map_err(io::Error::other)?);
        }
        let elapsed = start.elapsed();
        progress.abort();

        let usage = usage();
        drop(streams);
        let mut tally = tally.take();
        tally.latencies.sort_unstable();
        Ok(Outcome {
            latencies: tally.latencies,
            clients,
            served: tally.served,
            failures: tally.failures,
            elapsed,
            usage,
        })
    })
}

/// Connects all clients at once; returns those who succeeded in time.
async fn connect(addr: SocketAddr, clients: usize, tally: &RefCell<Tally>) -> io::Result<Vec<TcpStream>> {
    let deadline = Instant::now() + CONNECT;
    let attempts: Vec<_> = (0..clients).map(|_| spawn_local(timeout_at(deadline, TcpStream::connect(addr)))).collect();
    let mut streams = Vec::with_capacity(clients);
    for attempt in attempts {
        match attempt.await.map_err(io::Error::other)? {
            Ok(Ok(stream)) => streams.push(stream),
            Ok(Err(error)) => tally.borrow_mut().failures.add(error),
            // Nobody took the connection, like those who are taken and never served.
            Err(_elapsed) => {}
        }
    }
    Ok(streams)
}

/// One client until `deadline`. The connection is returned open: the server is to
/// be measured with all of them.
async fn be_client(stream: TcpStream, deadline: Instant, tally: Rc<RefCell<Tally>>) -> TcpStream {
    if let Ok(Err(error)) = timeout_at(deadline, ask_forever(&stream, &tally)).await {
        tally.borrow_mut().failures.add(error);
    }
    stream
}

async fn ask_forever(stream: &TcpStream, tally: &RefCell<Tally>) -> io::Result<()> {
    let mut is_first = true;
    loop {
        let asked = Instant::now();
        stream.write_all(REQUEST).await?;
        receive_answer(stream).await?;

        let mut tally = tally.borrow_mut();
        tally.latencies.push(asked.elapsed().as_micros().try_into().unwrap_or(u32::MAX));
        if std::mem::take(&mut is_first) {
            tally.served += 1;
        }
    }
}

async fn receive_answer(stream: &TcpStream) -> io::Result<()> {
    let mut answer = [0; ANSWER];
    let mut filled = 0;
    while !verify_greeting(&answer[..filled])? {
        match stream.read(&mut answer[filled..]).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            length => filled += length,
        }
    }
    Ok(())
}

async fn report_progress(start: Instant, tally: Rc<RefCell<Tally>>) {
    let second = Duration::from_secs(1);
    let mut seconds = interval_at(start + second, second);
    loop {
        let tick = seconds.tick().await;
        let tally = tally.borrow();
        eprintln!(
            "  {} s: {} answers, {} clients served",
            tick.duration_since(start).as_secs(),
            tally.latencies.len(),
            tally.served
        );
    }
}

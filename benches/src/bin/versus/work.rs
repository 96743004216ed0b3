//! Requests that cost processor time, at random moments; and tasks that block.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::histogram::Histogram;
use crate::measure::Plan;
use crate::peer::{BOURN, LIMIT, MANY, Peer, Server, Service, TOKIO};
use crate::report::{Section, Verdict, micros, spread};
use crate::sys::{self, Epoll};

const MESSAGE: usize = 64;
const CONNECTIONS: usize = 64;
/// After this long without an answer a server counts as hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a message asks for: see `work` of the servers' common crate.
fn request(kind: u8, number: u64) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    message[0] = kind;
    message[8..16].copy_from_slice(&number.to_le_bytes());
    message
}

const COMPUTE: u8 = 1;
const SLEEP: u8 = 2;

/// Connections to one server, of which each waits for one answer at most.
struct Asker {
    address: SocketAddr,
    epoll: Epoll,
    streams: Vec<TcpStream>,
    /// When the request was due that each connection has under way.
    due: Vec<Option<Duration>>,
    got: Vec<usize>,
    sent: Vec<[u8; MESSAGE]>,
}

impl Asker {
    fn new(address: SocketAddr, connections: usize) -> Outcome<Asker> {
        let epoll = Epoll::new()?;
        let mut streams = Vec::new();
        for index in 0..connections {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            epoll.add(stream.as_raw_fd(), sys::READ | sys::EDGES, index)?;
            streams.push(stream);
        }
        let (due, got) = (vec![None; connections], vec![0; connections]);
        Ok(Asker { address, epoll, streams, due, got, sent: vec![[0; MESSAGE]; connections] })
    }

    fn ask(&mut self, connection: usize, message: [u8; MESSAGE], due: Duration) -> Outcome<()> {
        if sys::send(self.streams[connection].as_raw_fd(), &message)? != MESSAGE {
            return Err("there is no room for a message".into());
        }
        self.sent[connection] = message;
        self.due[connection] = Some(due);
        Ok(())
    }

    /// Waits no longer than the limit, and gives connections that were answered, with when they had been due.
    fn wait(&mut self, limit: Duration, answered: &mut Vec<(usize, Duration)>) -> Outcome<()> {
        answered.clear();
        let count = self.epoll.wait(limit)?;
        let mut buffer = [0; MESSAGE];
        for event in 0..count {
            let (index, _) = self.epoll.event(event);
            let got = self.got[index];
            let read = match sys::recv(self.streams[index].as_raw_fd(), &mut buffer[..MESSAGE - got]) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            let rest = self.sent[index].get(got..got + read);
            let due = self.due[index];
            let (Some(due), true) = (due, read > 0 && rest == Some(&buffer[..read])) else {
                return Err(format!("the server at {} answers wrongly", self.address).into());
            };
            self.got[index] += read;
            if self.got[index] == MESSAGE {
                self.got[index] = 0;
                self.due[index] = None;
                answered.push((index, due));
            }
        }
        Ok(())
    }
}

/// Moments of a Poisson process, the same for every server.
struct Moments {
    state: u64,
    mean: Duration,
}

impl Moments {
    /// A small seed would begin with a gap of twenty means.
    fn new(seed: u64, mean: Duration) -> Moments {
        Moments { state: (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15), mean }
    }

    fn next(&mut self) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let uniform = ((self.state >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        self.mean.mul_f64(-uniform.ln())
    }
}

/// Requests of so many steps at random moments, for so long; latencies from when each was due.
fn open_loop(asker: &mut Asker, steps: u64, mut moments: Moments, duration: Duration) -> Outcome<Histogram> {
    let mut latencies = Histogram::default();
    let start = Instant::now();
    let mut free: Vec<usize> = (0..asker.streams.len()).collect();
    let mut late = VecDeque::new();
    let mut next = moments.next();
    let mut open = 0;
    let mut answered = Vec::new();
    loop {
        let now = start.elapsed();
        while next <= now && next < duration {
            late.push_back(next);
            next += moments.next();
        }
        while let (Some(&due), Some(&connection)) = (late.front(), free.last()) {
            asker.ask(connection, request(COMPUTE, steps), due)?;
            late.pop_front();
            free.pop();
            open += 1;
        }
        let is_over = next >= duration && late.is_empty();
        if is_over && open == 0 {
            return Ok(latencies);
        }
        let limit = if is_over { PATIENCE } else { next.saturating_sub(start.elapsed()).min(PATIENCE) };
        asker.wait(limit, &mut answered)?;
        if answered.is_empty() && is_over {
            return Err(format!("the server at {} does not answer", asker.address).into());
        }
        let now = start.elapsed();
        for &(connection, due) in &answered {
            latencies.record(now.saturating_sub(due).as_nanos() as u64);
            free.push(connection);
            open -= 1;
        }
    }
}

/// How many steps take a millisecond, by the processor time of a server that takes many.
fn steps_in_a_millisecond() -> Outcome<f64> {
    let service = Service { name: "work", buffer: 4096, workers: 1 };
    let server = Server::start(&MANY[0], service, false)?;
    let mut asker = Asker::new(server.address, 1)?;
    let steps = 20_000_000;
    let before = server.processor_time()?;
    let mut answered = Vec::new();
    for _ in 0..3 {
        asker.ask(0, request(COMPUTE, steps), Duration::ZERO)?;
        while answered.is_empty() {
            asker.wait(PATIENCE, &mut answered)?;
        }
        answered.clear();
    }
    let spent = server.settled()? - before;
    server.end()?;
    Ok(3.0 * steps as f64 / (spent.as_secs_f64() * 1000.0))
}

/// Who is asked: who shares work among workers, and the limit to see what that is worth.
fn peers() -> Vec<Peer> {
    let shares = [LIMIT, BOURN, TOKIO, "smol", "bourn, thread_per_core"];
    MANY.iter().filter(|peer| shares.contains(&peer.name)).copied().collect()
}

struct Answered {
    p50: Vec<f64>,
    p99: Vec<f64>,
    all: Histogram,
}

/// Requests of 0.2 and 1 ms at three loads, with two and four workers.
pub fn requests(plan: Plan) -> Outcome<Section> {
    let mut section = Section::new("work", "Requests that cost processor time");
    let per_millisecond = steps_in_a_millisecond()?;
    let processors = sys::processors().len();
    section.say(&format!(
        "Over {CONNECTIONS} connections, at random moments (Poisson, the same for all servers), the load being a share of\n\
         the {processors} processors, which the generator uses, too. Microseconds from when a request was due to its answer:\n\
         percentiles of all rounds; ratios of rounds, the median and in brackets the middle half. Nothing is pinned.\n\n",
    ));
    section.table(&["cost, load, workers", "server", "p50 us", "p99 us", "p50 over tokio", "p99 over tokio"]);
    sys::pin(sys::processors())?;
    for workers in [2, 4] {
        for cost in [0.2, 1.0] {
            for load in [30, 50, 70] {
                let title = format!("{cost} ms, {load} %, {workers} workers");
                let mean = Duration::from_secs_f64(cost / 1000.0 / (f64::from(load) / 100.0) / processors as f64);
                let steps = (cost * per_millisecond) as u64;
                let service = Service { name: "work", buffer: 4096, workers };
                let mut all = Vec::new();
                for peer in peers() {
                    let server = Server::start(&peer, service, false)?;
                    let mut asker = Asker::new(server.address, CONNECTIONS)?;
                    open_loop(&mut asker, steps, Moments::new(0, mean), plan.slice / 4)?;
                    all.push((
                        peer,
                        server,
                        asker,
                        Answered { p50: Vec::new(), p99: Vec::new(), all: Histogram::default() },
                    ));
                }
                for round in 0..plan.rounds {
                    for (peer, _, asker, answered) in &mut all {
                        let moments = Moments::new(round as u64 + 1, mean);
                        let latencies = open_loop(asker, steps, moments, plan.slice)
                            .map_err(|error| format!("{title}, {}: {error}", peer.name))?;
                        if latencies.count() == 0 {
                            return Err(format!("{title}, {}: no request fell into a slice", peer.name).into());
                        }
                        answered.p50.push(latencies.per_mille(500).as_secs_f64() * 1e6);
                        answered.p99.push(latencies.per_mille(990).as_secs_f64() * 1e6);
                        answered.all.merge(&latencies);
                    }
                }
                let tokio = all.iter().find(|(peer, ..)| peer.name == TOKIO).ok_or("tokio is not asked")?;
                let tokio = (tokio.3.p50.clone(), tokio.3.p99.clone());
                for (peer, server, asker, answered) in all {
                    drop(asker);
                    server.end()?;
                    let over = |mine: &[f64], theirs: &[f64]| -> Vec<f64> {
                        mine.iter().zip(theirs).map(|(mine, theirs)| mine / theirs).collect()
                    };
                    let (p50, p99) = (over(&answered.p50, &tokio.0), over(&answered.p99, &tokio.1));
                    section.row(&[
                        title.clone(),
                        if peer.name == BOURN { format!("**{BOURN}**") } else { peer.name.to_owned() },
                        micros(answered.all.per_mille(500)),
                        micros(answered.all.per_mille(990)),
                        if peer.name == TOKIO { "1".to_owned() } else { spread(&p50, 2) },
                        if peer.name == TOKIO { "1".to_owned() } else { spread(&p99, 2) },
                    ]);
                    for (figure, values) in [("p50 us", &answered.p50), ("p99 us", &answered.p99)] {
                        for (round, value) in values.iter().enumerate() {
                            section.record(&title, "", peer.name, round, figure, *value);
                        }
                    }
                    if peer.name == BOURN && cost == 1.0 && load == 50 {
                        section.verdicts.push(Verdict::at_most(format!("{title}: p50 over tokio"), &p50, 1.0, 2));
                        section.verdicts.push(Verdict::at_most(format!("{title}: p99 over tokio"), &p99, 1.0, 2));
                    }
                }
                eprintln!("{title}: done");
            }
        }
    }
    Ok(section)
}

const TICK: Duration = Duration::from_millis(20);
const TICKERS: usize = 16;

/// Tickers ask every 20 ms while others have blocked so many of the workers: the worst delay of an answer.
fn worst_delay(server: &Server, blockers: usize, blocked: Duration, steps: u64) -> Outcome<Duration> {
    let mut asker = Asker::new(server.address, TICKERS)?;
    let mut others = Asker::new(server.address, blockers)?;
    let start = Instant::now();
    let mut worst = Duration::ZERO;
    let mut next: Vec<Duration> = (0..TICKERS).map(|ticker| TICK * ticker as u32 / TICKERS as u32).collect();
    let mut answered = Vec::new();
    let mut is_blocking = false;
    let end = blocked + TICK * 10;
    loop {
        let now = start.elapsed();
        if !is_blocking && now > TICK * 5 {
            is_blocking = true;
            for connection in 0..blockers {
                others.ask(connection, request(SLEEP, blocked.as_millis() as u64), now)?;
            }
        }
        for (ticker, next) in next.iter_mut().enumerate() {
            if *next <= now && now < end && asker.due[ticker].is_none() {
                asker.ask(ticker, request(COMPUTE, steps), now)?;
                *next = now + TICK;
            }
        }
        if now >= end && asker.due.iter().all(Option::is_none) {
            break;
        }
        if now > end + PATIENCE {
            return Err(format!("the server at {} does not answer", server.address).into());
        }
        asker.wait(Duration::from_millis(1), &mut answered)?;
        let now = start.elapsed();
        for &(_, due) in &answered {
            worst = worst.max(now - due);
        }
    }
    let mut left = blockers;
    while left > 0 {
        others.wait(PATIENCE, &mut answered)?;
        if answered.is_empty() {
            return Err(format!("the server at {} forgets who blocked", server.address).into());
        }
        left -= answered.len();
    }
    Ok(worst)
}

/// One and all of four workers blocked.
pub fn blocked(plan: Plan) -> Outcome<Section> {
    let blocked = if plan.patient { Duration::from_secs(2) } else { Duration::from_millis(200) };
    let mut section = Section::new("blocked", "Tasks that block");
    let steps = (0.2 * steps_in_a_millisecond()?) as u64;
    section.say(&format!(
        "Four workers. {TICKERS} connections ask every 20 ms for 0.2 ms of work; tasks on one or four others block their threads\n\
         for {} ms. The worst time until an answer came, in milliseconds: the median of the rounds.\n\n",
        blocked.as_millis(),
    ));
    section.table(&["server", "one blocked", "all four blocked"]);
    sys::pin(sys::processors())?;
    let rounds = if plan.patient { 3 } else { 1 };
    let service = Service { name: "work", buffer: 4096, workers: 4 };
    for peer in peers() {
        let server = Server::start(&peer, service, false)?;
        let mut fields = vec![if peer.name == BOURN { format!("**{BOURN}**") } else { peer.name.to_owned() }];
        for (blockers, bound, title) in
            [(1, 10.0, "one of four workers blocked"), (4, 25.0, "all four workers blocked")]
        {
            let mut worst = Vec::new();
            for round in 0..rounds {
                let delay = worst_delay(&server, blockers, blocked, steps)
                    .map_err(|error| format!("{title}, {}: {error}", peer.name))?
                    .as_secs_f64()
                    * 1e3;
                section.record(title, "", peer.name, round, "worst ms", delay);
                worst.push(delay);
            }
            fields.push(spread(&worst, 1));
            if peer.name == BOURN {
                let what = format!("{title}: worst delay in ms");
                section.verdicts.push(Verdict::at_most(what, &worst, bound, 0));
            }
        }
        server.end()?;
        section.row(&fields);
        eprintln!("blocked, {}: done", peer.name);
    }
    Ok(section)
}

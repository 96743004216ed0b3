//! Requests that cost processor time, at random moments; and tasks that block.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use bourn_bench::random::Random;

use crate::Outcome;
use crate::histogram::Histogram;
use crate::measure::{Machine, Noise, Plan, spread_of};
use crate::peer::{BOURN, LIMIT, MANY, Peer, Server, Service, TOKIO};
use crate::report::{Section, Verdict, micros, spread};
use crate::sys::{self, Epoll};

const MESSAGE: usize = 64;
const CONNECTIONS: usize = 64;
/// After this long without an answer a server counts as hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a message asks for: see `work` of the servers' common crate.
fn request(kind: u8, number: u64, seed: u64) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    message[0] = kind;
    message[8..16].copy_from_slice(&number.to_le_bytes());
    message[16..24].copy_from_slice(&seed.to_le_bytes());
    message
}

const COMPUTE: u8 = 1;
const SLEEP: u8 = 2;

/// Requests of so many steps, and what only who takes them can answer. There are a few, so that no answer serves twice in
/// a row.
struct Sums {
    steps: u64,
    results: Vec<u64>,
    next: usize,
}

impl Sums {
    const SEEDS: u64 = 8;

    fn new(steps: u64) -> Sums {
        let result = |seed| {
            // The same as in the servers' common crate: Marsaglia's xorshift.
            (0..steps).fold(seed | 1, |mut state: u64, _| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^ (state << 17)
            })
        };
        Sums { steps, results: (0..Sums::SEEDS).map(|seed| result(2 * seed)).collect(), next: 0 }
    }

    /// A request and its answer.
    fn next(&mut self) -> [[u8; MESSAGE]; 2] {
        self.next = (self.next + 1) % self.results.len();
        [2 * self.next as u64, self.results[self.next]].map(|number| request(COMPUTE, self.steps, number))
    }
}

fn sleep(milliseconds: u64) -> [[u8; MESSAGE]; 2] {
    [request(SLEEP, milliseconds, 0); 2]
}

/// Connections to one server, of which each waits for one answer at most.
struct Asker {
    address: SocketAddr,
    epoll: Epoll,
    streams: Vec<TcpStream>,
    /// When the request was due that each connection has under way.
    due: Vec<Option<Duration>>,
    got: Vec<usize>,
    answers: Vec<[u8; MESSAGE]>,
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
        Ok(Asker { address, epoll, streams, due, got, answers: vec![[0; MESSAGE]; connections] })
    }

    fn ask(&mut self, connection: usize, [request, answer]: [[u8; MESSAGE]; 2], due: Duration) -> Outcome<()> {
        if sys::send(self.streams[connection].as_raw_fd(), &request)? != MESSAGE {
            return Err("there is no room for a message".into());
        }
        self.answers[connection] = answer;
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
            let rest = self.answers[index].get(got..got + read);
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
    random: Random,
    mean: Duration,
}

impl Moments {
    fn new(seed: usize, mean: Duration) -> Moments {
        Moments { random: Random::new(seed as u64), mean }
    }

    fn next(&mut self) -> Duration {
        self.mean.mul_f64(-self.random.share().ln())
    }
}

/// Requests of so many steps at random moments, for so long; latencies from when each was due.
fn open_loop(asker: &mut Asker, sums: &mut Sums, mut moments: Moments, duration: Duration) -> Outcome<Histogram> {
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
            asker.ask(connection, sums.next(), due)?;
            late.pop_front();
            free.pop();
            open += 1;
        }
        let all_are_due = next >= duration;
        if all_are_due && late.is_empty() && open == 0 {
            return Ok(latencies);
        }
        let limit = if all_are_due { PATIENCE } else { next.saturating_sub(start.elapsed()).min(PATIENCE) };
        asker.wait(limit, &mut answered)?;
        if answered.is_empty() && all_are_due {
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
    let service = Service::of("work");
    let server = Server::start(&MANY[0], service, false)?;
    let mut asker = Asker::new(server.address, 1)?;
    let steps = 20_000_000;
    let mut sums = Sums::new(steps);
    let before = server.processor_time()?;
    let mut answered = Vec::new();
    for _ in 0..3 {
        asker.ask(0, sums.next(), Duration::ZERO)?;
        asker.wait(PATIENCE, &mut answered)?;
        if answered.is_empty() {
            return Err(format!("the server at {} does not answer", asker.address).into());
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

/// What one server is asked with, and what was found.
struct Asked {
    peer: Peer,
    server: Server,
    asker: Asker,
    answered: Answered,
}

/// The processor time that servers and generator have used.
fn used<'a>(servers: impl Iterator<Item = &'a Server>) -> Outcome<Duration> {
    let mut used = sys::own_processor_time()?;
    for server in servers {
        used += server.processor_time()?;
    }
    Ok(used)
}

/// One question to all of these, in rounds.
fn ask(title: &str, all: &mut [Asked], sums: &mut Sums, mean: Duration, plan: Plan) -> Outcome<Noise> {
    let mut noise = Noise::default();
    let mut random = Random::new(0);
    let plan = Plan { rounds: plan.rounds * plan.passes, ..plan };
    let mut round = 0;
    while round < plan.rounds {
        let before = Machine::now()?;
        let own = used(all.iter().map(|asked| &asked.server))?;
        let mut found = Vec::new();
        for index in random.order(all.len()) {
            let moments = Moments::new(round + 1, mean);
            let Asked { peer, asker, .. } = &mut all[index];
            let latencies = open_loop(asker, sums, moments, plan.slice)
                .map_err(|error| format!("{title}, {}: {error}", peer.name))?;
            if latencies.count() == 0 {
                return Err(format!("{title}, {}: no request fell into a slice", peer.name).into());
            }
            found.push((index, latencies));
        }
        if noise.counts(&before, used(all.iter().map(|asked| &asked.server))?.saturating_sub(own), plan)? {
            for (index, latencies) in found {
                let answered = &mut all[index].answered;
                answered.p50.push(latencies.per_mille(500).as_secs_f64() * 1e6);
                answered.p99.push(latencies.per_mille(990).as_secs_f64() * 1e6);
                answered.all.merge(&latencies);
            }
            round += 1;
        }
    }
    Ok(noise)
}

/// Requests of 0.2 and 1 ms at three loads, with two and four workers.
pub fn requests(plan: Plan) -> Outcome<Section> {
    let mut section = Section::new("work", "Requests that cost processor time");
    let per_millisecond = steps_in_a_millisecond()?;
    let processors = sys::processors().len();
    section.say(&format!(
        "Over {CONNECTIONS} connections, at random moments (Poisson, the same for all servers), the load being a share of\n\
         the {processors} processors, which the generator uses, too. The answer is what was computed, and the generator knows\n\
         it. Microseconds from when a request was due to its answer: percentiles of all rounds; ratios of rounds, the median\n\
         and in brackets {}. {} rounds of {} ms, {} times. Nothing is pinned; the servers are the same in all passes.\n\n",
        spread_of(plan.rounds * plan.passes),
        plan.rounds,
        plan.slice.as_millis(),
        plan.passes,
    ));
    section.table(&["cost, load, workers", "server", "p50 us", "p99 us", "p50 over tokio", "p99 over tokio"]);
    sys::pin(sys::processors())?;
    let mut noise = Noise::default();
    for workers in [2, 4] {
        for cost in [0.2, 1.0] {
            for load in [30, 50, 70] {
                let title = format!("{cost} ms, {load} %, {workers} workers");
                let mean = Duration::from_secs_f64(cost / 1000.0 / (f64::from(load) / 100.0) / processors as f64);
                let mut sums = Sums::new((cost * per_millisecond) as u64);
                let service = Service { workers, ..Service::of("work") };
                let mut all = Vec::new();
                for peer in peers() {
                    let server = Server::start(&peer, service, false)?;
                    let mut asker = Asker::new(server.address, CONNECTIONS)?;
                    open_loop(&mut asker, &mut sums, Moments::new(0, mean), plan.slice / 4)?;
                    let answered = Answered { p50: Vec::new(), p99: Vec::new(), all: Histogram::default() };
                    all.push(Asked { peer, server, asker, answered });
                }
                let Noise { repeated, noisy } = ask(&title, &mut all, &mut sums, mean, plan)?;
                noise.repeated += repeated;
                noise.noisy += noisy;
                let tokio = all.iter().find(|asked| asked.peer.name == TOKIO).ok_or("tokio is not asked")?;
                let tokio = (tokio.answered.p50.clone(), tokio.answered.p99.clone());
                for Asked { peer, server, asker, answered } in all {
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
                        for (figure, values) in [("p50", &p50), ("p99", &p99)] {
                            let what = format!("{title}: {figure} over tokio");
                            section.verdicts.push(Verdict::at_most(what, values, 1.0, 2, plan.rounds));
                        }
                    }
                }
                eprintln!("{title}: done");
            }
        }
    }
    section.say(&format!("\n{}\n", noise.words().trim()));
    Ok(section)
}

const TICK: Duration = Duration::from_millis(20);
const TICKERS: usize = 16;

/// Tickers ask every 20 ms while others have blocked so many of the workers: the worst delay of an answer.
fn worst_delay(server: &Server, blockers: usize, blocked: Duration, sums: &mut Sums) -> Outcome<Duration> {
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
                others.ask(connection, sleep(blocked.as_millis() as u64), now)?;
            }
        }
        for (ticker, next) in next.iter_mut().enumerate() {
            if *next <= now && now < end && asker.due[ticker].is_none() {
                asker.ask(ticker, sums.next(), now)?;
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
    let mut sums = Sums::new((0.2 * steps_in_a_millisecond()?) as u64);
    section.say(&format!(
        "Four workers. {TICKERS} connections ask every 20 ms for 0.2 ms of work; tasks on one or four others block their threads\n\
         for {} ms. The worst time until an answer came, in milliseconds: the median of three rounds, the least and the most.\n\n",
        blocked.as_millis(),
    ));
    section.table(&["server", "one blocked", "all four blocked"]);
    sys::pin(sys::processors())?;
    let plan = Plan { rounds: if plan.patient { 3 } else { 1 }, ..plan };
    let mut noise = Noise::default();
    let service = Service { workers: 4, ..Service::of("work") };
    for peer in peers() {
        let server = Server::start(&peer, service, false)?;
        let mut fields = vec![if peer.name == BOURN { format!("**{BOURN}**") } else { peer.name.to_owned() }];
        for (blockers, bound, title) in
            [(1, 10.0, "one of four workers blocked"), (4, 25.0, "all four workers blocked")]
        {
            let mut worst = Vec::new();
            while worst.len() < plan.rounds {
                let (before, own) = (Machine::now()?, used([&server].into_iter())?);
                let delay = worst_delay(&server, blockers, blocked, &mut sums)
                    .map_err(|error| format!("{title}, {}: {error}", peer.name))?
                    .as_secs_f64()
                    * 1e3;
                if noise.counts(&before, used([&server].into_iter())?.saturating_sub(own), plan)? {
                    section.record(title, "", peer.name, worst.len(), "worst ms", delay);
                    worst.push(delay);
                }
            }
            fields.push(spread(&worst, 1));
            if peer.name == BOURN {
                let what = format!("{title}: worst delay in ms");
                section.verdicts.push(Verdict::at_most(what, &worst, bound, 0, 1));
            }
        }
        server.end()?;
        section.row(&fields);
        eprintln!("blocked, {}: done", peer.name);
    }
    section.say(&format!("\n{}\n", noise.words().trim()));
    Ok(section)
}

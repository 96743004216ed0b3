//! Rounds: a slice of time with each server, in another order each time, all of them up.

use std::fs;
use std::time::{Duration, Instant};

use bourn_bench::random::Random;

use crate::histogram::Histogram;
use crate::load::Load;
use crate::peer::{LIMIT, Peer, Server, TOKIO};
use crate::workload::{self, Cell};
use crate::{Outcome, sys};

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub slice: Duration,
    /// Of each pass.
    pub rounds: usize,
    /// How often all of it is done.
    pub passes: usize,
    /// Whether noisy rounds are measured again.
    pub patient: bool,
}

/// What a server did in one slice.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Requests or connections per second.
    pub rate: f64,
    /// Microseconds of the server's processor time for each.
    pub cost: f64,
    /// The generator's.
    pub generator: f64,
}

/// What was measured of a server in a cell.
pub struct Result {
    pub peer: Peer,
    /// One for each round.
    pub figures: Vec<Figures>,
    pub latencies: Histogram,
    /// How many threads it had in the end.
    pub threads: usize,
    /// Context switches of its threads; none for who ends threads meanwhile.
    switches: Option<u64>,
    /// While they were counted.
    units: f64,
}

impl Result {
    /// For each unit.
    pub fn switches(&self) -> Option<f64> {
        self.switches.map(|switches| switches as f64 / self.units)
    }

    /// What it used of a processor, or of several.
    pub fn busy(&self) -> f64 {
        median(self.figures.iter().map(|figures| figures.cost * figures.rate / 1e6).collect())
    }
}

/// A cell and what became of it.
pub struct Row {
    pub cell: Cell,
    pub results: Vec<Result>,
    pub noise: Noise,
}

impl Row {
    pub fn of(&self, peer: &str) -> Option<&Result> {
        self.results.iter().find(|result| result.peer.name == peer)
    }

    /// A figure of each round over another server's in the same round.
    pub fn ratios(&self, peer: &str, over: &str, figure: impl Fn(&Figures) -> f64) -> Vec<f64> {
        let (Some(peer), Some(over)) = (self.of(peer), self.of(over)) else { return Vec::new() };
        peer.figures.iter().zip(&over.figures).map(|(peer, over)| figure(peer) / figure(over)).collect()
    }

    /// The generator's processor time over that of one of the servers.
    pub fn generator_over(result: &Result) -> f64 {
        median(result.figures.iter().map(|figures| figures.generator / figures.cost).collect())
    }

    /// The same, where it is worst.
    pub fn generator_share(&self) -> f64 {
        self.results.iter().map(Row::generator_over).fold(0.0, f64::max)
    }

    /// Adds what another pass brought.
    pub fn extend(&mut self, pass: Row) {
        for (mine, other) in self.results.iter_mut().zip(pass.results) {
            mine.figures.extend(other.figures);
            mine.latencies.merge(&other.latencies);
            mine.switches = mine.switches.zip(other.switches).map(|(mine, other)| mine + other);
            mine.units += other.units;
        }
        self.noise.repeated += pass.noise.repeated;
        self.noise.noisy += pass.noise.noisy;
    }
}

pub fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

pub fn median(values: Vec<f64>) -> f64 {
    let values = sorted(values);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

/// Of fewer values than this there is no middle half.
const FEW: usize = 8;

/// What is shown of the spread of so many values.
pub fn spread_of(rounds: usize) -> &'static str {
    if rounds < FEW { "the least and the most" } else { "the middle half" }
}

/// That: the middle half, or of few values the least and the most.
pub fn bounds(values: Vec<f64>) -> (f64, f64) {
    let values = sorted(values);
    match values.len() {
        0 => (f64::NAN, f64::NAN),
        count @ 1..FEW => (values[0], values[count - 1]),
        count => (values[(count - 1) / 4], values[count - 1 - (count - 1) / 4]),
    }
}

/// More of the machine's time than this for others, and a round is measured again.
const NOISE: f64 = 0.02;

/// Rounds in which somebody else used the processors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noise {
    /// Those that were measured again.
    pub repeated: usize,
    /// Those that count although it was so, for there were too many.
    pub noisy: usize,
}

impl Noise {
    /// Whether a round counts that began then, and in which the servers and the generator used so much.
    pub fn counts(&mut self, before: &Machine, own: Duration, plan: Plan) -> Outcome<bool> {
        if Machine::now()?.noise(before, own) <= NOISE {
            return Ok(true);
        }
        // As often again as was planned, and no more.
        let again = plan.patient && self.repeated < plan.rounds;
        if again {
            self.repeated += 1
        } else {
            self.noisy += 1
        }
        Ok(!again)
    }

    /// A sentence, if there is something to say.
    pub fn words(self) -> String {
        match (self.repeated, self.noisy) {
            (0, 0) => String::new(),
            (repeated, 0) => format!(" Rounds repeated for noise: {repeated}."),
            (repeated, noisy) => format!(" Rounds repeated for noise: {repeated}; noisy ones that count: {noisy}."),
        }
    }
}

/// The machine's processor time since it was started: what was used, and what its host took.
pub struct Machine {
    used: Duration,
    stolen: Duration,
    at: Instant,
}

impl Machine {
    pub fn now() -> Outcome<Machine> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().ok_or("/proc/stat is empty")?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal: proc_stat(5), 100 in a second.
        let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else {
            return Err("/proc/stat has another form".into());
        };
        let used = Duration::from_millis((user + nice + system + irq + softirq) * 10);
        Ok(Machine { used, stolen: Duration::from_millis(steal * 10), at: Instant::now() })
    }

    /// Which share of the machine went to others than ourselves, who used so much.
    fn noise(&self, earlier: &Machine, own: Duration) -> f64 {
        let whole = (self.at - earlier.at).as_secs_f64() * sys::processors().len() as f64;
        // The kernel's counts may go back by a tick (proc_stat(5)).
        let used = self.used.saturating_sub(earlier.used);
        let stolen = self.stolen.saturating_sub(earlier.stolen);
        // A tick more or less is nobody's.
        (used.saturating_sub(own) + stolen).saturating_sub(Duration::from_millis(20)).as_secs_f64() / whole
    }
}

struct Asked {
    server: Server,
    load: Box<dyn Load>,
    switches: u64,
}

/// Starts the servers of a cell, in the order of its peers, and has each be asked for a moment.
fn start(cell: &Cell, peers: &[Peer], plan: Plan) -> Outcome<Vec<Asked>> {
    let mut all = Vec::new();
    for peer in peers {
        let server = Server::start(peer, cell.service, cell.is_pinned())?;
        let mut load = cell.load(server.address)?;
        load.slice(plan.slice / 4).map_err(|error| format!("{}, {}: {error}", cell.key(), peer.name))?;
        let switches = server.switches()?;
        all.push(Asked { server, load, switches });
    }
    Ok(all)
}

/// Measures a cell, in one of the passes. Its servers are started anew for each round: the same program is dearer or cheaper
/// each time, partly by where its memory lies.
pub fn measure(cell: &Cell, plan: Plan, pass: usize, io_uring: bool) -> Outcome<Row> {
    sys::pin(if cell.is_pinned() { &sys::processors()[1..2] } else { sys::processors() })?;
    let peers = cell.peers(io_uring);
    let result = |peer: &Peer| Result {
        peer: *peer,
        figures: Vec::new(),
        latencies: Histogram::default(),
        threads: 0,
        switches: if peer.is_blocking() && cell.workload == workload::CHURN { None } else { Some(0) },
        units: 0.0,
    };
    let mut results: Vec<Result> = peers.iter().map(result).collect();
    let mut noise = Noise::default();
    let mut random = Random::new(pass as u64);
    let mut rounds = 0;
    while rounds < plan.rounds {
        let mut all = start(cell, &peers, plan)?;
        let before = Machine::now()?;
        let mut own = Duration::ZERO;
        let mut round = Vec::new();
        for index in random.order(all.len()) {
            let Asked { server, load, .. } = &mut all[index];
            let used = server.processor_time()?;
            let own_before = sys::own_processor_time()?;
            let slice =
                load.slice(plan.slice).map_err(|error| format!("{}, {}: {error}", cell.key(), peers[index].name))?;
            let spent = server.settled()?.saturating_sub(used);
            own += spent + (sys::own_processor_time()? - own_before);
            let each = |time: Duration| time.as_secs_f64() * 1e6 / slice.units;
            let rate = slice.units / slice.wall.as_secs_f64();
            let figures = Figures { rate, cost: each(spent), generator: each(slice.generator) };
            round.push((index, figures, slice));
        }
        let counts = noise.counts(&before, own, plan)?;
        for (result, Asked { server, load, switches }) in results.iter_mut().zip(all) {
            result.threads = server.threads()?;
            if let (Some(sum), true) = (&mut result.switches, counts) {
                *sum += server.switches()?.saturating_sub(switches);
            }
            drop(load);
            server.end()?;
        }
        if counts {
            for (index, figures, slice) in round {
                results[index].figures.push(figures);
                results[index].latencies.merge(&slice.latencies);
                results[index].units += slice.units;
            }
            rounds += 1;
        }
    }
    let row = Row { cell: cell.clone(), results, noise };
    eprintln!("{}", summary(&row));
    Ok(row)
}

fn summary(row: &Row) -> String {
    let mut line = format!("{}:", row.cell.key());
    for result in &row.results {
        let cost = median(result.figures.iter().map(|figures| figures.cost).collect());
        line += &format!(" {} {cost:.2}", result.peer.name);
    }
    for over in [LIMIT, TOKIO] {
        line += &format!("; bourn/{over} {:.3}", median(row.ratios(crate::peer::BOURN, over, |figures| figures.cost)));
    }
    line + &format!("; generator/server at most {:.2}.{}", row.generator_share(), row.noise.words())
}

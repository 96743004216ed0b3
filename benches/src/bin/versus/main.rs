//! Head to head: servers of the same meaning on bourn, on its peers, and on no runtime at all.
//!
//! ```text
//! cargo run --release -p bourn-bench --bin versus -- [workload...] [--all] [--rounds N] [--passes N] [--write] [--smoke]
//!
//!   workload    some of: echo churn http idle work blocked bulk slow calls instructions (all, without any)
//!   --all       every cell, not the usual ones alone
//!   --only TEXT those cells alone whose name contains it
//!   --rounds N  how often each server is started and asked in each cell (9)
//!   --passes N  how often all of that is done; says whether the passes agree (3)
//!   --write     into docs/, instead of the folder where the servers are built
//!   --micro     nothing of this: the table of docs/benchmarks.md out of what `cargo bench` has left
//!   --smoke     a moment of everything, to see that all servers answer rightly
//! ```
//!
//! Servers are processes of their own, from packages of their own (`benches/servers`). The load generator is one thread of
//! this process. What is measured and how is said in the report itself: see `report.rs`.
#![deny(unsafe_code)]

mod count;
mod histogram;
mod idle;
mod load;
mod measure;
mod micro;
mod peer;
mod plot;
mod report;
mod sys;
mod work;
mod workload;

use std::collections::BTreeMap;
use std::error::Error;
use std::time::{Duration, Instant};

use measure::{Plan, Row};
use report::{Place, Section};

/// Any error, with what it was about.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What is asked of HTTP servers.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// And what they answer.
pub const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nHello, world!";

/// Bytes of which each connection has a stretch of its own. The stretches of long messages overlap: all of them together
/// stay in the processor's cache.
#[derive(Debug)]
pub struct Messages {
    block: Vec<u8>,
    length: usize,
}

impl Messages {
    const STEP: usize = 64;

    /// All of this length.
    pub fn new(length: usize, connections: usize) -> Messages {
        let mut random = bourn_bench::random::Random::new(0);
        let block = (0..length + Messages::STEP * connections).map(|_| random.number() as u8).collect();
        Messages { block, length }
    }

    /// That of one of them.
    pub fn of(&self, connection: usize) -> &[u8] {
        &self.block[connection * Messages::STEP..][..self.length]
    }
}

struct Options {
    workloads: Vec<String>,
    all: bool,
    only: String,
    rounds: usize,
    passes: usize,
    write: bool,
    smoke: bool,
}

impl Options {
    fn parse() -> Outcome<Options> {
        let mut options = Options {
            workloads: Vec::new(),
            all: false,
            only: String::new(),
            rounds: 9,
            passes: 3,
            write: false,
            smoke: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--all" => options.all = true,
                "--only" => options.only = arguments.next().ok_or("--only: which?")?,
                "--write" => options.write = true,
                "--smoke" => options.smoke = true,
                "--rounds" => options.rounds = arguments.next().ok_or("--rounds: how many?")?.parse()?,
                "--passes" => options.passes = arguments.next().ok_or("--passes: how many?")?.parse()?,
                name if workload::ALL.contains(&name) => options.workloads.push(argument),
                other => return Err(format!("there is no {other}; workloads are {}", workload::ALL.join(" ")).into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, workload: &str) -> bool {
        self.workloads.is_empty() || self.workloads.iter().any(|wanted| wanted == workload)
    }

    fn command(&self) -> String {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        format!("cargo run --release -p bourn-bench --bin versus -- {}", arguments.join(" "))
    }
}

fn main() -> Outcome<()> {
    if std::env::args().skip(1).eq(["--micro"]) {
        return report::replace("micro", &micro::tables()?);
    }
    let options = Options::parse()?;
    let start = Instant::now();
    sys::raise_descriptors()?;
    sys::wait_precisely(true);
    sys::processors();
    peer::build()?;
    println!("servers built in {:.0} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let io_uring = match load::bursts_are_possible() {
        Ok(()) => true,
        // Half of the comparison would be missing, and nobody would notice.
        Err(error) if options.smoke => return Err(error),
        Err(error) => {
            println!("{error}: no bursts, and no servers that need it");
            false
        }
    };
    let plan = if options.smoke {
        Plan { slice: Duration::from_millis(20), rounds: 1, passes: 1, patient: false }
    } else {
        let Options { rounds, passes, .. } = options;
        Plan { slice: Duration::from_millis(125), rounds: rounds.max(1), passes: passes.max(1), patient: true }
    };
    let mut failures = Vec::new();
    let mut rows = BTreeMap::new();
    for pass in 0..plan.passes {
        let timed = |workload: &&str| options.wants(workload) && !workload::cells(workload).is_empty();
        for workload in workload::ALL.into_iter().filter(timed) {
            measure_rows(workload, &options, plan, pass, io_uring, &mut rows, &mut failures);
            println!("{:.1} min: {workload}, pass {}", start.elapsed().as_secs_f64() / 60.0, pass + 1);
        }
    }
    let mut sections = Vec::new();
    for workload in workload::ALL.into_iter().filter(|workload| options.wants(workload)) {
        let section = match workload {
            // A slice has to hold enough requests for a percentile.
            workload::WORK => work::requests(Plan { slice: plan.slice * 2, rounds: plan.rounds.div_ceil(3), ..plan }),
            workload::BLOCKED => work::blocked(plan),
            workload::IDLE => idle::measure(plan, io_uring),
            workload::CALLS => count::system_calls(options.smoke, io_uring),
            workload::INSTRUCTIONS => count::user_instructions(options.smoke),
            _ => Ok(Section::of_rows(workload, &rows.remove(workload).unwrap_or_default(), plan.rounds)),
        };
        match section {
            Ok(section) => sections.push(section),
            Err(error) => failures.push(error.to_string()),
        }
        println!("{:.1} min: {workload}", start.elapsed().as_secs_f64() / 60.0);
    }
    if !options.smoke {
        let place = if options.write { Place::Docs } else { Place::Target };
        report::write(&place, &sections, &failures, &options.command(), plan, start.elapsed())?;
    }
    if !failures.is_empty() {
        return Err(failures.join("\n").into());
    }
    println!("every server answers rightly; {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// One pass over the cells of a workload. A cell that fails is not asked again.
fn measure_rows(
    workload: &'static str,
    options: &Options,
    plan: Plan,
    pass: usize,
    io_uring: bool,
    rows: &mut BTreeMap<&'static str, Vec<Row>>,
    failures: &mut Vec<String>,
) {
    let rows = rows.entry(workload).or_default();
    for cell in workload::cells(workload) {
        let possible = io_uring || cell.sending == load::Sending::Each;
        let known = rows.iter_mut().find(|row| row.cell.key() == cell.key());
        let wanted = possible && cell.key().contains(&options.only) && (options.all || !cell.extra);
        if !wanted || (pass > 0 && known.is_none()) {
            continue;
        }
        match (measure::measure(&cell, plan, pass, io_uring), known) {
            (Ok(row), Some(known)) => known.extend(row),
            (Ok(row), None) => rows.push(row),
            (Err(error), _) => {
                failures.push(error.to_string());
                rows.retain(|row| row.cell.key() != cell.key());
            }
        }
    }
}

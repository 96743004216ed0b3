//! Head to head: servers of the same meaning on bourn, on its peers, and on no runtime at all.
//!
//! ```text
//! cargo run --release -p bourn-bench --bin versus -- [workload...] [--all] [--rounds N] [--write] [--smoke]
//!
//!   workload    some of: echo churn http idle work blocked bulk slow calls instructions (all, without any)
//!   --all       every cell, not the usual ones alone
//!   --only TEXT those cells alone whose name contains it
//!   --rounds N  how often each server is asked in each cell (9)
//!   --write     into docs/, instead of the folder where the servers are built
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
mod peer;
mod plot;
mod report;
mod sys;
mod work;
mod workload;

use std::error::Error;
use std::time::{Duration, Instant};

use measure::Plan;
use report::{Place, Section};

/// Any error, with what it was about.
pub type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What is asked of HTTP servers.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
/// And what they answer.
pub const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 13\r\n\r\nHello, world!";

/// So many bytes, which are others for each connection.
pub fn message(length: usize, connection: u64) -> Vec<u8> {
    let mut state = connection.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(byte).collect()
}

struct Options {
    workloads: Vec<String>,
    all: bool,
    only: String,
    rounds: usize,
    write: bool,
    smoke: bool,
}

impl Options {
    fn parse() -> Outcome<Options> {
        let mut options =
            Options { workloads: Vec::new(), all: false, only: String::new(), rounds: 9, write: false, smoke: false };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--all" => options.all = true,
                "--only" => options.only = arguments.next().ok_or("--only: which?")?,
                "--write" => options.write = true,
                "--smoke" => options.smoke = true,
                "--rounds" => options.rounds = arguments.next().ok_or("--rounds: how many?")?.parse()?,
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
    let options = Options::parse()?;
    let start = Instant::now();
    sys::raise_descriptors()?;
    sys::wait_precisely();
    sys::processors();
    peer::build()?;
    println!("servers built in {:.0} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let io_uring = match load::bursts_are_possible() {
        Ok(()) => true,
        Err(error) => {
            println!("{error}: no bursts, and no servers that need it");
            false
        }
    };
    let plan = if options.smoke {
        Plan { slice: Duration::from_millis(20), rounds: 1, patient: false }
    } else {
        Plan { slice: Duration::from_millis(250), rounds: options.rounds, patient: true }
    };
    let mut sections = Vec::new();
    let mut failures = Vec::new();
    for workload in workload::ALL.into_iter().filter(|workload| options.wants(workload)) {
        let section = match workload {
            workload::WORK => work::requests(plan),
            workload::BLOCKED => work::blocked(plan),
            workload::IDLE => idle::measure(plan, io_uring),
            workload::CALLS if options.smoke => continue,
            workload::CALLS => count::system_calls(io_uring),
            workload::INSTRUCTIONS => count::user_instructions(options.smoke),
            _ => {
                let mut rows = Vec::new();
                for cell in workload::cells(workload) {
                    let possible = io_uring || cell.sending == load::Sending::Each;
                    if possible && cell.key().contains(&options.only) && (options.all || !cell.extra) {
                        match measure::measure(&cell, plan, io_uring) {
                            Ok(row) => rows.push(row),
                            Err(error) => failures.push(error.to_string()),
                        }
                    }
                }
                Ok(Section::of_rows(workload, workload::heading(workload), &rows))
            }
        };
        match section {
            Ok(section) => sections.push(section),
            Err(error) => failures.push(error.to_string()),
        }
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

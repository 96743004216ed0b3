//! What is measured: cells, each of which is one question to all servers.

use std::net::SocketAddr;

use crate::load::{
    Bursts, ChurnBursts, ChurnEach, Direction, Each, Exchange, FlowBursts, FlowEach, Load, Sending, Slow,
};
use crate::peer::{MANY, ONE, Peer, Service};
use crate::{Outcome, sys};

/// One question.
#[derive(Clone, Debug)]
pub struct Cell {
    pub workload: &'static str,
    pub title: String,
    pub service: Service,
    pub sending: Sending,
    asks: Asks,
    /// Whether other flavors and backends of bourn's are shown, too.
    variants: bool,
    /// Only with `--all`.
    pub extra: bool,
}

#[derive(Clone, Copy, Debug)]
enum Asks {
    Exchange { what: Exchange, connections: usize, depth: usize },
    Churn { in_flight: usize },
    Flow { direction: Direction, connections: usize },
    Slow { connections: usize },
}

pub const ECHO: &str = "echo";
pub const CHURN: &str = "churn";
pub const HTTP: &str = "http";
pub const IDLE: &str = "idle";
pub const WORK: &str = "work";
pub const BLOCKED: &str = "blocked";
pub const BULK: &str = "bulk";
pub const SLOW: &str = "slow";
/// Counted, not timed.
pub const CALLS: &str = "calls";
pub const INSTRUCTIONS: &str = "instructions";
/// In the order in which they are measured.
pub const ALL: [&str; 10] = [ECHO, CHURN, HTTP, IDLE, WORK, BLOCKED, BULK, SLOW, CALLS, INSTRUCTIONS];

pub fn heading(workload: &str) -> &'static str {
    match workload {
        ECHO => "Echo",
        CHURN => "Connections that live for one request",
        BULK => "Bulk",
        SLOW => "Slow readers",
        _ => "HTTP hello",
    }
}

/// What its rows measure, where that is not said by the heading.
pub fn words(workload: &str) -> &'static str {
    match workload {
        SLOW => {
            "The server sends for ever to 64 clients, of which each reads 4 KiB every 4 ms: 62 MiB/s for all of them, whoever\n\
             serves. Its connections have a send buffer of 16 KiB (`SO_SNDBUF`, of which the kernel makes 32), and theirs are\n\
             as small, so that it is refused (`EAGAIN`) after each bit that it sends and waits for room: how often is counted\n\
             below, among the system calls. *CPU* for each MiB is what this waiting costs, and contains the answers to four\n\
             quick clients, which ask for 64 bytes each millisecond on the same thread, right after a quarter of the slow\n\
             ones has made room. *p50* to *p99.9* are theirs: what the slow ones cost the others.\n\n"
        }
        BULK => {
            "The generator throws away seven of eight reads in the kernel (`MSG_TRUNC`) and, one by one, sends from the page\n\
             cache (`sendfile`); it looks at every eighth.\n\n"
        }
        _ => "",
    }
}

/// A cell of requests one by one.
pub fn one(workload: &str, title: &str) -> Cell {
    let wanted = |cell: &Cell| cell.title == title && cell.sending == Sending::Each;
    cells(workload).into_iter().find(wanted).expect("such a cell")
}

impl Cell {
    /// What identifies it among all, in a file.
    pub fn key(&self) -> String {
        format!("{}, {}", self.title, self.sending.name())
    }

    /// One-thread servers have the first processor to themselves, the generator the second.
    pub fn is_pinned(&self) -> bool {
        self.service.workers == 1 && sys::processors().len() > 1
    }

    /// What is counted.
    pub fn unit(&self) -> &'static str {
        match self.asks {
            Asks::Exchange { .. } => "request",
            Asks::Churn { .. } => "connection",
            Asks::Flow { .. } | Asks::Slow { .. } => "MiB",
        }
    }

    /// The same, in a second.
    pub fn rate(&self) -> &'static str {
        match self.asks {
            Asks::Exchange { .. } => "requests/s",
            Asks::Churn { .. } => "connections/s",
            Asks::Flow { .. } | Asks::Slow { .. } => "MiB/s",
        }
    }

    /// The generator for one server.
    pub fn load(&self, address: SocketAddr) -> Outcome<Box<dyn Load>> {
        Ok(match (self.asks, self.sending) {
            (Asks::Exchange { what, connections, depth }, Sending::Each) => {
                Box::new(Each::new(address, what, connections, depth)?)
            }
            (Asks::Exchange { what, connections, depth }, Sending::Bursts) => {
                Box::new(Bursts::new(address, what, connections, depth)?)
            }
            (Asks::Churn { in_flight }, Sending::Each) => Box::new(ChurnEach::new(address, in_flight)),
            (Asks::Churn { in_flight }, Sending::Bursts) => Box::new(ChurnBursts::new(address, in_flight)?),
            (Asks::Flow { direction, connections }, Sending::Each) => {
                Box::new(FlowEach::new(address, direction, connections)?)
            }
            (Asks::Flow { direction, connections }, Sending::Bursts) => {
                Box::new(FlowBursts::new(address, direction, connections)?)
            }
            (Asks::Slow { connections }, sending) => Box::new(Slow::new(address, sending, connections)?),
        })
    }

    /// Who is asked.
    pub fn peers(&self, io_uring: bool) -> Vec<Peer> {
        let all: &[Peer] = if self.service.workers == 1 { &ONE } else { &MANY };
        let connections = match self.asks {
            Asks::Exchange { connections, .. } | Asks::Flow { connections, .. } | Asks::Slow { connections } => {
                connections
            }
            Asks::Churn { in_flight } => in_flight,
        };
        let is_asked = |peer: &&Peer| {
            // With several workers there is one variant, with a thread for each connection nothing differs.
            let variants = self.variants || self.service.workers > 1;
            let threads = !(peer.is_blocking() && self.service.workers > 1);
            // select(2) is not made for more descriptors.
            let select = !(peer.name.contains("select") && connections > 900);
            (variants || !peer.is_variant()) && threads && select && (io_uring || !peer.uses_io_uring())
        };
        all.iter().filter(is_asked).copied().collect()
    }
}

fn bytes(count: usize) -> String {
    if count < 1024 { format!("{count} B") } else { format!("{} KiB", count / 1024) }
}

fn connections(count: usize) -> String {
    if count == 1 { "1 connection".to_owned() } else { format!("{count} connections") }
}

fn echo(length: usize, count: usize, depth: usize, workers: usize, extra: bool) -> [Cell; 2] {
    let mut title = format!("echo {}, {}", bytes(length), connections(count));
    if depth > 1 {
        title += &format!(", {depth} requests in flight on each");
    }
    if workers > 1 {
        title += &format!(", {workers} workers");
    }
    // A read of a message fills the buffer never, so that it says that there is no more.
    let buffer = if length < 4096 { 4096 } else { 2 * length };
    Sending::ALL.map(|sending| Cell {
        workload: ECHO,
        title: title.clone(),
        service: Service { buffer, workers, ..Service::of("echo") },
        sending,
        asks: Asks::Exchange { what: Exchange::Echo(length), connections: count, depth },
        variants: length == 64 && count == 64 && depth == 1,
        extra,
    })
}

fn flow(workload: &'static str, title: String, direction: Direction, connections: usize) -> [Cell; 2] {
    Sending::ALL.map(|sending| Cell {
        workload,
        title: title.clone(),
        service: Service::of("flow"),
        sending,
        asks: Asks::Flow { direction, connections },
        variants: false,
        extra: false,
    })
}

/// All cells of a workload.
pub fn cells(workload: &str) -> Vec<Cell> {
    match workload {
        ECHO => {
            let mut cells = Vec::new();
            for length in [64, 1024, 16 << 10] {
                for count in [1, 16, 64, 256, 1024] {
                    let usual = matches!((length, count), (64, 1 | 64 | 256) | (16_384, 64));
                    cells.extend(echo(length, count, 1, 1, !usual));
                }
            }
            cells.extend(echo(64, 64, 16, 1, false));
            cells.extend(echo(64, 64, 1, 2, false));
            cells
        }
        CHURN => Sending::ALL
            .map(|sending| Cell {
                workload: CHURN,
                title: "churn, 64 in flight".to_owned(),
                service: Service::of("once"),
                sending,
                asks: Asks::Churn { in_flight: 64 },
                variants: false,
                extra: false,
            })
            .into(),
        HTTP => Sending::ALL
            .map(|sending| Cell {
                workload: HTTP,
                title: "HTTP hello, 64 connections".to_owned(),
                service: Service::of("http"),
                sending,
                asks: Asks::Exchange { what: Exchange::Http, connections: 64, depth: 1 },
                variants: false,
                extra: false,
            })
            .into(),
        BULK => [(Direction::Download, "from"), (Direction::Upload, "to")]
            .into_iter()
            .flat_map(|(direction, word)| flow(BULK, format!("bulk {word} the server, 4 connections"), direction, 4))
            .collect(),
        SLOW => Sending::ALL
            .map(|sending| Cell {
                workload: SLOW,
                title: "64 slow readers, 4 quick clients".to_owned(),
                service: Service { send_buffer: 16 << 10, ..Service::of("flow") },
                sending,
                asks: Asks::Slow { connections: 64 },
                variants: false,
                extra: false,
            })
            .into(),
        _ => Vec::new(),
    }
}

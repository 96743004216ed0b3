//! One server after the other under the same load.

use std::fs;
use std::io;
use std::process::ExitCode;

use crate::child::Server;
use crate::descriptors;
use crate::load::{self, Outcome};
use crate::report;
use crate::servers::{BACKLOG, Kind};

const CLIENTS: usize = 1000;

/// Runs the comparison and prints it. It fails if bourn left a client unserved:
/// that is what this example claims.
///
/// # Errors
/// If a server can not be started or dies.
pub fn run() -> io::Result<ExitCode> {
    let clients = clients()?;
    warn_of_small_backlog();

    let mut outcomes = Vec::new();
    for (number, kind) in (1..).zip(Kind::ALL) {
        eprintln!("{number} of {}: {}", Kind::ALL.len(), kind.title());
        let server = Server::start(kind)?;
        let outcome = load::run(server.addr(), clients, || server.usage())?;
        server.stop()?;
        outcomes.push((kind, outcome));
    }

    report::print(&outcomes)?;
    match outcomes.iter().find_map(|(kind, outcome)| complaint(*kind, outcome)) {
        Some(complaint) => Err(io::Error::other(complaint)),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// How many clients there can be here.
fn clients() -> io::Result<usize> {
    let room = descriptors::raise_limit()?;
    if room.connections == 0 {
        return Err(io::Error::other(format!("there is no room for connections: {}", room.reason)));
    }
    if room.connections < CLIENTS {
        eprintln!("{} clients instead of {CLIENTS}: {}", room.connections, room.reason);
    }
    Ok(room.connections.min(CLIENTS))
}

/// A kernel with a smaller limit drops connections that come too fast; they try
/// again a second later, with each server.
fn warn_of_small_backlog() {
    let limit = fs::read_to_string("/proc/sys/net/core/somaxconn");
    let limit: Option<u32> = limit.ok().and_then(|limit| limit.trim().parse().ok());
    if let Some(limit) = limit.filter(|&limit| limit < BACKLOG) {
        eprintln!("connecting may take longer: net.core.somaxconn cuts the backlog from {BACKLOG} to {limit}");
    }
}

/// What the server on bourn did not do as promised.
fn complaint(kind: Kind, outcome: &Outcome) -> Option<String> {
    if kind != Kind::Bourn {
        return None;
    }
    if let Some(error) = &outcome.failures.first {
        return Some(format!("{} clients of bourn failed, the first with: {error}", outcome.failures.count));
    }
    let unserved = outcome.clients - outcome.served;
    (unserved > 0).then(|| format!("bourn left {unserved} clients unserved"))
}

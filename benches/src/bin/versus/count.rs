//! What does not depend on the machine's speed: system calls (strace) and instructions in user space (callgrind) for each
//! request. A long run less a short one, so that start, connections and end do not count.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::load::Sending;
use crate::peer::{BOURN, LIMIT, Peer, Server};
use crate::report::{Section, Verdict};
use crate::workload::{self, Cell};
use crate::{Outcome, sys};

/// Nobody's figures depend on these times; the requests that they leave room for are counted.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_millis(1200);

/// Counts of one run, by name, and the requests that were made.
struct Run {
    counts: BTreeMap<String, f64>,
    requests: f64,
}

fn run(
    cell: &Cell,
    peer: &Peer,
    outer: &[&str],
    duration: Duration,
    read: fn(&str) -> BTreeMap<String, f64>,
) -> Outcome<Run> {
    let log = std::env::temp_dir().join(format!("versus-{}", std::process::id()));
    let path = log.display().to_string();
    let outer: Vec<String> = outer.iter().map(|argument| argument.replace("LOG", &path)).collect();
    let server = Server::start_under(&outer, peer, cell.service, cell.is_pinned())?;
    let mut load = cell.load(server.address)?;
    let requests = load.slice(duration)?.units;
    drop(load);
    server.end()?;
    let counts = read(&fs::read_to_string(&log)?);
    fs::remove_file(&log)?;
    Ok(Run { counts, requests })
}

/// For each request: what a long run has more than a short one.
fn difference(
    cell: &Cell,
    peer: &Peer,
    outer: &[&str],
    read: fn(&str) -> BTreeMap<String, f64>,
) -> Outcome<BTreeMap<String, f64>> {
    let count = |duration| {
        run(cell, peer, outer, duration, read)
            .map_err(|error| format!("{}, {}, {}: {error}", cell.key(), peer.name, outer[0]))
    };
    let (short, long) = (count(SHORT)?, count(LONG)?);
    let requests = long.requests - short.requests;
    let each = |(name, count): (&String, &f64)| {
        (name.clone(), (count - short.counts.get(name).copied().unwrap_or(0.0)) / requests)
    };
    Ok(long.counts.iter().map(each).collect())
}

/// The table of `strace -c`: `% seconds usecs/call calls [errors] name`. Those that failed are counted by themselves, too,
/// under the name and [`FAILED`].
fn calls(table: &str) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for line in table.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let ([_, _, _, count, name] | [_, _, _, count, _, name]) = fields[..] else { continue };
        let Ok(count) = count.parse() else { continue };
        if name == "total" {
            continue;
        }
        counts.insert(name.to_owned(), count);
        if let [_, _, _, _, errors, _] = fields[..]
            && let Ok(errors) = errors.parse()
        {
            counts.insert(format!("{name}{FAILED}"), errors);
        }
    }
    counts
}

const FAILED: &str = ", failed";

/// The last line of callgrind's output: `totals: N`.
fn instructions(output: &str) -> BTreeMap<String, f64> {
    let total = output.lines().filter_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok()).next_back();
    total.map(|total| ("instructions".to_owned(), total)).into_iter().collect()
}

const STRACE: [&str; 5] = ["strace", "-c", "-f", "-o", "LOG"];
const CALLGRIND: [&str; 4] = ["valgrind", "--tool=callgrind", "--log-file=/dev/null", "--callgrind-out-file=LOG"];

const READS: [&str; 4] = ["recvfrom", "read", "recvmsg", "readv"];
const WRITES: [&str; 4] = ["sendto", "write", "sendmsg", "writev"];
const WAITS: [&str; 8] =
    ["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "pselect6", "select", "io_uring_enter"];

fn sum(counts: &BTreeMap<String, f64>, names: &[impl AsRef<str>]) -> f64 {
    names.iter().filter_map(|name| counts.get(name.as_ref())).sum()
}

/// Fewer than this is none: start and end are not exactly the same each time.
const NONE: f64 = 0.005;

/// At most so many instructions for an echo: of the limit, to be one, and of bourn.
const LIMIT_INSTRUCTIONS: f64 = 120.0;
const BOURN_INSTRUCTIONS: f64 = 340.0;

/// System calls for each request, of all one-thread servers; of the limit and bourn alone in a short run.
pub fn system_calls(smoke: bool, io_uring: bool) -> Outcome<Section> {
    let mut section = Section::new("calls", "System calls for each request");
    section.say(
        "One thread, under `strace -c -f`, requests one by one. A traced server is slow, so there is always a request\n\
         waiting, and the waits are few.\n",
    );
    for (workload, title) in [(workload::ECHO, "echo 64 B, 64 connections"), (workload::CHURN, "churn, 64 in flight")] {
        let cell = workload::one(workload, title);
        section.say(&format!("\n{title}:\n\n"));
        section.table(&["server", "all", "reads", "writes", "waits", "epoll_ctl", "others"]);
        for peer in asked(&cell, smoke, io_uring) {
            let mut counts = difference(&cell, &peer, &STRACE, calls)?;
            counts.retain(|name, _| !name.ends_with(FAILED));
            let all: f64 = counts.values().sum();
            let known =
                [sum(&counts, &READS), sum(&counts, &WRITES), sum(&counts, &WAITS), sum(&counts, &["epoll_ctl"])];
            let others: Vec<String> = counts
                .iter()
                .filter(|(name, count)| {
                    let name = name.as_str();
                    let known = READS.iter().chain(&WRITES).chain(&WAITS).any(|known| *known == name);
                    !known && name != "epoll_ctl" && count.abs() >= NONE
                })
                .map(|(name, count)| format!("{name} {count:.2}"))
                .collect();
            for (name, count) in &counts {
                section.record(title, "", peer.name, 0, name, *count);
            }
            let mut fields = vec![peer.name.to_owned(), format!("{all:.2}")];
            fields.extend(known.iter().map(|count| format!("{count:.2}")));
            fields.push(others.join(", "));
            section.row(&fields);
            if peer.name == BOURN && workload == workload::ECHO {
                let [reads, writes, waits, _] = known;
                let exact = |count: f64| (count - 1.0).abs() < NONE;
                section.verdicts.push(Verdict::once(
                    format!("{title}: system calls"),
                    format!("recv {reads:.2}, send {writes:.2}, waits {waits:.2}, all {all:.2}"),
                    "recv 1.00, send 1.00, waits at most 0.05, nothing else".to_owned(),
                    exact(reads) && exact(writes) && waits <= 0.05 && all <= 2.05 + NONE,
                ));
            }
        }
    }
    refused(&mut section, smoke, io_uring)?;
    sys::pin(sys::processors())?;
    Ok(section)
}

/// Who is counted.
fn asked(cell: &Cell, smoke: bool, io_uring: bool) -> Vec<Peer> {
    let mut peers = cell.peers(io_uring);
    peers.retain(|peer| !smoke || [LIMIT, BOURN].contains(&peer.name));
    peers
}

/// Whether slow readers stop a server at all: how often it is told that there is no room.
fn refused(section: &mut Section, smoke: bool, io_uring: bool) -> Outcome<()> {
    let cell = workload::cells(workload::SLOW).into_iter().find(|cell| cell.sending == Sending::Each);
    let cell = cell.ok_or("there are no slow readers")?;
    section.say(&format!(
        "\n{}, for each MiB, with the answers to the quick clients. A chunk of 64 KiB that is taken at once makes 16\n\
         writes of a MiB; more of them were cut short, since there was no room. Those *refused* said `EAGAIN`: who takes a\n\
         short write for that answer (tokio) has none. A thread waits inside its call, and io_uring inside the kernel.\n\n",
        cell.title,
    ));
    section.table(&["server", "writes", "of them refused", "waits", "epoll_ctl"]);
    for peer in asked(&cell, smoke, io_uring) {
        let counts = difference(&cell, &peer, &STRACE, calls)?;
        let refused = sum(&counts, &WRITES.map(|name| format!("{name}{FAILED}")));
        let fields = [sum(&counts, &WRITES), refused, sum(&counts, &WAITS), sum(&counts, &["epoll_ctl"])];
        let mut row = vec![peer.name.to_owned()];
        row.extend(fields.iter().map(|count| format!("{count:.1}")));
        section.row(&row);
        for (name, count) in &counts {
            section.record(&cell.title, "", peer.name, 0, name, *count);
        }
        let waited = refused >= 1.0 || sum(&counts, &WRITES) >= 2.0 * 16.0;
        if !waited && !peer.is_blocking() && !peer.uses_io_uring() {
            return Err(
                format!("{}, {}: all was taken at once: it did not wait for room", cell.title, peer.name).into()
            );
        }
    }
    Ok(())
}

/// Instructions in user space for each echo; of the limit and bourn alone in a short run.
pub fn user_instructions(smoke: bool) -> Outcome<Section> {
    let mut section = Section::new("instructions", "Instructions in user space for each request");
    let title = "echo 64 B, 64 connections";
    section.say(&format!("{title}, one thread, requests one by one, under callgrind (which has no io_uring).\n\n"));
    section.table(&["server", "instructions"]);
    let cell = workload::one(workload::ECHO, title);
    for peer in asked(&cell, smoke, false) {
        let bound = match peer.name {
            LIMIT => Some(LIMIT_INSTRUCTIONS),
            BOURN => Some(BOURN_INSTRUCTIONS),
            _ => None,
        };
        let counts = difference(&cell, &peer, &CALLGRIND, instructions)?;
        let count = *counts.get("instructions").ok_or("callgrind counted nothing")?;
        section.record(title, "", peer.name, 0, "instructions", count);
        section.row(&[peer.name.to_owned(), format!("{count:.0}")]);
        if let Some(bound) = bound {
            let what = format!("{title}: instructions of {}", peer.name);
            section.verdicts.push(Verdict::at_most(what, &[count], bound, 0, 1));
        }
        if peer.name == LIMIT && count > LIMIT_INSTRUCTIONS {
            return Err(format!("the limit takes {count:.0} instructions for an echo: it is none").into());
        }
    }
    sys::pin(sys::processors())?;
    Ok(section)
}

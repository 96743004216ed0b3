//! hyper's hello on bourn against the same on tokio, in one run: do requests cost less?
//!
//! Both servers run all the time, as processes of their own; wrk loads one, then the other,
//! for a second each, and again. What is compared is the ratio within each round, so that
//! what the machine does meanwhile hits both. Of the ratios the median is shown, with the
//! smallest and the largest.
//!
//! `versus-hyper [ROUNDS [RUNTIME CONNECTIONS]]`, with the runtimes `thread` (all on one
//! thread), `1` and `2` (workers, the main thread waits outside), `1+main` and `2+main` (it
//! waits inside `block_on`).

mod serve;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const PEERS: [&str; 2] = ["bourn", "tokio"];
const SECONDS: u32 = 1;
/// The kernel counts processor time in these (`sysconf(_SC_CLK_TCK)`, which is 100 on Linux).
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["serve", "bourn", runtime] => serve::bourn(runtime),
        ["serve", "tokio", runtime] => serve::tokio(runtime),
        [] => compare_all(5),
        [rounds] => compare_all(rounds.parse().expect("a number of rounds")),
        [rounds, runtime, connections] => {
            head();
            compare(rounds.parse().expect("a number of rounds"), runtime, connections);
        }
        _ => panic!("usage: versus-hyper [ROUNDS [RUNTIME CONNECTIONS]]"),
    }
}

fn compare_all(rounds: usize) {
    head();
    for runtime in ["thread", "1", "1+main", "2", "2+main"] {
        for connections in ["64", "256"] {
            compare(rounds, runtime, connections);
        }
    }
}

fn head() {
    println!("| runtime | connections | what | bourn | tokio | bourn / tokio | spread |");
    println!("|---|---:|---|---:|---:|---:|---|");
}

struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(peer: &str, runtime: &str) -> Server {
        let program = std::env::current_exe().expect("the path of this program");
        let mut child = Command::new(program)
            .args(["serve", peer, runtime])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process for the server");
        let mut addr = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut addr).expect("the server's address");
        Server { child, addr: addr.trim().to_owned() }
    }

    /// The processor time of all its threads until now, in seconds.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it lives");
        // proc_pid_stat(5): fields 14 and 15; the name, the second one, ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
        let ticks: f64 = fields[11..13].iter().map(|ticks| ticks.parse::<f64>().expect("a number")).sum();
        ticks / TICKS_PER_SECOND
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one second of load has shown.
struct Slice {
    requests_per_second: f64,
    /// All in microseconds.
    cpu_per_request: f64,
    half: f64,
    most: f64,
}

fn load(server: &Server, connections: &str) -> Slice {
    let before = server.cpu();
    let output = Command::new("wrk")
        .args(["--latency", "-t1", "-c", connections, &format!("-d{SECONDS}s")])
        .arg(format!("http://{}/", server.addr))
        .output()
        .expect("wrk is installed");
    let cpu = server.cpu() - before;
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let line = |start: &str| {
        let line = report.lines().map(str::trim).find_map(|line| line.strip_prefix(start));
        line.unwrap_or_else(|| panic!("wrk says nothing of {start}: {report}")).trim()
    };
    let requests = report.lines().find_map(|line| line.trim().split_once(" requests in")).expect("a count").0;
    Slice {
        requests_per_second: line("Requests/sec:").parse().expect("a number"),
        cpu_per_request: cpu / requests.parse::<f64>().expect("a number") * 1e6,
        half: microseconds(line("50%")),
        most: microseconds(line("99%")),
    }
}

fn microseconds(text: &str) -> f64 {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, unit) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .unwrap_or_else(|| panic!("{text} is no time"));
    number.parse::<f64>().expect("a number") * unit
}

fn compare(rounds: usize, runtime: &str, connections: &str) {
    let servers = PEERS.map(|peer| Server::start(peer, runtime));
    // Caches, buffers and the processor's clock.
    for server in &servers {
        let _ = load(server, connections);
    }
    let rounds: Vec<[Slice; 2]> = (0..rounds)
        .map(|round| {
            // Each goes first in turn.
            let first = round % 2;
            let one = load(&servers[first], connections);
            let other = load(&servers[1 - first], connections);
            if first == 0 { [one, other] } else { [other, one] }
        })
        .collect();
    type Measure = (&'static str, fn(&Slice) -> f64);
    let measures: [Measure; 4] = [
        ("requests/s", |slice| slice.requests_per_second),
        ("server CPU per request, us", |slice| slice.cpu_per_request),
        ("p50, us", |slice| slice.half),
        ("p99, us", |slice| slice.most),
    ];
    for (name, measure) in measures {
        let of = |peer: usize| median(rounds.iter().map(|round| measure(&round[peer])).collect());
        let mut ratios: Vec<f64> = rounds.iter().map(|round| measure(&round[0]) / measure(&round[1])).collect();
        ratios.sort_by(f64::total_cmp);
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        println!(
            "| {runtime} | {connections} | {name} | {:.*} | {:.*} | {:.2} | {least:.2} to {most:.2} |",
            if of(0) < 100.0 { 1 } else { 0 },
            of(0),
            if of(1) < 100.0 { 1 } else { 0 },
            of(1),
            median(ratios),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

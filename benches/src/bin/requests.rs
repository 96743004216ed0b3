//! System calls and allocations per request, counted, not timed.
//!
//! ```text
//! cargo run --release -p bourn-bench --bin requests [-- --check]
//! ```
//!
//! A server (this program again, under `strace -c -f`) echoes 64-byte messages of
//! 64 warm connections into a 4 KiB buffer, one message in flight on each. Two
//! runs differ in the number of requests alone; the difference of their counts,
//! divided by the difference in requests, leaves out start, connects and end.
//! With `--check` the program fails where a figure is above its promise.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

const CONNECTIONS: usize = 64;
const MESSAGE: usize = 64;
const BUFFER: usize = 4096;
/// Rounds over all connections in the short and in the long run.
const ROUNDS: [usize; 2] = [50, 550];
/// A queue may grow once more in one run than in the other: so many allocations
/// for each request are none.
const GROWTH: f64 = 0.0005;
/// A message of only these asks the server how often it has allocated.
const QUESTION: u8 = 0xff;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which
// keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        None => report(false),
        Some("--check") => report(true),
        Some("serve") => match arguments.next().as_deref() {
            Some("tokio") => serve_tokio(),
            Some(backend) => serve_bourn(backend.parse()?),
            None => Err("serve: which server?".into()),
        },
        Some(other) => Err(format!("there is no option {other}").into()),
    }
}

fn serve_bourn(backend: bourn::Backend) -> Outcome<()> {
    // A traced process stands still for long; reports of that would be counted.
    let runtime = bourn::Builder::new_current_thread().backend(backend).rescue(false).build()?;
    runtime.block_on(async {
        let listener = bourn::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            bourn::spawn(async move {
                let mut buffer = vec![0; BUFFER];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    answer(&mut buffer[..length]);
                    if stream.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}

fn serve_tokio() -> Outcome<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        loop {
            let (mut stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buffer = vec![0; BUFFER];
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    answer(&mut buffer[..length]);
                    if stream.write_all(&buffer[..length]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}

fn answer(message: &mut [u8]) {
    if message.iter().all(|byte| *byte == QUESTION) {
        message[..8].copy_from_slice(&ALLOCATIONS.load(Ordering::Relaxed).to_le_bytes());
    }
}

/// Calls and failed calls, by name.
type Calls = BTreeMap<String, (u64, u64)>;

struct Run {
    requests: u64,
    calls: Calls,
    allocations: u64,
}

/// One run of a server under strace.
fn run(server: &str, rounds: usize) -> Outcome<Run> {
    let log = std::env::temp_dir().join(format!("bourn-requests-{}-{server}", std::process::id()));
    let mut child = Command::new("strace")
        .args(["-c", "-f", "-o"])
        .arg(&log)
        .arg(std::env::current_exe()?)
        .args(["serve", server])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("strace can not be started: {error}"))?;
    let mut line = String::new();
    let output = child.stdout.take().ok_or("the server has no output")?;
    BufReader::new(output).read_line(&mut line)?;
    let address: SocketAddr = line.trim().parse()?;

    let before = allocations(address)?;
    let clients: Vec<_> = (0..CONNECTIONS).map(|_| thread::spawn(move || client(address, rounds))).collect();
    for client in clients {
        client.join().map_err(|_panic| "a client panicked")??;
    }
    let after = allocations(address)?;
    // strace ends with the process that it traces, and writes its table then. Its
    // child is the server.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))?;
    for server in children.split_whitespace() {
        Command::new("kill").args(["-TERM", server]).status()?;
    }
    child.wait()?;
    let calls = parse(&std::fs::read_to_string(&log)?);
    std::fs::remove_file(&log)?;
    Ok(Run { requests: (CONNECTIONS * rounds) as u64, calls, allocations: after - before })
}

fn client(address: SocketAddr, rounds: usize) -> Outcome<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut buffer = [0; MESSAGE];
    for round in 0..rounds {
        buffer.fill(round as u8 & 0x7f);
        stream.write_all(&buffer)?;
        stream.read_exact(&mut buffer)?;
        if buffer != [round as u8 & 0x7f; MESSAGE] {
            return Err("the echo is another message".into());
        }
    }
    Ok(())
}

fn allocations(address: SocketAddr) -> Outcome<u64> {
    let mut stream = TcpStream::connect(address)?;
    let mut buffer = [QUESTION; MESSAGE];
    stream.write_all(&buffer)?;
    stream.read_exact(&mut buffer)?;
    let mut count = [0; 8];
    count.copy_from_slice(&buffer[..8]);
    Ok(u64::from_le_bytes(count))
}

/// The table of `strace -c`: `% seconds usecs/call calls [errors] name`.
fn parse(table: &str) -> Calls {
    let mut calls = Calls::new();
    for line in table.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        if let [_, _, _, count, .., name] = fields[..]
            && let Ok(count) = count.parse()
            && name != "total"
        {
            let errors = if fields.len() > 5 { fields[4].parse().unwrap_or(0) } else { 0 };
            calls.insert(name.to_owned(), (count, errors));
        }
    }
    calls
}

/// Per request: what the long run has more than the short one.
struct Figures {
    calls: BTreeMap<String, (f64, f64)>,
    allocations: f64,
}

impl Figures {
    fn total(&self) -> f64 {
        self.calls.values().map(|(calls, _)| calls).sum()
    }

    fn calls(&self, names: &[&str]) -> f64 {
        names.iter().filter_map(|name| self.calls.get(*name)).map(|(calls, _)| calls).sum()
    }

    fn failed(&self, names: &[&str]) -> f64 {
        names.iter().filter_map(|name| self.calls.get(*name)).map(|(_, failed)| failed).sum()
    }
}

fn measure(server: &str) -> Outcome<Figures> {
    let short = run(server, ROUNDS[0])?;
    let long = run(server, ROUNDS[1])?;
    let requests = (long.requests - short.requests) as f64;
    let per_request = |long: u64, short: u64| (long as f64 - short as f64) / requests;
    let calls = long
        .calls
        .iter()
        .map(|(name, (calls, failed))| {
            let (before, failed_before) = short.calls.get(name).copied().unwrap_or_default();
            (name.clone(), (per_request(*calls, before), per_request(*failed, failed_before)))
        })
        .filter(|(_, (calls, failed))| *calls != 0.0 || *failed != 0.0)
        .collect();
    Ok(Figures { calls, allocations: per_request(long.allocations, short.allocations) })
}

const READS: &[&str] = &["recvfrom", "read", "recvmsg", "readv"];
const WRITES: &[&str] = &["sendto", "write", "sendmsg", "writev"];
const WAITS: &[&str] = &["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "pselect6"];

fn report(check: bool) -> Outcome<()> {
    println!("| server | system calls | reads | of them failed | writes | waits | epoll_ctl | allocations |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut broken = Vec::new();
    let servers = bourn::Backend::ALL.iter().map(|backend| backend.name()).chain(["tokio"]);
    for server in servers {
        let figures = measure(server)?;
        println!(
            "| {server} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} |",
            figures.total(),
            figures.calls(READS),
            figures.failed(READS),
            figures.calls(WRITES),
            figures.calls(WAITS),
            figures.calls(&["epoll_ctl"]),
            figures.allocations,
        );
        if server == "epoll" {
            let promises = [
                (figures.total() <= 2.1, "at most 2.1 system calls a request"),
                (figures.calls(&["epoll_ctl"]).abs() < 0.0005, "no epoll_ctl"),
                (figures.failed(READS).abs() < 0.0005, "no failed read"),
            ];
            broken.extend(promises.iter().filter(|(kept, _)| !kept).map(|(_, promise)| *promise));
        }
        if server != "tokio" && figures.allocations.abs() > GROWTH {
            broken.push("no allocation");
        }
    }
    if check && !broken.is_empty() {
        return Err(format!("not kept: {}", broken.join(", ")).into());
    }
    Ok(())
}

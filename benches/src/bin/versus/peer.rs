//! The servers: which there are, how they are built, and one of them while it runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Outcome, sys};

/// Each is a package and a workspace of its own below `benches/servers`.
const PACKAGES: [&str; 6] = ["limit", "bourn", "tokio", "smol", "monoio", "threads"];

/// One way to serve.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub name: &'static str,
    package: &'static str,
    flavor: &'static str,
    backend: &'static str,
}

const fn peer(name: &'static str, package: &'static str, flavor: &'static str, backend: &'static str) -> Peer {
    Peer { name, package, flavor, backend }
}

/// What the others are held against.
pub const LIMIT: &str = "limit";
pub const TOKIO: &str = "tokio";
pub const BOURN: &str = "bourn";

/// On one thread. The first three stand side by side, so that their slices do.
pub const ONE: [Peer; 13] = [
    peer(LIMIT, "limit", "", ""),
    peer(BOURN, "bourn", "current_thread", "epoll"),
    peer(TOKIO, "tokio", "current_thread", ""),
    peer("smol", "smol", "local", ""),
    peer("monoio, epoll", "monoio", "", "epoll"),
    peer("monoio, io_uring", "monoio", "", "io_uring"),
    peer("threads", "threads", "", ""),
    peer("bourn, rescue(true)", "bourn", "watched", "epoll"),
    peer("bourn, multi_thread", "bourn", "multi_thread", "epoll"),
    peer("bourn, thread_per_core", "bourn", "thread_per_core", "epoll"),
    peer("bourn, poll", "bourn", "current_thread", "poll"),
    peer("bourn, select", "bourn", "current_thread", "select"),
    peer("bourn, mio", "bourn", "current_thread", "mio"),
];

/// On several.
pub const MANY: [Peer; 8] = [
    peer(LIMIT, "limit", "", ""),
    peer(BOURN, "bourn", "multi_thread", "epoll"),
    peer(TOKIO, "tokio", "multi_thread", ""),
    peer("smol", "smol", "shared", ""),
    peer("monoio, epoll", "monoio", "", "epoll"),
    peer("monoio, io_uring", "monoio", "", "io_uring"),
    peer("threads", "threads", "", ""),
    peer("bourn, thread_per_core", "bourn", "thread_per_core", "epoll"),
];

impl Peer {
    pub fn package(&self) -> &'static str {
        self.package
    }

    pub fn is_blocking(&self) -> bool {
        self.package == "threads"
    }

    /// valgrind has no io_uring.
    pub fn uses_io_uring(&self) -> bool {
        self.backend == "io_uring"
    }

    /// Shows what another flavor or backend of bourn's costs, in few rows.
    pub fn is_variant(&self) -> bool {
        self.package == "bourn" && self.name != BOURN
    }

    fn program(&self) -> PathBuf {
        target().join("release").join(format!("versus-{}", self.package))
    }
}

/// The project's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("benches is a folder of the project")
}

/// Where the servers are built: by themselves, for cargo gives a crate the features that anybody in a build asks for.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from).join("versus")
}

/// The version of a crate that a server was built with.
pub fn version(package: &str, krate: &str) -> Outcome<String> {
    let lock = fs::read_to_string(root().join("benches/servers").join(package).join("Cargo.lock"))?;
    let mut lines = lock.lines().skip_while(|line| *line != format!("name = \"{krate}\"")).skip(1);
    let version = lines.next().and_then(|line| line.strip_prefix("version = ")).ok_or("no such crate is locked")?;
    Ok(version.trim_matches('"').to_owned())
}

/// Builds all servers. The time is cargo's own, and little once they are built.
pub fn build() -> Outcome<()> {
    for package in PACKAGES {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
            .arg(root().join("benches/servers").join(package).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target())
            .status()?;
        if !status.success() {
            return Err(format!("the server on {package} can not be built").into());
        }
    }
    Ok(())
}

/// What a server is to serve.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    pub name: &'static str,
    pub buffer: usize,
    pub workers: usize,
    /// `SO_SNDBUF` of its connections; 0 for what the kernel chooses.
    pub send_buffer: usize,
}

impl Service {
    /// On one thread.
    pub const fn of(name: &'static str) -> Service {
        Service { name, buffer: 4096, workers: 1, send_buffer: 0 }
    }
}

/// A server that runs, until it is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
}

impl Server {
    /// Starts one, on the first processor alone if it is to be `pinned`.
    pub fn start(peer: &Peer, service: Service, pinned: bool) -> Outcome<Server> {
        Server::start_under(&[], peer, service, pinned)
    }

    /// The same, under another program such as strace.
    pub fn start_under(outer: &[String], peer: &Peer, service: Service, pinned: bool) -> Outcome<Server> {
        let program = peer.program();
        let mut command = match outer {
            [] => Command::new(&program),
            [outer, arguments @ ..] => {
                let mut command = Command::new(outer);
                command.args(arguments).arg(&program);
                command
            }
        };
        for (key, value) in [("service", service.name), ("flavor", peer.flavor), ("backend", peer.backend)] {
            if !value.is_empty() {
                command.arg(format!("{key}={value}"));
            }
        }
        let Service { buffer, workers, send_buffer, .. } = service;
        command.arg(format!("workers={workers}")).arg(format!("buffer={buffer}"));
        command.arg(format!("send_buffer={send_buffer}"));
        if pinned {
            sys::pin(&sys::processors()[..1])?;
        }
        if service.name == "work" {
            // Tasks block here on purpose, and a server may have something to say about that.
            command.stderr(Stdio::null());
        }
        // It inherits both: prctl(2), sched_setaffinity(2).
        sys::wait_precisely(false);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        sys::wait_precisely(true);
        if pinned {
            sys::pin(&sys::processors()[1..2])?;
        }
        let mut child = child.map_err(|error| format!("{command:?} can not be started: {error}"))?;
        let mut line = String::new();
        let output = child.stdout.take().ok_or("a server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse().map_err(|_| format!("{} told no address", peer.name))?;
        Ok(Server { child, address })
    }

    pub fn processor_time(&self) -> Outcome<Duration> {
        Ok(sys::processor_time(self.child.id())?)
    }

    /// Its processor time once it has nothing left to do. A thread's time is told to others when it stops running.
    pub fn settled(&self) -> Outcome<Duration> {
        let start = Instant::now();
        let mut last = self.processor_time()?;
        loop {
            std::thread::sleep(Duration::from_micros(500));
            let now = self.processor_time()?;
            // A thread that looks after others takes some microseconds every few milliseconds.
            if now - last < Duration::from_micros(50) || start.elapsed() > Duration::from_secs(1) {
                return Ok(now);
            }
            last = now;
        }
    }

    /// How many threads it has.
    pub fn threads(&self) -> Outcome<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.child.id()))?.count())
    }

    /// How often its threads were taken off a processor, by themselves or by the kernel.
    pub fn switches(&self) -> Outcome<u64> {
        let mut switches = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end meanwhile.
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            let counts = status.lines().filter(|line| line.contains("_ctxt_switches:"));
            switches += counts.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum::<u64>();
        }
        Ok(switches)
    }

    /// Memory that is its own: not of files, not shared.
    pub fn memory(&self) -> Outcome<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).ok_or("no RssAnon in /proc")?;
        let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("no size of RssAnon")?.parse()?;
        Ok(kibibytes * 1024)
    }

    /// Ends it and waits for that. An error if it had ended by itself.
    pub fn end(mut self) -> Outcome<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        // Standard input did it; strace and valgrind end as what they run did.
        if status.signal() != Some(libc::SIGIO) {
            return Err(format!("the server at {} has ended by itself: {status}", self.address).into());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Whatever its status was, it is gone.
        _ = self.child.wait();
    }
}

//! An example's own program as a second process: a server to talk to, and what the kernel counts of it.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use std::{env, fs};

/// What a server does with its listener.
pub type Serve = fn(TcpListener) -> io::Result<()>;

/// A server in a process of its own, which ends with this value.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens: the first line that it has printed.
    pub address: SocketAddr,
}

/// What the threads of a process that are alive have used up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// How many they are.
    pub threads: usize,
    /// How often they gave their processor up to wait.
    pub switches: f64,
    /// Their time on a processor.
    pub cpu: Duration,
}

/// In a process that [`Server::start`] has started: its argument, and a listener whose address is printed.
///
/// # Errors
/// What `bind` says.
pub fn asked_to_serve() -> io::Result<Option<(String, TcpListener)>> {
    let Some(how) = env::args().nth(1) else { return Ok(None) };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    Ok(Some((how, listener)))
}

/// Whether there is strace(1), which [`calls`] takes.
pub fn can_count_calls() -> bool {
    Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// All system calls of this program with one argument, as strace(1) counts them, until it has ended because `talk`, which
/// talks to it, has.
///
/// # Errors
/// Those of `talk`, and what keeps strace from starting.
///
/// # Panics
/// If the program fails.
pub fn calls(argument: &str, talk: impl FnOnce(&Server) -> io::Result<()>) -> io::Result<f64> {
    let log = env::temp_dir().join(format!("bourn-calls-{}", std::process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&log).arg(env::current_exe()?).arg(argument);
    let mut server = Server::spawn(&mut strace)?;
    talk(&server)?;
    assert!(server.wait()?.success());
    let table = fs::read_to_string(&log)?;
    fs::remove_file(&log)?;
    let total = table.lines().find_map(|line| line.trim().strip_suffix("total")).expect("a total");
    total.trim().parse().map_err(io::Error::other)
}

/// What serves in this process, if it is one that [`Server::start`] has started: of `all`, by its name.
///
/// # Errors
/// What it says, or `bind`.
///
/// # Panics
/// If there is no such name.
pub fn serve_if_asked(all: &[(&str, Serve)]) -> io::Result<bool> {
    let Some((how, listener)) = asked_to_serve()? else { return Ok(false) };
    let (_, serve) = all.iter().find(|(name, _)| *name == how).expect("one of them");
    serve(listener).map(|()| true)
}

impl Server {
    /// Starts this program with one argument.
    ///
    /// # Errors
    /// What keeps a program from starting, and a first line that is no address.
    pub fn start(argument: &str) -> io::Result<Self> {
        Self::spawn(Command::new(env::current_exe()?).arg(argument))
    }

    /// Starts a program that prints its address first.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = child.map_err(|error| io::Error::other(format!("cannot start {command:?}: {error}")))?;
        let mut server = Self { child, address: SocketAddr::from(([0; 4], 0)) };
        let mut line = String::new();
        BufReader::new(server.child.stdout.take().expect("piped")).read_line(&mut line)?;
        server.address = line.trim().parse().map_err(io::Error::other)?;
        Ok(server)
    }

    /// What it has used up so far.
    ///
    /// # Errors
    /// What reading `/proc` says, for example after its end.
    pub fn usage(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let read = |name| fs::read_to_string(thread.as_ref().expect("a folder").path().join(name));
            let (status, schedstat) = (read("status")?, read("schedstat")?);
            let switches = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            usage.threads += 1;
            usage.switches += switches.expect("a count").trim().parse::<f64>().map_err(io::Error::other)?;
            let nanoseconds = schedstat.split(' ').next().expect("a time").parse().map_err(io::Error::other)?;
            usage.cpu += Duration::from_nanos(nanoseconds);
        }
        Ok(usage)
    }

    /// What it uses for `count` questions and answers, and the median of how long those take. One question comes before,
    /// and is not counted.
    ///
    /// # Errors
    /// Those of `ask`, and of [`usage`](Self::usage).
    pub fn cost_of(&self, count: u32, mut ask: impl FnMut() -> io::Result<Duration>) -> io::Result<(Usage, Duration)> {
        ask()?;
        let begin = self.usage()?;
        let mut answers = (0..count).map(|_| ask()).collect::<io::Result<Vec<_>>>()?;
        let end = self.usage()?;
        answers.sort();
        let cost = Usage { threads: end.threads, switches: end.switches - begin.switches, cpu: end.cpu - begin.cpu };
        Ok((cost, answers[answers.len() / 2]))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What the kernel says to `wait`.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill(); // may have ended
        _ = self.child.wait();
    }
}

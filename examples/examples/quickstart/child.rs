//! Servers in processes of their own, so that what each uses can be told apart.
//!
//! The child is this very program with other arguments. A pipe is its standard
//! input, and nothing is ever written to it: its end means that the parent is
//! gone, however that happened. So no server outlives the comparison.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{self, Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::servers::Kind;
use crate::usage::Usage;

/// The argument that makes this program such a child; the name of a server follows.
pub const MEASURED: &str = "--measured";

/// A machine that needs longer than this to start a process has other troubles.
const START: Duration = Duration::from_secs(5);

/// The thread that watches over the parent is not the server's.
const OTHER_THREADS: u64 = 1;

/// In the child: serves as long as the parent lives.
pub fn run(kind: Kind) -> io::Result<Infallible> {
    thread::Builder::new().spawn(|| {
        // The end of the input and an error alike leave nobody to serve for.
        let _end = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0);
    })?;
    kind.run(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), crate::announce)
}

/// In the parent: a running server, which ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    kind: Kind,
    addr: SocketAddr,
}

impl Server {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// If the process can not be started or does not say where it listens.
    pub fn start(kind: Kind) -> io::Result<Server> {
        let child = Command::new(std::env::current_exe()?)
            .args([MEASURED, kind.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // From here on the child is ended on every way out.
        let mut server = Server { child, kind, addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) };
        server.addr = server.await_address()?;
        Ok(server)
    }

    fn await_address(&mut self) -> io::Result<SocketAddr> {
        let output = self.child.stdout.take().expect("the output is a pipe");
        // A blocking read knows no deadline; a channel does. The thread ends with the line, or with the child.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            let result = BufReader::new(output).read_line(&mut line);
            let _nobody_waits_any_more = sender.send(result.map(|_| line));
        });
        let Ok(line) = receiver.recv_timeout(START) else {
            return Err(self.failure("does not start"));
        };
        let line = line?;
        line.trim_end()
            .strip_prefix("listening on http://")
            .and_then(|addr| addr.parse().ok())
            .ok_or_else(|| self.failure("did not say where it listens"))
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it has used so far.
    pub fn usage(&self) -> Option<Usage> {
        let mut usage = Usage::of(self.child.id())?;
        usage.threads = usage.threads.saturating_sub(OTHER_THREADS);
        Some(usage)
    }

    /// Ends the server.
    ///
    /// # Errors
    /// If it has ended by itself before, which servers do not.
    pub fn stop(mut self) -> io::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("died under the load ({status})"))),
        }
    }

    fn failure(&self, what: &str) -> io::Error {
        io::Error::other(format!("the server `{}` {what}", self.kind.title()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already. Waiting takes it out of the process table.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

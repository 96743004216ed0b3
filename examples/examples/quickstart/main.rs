//! Serves 1,000 clients at once with bourn, and then in two ways without.
//!
//! ```text
//! cargo run --release --example quickstart
//! cargo run --release --example quickstart -- --serve 127.0.0.1:8080
//! ```
//!
//! The first compares three HTTP servers. They share the code that understands
//! HTTP and differ only in how they wait for their clients:
//!
//! * `bourn`: one thread and a task per connection; a task that waits costs its
//!   buffers and nothing else;
//! * `thread each`: a thread per connection, each asleep in its own `recv`;
//! * `one at a time`: one thread, which is with one client until that one leaves.
//!
//! ```text
//!      this process                          a child process per server
//!   comparison -- child -------- starts ---> servers/{bourn, blocking}
//!       |                                           |
//!      load == 1,000 connections over loopback ==> http
//!       |                                           .
//!     report <-- usage ---- /proc/PID . . . . . . . .
//! ```
//!
//! The second keeps the bourn server up, for curl, wrk and whoever is curious.
//! `BOURN_BACKEND=poll` (or `select`, or `mio`) has it wait in another kernel call.
#![forbid(unsafe_code)]

mod child;
mod comparison;
mod descriptors;
mod http;
mod load;
mod report;
mod servers;
mod usage;

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;

use crate::servers::Kind;

const USAGE: &str = "\
usage: quickstart                  compares bourn with blocking servers (15 s)
       quickstart --serve ADDRESS  serves HTTP until it is interrupted; for example
                                   --serve 127.0.0.1:8080 (port 0: any free one)
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Compare,
    Serve(SocketAddr),
    /// For the children of the comparison only.
    Measured(Kind),
    Help,
}

impl Command {
    /// Reads the arguments behind the program's name; the error says what is wrong
    /// with them.
    fn parse(arguments: &[String]) -> Result<Command, String> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match arguments[..] {
            [] => Ok(Command::Compare),
            ["--help" | "-h"] => Ok(Command::Help),
            ["--serve", address] => address
                .to_socket_addrs()
                .map_err(|error| format!("`{address}` is no address with a port: {error}"))?
                .next()
                .map(Command::Serve)
                .ok_or_else(|| format!("`{address}` has no address")),
            ["--serve"] => Err("--serve needs an address".to_string()),
            [child::MEASURED, name] => {
                Kind::named(name).map(Command::Measured).ok_or_else(|| format!("there is no server `{name}`"))
            }
            [other, ..] => Err(format!("`{other}` is unknown or has too much behind it")),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    let result = match Command::parse(&arguments) {
        Ok(Command::Compare) => comparison::run(),
        Ok(Command::Serve(addr)) => serve(addr).map(|never| match never {}),
        Ok(Command::Measured(kind)) => child::run(kind).map(|never| match never {}),
        Ok(Command::Help) => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        Err(wrong) => {
            eprint!("{wrong}\n{USAGE}");
            Ok(ExitCode::from(2))
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("quickstart: {error}");
        ExitCode::FAILURE
    })
}

/// Serves until a signal ends the process.
fn serve(addr: SocketAddr) -> io::Result<Infallible> {
    descriptors::raise_limit()?;
    Kind::Bourn.run(addr, announce)
}

/// Says where the server listens, once it does: for people and for programs that
/// wait for it.
fn announce(addr: SocketAddr) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{addr}")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Command::parse(&arguments)
    }

    #[test]
    fn the_command_line_is_understood() {
        let addr = "127.0.0.1:0".parse().unwrap();
        assert_eq!(parse(""), Ok(Command::Compare));
        assert_eq!(parse("--serve 127.0.0.1:0"), Ok(Command::Serve(addr)));
        assert_eq!(parse("--help"), Ok(Command::Help));
        for kind in Kind::ALL {
            assert_eq!(parse(&format!("{} {}", child::MEASURED, kind.name())), Ok(Command::Measured(kind)));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for line in ["--serve", "--serve nowhere", "--serve 127.0.0.1:0 x", "serve", "--measured none"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}

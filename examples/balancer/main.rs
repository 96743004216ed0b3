//! Three processes of one server behind HAProxy, each restarted while requests come, and no
//! request fails.
//!
//! Without arguments: starts HAProxy (it has to be installed) and three servers, sends
//! requests, restarts each server twice, once by draining it and once by handing its sockets
//! over, and requires that every request got its answer, with the name of its own peer in it.
//! `BOURN_BALANCER_REQUESTS` says how many requests at least (20,000).
//!
//! With arguments it is one of the servers; see the README beside this file.

mod load;
mod server;

use std::error::Error;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use load::Load;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => demonstrate().map(|()| ExitCode::SUCCESS),
        [name, addr, hand_over, announce] => {
            let announce = Duration::from_millis(announce.parse()?);
            let runtime = bourn::runtime::Builder::new_multi_thread().build()?;
            Ok(runtime.block_on(server::run(name, addr.parse()?, hand_over, announce))?)
        }
        _ => Err("usage: balancer [NAME ADDRESS HAND-OVER-PATH ANNOUNCE-MILLISECONDS]".into()),
    }
}

/// One of the three places behind the balancer, and the process that fills it.
struct Place {
    name: &'static str,
    addr: SocketAddr,
    hand_over: PathBuf,
    /// How long it tells the balancer that it drains. Without that, the balancer notices when it is refused.
    announce: Duration,
    generation: u32,
    child: Child,
}

fn start(name: &str, addr: SocketAddr, hand_over: &PathBuf, announce: Duration) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([name, &addr.to_string()]).arg(hand_over).arg(announce.as_millis().to_string()).spawn()
}

impl Place {
    fn new(name: &'static str, announce: Duration) -> Result<Place, Box<dyn Error>> {
        let addr = free_addr()?;
        let hand_over = std::env::temp_dir().join(format!("bourn-balancer-{}-{name}", std::process::id()));
        let child = start(&format!("{name}.0"), addr, &hand_over, announce)?;
        listening(addr)?;
        Ok(Place { name, addr, hand_over, announce, generation: 0, child })
    }

    fn next(&mut self) -> std::io::Result<(Child, String)> {
        self.generation += 1;
        let name = format!("{}.{}", self.name, self.generation);
        Ok((start(&name, self.addr, &self.hand_over, self.announce)?, name))
    }

    /// SIGTERM, and a new one when the old one has ended.
    fn restart_by_drain(&mut self, load: &Load) -> Result<(), Box<dyn Error>> {
        let status = Command::new("kill").arg(self.child.id().to_string()).status()?;
        assert!(status.success(), "kill(1) ends well");
        ended(&mut self.child)?;
        let (child, name) = self.next()?;
        self.child = child;
        load.until_answered_by(&name);
        Ok(())
    }

    /// A new one beside the old one, which ends by itself.
    fn restart_by_hand_over(&mut self, load: &Load) -> Result<(), Box<dyn Error>> {
        let (child, name) = self.next()?;
        let mut old = std::mem::replace(&mut self.child, child);
        ended(&mut old)?;
        load.until_answered_by(&name);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.hand_over);
    }
}

/// HAProxy, ended with the demonstration.
struct Balancer(Child);

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn demonstrate() -> Result<(), Box<dyn Error>> {
    let requests: u64 = match std::env::var("BOURN_BALANCER_REQUESTS") {
        Ok(number) => number.parse()?,
        Err(_) => 20_000,
    };
    let mut places = [
        Place::new("one", Duration::from_millis(500))?,
        Place::new("two", Duration::ZERO)?,
        Place::new("three", Duration::from_millis(500))?,
    ];
    let front = free_addr()?;
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/balancer/haproxy.cfg");
    let mut haproxy = Command::new("haproxy");
    haproxy.args(["-db", "-q", "-f", config]).env("FRONT", front.to_string());
    for (variable, place) in ["ONE", "TWO", "THREE"].iter().zip(&places) {
        haproxy.env(variable, place.addr.to_string());
    }
    let haproxy = haproxy.spawn().map_err(|error| format!("haproxy: {error}; apt-get install haproxy"))?;
    let _balancer = Balancer(haproxy);
    listening(front)?;

    let began = Instant::now();
    let load = Load::start(front, requests);
    for round in 0.. {
        for place in &mut places {
            if round % 2 == 0 {
                place.restart_by_drain(&load)?;
                println!("{} drained and started again after {} requests", place.name, load.answered());
            } else {
                place.restart_by_hand_over(&load)?;
                println!("{} handed its sockets over after {} requests", place.name, load.answered());
            }
        }
        // Both ways at least once, and then for as long as there is load.
        if round >= 1 && (round % 2 == 1) && load.answered() >= requests / 2 {
            break;
        }
    }
    let (answered, failed, slowest) = load.end();
    for failure in &failed {
        println!("failed: {failure}");
    }
    println!("{answered} requests in {:.1?}, {} failed, slowest {slowest:.0?}", began.elapsed(), failed.len());
    if failed.is_empty() && answered >= requests { Ok(()) } else { Err("requests failed".into()) }
}

/// An address that is free now; not one that the kernel may give to somebody's connection in a moment.
fn free_addr() -> Result<SocketAddr, Box<dyn Error>> {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let free = (first..first + 2_000).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    Ok(free.ok_or("no free port")?.local_addr()?)
}

fn listening(addr: SocketAddr) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    while let Err(error) = TcpStream::connect(addr) {
        if start.elapsed() > PATIENCE {
            return Err(format!("nobody listens at {addr}: {error}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Waits until a server has ended; it says whether everybody was served.
fn ended(child: &mut Child) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("a server ended with {status}").into()),
            None if start.elapsed() > PATIENCE => return Err("a server does not end".into()),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

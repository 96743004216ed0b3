//! What a connection with nothing to do costs in memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::measure::Plan;
use crate::peer::{BOURN, ONE, Server, Service};
use crate::plot::grouped;
use crate::report::{Section, Verdict};
use crate::{Messages, Outcome};

const CONNECTIONS: usize = 8_000;

/// So many connections, each of which has been answered once.
fn connected(address: SocketAddr, count: usize) -> Outcome<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    let messages = Messages::new(64, count);
    for index in 0..count {
        let mut stream = TcpStream::connect(address)?;
        let request = messages.of(index);
        stream.write_all(request)?;
        let mut answer = [0; 64];
        stream.read_exact(&mut answer)?;
        if answer != request {
            return Err("an idle connection was answered wrongly".into());
        }
        streams.push(stream);
    }
    Ok(streams)
}

/// The memory of each server with many connections, less the one with few.
pub fn measure(plan: Plan, io_uring: bool) -> Outcome<Section> {
    let count = if plan.patient { CONNECTIONS } else { 100 };
    let mut section = Section::new("idle", "Idle connections");
    section.say(&format!(
        "{} connections on one thread, each with a task, a 64-byte buffer and one request behind it: anonymous memory of the\n\
         server's process (`RssAnon`), without the kernel's, beyond what it has with one connection. Nothing here\n\
         depends on the time, so nothing is repeated when the machine is noisy.\n\n",
        grouped(count as f64),
    ));
    section.table(&["server", "bytes for each connection", "context switches for each"]);
    for peer in ONE.iter().filter(|peer| io_uring || !peer.uses_io_uring()) {
        // select(2) is not made for more descriptors.
        if peer.name.contains("select") && count > 900 {
            continue;
        }
        let service = Service::of("idle");
        let server = Server::start(peer, service, false)?;
        let one = connected(server.address, 1)?;
        let before = server.memory()?;
        let many = connected(server.address, count)?;
        let each = server.memory()?.saturating_sub(before) as f64 / count as f64;
        let switches = server.switches()? as f64 / count as f64;
        drop((one, many));
        server.end()?;
        section.row(&[peer.name.to_owned(), grouped(each), format!("{switches:.2}")]);
        section.record("idle", "", peer.name, 0, "bytes", each);
        if peer.name == BOURN {
            let what = format!("{} idle connections: bytes for each", grouped(count as f64));
            section.verdicts.push(Verdict::at_most(what, &[each], 440.0, 0, 1));
        }
    }
    Ok(section)
}

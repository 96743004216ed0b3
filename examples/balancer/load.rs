//! Clients that ask as fast as they get answers.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::PATIENCE;

const CLIENTS: usize = 16;

#[derive(Default)]
struct Shared {
    answered: AtomicU64,
    ended: AtomicBool,
    /// The names of the servers that have answered.
    names: Mutex<HashSet<String>>,
    named: Condvar,
    failed: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
}

pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Goes on until `end` is called and there were `requests`.
    pub fn start(front: SocketAddr, requests: u64) -> Load {
        let shared = Arc::new(Shared::default());
        let clients = (0..CLIENTS).map(|_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || ask(&shared, front, requests))
        });
        Load { clients: clients.collect(), shared }
    }

    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    pub fn until_answered_by(&self, name: &str) {
        let names = self.shared.names.lock().expect("no panic");
        let (_names, wait) =
            self.shared.named.wait_timeout_while(names, PATIENCE, |names| !names.contains(name)).expect("no panic");
        assert!(!wait.timed_out(), "{name} gets no requests");
    }

    /// How many were answered, what failed, and how long the slowest answer took.
    pub fn end(self) -> (u64, Vec<String>, Duration) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("no panic");
        }
        let failed = std::mem::take(&mut *self.shared.failed.lock().expect("no panic"));
        let slowest = *self.shared.slowest.lock().expect("no panic");
        (self.shared.answered.load(Ordering::Relaxed), failed, slowest)
    }
}

/// One client after the other, each with a hundred requests on its connection.
fn ask(shared: &Shared, front: SocketAddr, requests: u64) {
    let mut known = HashSet::new();
    while !shared.ended.load(Ordering::Relaxed) || shared.answered.load(Ordering::Relaxed) < requests {
        if let Err(error) = connection(shared, front, &mut known) {
            let mut failed = shared.failed.lock().expect("no panic");
            failed.push(error.to_string());
            // There is something wrong that need not be said a thousand times.
            if failed.len() > 20 {
                shared.answered.fetch_add(requests, Ordering::Relaxed);
                return;
            }
        }
    }
}

fn connection(shared: &Shared, front: SocketAddr, known: &mut HashSet<String>) -> io::Result<()> {
    let mut stream = TcpStream::connect(front)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let own = stream.local_addr()?.to_string();
    let mut buf = vec![0; 4096];
    for _ in 0..100 {
        let start = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n")?;
        let mut length = 0;
        let body = loop {
            let read = match stream.read(&mut buf[length..]) {
                // A read with a limit in time says that the process was stopped for a while (signal(7)).
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            length += read;
            if let Some(body) = body(&buf[..length])? {
                break body;
            }
        };
        let took = start.elapsed();
        let mut slowest = shared.slowest.lock().expect("no panic");
        *slowest = took.max(*slowest);
        drop(slowest);
        let (name, peer) = body.split_once(' ').ok_or_else(|| io::Error::other(body.clone()))?;
        if peer != own {
            return Err(io::Error::other(format!("{own} was taken for {peer}")));
        }
        if known.insert(name.to_owned()) {
            shared.names.lock().expect("no panic").insert(name.to_owned());
            shared.named.notify_all();
        }
        shared.answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The body of an answer, if all of it is there.
fn body(answer: &[u8]) -> io::Result<Option<String>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else { return Ok(None) };
    if response.code != Some(200) {
        return Err(io::Error::other(format!("status {:?}", response.code)));
    }
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let length = length.ok_or_else(|| io::Error::other("an answer without a length"))?;
    let body = answer.get(head..head + length);
    Ok(body.map(|body| String::from_utf8_lossy(body).into_owned()))
}

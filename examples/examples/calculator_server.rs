//! The network calculator of the tutorials, in layers, and the same layers under five architectures.
//!
//! ```text
//!   calculator        request -> response                         knows no text and no socket
//!   protocol          "3 + 4\n" <-> Request, "= 7\n" <-> Response  knows no socket
//!   server            lines in, lines out; five ways to wait       knows no calculator: it gets a callback
//! ```
//!
//! Rows 78, 79 and 80 of the sockets checklist.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use std::{env, thread};

use bourn_examples::process::Server;

const CLIENTS: usize = 20;
const QUESTIONS: i64 = 100;

mod calculator {
    pub struct Request(pub i64, pub char, pub i64);

    pub fn answer(Request(left, operator, right): Request) -> Option<i64> {
        match operator {
            '+' => left.checked_add(right),
            '-' => left.checked_sub(right),
            '*' => left.checked_mul(right),
            '/' => left.checked_div(right),
            _ => None,
        }
    }
}

mod protocol {
    use super::calculator::{self, Request};

    fn decode(line: &str) -> Option<Request> {
        let mut words = line.split_whitespace();
        let (left, operator, right) = (words.next()?, words.next()?, words.next()?);
        Some(Request(left.parse().ok()?, operator.parse().ok()?, right.parse().ok()?))
    }

    /// The callback that every server gets: a line in, a line out.
    pub fn reply(line: &str) -> String {
        match decode(line).map(calculator::answer) {
            Some(Some(number)) => format!("= {number}\n"),
            Some(None) => "! no such number\n".into(),
            None => "! not a question\n".into(),
        }
    }
}

mod server {
    use super::*;
    use bourn_reactor::{Interest, Poller};
    use std::io::{ErrorKind, Read};

    pub type Callback = fn(&str) -> String;
    type Architecture = fn(TcpListener, Callback) -> io::Result<()>;
    pub const ARCHITECTURES: [(&str, Architecture); 5] = [
        ("iterative", iterative),
        ("fork", fork),
        ("thread for each", threads),
        ("callbacks", callbacks),
        ("async", asynchronous),
    ];

    /// One conversation, for whoever may block.
    fn converse(stream: &TcpStream, callback: Callback) -> io::Result<()> {
        for line in BufReader::new(stream).lines() {
            (&*stream).write_all(callback(&line?).as_bytes())?;
        }
        Ok(())
    }

    fn iterative(listener: TcpListener, callback: Callback) -> io::Result<()> {
        loop {
            _ = converse(&listener.accept()?.0, callback); // everybody else waits
        }
    }

    fn fork(listener: TcpListener, callback: Callback) -> io::Result<()> {
        // SAFETY: it installs no handler; the kernel then removes children that have ended.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        loop {
            let stream = listener.accept()?.0;
            // SAFETY: this process has one thread, so the child finds every lock free.
            if unsafe { libc::fork() } == 0 {
                _ = converse(&stream, callback);
                std::process::exit(0);
            } // the parent's copy of the descriptor is closed here, the child's lives
        }
    }

    fn threads(listener: TcpListener, callback: Callback) -> io::Result<()> {
        loop {
            let stream = listener.accept()?.0;
            thread::spawn(move || converse(&stream, callback));
        }
    }

    /// A reactor with callbacks: what has been read of a line is kept by hand.
    fn callbacks(listener: TcpListener, callback: Callback) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let poller = Poller::new()?;
        poller.add(&listener, 0)?;
        let (mut clients, mut events) = (Vec::<(TcpStream, Vec<u8>)>::new(), Vec::new());
        loop {
            poller.wait(&mut events, None)?;
            for event in events.drain(..) {
                if event.key == 0 {
                    while let Ok((stream, _)) = listener.accept() {
                        stream.set_nonblocking(true)?;
                        clients.push((stream, Vec::new()));
                        poller.add(&clients[clients.len() - 1].0, clients.len() as u64)?;
                    }
                } else {
                    let (stream, partial) = &mut clients[event.key as usize - 1];
                    let outcome = stream.read_to_end(partial); // what is there, and then EAGAIN or the end
                    while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = partial.drain(..=end).collect();
                        // Small answers fit; a real server keeps what does not (see `buffers_and_backpressure`).
                        _ = stream.write_all(callback(&String::from_utf8_lossy(&line)).as_bytes());
                    }
                    if !matches!(outcome, Err(error) if error.kind() == ErrorKind::WouldBlock) {
                        poller.remove(&*stream, event.key)?;
                        _ = stream.shutdown(std::net::Shutdown::Both);
                        continue;
                    }
                }
                poller.rearm(event.key, Interest::READ);
            }
        }
    }

    /// Written like `converse`, waiting like `callbacks`.
    fn asynchronous(listener: TcpListener, callback: Callback) -> io::Result<()> {
        use futures_util::StreamExt;
        use tokio_util::codec::{FramedRead, LinesCodec};
        listener.set_nonblocking(true)?;
        bourn::block_on(async {
            let listener = bourn::net::TcpListener::from_std(listener)?;
            let mut incoming = listener.incoming();
            loop {
                let (reader, mut writer) = incoming.next().await?.into_split();
                bourn::spawn(async move {
                    let mut lines = FramedRead::new(reader, LinesCodec::new_with_max_length(1024));
                    while let Some(Ok(line)) = lines.next().await {
                        writer.write_all(callback(&line).as_bytes()).await?;
                    }
                    io::Result::Ok(())
                });
            }
        })
    }
}

/// One client's questions; when it heard the first and the last answer.
fn ask(address: SocketAddr, client: i64, began: Instant) -> io::Result<(Duration, Duration)> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (mut answers, mut heard) = (BufReader::new(&stream), Vec::new());
    for question in 0..QUESTIONS {
        thread::sleep(Duration::from_millis(1)); // thinks
        (&stream).write_all(format!("{client} * {question}\n").as_bytes())?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        assert_eq!(answer, format!("= {}\n", client * question));
        heard.push(began.elapsed());
    }
    Ok((heard[0], heard[heard.len() - 1]))
}

fn main() -> io::Result<()> {
    if let Some(how) = env::args().nth(1) {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let (_, serve) = server::ARCHITECTURES.into_iter().find(|(name, _)| *name == how).expect("an architecture");
        return serve(listener, protocol::reply);
    }
    println!("1. the layers alone: no socket needed to test them");
    for (line, expected) in [("3 + 4", "= 7\n"), ("1 / 0", "! no such number\n"), ("what?", "! not a question\n")] {
        println!("   {line:<6} -> {:?}", protocol::reply(line));
        assert_eq!(protocol::reply(line), expected);
    }
    println!("2. {CLIENTS} clients with {QUESTIONS} questions each, under five architectures");
    for (how, _) in server::ARCHITECTURES {
        let server = Server::start(how)?;
        let (address, began) = (server.address, Instant::now());
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| thread::spawn(move || ask(address, client as i64, began))).collect();
        let heard =
            clients.into_iter().map(|client| client.join().expect("a client")).collect::<io::Result<Vec<_>>>()?;
        let first_end = heard.iter().map(|at| at.1).min();
        let at_once = heard.iter().filter(|at| Some(at.0) < first_end).count();
        let took = began.elapsed().as_millis();
        println!("   {how:<16} all answered in {took:>5} ms; {at_once:>2} heard before the first had done");
        match how {
            "iterative" => assert_eq!(at_once, 1, "the last client waits for all others"),
            _ => assert!(at_once > CLIENTS / 2, "{how}: somebody for everybody"),
        }
    }
    println!("3. holds: one calculator, one protocol; only the waiting differs");
    Ok(())
}

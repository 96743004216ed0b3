//! One protocol under five architectures: iterative, a process for each client, a thread for each, callbacks, async.
//!
//! Each server gets the same callback, a line in and a line out; they differ in what waits for whom. Row 80 of the
//! sockets checklist. The callback's own layers are `calculator_server`'s.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use bourn_examples::process::{self, Serve, Server};
use bourn_reactor::{Interest, Poller};

const CLIENTS: usize = 20;
const QUESTIONS: u64 = 100;
const ARCHITECTURES: [(&str, Serve); 5] = [
    ("iterative", iterative),
    ("fork", fork),
    ("thread for each", threads),
    ("callbacks", callbacks),
    ("async", asynchronous),
];

/// The callback: it knows of no socket.
fn reply(line: &str) -> String {
    line.trim().parse::<u64>().map_or("what?\n".into(), |number| format!("{}\n", number * number))
}

/// One conversation, for whoever may block.
fn converse(stream: &TcpStream) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        (&*stream).write_all(reply(&line?).as_bytes())?;
    }
    Ok(())
}

fn iterative(listener: TcpListener) -> io::Result<()> {
    loop {
        _ = converse(&listener.accept()?.0); // everybody else waits
    }
}

fn fork(listener: TcpListener) -> io::Result<()> {
    // SAFETY: it installs no handler; the kernel then removes children that have ended.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    loop {
        let stream = listener.accept()?.0;
        // SAFETY: this process has one thread, so the child finds every lock free.
        if unsafe { libc::fork() } == 0 {
            _ = converse(&stream);
            std::process::exit(0);
        } // the parent's copy of the descriptor is closed here, the child's lives
    }
}

fn threads(listener: TcpListener) -> io::Result<()> {
    loop {
        let stream = listener.accept()?.0;
        thread::spawn(move || converse(&stream));
    }
}

/// The reactor below calls this for a client who has something to say. What has come of a line is kept by hand.
fn on_readable((stream, partial): &mut (TcpStream, Vec<u8>)) -> io::Result<()> {
    let outcome = stream.read_to_end(partial); // what is there, and then EAGAIN or the end
    while let Some(end) = partial.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = partial.drain(..=end).collect();
        // Small answers fit; a real server keeps what does not (see `buffers_and_backpressure`).
        stream.write_all(reply(&String::from_utf8_lossy(&line)).as_bytes())?;
    }
    outcome.map(drop)
}

fn callbacks(listener: TcpListener) -> io::Result<()> {
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
                    poller.add(&stream, clients.len() as u64 + 1)?;
                    clients.push((stream, Vec::new()));
                }
            } else if let client = &mut clients[event.key as usize - 1]
                && !matches!(on_readable(client), Err(error) if error.kind() == ErrorKind::WouldBlock)
            {
                poller.remove(&client.0, event.key)?; // it has left
                continue;
            }
            poller.rearm(event.key, Interest::READ);
        }
    }
}

/// Written like `converse`, waiting like `callbacks`.
fn asynchronous(listener: TcpListener) -> io::Result<()> {
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
                    writer.write_all(reply(&line).as_bytes()).await?;
                }
                io::Result::Ok(())
            });
        }
    })
}

/// One client's questions; when it heard the first and the last answer.
fn ask(address: SocketAddr, began: Instant) -> io::Result<(Duration, Duration)> {
    let stream = TcpStream::connect(address)?;
    let (mut answers, mut heard) = (BufReader::new(&stream).lines(), Vec::new());
    for question in 0..QUESTIONS {
        thread::sleep(Duration::from_millis(1)); // thinks
        (&stream).write_all(format!("{question}\n").as_bytes())?;
        assert_eq!(answers.next().expect("an answer")?, format!("{}", question * question));
        heard.push(began.elapsed());
    }
    Ok((heard[0], heard[heard.len() - 1]))
}

fn main() -> io::Result<()> {
    if process::serve_if_asked(&ARCHITECTURES)? {
        return Ok(());
    }
    println!("{CLIENTS} clients with {QUESTIONS} questions each:");
    for (step, (how, _)) in ARCHITECTURES.into_iter().enumerate() {
        let (server, began) = (Server::start(how)?, Instant::now());
        let address = server.address;
        let ask = move || ask(address, began).expect("answers");
        let clients: Vec<_> = (0..CLIENTS).map(|_| thread::spawn(ask)).collect();
        let heard: Vec<_> = clients.into_iter().map(|client| client.join().expect("a client")).collect();
        let took = began.elapsed().as_millis();
        let first_end = heard.iter().map(|at| at.1).min();
        let early = heard.iter().filter(|at| Some(at.0) < first_end).count();
        println!("{}. {how:<16} all answered in {took:>5} ms; {early:>2} heard before the first had done", step + 1);
        assert_eq!(early == 1, how == "iterative", "{how}: who waits for those before it");
    }
    println!("6. holds: the callback is the same; who waits for whom is the architecture's choice");
    Ok(())
}

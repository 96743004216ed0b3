//! One slow client and fifty fast ones, against five servers that differ only in how they wait.
//!
//! The slow client comes first, sends half of its line and the rest 600 ms later. The fast ones come right after it and
//! send a whole line at once. A server answers each line with the same line. Rows 38 to 41 of the sockets checklist.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};
use std::{env, thread};

use bourn_examples::picture::{self, Lane, Span};
use bourn_examples::process::{Server, Usage};
use bourn_reactor::{Backend, Interest, Poller};

const FAST: usize = 50;
const PAUSE: Duration = Duration::from_millis(600);
type Serve = fn(TcpListener) -> io::Result<()>;
const SERVERS: [(&str, Serve); 5] = [
    ("one at a time", one_at_a_time),
    ("a thread for each", thread_for_each),
    ("busy loop", busy_loop),
    ("poll", poll),
    ("bourn", with_bourn),
];

fn main() -> picture::Result<()> {
    if let Some(how) = env::args().nth(1) {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        let (_, serve) = SERVERS.into_iter().find(|(name, _)| *name == how).expect("a server");
        return Ok(serve(listener)?);
    }
    let (mut lanes, mut seen) = (Vec::new(), Vec::new());
    for (step, (how, _)) in SERVERS.into_iter().enumerate() {
        let (clients, Usage { cpu, threads, .. }) = measure(&Server::start(how)?)?;
        let (slow, fast) = (clients[0].1, clients[1..].iter().map(|client| client.1).fold(0.0, f64::max));
        let cpu = cpu.as_secs_f64();
        let title = format!("{how}: {cpu:.2} s of CPU, {threads} threads, last fast client after {fast:.0} ms");
        println!("{}. {title}", step + 1);
        seen.push((slow, fast, cpu, threads));
        let kinds = [1].into_iter().chain([0].into_iter().cycle());
        let rows =
            clients.into_iter().zip(kinds).map(|((from, to), kind)| (String::new(), vec![Span { from, to, kind }]));
        lanes.push(Lane { title, rows: rows.collect() });
    }
    let title = "One slow client and fifty fast ones: how long each waits for its answer";
    let legend = ["a fast client, from connect to answer", "the slow client"];
    picture::timeline("blocking_vs_nonblocking", title, "time (ms)", 2, &legend, &lanes)?;

    let [one, threads, busy, poll, bourn] = seen[..] else { unreachable!() };
    assert!(one.1 >= one.0, "one at a time: somebody overtook the slow client");
    for other in [threads, busy, poll, bourn] {
        assert!(other.1 < other.0, "a fast client waited for the slow one: {other:?}");
    }
    let counts = (threads.3, poll.3, bourn.3); // bourn has one more, which watches the first
    assert!(counts.0 > FAST && counts.1 == 1 && counts.2 <= 2, "a thread for each client, or one for all: {counts:?}");
    assert!(busy.2 > 5.0 * poll.2, "asking without end costs a processor: {busy:?} beside {poll:?}");
    println!("6. holds: one blocked call made fifty clients wait; the busy loop answered, and burned a processor");
    Ok(())
}

/// When each client began and was answered (ms), and what the server has used when all have been and none has left.
fn measure(server: &Server) -> io::Result<(Vec<(f64, f64)>, Usage)> {
    let (address, began) = (server.address, Instant::now());
    let connect = move || io::Result::Ok((began.elapsed(), TcpStream::connect(address)?));
    let talk = move |(from, mut stream): (Duration, TcpStream), pause| {
        stream.write_all(b"half a ")?;
        thread::sleep(pause);
        stream.write_all(b"line\n")?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        assert_eq!(answer, "half a line\n");
        io::Result::Ok((from.as_secs_f64() * 1e3, began.elapsed().as_secs_f64() * 1e3, stream))
    };
    let slow = connect()?; // the first in the queue
    let mut clients = vec![thread::spawn(move || talk(slow, PAUSE))];
    clients.extend((0..FAST).map(|_| thread::spawn(move || talk(connect()?, Duration::ZERO))));
    let clients = clients.into_iter().map(|client| client.join().expect("a client")).collect::<io::Result<Vec<_>>>()?;
    let usage = server.usage()?;
    Ok((clients.iter().map(|&(from, to, _)| (from, to)).collect(), usage))
}

/// Answers what is a whole line by now; `WouldBlock`: the client is silent, `Ok`: it has left.
fn serve(mut stream: &TcpStream, line: &mut Vec<u8>) -> io::Result<()> {
    let mut buf = [0; 256];
    while let length @ 1.. = stream.read(&mut buf)? {
        line.extend(&buf[..length]);
        if line.ends_with(b"\n") {
            stream.write_all(&std::mem::take(line))?;
        }
    }
    Ok(())
}

fn one_at_a_time(listener: TcpListener) -> io::Result<()> {
    loop {
        // Until this client leaves, nobody else is accepted. It is let go after one line, to be fair.
        let (stream, _) = listener.accept()?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        (&stream).write_all(line.as_bytes())?;
    }
}

fn thread_for_each(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || serve(&stream, &mut Vec::new()));
    }
}

fn busy_loop(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients = Vec::new();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(true)?;
            clients.push((stream, Vec::new()));
        }
        // EAGAIN means "not yet": ask the next one. Again and again.
        clients.retain_mut(|(stream, line)| matches!(serve(stream, line), Err(e) if e.kind() == ErrorKind::WouldBlock));
    }
}

fn poll(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let poller = Poller::with_backend(Backend::Poll)?;
    poller.add(&listener, 0)?;
    let mut clients: Vec<(TcpStream, Vec<u8>)> = Vec::new();
    let mut events = Vec::new();
    loop {
        poller.wait(&mut events, None)?; // asleep until the kernel knows of something
        for event in events.drain(..) {
            if event.key == 0 {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    clients.push((stream, Vec::new()));
                    poller.add(&clients[clients.len() - 1].0, clients.len() as u64)?;
                }
            } else {
                let (stream, line) = &mut clients[event.key as usize - 1];
                if !matches!(serve(stream, line), Err(e) if e.kind() == ErrorKind::WouldBlock) {
                    poller.remove(&*stream, event.key)?;
                    continue;
                }
            }
            poller.rearm(event.key, Interest::READ);
        }
    }
}

fn with_bourn(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    bourn::block_on(async {
        let listener = bourn::net::TcpListener::from_std(listener)?;
        let mut incoming = listener.incoming();
        loop {
            let stream = incoming.next().await?;
            bourn::spawn(async move {
                let mut buf = [0; 256];
                // An echo need not find the line's end: what came goes back.
                while let Ok(length @ 1..) = stream.read(&mut buf).await {
                    stream.write_all(&buf[..length]).await?;
                }
                io::Result::Ok(())
            });
        }
    })
}

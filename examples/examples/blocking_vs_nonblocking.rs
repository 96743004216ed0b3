//! One slow client and fifty fast ones, against five servers that differ only in how they wait.
//!
//! The slow client comes first, sends half of its line and the rest 600 ms later. The fast ones come right after it and
//! send a whole line at once. A server answers each line with the same line. Rows 38 to 41 of the sockets checklist.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use bourn_examples::picture::{self, Lane, Span};
use bourn_reactor::{Backend, Interest, Poller};

const FAST: usize = 50;
const PAUSE: Duration = Duration::from_millis(600);

fn main() -> picture::Result<()> {
    if let Some(how) = env::args().nth(1) {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("{}", listener.local_addr()?);
        return Ok(match how.as_str() {
            "one at a time" => one_at_a_time(&listener),
            "a thread for each" => thread_for_each(&listener),
            "busy loop" => busy_loop(listener),
            "poll" => poll(listener),
            _ => with_bourn(listener),
        }?);
    }
    let mut lanes = Vec::new();
    let mut seen = Vec::new();
    for (step, how) in ["one at a time", "a thread for each", "busy loop", "poll", "bourn"].into_iter().enumerate() {
        let mut server = Command::new(env::current_exe()?).arg(how).stdout(Stdio::piped()).spawn()?;
        let run = measure(&mut server);
        server.kill()?;
        server.wait()?;
        let (clients, cpu, threads) = run?;
        let fast = clients[1..].iter().map(|client| client.1).fold(0.0, f64::max);
        let line = format!("{how}: {cpu:.2} s of CPU, {threads} threads, last fast client after {fast:.0} ms");
        println!("{}. {line}", step + 1);
        seen.push((clients[0].1, fast, cpu, threads));
        let rows = clients
            .iter()
            .enumerate()
            .map(|(index, &(from, to))| (String::new(), vec![Span { from, to, kind: usize::from(index == 0) }]));
        lanes.push(Lane { title: line, rows: rows.collect() });
    }
    let title = "One slow client and fifty fast ones: how long each waits for its answer";
    let legend = ["a fast client, from connect to answer", "the slow client"];
    picture::timeline("blocking_vs_nonblocking", title, "time (ms)", 2, &legend, &lanes)?;

    let [one, threads, busy, poll, bourn] = seen[..] else { unreachable!() };
    assert!(one.1 >= one.0, "one at a time: somebody overtook the slow client");
    for other in [threads, busy, poll, bourn] {
        assert!(other.1 < other.0, "a fast client waited for the slow one: {other:?}");
    }
    assert!(
        threads.3 > FAST && bourn.3 <= 2 && poll.3 == 1,
        "a thread for each client, or one for all (and in bourn one that watches it)"
    );
    assert!(busy.2 > 5.0 * poll.2.max(0.02), "asking without end costs a processor: {busy:?} beside {poll:?}");
    println!("6. holds: one blocked call made fifty clients wait; the busy loop answered, and burned a processor");
    Ok(())
}

/// When each client began and was answered (ms).
type Clients = Vec<(f64, f64)>;

/// The clients, the server's CPU seconds, and its threads at most.
fn measure(server: &mut Child) -> io::Result<(Clients, f64, usize)> {
    let mut address = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut address)?;
    let address: SocketAddr = address.trim().parse().map_err(io::Error::other)?;
    let began = Instant::now();
    let client = move |pause: Duration| -> io::Result<(f64, f64)> {
        let from = began.elapsed();
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"half a ")?;
        thread::sleep(pause);
        stream.write_all(b"line\n")?;
        let mut answer = String::new();
        BufReader::new(&stream).read_line(&mut answer)?;
        assert_eq!(answer, "half a line\n");
        let to = began.elapsed();
        thread::sleep(Duration::from_millis(900).saturating_sub(to)); // stay until everybody has been served
        Ok((from.as_secs_f64() * 1e3, to.as_secs_f64() * 1e3))
    };
    let mut clients = vec![thread::spawn(move || client(PAUSE))];
    thread::sleep(Duration::from_millis(20)); // the slow one is the first
    clients.extend((0..FAST).map(|_| thread::spawn(move || client(Duration::ZERO))));
    thread::sleep(PAUSE / 2);
    let status = fs::read_to_string(format!("/proc/{}/status", server.id()))?;
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("a count").trim();
    let threads = threads.parse().map_err(io::Error::other)?;
    let clients = clients.into_iter().map(|client| client.join().expect("a client")).collect::<io::Result<_>>()?;
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.id()))?;
    let fields = stat.rsplit(')').next().expect("a name").split_whitespace(); // proc(5): utime, stime are 14 and 15
    let ticks: f64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks")).sum();
    Ok((clients, ticks / 100.0, threads))
}

/// Reads and writes until the client leaves or, if the stream does not block, until there is nothing to do.
fn serve(mut stream: &TcpStream, line: &mut Vec<u8>) -> io::Result<()> {
    let mut buf = [0; 256];
    loop {
        let length = stream.read(&mut buf)?;
        line.extend(&buf[..length]);
        if line.ends_with(b"\n") {
            stream.write_all(&std::mem::take(line))?;
        }
        if length == 0 {
            return Ok(());
        }
    }
}

fn one_at_a_time(listener: &TcpListener) -> io::Result<()> {
    loop {
        // Until this client leaves, nobody else is accepted. It is let go after one line, to be fair.
        let (stream, _) = listener.accept()?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        (&stream).write_all(line.as_bytes())?;
    }
}

fn thread_for_each(listener: &TcpListener) -> io::Result<()> {
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
            if let Some(index) = event.key.checked_sub(1) {
                let (stream, line) = &mut clients[index as usize];
                match serve(stream, line) {
                    Err(e) if e.kind() == ErrorKind::WouldBlock => poller.rearm(event.key, Interest::READ),
                    _ => poller.remove(&*stream, event.key)?,
                }
                continue;
            }
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true)?;
                clients.push((stream, Vec::new()));
                poller.add(&clients[clients.len() - 1].0, clients.len() as u64)?;
            }
            poller.rearm(0, Interest::READ);
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

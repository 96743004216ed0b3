//! One slow client and fifty fast ones, against five servers that differ only in how they wait.
//!
//! The slow client comes first, sends half of its line and the rest 600 ms later. The fast ones come right after it and
//! send a whole line at once. A server answers each line with the same line. Rows 38 to 41 of the sockets checklist.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::iter;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use bourn_examples::picture::{self, Lane, Span};
use bourn_examples::process::{self, Serve, Server, Usage};

const FAST: usize = 50;
const PAUSE: Duration = Duration::from_millis(600);
const SERVERS: [(&str, Serve); 5] = [
    ("one at a time", one_at_a_time),
    ("a thread for each", thread_for_each),
    ("busy loop", busy_loop),
    ("poll", poll),
    ("bourn", with_bourn),
];

fn main() -> picture::Result<()> {
    if process::serve_if_asked(&SERVERS)? {
        return Ok(());
    }
    let (mut lanes, mut seen) = (Vec::new(), Vec::new());
    for (step, (how, _)) in SERVERS.into_iter().enumerate() {
        let (clients, Usage { cpu, threads, .. }) = measure(&Server::start(how)?)?;
        let (slow, fast) = (clients[0].to, clients[1..].iter().map(|client| client.to).fold(0.0, f64::max));
        let cpu = cpu.as_secs_f64();
        let title = format!("{how}: {cpu:.2} s of CPU, {threads} threads, last fast client after {fast:.0} ms");
        println!("{}. {title}", step + 1);
        seen.push((slow, fast, cpu, threads));
        lanes.push(Lane { title, rows: clients.into_iter().map(|client| (String::new(), vec![client])).collect() });
    }
    let title = "One slow client and fifty fast ones: how long each waits for its answer";
    let legend = ["a fast client, from connect to answer", "the slow client"];
    picture::timeline("blocking_vs_nonblocking", title, "time (ms)", 2, &legend, &lanes)?;

    let [one, threads, busy, poll, bourn] = seen[..] else { unreachable!() };
    // Not "after the slow one": which of two clients is woken first is the scheduler's choice.
    assert!(one.1 >= PAUSE.as_secs_f64() * 1e3, "one at a time: nobody waited for the slow client");
    for other in [threads, busy, poll, bourn] {
        assert!(other.1 < other.0, "a fast client waited for the slow one: {other:?}");
    }
    let counts = (threads.3, poll.3, bourn.3); // bourn has one more, which watches the first
    assert!(counts.0 > FAST && counts.1 == 1 && counts.2 <= 2, "a thread for each client, or one for all: {counts:?}");
    assert!(busy.2 > 3.0 * poll.2, "asking without end costs a processor: {busy:?} beside {poll:?}");
    println!("6. holds: one blocked call made fifty clients wait; the busy loop answered, and burned a processor");
    Ok(())
}

/// From when to when each client was there, and what the server has used when all are answered and none has left.
fn measure(server: &Server) -> io::Result<(Vec<Span>, Usage)> {
    let began = Instant::now();
    let now = move || began.elapsed().as_secs_f64() * 1e3;
    let mut clients = Vec::new();
    for number in 0..=FAST {
        let slow = number == 0; // the first in the queue
        let (from, mut stream) = (now(), TcpStream::connect(server.address)?);
        clients.push(thread::spawn(move || {
            stream.write_all(b"half a ")?;
            thread::sleep(if slow { PAUSE } else { Duration::ZERO });
            stream.write_all(b"line\n")?;
            let mut answer = [0; 12];
            stream.read_exact(&mut answer)?;
            assert_eq!(&answer, b"half a line\n");
            io::Result::Ok((Span { from, to: now(), kind: usize::from(slow) }, stream))
        }));
    }
    let clients = clients.into_iter().map(|client| client.join().expect("a client")).collect::<io::Result<Vec<_>>>()?;
    Ok((clients.iter().map(|&(span, _)| span).collect(), server.usage()?))
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

/// Sends back what comes; false when the client has left, true when it is silent and the socket does not wait.
fn echo(mut stream: &TcpStream) -> bool {
    let mut buf = [0; 256];
    loop {
        match stream.read(&mut buf) {
            // Small echoes fit; a real server keeps what does not (see `buffers_and_backpressure`).
            Ok(length @ 1..) => _ = stream.write_all(&buf[..length]),
            end => return matches!(end, Err(error) if error.kind() == ErrorKind::WouldBlock),
        }
    }
}

fn thread_for_each(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        thread::spawn(move || echo(&stream));
    }
}

/// What can be done without waiting. EAGAIN means "not yet": the next one is asked.
fn look_at_all(listener: &TcpListener, clients: &mut Vec<TcpStream>) {
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true).expect("a flag");
        clients.push(stream);
    }
    clients.retain(echo);
}

fn busy_loop(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients = Vec::new();
    loop {
        look_at_all(&listener, &mut clients); // again and again
    }
}

fn poll(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut clients = Vec::new();
    loop {
        let sockets = iter::once(listener.as_raw_fd()).chain(clients.iter().map(AsRawFd::as_raw_fd));
        let mut set: Vec<_> = sockets.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        // SAFETY: as many entries as it says. It sleeps until the kernel knows of something.
        unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, -1) };
        look_at_all(&listener, &mut clients);
    }
}

fn with_bourn(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    bourn::block_on(async {
        let listener = bourn::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            bourn::spawn(async move {
                let mut buf = [0; 256];
                while let Ok(length @ 1..) = stream.read(&mut buf).await {
                    _ = stream.write_all(&buf[..length]).await; // if it has left, the next read says so
                }
            });
        }
    })
}

//! SIGTERM drains, and a second one ends the process at once. Each server is a process of
//! its own; its end is seen from outside.

mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use bourn::server::{Connection, Control, Drain, Server};

use harness::{again, multi_thread, watched};

/// In the process of the server: how many seconds it may drain.
const DEADLINE: &str = "BOURN_TEST_DEADLINE";

/// In the process of the server.
static CONTROL: OnceLock<Control> = OnceLock::new();

/// Answers each eight bytes; "!" takes for ever, "d" has the server drain.
async fn handle(connection: Connection) -> std::io::Result<()> {
    let mut request = [0; 8];
    while connection.more().await? {
        connection.read_exact(&mut request).await?;
        match request[0] {
            b'!' => std::future::pending().await,
            b'd' => CONTROL.get().expect("set").drain(),
            _ => {}
        }
        bourn::time::sleep(Duration::from_millis(20)).await;
        connection.write_all(&request).await?;
    }
    Ok(())
}

/// The process of the server; ends with the code of its report.
fn serve() -> ! {
    let deadline = std::env::var(DEADLINE).expect("set").parse().expect("seconds");
    let code = multi_thread().block_on(async {
        let drain = Drain::new().deadline(Duration::from_secs(deadline));
        let mut server = Server::new().drain(drain).bind("127.0.0.1:0").await.expect("a port is free");
        CONTROL.set(server.control()).expect("one server");
        println!("listening at {}", server.local_addrs()[0]);
        let report = server.serve(handle).await.expect("it serves");
        println!("report: {report}");
        report.exit_code()
    });
    std::process::exit(i32::from(code != ExitCode::SUCCESS))
}

struct Served {
    child: Child,
    output: BufReader<ChildStdout>,
    addr: SocketAddr,
}

fn start(name: &str, deadline: u64) -> Served {
    let mut child = again(name)
        .env(DEADLINE, deadline.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    let addr = loop {
        line.clear();
        assert!(output.read_line(&mut line).expect("text") > 0, "it has ended");
        if let Some((_, addr)) = line.trim_end().split_once("listening at ") {
            break addr.parse().expect("an address");
        }
    };
    Served { child, output, addr }
}

impl Served {
    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill(1)").success());
    }

    /// How it ended, and what it said.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.output.read_to_string(&mut said).expect("text");
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.signal(), None, "{said}");
        (status.code(), said)
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).expect("it listens")
    }
}

/// Sends the rest of a request and reads its answer.
fn finish(client: &mut TcpStream, rest: &[u8]) {
    client.write_all(rest).expect("it reads");
    let mut answer = [0; 8];
    client.read_exact(&mut answer).expect("the whole answer");
    assert_eq!(&answer, b"12345678");
}

#[test]
fn sigterm_under_load_lets_every_request_end() {
    let name = "sigterm_under_load_lets_every_request_end";
    if std::env::var_os(DEADLINE).is_some() {
        serve();
    }
    watched(name, || {
        const CONNECTIONS: usize = 1000;
        let served = start(name, 20);
        // A fifth with a request of which a byte has arrived, a fifth idle between two requests, a fifth that
        // has just come, and under all that others that ask as fast as they can.
        let mut begun: Vec<_> = (0..CONNECTIONS / 5).map(|_| served.connect()).collect();
        let mut idle: Vec<_> = (0..CONNECTIONS / 5).map(|_| served.connect()).collect();
        for client in begun.iter_mut().chain(&mut idle) {
            client.write_all(b"12345678").expect("room");
        }
        for client in begun.iter_mut().chain(&mut idle) {
            finish(client, b"");
        }
        let (load, answered) = (Arc::new(Barrier::new(9)), Arc::new(AtomicUsize::new(0)));
        let askers: Vec<_> = (0..8)
            .map(|_| {
                let mut clients: Vec<_> = (0..CONNECTIONS / 20).map(|_| served.connect()).collect();
                let (load, answered) = (Arc::clone(&load), Arc::clone(&answered));
                std::thread::spawn(move || {
                    load.wait();
                    // Every connection's request is on the way at once; a connection ends in order between two.
                    while !clients.is_empty() {
                        clients.retain_mut(|client| client.write_all(b"12345678").is_ok());
                        clients.retain_mut(|client| {
                            let mut answer = Vec::new();
                            let read = client.take(8).read_to_end(&mut answer);
                            // A request that crossed the end on the wire is reset: its first byte had not arrived.
                            let ended = read.is_err() || answer.is_empty();
                            assert!(ended || answer == b"12345678", "half an answer: {answer:?}");
                            answered.fetch_add(usize::from(!ended), Ordering::Relaxed);
                            !ended
                        });
                    }
                })
            })
            .collect();
        for client in &mut begun {
            client.write_all(b"1").expect("it reads");
        }
        load.wait();
        while answered.load(Ordering::Relaxed) < 1000 {
            std::thread::yield_now();
        }
        let mut fresh: Vec<_> = (0..CONNECTIONS / 5).map(|_| served.connect()).collect();
        for client in &mut fresh {
            client.write_all(b"1").expect("room");
        }
        let start = Instant::now();
        served.signal("TERM");
        for client in &mut idle {
            assert_eq!(client.read(&mut [0]).expect("the end in order"), 0);
        }
        for client in begun.iter_mut().chain(&mut fresh) {
            client.write_all(b"2345678").expect("it reads");
        }
        for client in begun.iter_mut().chain(&mut fresh) {
            finish(client, b"");
            assert_eq!(client.read(&mut [0]).expect("the end in order"), 0);
        }
        for asker in askers {
            asker.join().expect("no panic");
        }
        let (code, said) = served.end();
        println!("{said}drained after {:?}, {} answers", start.elapsed(), answered.load(Ordering::Relaxed));
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains(&format!("{CONNECTIONS} connections accepted, {CONNECTIONS} handlers ended")), "{said}");
    });
}

#[test]
fn who_never_ends_is_named_and_the_status_says_so() {
    let name = "who_never_ends_is_named_and_the_status_says_so";
    if std::env::var_os(DEADLINE).is_some() {
        serve();
    }
    watched(name, || {
        let served = start(name, 1);
        let mut endless = served.connect();
        endless.write_all(b"!2345678").expect("room");
        let mut good = served.connect();
        finish(&mut good, b"12345678");
        served.signal("INT");
        let (code, said) = served.end();
        let peer = endless.local_addr().expect("an address");
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(&format!("of {peer} (peer {peer}")), "{said}");
        assert!(said.contains("did not finish"), "{said}");
    });
}

#[test]
fn a_second_signal_ends_at_once() {
    let name = "a_second_signal_ends_at_once";
    if std::env::var_os(DEADLINE).is_some() {
        serve();
    }
    watched(name, || {
        let served = start(name, 100);
        let mut endless = served.connect();
        endless.write_all(b"!2345678").expect("room");
        // An idle one, which ends when the drain begins.
        let mut idle = served.connect();
        finish(&mut idle, b"12345678");
        served.signal("TERM");
        assert_eq!(idle.read(&mut [0]).expect("the end in order"), 0);
        served.signal("TERM");
        let (code, said) = served.end();
        assert_eq!(code, Some(128 + 15), "{said}");
        assert!(said.contains("a second signal"), "{said}");
    });
}

#[test]
fn the_first_signal_in_a_drain_that_was_asked_for_ends_nobody() {
    let name = "the_first_signal_in_a_drain_that_was_asked_for_ends_nobody";
    if std::env::var_os(DEADLINE).is_some() {
        serve();
    }
    watched(name, || {
        let mut served = start(name, 100);
        let (mut begun, mut idle, mut last) = (served.connect(), served.connect(), served.connect());
        for client in [&mut begun, &mut idle] {
            finish(client, b"12345678");
        }
        begun.write_all(b"1").expect("it reads");
        last.write_all(b"d2345678").expect("it reads");
        assert_eq!(idle.read(&mut [0]).expect("the end in order"), 0);
        served.signal("TERM");
        // It has come.
        let mut line = String::new();
        let mut errors = BufReader::new(served.child.stderr.take().expect("piped"));
        errors.read_line(&mut line).expect("text");
        assert!(line.contains("signal 15 while draining"), "{line}");
        finish(&mut begun, b"2345678");
        let status = served.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{status}");
    });
}

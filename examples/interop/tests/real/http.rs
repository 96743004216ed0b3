//! hyper, driven by curl, wrk, h2load and by hand.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Server, Setup, connect, folder, noise, on_every_setup, ours, read_all, run, said};

const HELLO: &str = env!("CARGO_BIN_EXE_hello");
const SERVED: &str = env!("CARGO_BIN_EXE_served");
const LOCAL: &str = env!("CARGO_BIN_EXE_local");
const BIG: usize = 64 << 20;

/// A client of HTTP/2 (Debian's python3-h2) that says itself which bytes it has taken.
const HTTP2: &str = r#"
import socket, sys, h2.config, h2.connection, h2.events

MANY = 2**31 - 1 - 65535

class Client:
    def __init__(self, addr):
        host, port = addr.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), 60)
        self.http = h2.connection.H2Connection(h2.config.H2Configuration())
        self.http.initiate_connection()
        # What a stream may send is what holds it back, not what the connection may.
        self.http.increment_flow_control_window(MANY)
        self.got, self.ended, self.next = {}, set(), 1
        self.send()

    def send(self):
        self.socket.sendall(self.http.data_to_send())

    def get(self, path, window=0):
        stream, self.next = self.next, self.next + 2
        self.http.send_headers(stream, [(":method", "GET"), (":path", path), (":scheme", "http"),
                                        (":authority", "localhost")], end_stream=True)
        if window:
            self.http.increment_flow_control_window(window, stream)
        self.got[stream] = 0
        self.send()
        return stream

    def turn(self):
        data = self.socket.recv(1 << 18)
        assert data, "the server has closed the connection"
        for event in self.http.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                self.got[event.stream_id] += len(event.data)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            else:
                assert not isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)), event
        self.send()

    def wait(self, *streams):
        while not self.ended.issuperset(streams):
            self.turn()
"#;

fn http2(script: &str, addr: &str) {
    // Debian's Python, which has Debian's package.
    run(Command::new("/usr/bin/python3").args(["-c", &format!("{HTTP2}{script}"), addr]));
}

pub fn curl() -> Command {
    let mut curl = Command::new("curl");
    // No proxy of the environment; `--fail` makes an error of an error's status.
    curl.args(["--noproxy", "*", "--silent", "--show-error", "--fail"]);
    curl
}

fn hello(setup: Setup) -> Server {
    Server::start(&ours(HELLO, setup))
}

#[test]
fn curl_gets_and_posts_by_either_version() {
    let body = folder("curl").join("body");
    fs::write(&body, noise(1, 5_000_000)).expect("room on the disk");
    let body = body.to_str().expect("a path of letters");
    on_every_setup(|setup| {
        let server = hello(setup);
        for (option, version) in [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
            let get = said(curl().args([option, "--write-out", " %{http_version}", &server.url("/")]));
            assert_eq!(get, format!("Hello, world! {version}"));
            let echoed = run(curl().args([option, "--data-binary", &format!("@{body}"), &server.url("/echo")]));
            assert!(echoed.stdout == noise(1, 5_000_000));
        }
    });
}

#[test]
fn wrk_finds_no_errors() {
    on_every_setup(|setup| {
        let server = hello(setup);
        let report = said(Command::new("wrk").args(["-t1", "-c64", "-d1s", &server.url("/")]));
        assert!(report.contains("Requests/sec:"), "{report}");
        assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    });
}

#[test]
fn h2load_uses_a_thousand_streams_of_one_connection() {
    on_every_setup(|setup| {
        let server = hello(setup);
        let many = ["--requests=20000", "--clients=1", "--max-concurrent-streams=1000"];
        let report = said(Command::new("h2load").args(many).arg(server.url("/")));
        assert!(report.contains("20000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
        let report =
            said(Command::new("h2load").args(["--h1", "--requests=5000", "--clients=50"]).arg(server.url("/")));
        assert!(report.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
    });
}

/// Without a timer, hyper's limit would do nothing.
#[test]
fn the_head_of_a_request_has_its_time() {
    on_every_setup(|setup| {
        let limit = Duration::from_secs(1);
        let server = Server::start(ours(HELLO, setup).arg("1000"));
        for sent in ["GET / HTTP/1.1\r\nHost: local", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /"] {
            let start = Instant::now();
            let mut stream = connect(server.addr);
            stream.write_all(sent.as_bytes()).expect("it reads");
            let answers = String::from_utf8(read_all(&stream)).expect("text");
            assert!(start.elapsed() >= limit);
            assert_eq!(answers.matches("Hello, world!").count(), sent.matches("\r\n\r\n").count());
        }
    });
}

/// hyper alone, and through bourn's server.
fn on_each_server(test: impl Fn(Server)) {
    on_every_setup(|setup| {
        test(hello(setup));
        for service in ["hyper", "tower"] {
            test(Server::start(ours(SERVED, setup).arg(service)));
        }
    });
}

#[test]
fn a_client_that_stops_reading_stalls_only_itself() {
    on_each_server(|server| {
        let mut stalled: Vec<TcpStream> = (0..4).map(|_| connect(server.addr)).collect();
        for stream in &mut stalled {
            stream.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
            // The answer has begun, and does not fit.
            stream.read_exact(&mut [0; 16]).expect("an answer");
        }
        let report =
            said(Command::new("h2load").args(["--h1", "--requests=2000", "--clients=10"]).arg(server.url("/")));
        assert!(report.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
        for stream in &stalled {
            let answer = read_all(stream);
            assert!(answer.len() > BIG && answer.ends_with(b"xxxx"), "{} bytes", answer.len());
        }
    });
}

/// The same by HTTP/2, where the connection has more than one stream to stall.
#[test]
fn a_connection_of_http2_that_stops_reading_stalls_only_itself() {
    on_each_server(|server| {
        let script = r#"
stalled = [Client(sys.argv[1]) for _ in range(2)]
for client in stalled:
    client.streams = [client.get("/big", MANY), client.get("/big", MANY)]
    # Both answers have begun, and do not fit.
    while 0 in client.got.values():
        client.turn()
other = Client(sys.argv[1])
for _ in range(100):
    other.wait(*(other.get("/") for _ in range(10)))
assert sum(other.got.values()) == 1000 * len("Hello, world!")
assert not stalled[0].ended and not stalled[1].ended
stalled[0].wait(*stalled[0].streams)
assert list(stalled[0].got.values()) == [64 << 20] * 2, stalled[0].got
# One that goes away takes nobody along.
stalled[1].socket.close()
other.wait(other.get("/"))
"#;
        http2(script, &server.addr.to_string());
    });
}

/// Flow control (RFC 9113, section 5.2): a stream whose client takes no more waits, and the others of its connection go on.
#[test]
fn a_stream_of_http2_that_is_not_read_stalls_only_itself() {
    on_each_server(|server| {
        let script = r#"
client = Client(sys.argv[1])
# These may send what every stream may at first, 65,535 bytes, and no more.
stalled = [client.get("/big") for _ in range(10)]
big = client.get("/big", MANY)
for _ in range(20):
    client.wait(*(client.get("/") for _ in range(10)))
client.wait(big)
assert client.got[big] == 64 << 20
assert [client.got[stream] for stream in stalled] == [65535] * 10, client.got
# One goes on where it was; the others are given up.
going, given_up = stalled[0], stalled[1:]
for stream in given_up:
    client.http.reset_stream(stream, 8)
client.http.increment_flow_control_window(MANY, going)
client.send()
client.wait(going)
assert client.got[going] == 64 << 20
client.wait(client.get("/"))
"#;
        http2(script, &server.addr.to_string());
    });
}

/// A request is given up when its client goes, unless the server says that it may close its half.
#[test]
fn a_client_that_closes_its_half_is_gone_or_is_answered() {
    on_every_setup(|setup| {
        let ask = |server: &Server, milliseconds: u32| {
            let mut stream = connect(server.addr);
            write!(stream, "GET /wait/{milliseconds} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
            stream.shutdown(Shutdown::Write).expect("it is connected");
            String::from_utf8(read_all(&stream)).expect("text")
        };
        let server = Server::start(ours(SERVED, setup).arg("hyper"));
        assert_eq!(ask(&server, 30_000), "");
        let start = Instant::now();
        while said(curl().arg(server.url("/waiting"))) != "0" {
            assert!(start.elapsed() < PATIENCE, "the request is given up");
        }
        let server = Server::start(ours(SERVED, setup).args(["hyper", "half_close"]));
        let answer = ask(&server, 300);
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    });
}

/// Service, body and state that are not `Send`, in a runtime that stays on its thread.
#[test]
fn a_local_runtime_serves_what_stays_on_its_thread() {
    for backend in ["epoll", "poll"] {
        let server = Server::start(&ours(LOCAL, Setup { backend, workers: None }));
        let many = ["--requests=10000", "--clients=4", "--max-concurrent-streams=100"];
        for version in [&["--h1"][..], &[]] {
            let report = said(Command::new("h2load").args(many).args(version).arg(server.url("/")));
            assert!(report.contains("10000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
        }
        let counted = said(curl().args(["--http2-prior-knowledge", &server.url("/")]));
        assert_eq!(counted, "20001 asked, 20000 sent\n");
    }
}

/// Over HTTP/2, too: what one connection does not take is held back from it alone.
#[test]
fn a_slow_client_of_http2_gets_all_of_it() {
    on_every_setup(|setup| {
        let server = hello(setup);
        let slow = ["--http2-prior-knowledge", "--limit-rate", "64M", "--output", "/dev/null"];
        let started = Instant::now();
        let url = server.url("/big");
        std::thread::scope(|scope| {
            let slow = scope.spawn(move || said(curl().args(slow).args(["--write-out", "%{size_download}", &url])));
            while !slow.is_finished() {
                assert_eq!(said(curl().args(["--http2-prior-knowledge", &server.url("/")])), "Hello, world!");
                assert!(started.elapsed() < PATIENCE);
            }
            assert_eq!(slow.join().expect("no panic"), BIG.to_string());
        });
    });
}

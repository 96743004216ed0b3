//! hyper, driven by curl, wrk, h2load and by hand.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Server, Setup, connect, folder, noise, on_every_setup, ours, read_all, run, said};

const HELLO: &str = env!("CARGO_BIN_EXE_hello");
const BIG: usize = 64 << 20;

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
        let limit = Duration::from_millis(200);
        let server = Server::start(ours(HELLO, setup).arg("200"));
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

#[test]
fn a_client_that_stops_reading_stalls_only_itself() {
    on_every_setup(|setup| {
        let server = hello(setup);
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

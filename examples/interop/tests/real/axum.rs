//! axum's Router through bourn's server: layers, limits, drain.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Server, Setup, connect, on_every_setup, ours, read_all, said};
use crate::http::curl;

fn axum(setup: Setup) -> Server {
    Server::start(&ours(env!("CARGO_BIN_EXE_axum"), setup))
}

/// The status, whatever it is.
fn status(url: &str) -> String {
    let silent = ["--noproxy", "*", "--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"];
    said(Command::new("curl").args(silent).arg(url))
}

fn ask(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
}

#[test]
fn routes_extractors_and_layers_work() {
    on_every_setup(|setup| {
        let server = axum(setup);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            assert_eq!(said(curl().args([version, &server.url("/")])), "Hello, world!");
            // Which hyper leaves to the service by HTTP/2.
            let head = said(curl().args([version, "--head", &server.url("/")]));
            assert!(head.contains("200") && !head.contains("Hello"), "{head}");
            let json = ["--header", "content-type: application/json", "--data", "21"];
            assert_eq!(said(curl().arg(version).args(json).arg(server.url("/double"))), "42");
        }
        assert_eq!(status(&server.url("/nowhere")), "404");
        // A layer that waits on a timer of bourn.
        assert_eq!(status(&server.url("/wait/30000")), "504");
        // tower's layers for concurrency and shedding: of four at once, some are sent away.
        let few = server.url("/few");
        let statuses: Vec<String> = thread::scope(|scope| {
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| status(&few))).collect();
            asked.into_iter().map(|asked| asked.join().expect("no panic")).collect()
        });
        let count = |what: &str| statuses.iter().filter(|status| *status == what).count();
        assert!(count("200") >= 2 && count("200") + count("503") == 4, "{statuses:?}");
    });
}

/// The server's limit, below the protocol: nothing is asked within half a second.
#[test]
fn a_connection_that_says_nothing_is_closed() {
    on_every_setup(|setup| {
        let server = axum(setup);
        let start = Instant::now();
        let silent = connect(server.addr);
        assert!(read_all(&silent).is_empty());
        assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    });
}

/// SIGTERM: requests that are under way are answered, idle connections are closed, nobody
/// else gets in, and the program ends well.
#[test]
fn a_drain_answers_what_is_under_way() {
    on_every_setup(|setup| {
        let server = axum(setup);
        let mut idle = connect(server.addr);
        ask(&mut idle, "/");
        let mut answer = [0; 4096];
        let length = idle.read(&mut answer).expect("an answer");
        assert!(answer[..length].ends_with(b"Hello, world!"));
        let mut busy = connect(server.addr);
        ask(&mut busy, "/wait/2500");
        let url = server.url("/wait/2500");
        let by_http2 = thread::spawn(move || said(curl().args(["--http2-prior-knowledge", &url])));
        let start = Instant::now();
        while said(curl().arg(server.url("/waiting"))) != "2" {
            assert!(start.elapsed() < PATIENCE, "both requests arrive");
        }
        server.signal("TERM");
        assert!(read_all(&idle).is_empty(), "it is closed");
        let answer = String::from_utf8(read_all(&busy)).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        assert!(answer.contains("connection: close"), "the client is told: {answer}");
        assert_eq!(by_http2.join().expect("no panic"), "done");
        let addr = server.addr;
        assert!(server.wait(), "it ends well");
        assert!(TcpStream::connect_timeout(&addr, PATIENCE).is_err(), "nobody listens");
    });
}

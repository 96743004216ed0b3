//! Services of hyper and of tower through bourn's server: limits, drain, upgrades.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Server, connect, on_every_setup, ours, read_all, run, said};
use crate::http::curl;

const SERVED: &str = env!("CARGO_BIN_EXE_served");

fn on_each_service(settings: &[&str], test: impl Fn(Server)) {
    on_every_setup(|setup| {
        for service in ["hyper", "tower"] {
            test(Server::start(ours(SERVED, setup).arg(service).args(settings)));
        }
    });
}

fn ask(stream: &mut TcpStream, path: &str) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
}

#[test]
fn the_service_is_the_one_that_was_given() {
    on_every_setup(|setup| {
        for (service, signature) in [("hyper", ""), ("tower", "tower")] {
            let server = Server::start(ours(SERVED, setup).arg(service));
            for version in ["--http1.1", "--http2-prior-knowledge"] {
                let signed = ["--write-out", " %header{server}"];
                let answer = said(curl().args([version]).args(signed).arg(server.url("/")));
                assert_eq!(answer, format!("Hello, world! {signature}"));
            }
        }
    });
}

/// The server's limit below the protocol, and the protocol's own.
#[test]
fn silence_and_half_a_head_have_their_time() {
    on_each_service(&["first_byte=1000", "head=1500"], |server| {
        let start = Instant::now();
        let silent = connect(server.addr);
        let mut half = connect(server.addr);
        half.write_all(b"GET / HTTP/1.1\r\nHost: local").expect("it reads");
        assert!(read_all(&silent).is_empty());
        assert!(start.elapsed() >= Duration::from_millis(1000), "{:?}", start.elapsed());
        assert!(read_all(&half).is_empty());
        assert!(start.elapsed() >= Duration::from_millis(1500), "{:?}", start.elapsed());
        assert_eq!(said(curl().arg(server.url("/"))), "Hello, world!");
    });
}

/// One that does not read is cut, whichever version it speaks, and one that reads slowly is not.
#[test]
fn a_client_that_stops_reading_is_cut() {
    on_each_service(&["write_stall=1500"], |server| {
        let mut stalled = connect(server.addr);
        ask(&mut stalled, "/big");
        // HTTP/2: the preface, settings and a window for the connection that allow everything, and a request, in the
        // static table's words (RFC 7541, appendix A): GET, http, path /big.
        let mut by_http2 = connect(server.addr);
        by_http2.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("it reads");
        by_http2.write_all(b"\0\0\x06\x04\0\0\0\0\0\0\x04\x7f\xff\xff\xff").expect("it reads");
        by_http2.write_all(b"\0\0\x04\x08\0\0\0\0\0\x7f\xff\0\0").expect("it reads");
        by_http2.write_all(b"\0\0\x08\x01\x05\0\0\0\x01\x82\x86\x04\x04/big").expect("it reads");
        for stream in [&mut stalled, &mut by_http2] {
            stream.read_exact(&mut [0; 1000]).expect("an answer has begun");
        }
        let slow = ["--limit-rate", "32M", "--output", "/dev/null", "--write-out", "%{size_download}"];
        assert_eq!(said(curl().args(slow).arg(server.url("/big"))), (64 << 20).to_string());
        for stream in [&mut stalled, &mut by_http2] {
            let mut rest = Vec::new();
            // It ends short of all, by a FIN or a reset.
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.len() < 60 << 20, "{} bytes", rest.len());
        }
    });
}

/// As `axum::a_drain_answers_what_is_under_way`.
#[test]
fn a_drain_answers_what_is_under_way() {
    on_each_service(&[], |server| {
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

/// Nobody knows yet of a request that is on its way when the drain begins: it is waited for, on a connection that has
/// been used as on one that has not. The wait is short, so that a busy machine may need several tries.
#[test]
fn a_drain_waits_for_requests_on_their_way() {
    on_every_setup(|setup| {
        for service in ["hyper", "tower"] {
            let all_are_answered = |_try| {
                let server = Server::start(ours(SERVED, setup).arg(service));
                let addr = server.addr;
                let (mut fresh, mut used) = (connect(addr), connect(addr));
                ask(&mut used, "/");
                // Connections are taken in order: both are the server's.
                assert!(used.read(&mut [0; 4096]).expect("an answer") > 0);
                server.signal("TERM");
                // From the first moment of a drain on, who knocks is not heard.
                while TcpStream::connect_timeout(&addr, Duration::from_millis(10)).is_ok() {}
                for stream in [&mut fresh, &mut used] {
                    // One that is closed already may refuse it.
                    let _ = write!(stream, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
                }
                let answered = [fresh, used].map(|mut stream| {
                    let mut answer = Vec::new();
                    let _ = stream.read_to_end(&mut answer);
                    answer.ends_with(b"Hello, world!")
                });
                assert!(server.wait(), "it ends well");
                answered == [true; 2]
            };
            assert!((0..5).any(all_are_answered), "{service}");
        }
    });
}

/// A connection that has become a WebSocket is still the server's: a drain waits for it.
#[test]
fn a_drain_waits_for_a_websocket() {
    const TALK: &str = r#"
import asyncio, os, signal, sys, websockets

async def main():
    host, port = sys.argv[1].rsplit(":", 1)
    async with websockets.connect(f"ws://{host}:{port}/chat") as socket:
        await socket.send("before")
        assert await socket.recv() == "before"
        os.kill(int(sys.argv[2]), signal.SIGTERM)
        # Until nobody else gets in.
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
            except ConnectionRefusedError:
                break
        await socket.send("after")
        assert await socket.recv() == "after"
    assert socket.close_code == 1000, socket.close_code

asyncio.run(main())
"#;
    on_each_service(&[], |server| {
        let (addr, process) = (server.addr.to_string(), server.id().to_string());
        run(Command::new("/usr/bin/python3").args(["-c", TALK, &addr, &process]));
        assert!(server.wait(), "it ends well");
    });
}

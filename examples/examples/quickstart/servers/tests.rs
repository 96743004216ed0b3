//! What holds for each of the servers, over real sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Kind;

/// What takes longer hangs.
const WATCHDOG: Duration = Duration::from_secs(20);

/// A client of a server of this kind. The server lives as long as the test's
/// process; there is no other end to it.
fn connect(kind: Kind) -> TcpStream {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let announce = |addr| {
            sender.send(addr).expect("the test waits");
            Ok(())
        };
        kind.run(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), announce)
    });
    let addr = receiver.recv_timeout(WATCHDOG).expect("the server listens");
    let client = TcpStream::connect(addr).unwrap();
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    client.set_write_timeout(Some(WATCHDOG)).unwrap();
    client
}

#[test]
fn pipelined_requests_are_answered_before_the_server_closes() {
    for kind in Kind::ALL {
        let mut client = connect(kind);
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all([request, request, last].concat().as_bytes()).unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{kind:?}: {answers}");
    }
}

#[test]
fn a_client_that_only_stops_sending_still_gets_its_answer() {
    for kind in Kind::ALL {
        let mut client = connect(kind);
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{kind:?}: {answer}");
    }
}

#[test]
fn a_refusal_arrives_although_the_body_was_not_read() {
    for kind in Kind::ALL {
        let mut client = connect(kind);
        // More than the server reads before it refuses.
        let body = vec![b'x'; 256 * 1024];
        let head = format!("POST /missing HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
        client.write_all(head.as_bytes()).unwrap();
        client.write_all(&body).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        assert!(answer.starts_with("HTTP/1.1 404 Not Found"), "{kind:?}: {answer}");
    }
}

#[test]
fn an_upload_comes_back_while_it_is_sent() {
    // More than all the buffers on the way hold, so nobody can send first and read later.
    let body: Vec<u8> = (0..32u32 << 20).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8).collect();
    for kind in Kind::ALL {
        let client = connect(kind);
        thread::scope(|scope| {
            scope.spawn(|| {
                let length = body.len();
                let head =
                    format!("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
                (&client).write_all(head.as_bytes()).unwrap();
                (&client).write_all(&body).unwrap();
            });
            let mut answer = Vec::new();
            (&client).read_to_end(&mut answer).unwrap();
            let start = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head") + 4;
            assert!(answer[start..] == body, "{kind:?}: {} bytes came back", answer.len() - start);
        });
    }
}

//! The README's echo server is a file, and it works.

mod echo {
    include!("../readme/echo.rs");

    pub fn run() -> std::io::Result<()> {
        main()
    }
}

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// What the README says.
const ADDRESS: &str = "127.0.0.1:7000";

#[test]
fn the_readme_shows_the_tested_file() {
    let readme = include_str!("../../README.md");
    let shown =
        readme.split_once("```rust,no_run\n").and_then(|(_, rest)| rest.split_once("```")).map(|(code, _)| code);
    assert_eq!(shown, Some(include_str!("../readme/echo.rs")));
}

#[test]
fn the_echo_server_echoes() {
    let server = thread::spawn(echo::run);
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut client = loop {
        match TcpStream::connect(ADDRESS) {
            Ok(client) => break client,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {
                assert!(!server.is_finished(), "the server has ended: {:?}", server.join());
                thread::yield_now();
            }
            Err(error) => panic!("{ADDRESS}: {error}"),
        }
    };
    // A stranger at that address would keep us waiting.
    for limited in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        limited(&client, Some(Duration::from_secs(10))).expect("a limit");
    }
    // Two connections at once, the first of which ends by a reset.
    let reset = TcpStream::connect(ADDRESS).expect("a second connection");
    reset.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    (&reset).write_all(b"never read").expect("a write");
    let mut first = [0; 1];
    (&reset).read_exact(&mut first).expect("an echo");
    drop(reset);
    client.write_all(b"a small stream").expect("a write");
    client.shutdown(Shutdown::Write).expect("a half-close");
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed).expect("an echo");
    assert_eq!(echoed, b"a small stream");
    assert!(!server.is_finished(), "somebody else listens on {ADDRESS}");
}

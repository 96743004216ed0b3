//! The same handler under three executors, and a library that brings its own runtime.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Server, connect, noise, on_every_setup, ours, read_all, said};

fn echo_under(executor: &str) {
    on_every_setup(|setup| {
        let server = Server::start(ours(env!("CARGO_BIN_EXE_executors"), setup).arg(executor));
        let addr = server.addr;
        thread::scope(|scope| {
            // Many at once, each with more than the buffers take, closed by halves.
            for client in 0..16 {
                scope.spawn(move || {
                    let stream = connect(addr);
                    let data = noise(client, 2_000_000);
                    thread::scope(|scope| {
                        scope.spawn(|| {
                            (&stream).write_all(&data).expect("it reads");
                            stream.shutdown(Shutdown::Write).expect("it is connected");
                        });
                        assert!(read_all(&stream) == data);
                    });
                });
            }
            // One that is silent is told so, in time.
            scope.spawn(move || {
                let start = Instant::now();
                let mut stream = connect(addr);
                stream.write_all(b"and then").expect("it reads");
                assert_eq!(read_all(&stream), b"and then\ntoo slow\n");
                assert!(start.elapsed() >= Duration::from_millis(500));
            });
            // One that goes away leaves the others alone.
            drop(connect(addr));
        });
    });
}

#[test]
fn the_handler_echoes_under_bourn() {
    echo_under("bourn");
}

#[test]
fn the_handler_echoes_under_tokio() {
    echo_under("tokio");
}

#[test]
fn the_handler_echoes_under_smol() {
    echo_under("smol");
}

#[test]
fn a_library_that_needs_tokio_works_beside_bourn() {
    on_every_setup(|setup| {
        let result = said(&mut ours(env!("CARGO_BIN_EXE_side_runtime"), setup));
        assert!(result.contains("with reqwest on async-compat"), "{result}");
        print!("{setup:?}: {result}");
    });
}

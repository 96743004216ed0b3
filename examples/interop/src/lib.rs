//! What the programs share: the runtime that a test asks for, and a site that several of
//! them serve.

pub mod site;

use std::future::Future;
use std::net::SocketAddr;

use bourn::runtime::Builder;

/// Runs `main` in a runtime with `BOURN_WORKERS` workers, or, without the variable, one
/// whose tasks run on this thread. (`BOURN_BACKEND` is heeded by bourn itself.) A program
/// of yours says `#[bourn::main]` instead.
///
/// # Panics
/// If the runtime can not be built.
pub fn run<F: Future>(main: F) -> F::Output {
    let builder = match std::env::var("BOURN_WORKERS") {
        Ok(workers) => Builder::new_multi_thread().worker_threads(workers.parse().expect("a number of workers")),
        Err(_) => Builder::new_current_thread(),
    };
    builder.build().expect("a runtime").block_on(main)
}

/// Tells the test where a server listens.
pub fn listening(addr: SocketAddr) {
    println!("listening on {addr}");
}

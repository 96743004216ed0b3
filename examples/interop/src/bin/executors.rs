//! One handler, with sockets and timers of bourn, under three executors: `executors
//! bourn`, `executors tokio`, `executors smol`. Under the last two, bourn's background
//! reactor serves them, so a program can move to bourn a piece at a time.

use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bourn::net::{TcpListener, TcpStream};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("bourn") => interop::run(serve(|task| drop(bourn::spawn(task)))),
        // Not even its reactor and its timers are enabled.
        Some("tokio") => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).build()?;
            runtime.block_on(serve(|task| drop(tokio::spawn(task))))
        }
        Some("smol") => {
            let executor = Arc::new(smol::Executor::new());
            for _ in 1..workers() {
                let executor = Arc::clone(&executor);
                std::thread::spawn(move || smol::block_on(executor.run(std::future::pending::<()>())));
            }
            let spawner = Arc::clone(&executor);
            smol::block_on(executor.run(serve(move |task| spawner.spawn(task).detach())))
        }
        _ => panic!("usage: executors bourn|tokio|smol"),
    }
}

fn workers() -> usize {
    std::env::var("BOURN_WORKERS").map_or(1, |workers| workers.parse().expect("a number of workers"))
}

async fn serve(spawn: impl Fn(Task)) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    interop::listening(listener.local_addr()?);
    let mut incoming = listener.incoming();
    loop {
        let stream = incoming.next().await?;
        spawn(Box::pin(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("a connection ended: {error}");
            }
        }));
    }
}

/// Echoes to the end; says so, and ends, if nothing comes for half a second.
async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 64 << 10];
    loop {
        match bourn::time::timeout(Duration::from_millis(500), stream.read(&mut buf)).await {
            Err(_elapsed) => return stream.write_all(b"\ntoo slow\n").await,
            Ok(Ok(0)) => return stream.shutdown(Shutdown::Write),
            Ok(length) => stream.write_all(&buf[..length?]).await?,
        }
    }
}

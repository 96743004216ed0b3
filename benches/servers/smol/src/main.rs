//! smol: an executor without locks on the thread that calls, or one that workers share, each inside `block_on`.
#![forbid(unsafe_code)]

use std::future::{Future, pending};
use std::io;
use std::thread;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Async, Executor, LocalExecutor};
use versus_common::{Arguments, Service, announce};

static SHARED: Executor<'static> = Executor::new();

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let listener = versus_common::listener(&arguments)?;
    let Arguments { service, buffer, workers, flavor, .. } = arguments;
    announce(&listener)?;
    let listener = TcpListener::from(Async::new(listener)?);
    if flavor == "local" {
        let executor = LocalExecutor::new();
        smol::block_on(executor.run(serve(listener, service, buffer, &Local(&executor))))
    } else {
        for _ in 1..workers {
            thread::spawn(|| smol::block_on(SHARED.run(pending::<()>())));
        }
        let task = SHARED.spawn(async move { serve(listener, service, buffer, &Shared).await });
        smol::block_on(SHARED.run(task))
    }
}

trait Spawn {
    fn spawn(&self, task: impl Future<Output = io::Result<()>> + Send + 'static);
}

struct Local<'a>(&'a LocalExecutor<'static>);

impl Spawn for Local<'_> {
    fn spawn(&self, task: impl Future<Output = io::Result<()>> + Send + 'static) {
        self.0.spawn(task).detach();
    }
}

struct Shared;

impl Spawn for Shared {
    fn spawn(&self, task: impl Future<Output = io::Result<()>> + Send + 'static) {
        SHARED.spawn(task).detach();
    }
}

async fn serve(listener: TcpListener, service: Service, buffer: usize, executor: &impl Spawn) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that fails concerns nobody else.
        versus_common::start!(|task| executor.spawn(task), service, stream, buffer);
    }
}

versus_common::services!(TcpStream);

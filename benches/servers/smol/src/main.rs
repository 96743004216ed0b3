//! smol: an executor without locks on the thread that calls, or one that workers share, each inside `block_on`.
#![forbid(unsafe_code)]

use std::future::{Future, pending};
use std::io;
use std::thread;

use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Async, Executor, LocalExecutor};
use versus_common::{Arguments, CHUNK, HELLO, MESSAGE, Requests, SMALL, Service, announce, is_source, work};

static SHARED: Executor<'static> = Executor::new();

fn main() -> io::Result<()> {
    let Arguments { service, buffer, workers, flavor, .. } = Arguments::parse();
    let listener = versus_common::listener()?;
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
        match service {
            Service::Echo => executor.spawn(echo(stream, buffer)),
            Service::Idle => executor.spawn(idle(stream)),
            Service::Once => executor.spawn(once(stream, buffer)),
            Service::Http => executor.spawn(http(stream, buffer)),
            Service::Work => executor.spawn(working(stream)),
            Service::Flow => executor.spawn(flow(stream)),
        }
    }
}

async fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    while let length @ 1.. = stream.read(&mut buffer).await? {
        stream.write_all(&buffer[..length]).await?;
    }
    Ok(())
}

async fn idle(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; SMALL];
    while let length @ 1.. = stream.read(&mut buffer).await? {
        stream.write_all(&buffer[..length]).await?;
    }
    Ok(())
}

async fn once(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    let length = stream.read(&mut buffer).await?;
    stream.write_all(&buffer[..length]).await?;
    Ok(())
}

async fn http(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    let mut requests = Requests::default();
    while let length @ 1.. = stream.read(&mut buffer).await? {
        for _ in 0..requests.count(&buffer[..length]) {
            stream.write_all(HELLO).await?;
        }
    }
    Ok(())
}

async fn working(mut stream: TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    loop {
        stream.read_exact(&mut message).await?;
        work(&message);
        stream.write_all(&message).await?;
    }
}

async fn flow(mut stream: TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    stream.read_exact(&mut message).await?;
    let mut chunk = vec![message[1]; CHUNK];
    if is_source(&message) {
        loop {
            stream.write_all(&chunk).await?;
        }
    }
    while stream.read(&mut chunk).await? > 0 {}
    Ok(())
}

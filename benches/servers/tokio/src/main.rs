//! tokio: on the thread that calls, and on workers that share tasks.
#![forbid(unsafe_code)]

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use versus_common::{Arguments, CHUNK, HELLO, MESSAGE, Requests, SMALL, Service, announce, is_source, work};

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut builder = match arguments.flavor.as_str() {
        "current_thread" => Builder::new_current_thread(),
        "multi_thread" => Builder::new_multi_thread(),
        other => panic!("tokio has no flavor {other}"),
    };
    let runtime = builder.worker_threads(arguments.workers).enable_all().build()?;
    let Arguments { service, buffer, .. } = arguments;
    let listener = versus_common::listener()?;
    announce(&listener)?;
    let task = runtime.spawn(async move { serve(TcpListener::from_std(listener)?, service, buffer).await });
    runtime.block_on(task).map_err(io::Error::other)?
}

async fn serve(listener: TcpListener, service: Service, buffer: usize) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that fails concerns nobody else.
        match service {
            Service::Echo => _ = tokio::spawn(echo(stream, buffer)),
            Service::Idle => _ = tokio::spawn(idle(stream)),
            Service::Once => _ = tokio::spawn(once(stream, buffer)),
            Service::Http => _ = tokio::spawn(http(stream, buffer)),
            Service::Work => _ = tokio::spawn(working(stream)),
            Service::Flow => _ = tokio::spawn(flow(stream)),
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

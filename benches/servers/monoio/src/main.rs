//! monoio: on epoll or io_uring; each worker is a runtime of its own with a listener of its own.
#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::net;
use std::thread;

use monoio::io::{AsyncReadRent, AsyncReadRentExt, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use versus_common::{Arguments, CHUNK, HELLO, MESSAGE, Requests, SMALL, Service, announce, is_source, work};

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut listeners = match arguments.workers {
        1 => vec![versus_common::listener()?],
        more => versus_common::listeners(more)?,
    };
    announce(&listeners[0])?;
    let Arguments { service, buffer, .. } = arguments;
    let io_uring = match arguments.backend.as_str() {
        "epoll" => false,
        "io_uring" => true,
        other => panic!("monoio has no driver {other}"),
    };
    let last = listeners.pop().expect("at least one worker");
    for listener in listeners {
        thread::spawn(move || run(io_uring, listener, service, buffer));
    }
    run(io_uring, last, service, buffer)
}

fn run(io_uring: bool, listener: net::TcpListener, service: Service, buffer: usize) -> io::Result<()> {
    if io_uring {
        // The kernel would say EAGAIN instead of waiting.
        listener.set_nonblocking(false)?;
        RuntimeBuilder::<IoUringDriver>::new().build()?.block_on(serve(listener, service, buffer))
    } else {
        RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(serve(listener, service, buffer))
    }
}

/// A connection that fails concerns nobody else.
fn start(task: impl Future<Output = io::Result<()>> + 'static) {
    drop(monoio::spawn(task));
}

async fn serve(listener: net::TcpListener, service: Service, buffer: usize) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        match service {
            Service::Echo => start(echo(stream, buffer)),
            Service::Idle => start(echo(stream, SMALL)),
            Service::Once => start(once(stream, buffer)),
            Service::Http => start(http(stream, buffer)),
            Service::Work => start(working(stream)),
            Service::Flow => start(flow(stream)),
        }
    }
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    loop {
        let (read, filled) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let (written, mut sent) = stream.write_all(filled).await;
        written?;
        sent.clear();
        buffer = sent;
    }
}

async fn once(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let (read, filled) = stream.read(Vec::with_capacity(size)).await;
    read?;
    stream.write_all(filled).await.0?;
    Ok(())
}

async fn http(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    let mut requests = Requests::default();
    loop {
        let (read, mut filled) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        for _ in 0..requests.count(&filled) {
            stream.write_all(HELLO).await.0?;
        }
        filled.clear();
        buffer = filled;
    }
}

async fn working(mut stream: TcpStream) -> io::Result<()> {
    let mut message = Box::new([0; MESSAGE]);
    loop {
        let (read, filled) = stream.read_exact(message).await;
        read?;
        work(&filled);
        let (written, sent) = stream.write_all(filled).await;
        written?;
        message = sent;
    }
}

async fn flow(mut stream: TcpStream) -> io::Result<()> {
    let (read, message) = stream.read_exact(Box::new([0; MESSAGE])).await;
    read?;
    let mut chunk = vec![message[1]; CHUNK];
    if is_source(&message) {
        loop {
            let (written, sent) = stream.write_all(chunk).await;
            written?;
            chunk = sent;
        }
    }
    loop {
        chunk.clear();
        let (read, filled) = stream.read(chunk).await;
        if read? == 0 {
            return Ok(());
        }
        chunk = filled;
    }
}

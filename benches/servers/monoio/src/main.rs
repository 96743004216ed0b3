//! monoio: on epoll or io_uring; each worker is a runtime of its own with a listener of its own.
#![forbid(unsafe_code)]

use std::io;
use std::net;
use std::thread;

use monoio::io::{AsyncReadRent, AsyncReadRentExt, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use versus_common::{Arguments, CHUNK, HELLO, MESSAGE, Requests, Role, SMALL, Service, announce, role, work};

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let mut listeners = match arguments.workers {
        1 => vec![versus_common::listener(&arguments)?],
        _ => versus_common::listeners(&arguments)?,
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

async fn serve(listener: net::TcpListener, service: Service, buffer: usize) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A connection that fails concerns nobody else.
        versus_common::start!(monoio::spawn, service, stream, buffer);
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

fn idle(stream: TcpStream) -> impl Future<Output = io::Result<()>> {
    echo(stream, SMALL)
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
        let (read, mut filled) = stream.read_exact(message).await;
        read?;
        work(&mut filled);
        let (written, sent) = stream.write_all(filled).await;
        written?;
        message = sent;
    }
}

async fn flow(mut stream: TcpStream) -> io::Result<()> {
    let (read, mut message) = stream.read_exact(Box::new([0; MESSAGE])).await;
    read?;
    let mut chunk = vec![message[1]; CHUNK];
    match role(&message) {
        Role::Source => loop {
            let (written, sent) = stream.write_all(chunk).await;
            written?;
            chunk = sent;
        },
        Role::Sink => loop {
            chunk.clear();
            let (read, filled) = stream.read(chunk).await;
            if read? == 0 {
                return Ok(());
            }
            chunk = filled;
        },
        Role::Mirror => loop {
            let (written, sent) = stream.write_all(message).await;
            written?;
            let (read, filled) = stream.read_exact(sent).await;
            read?;
            message = filled;
        },
    }
}

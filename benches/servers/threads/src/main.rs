//! A blocking thread for each connection.
#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;

use versus_common::{Arguments, CHUNK, HELLO, MESSAGE, Requests, Role, SMALL, Service, announce, role, work};

/// Thousands of them are to fit.
const STACK: usize = 128 << 10;

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let listener = versus_common::listener(&arguments)?;
    let Arguments { service, buffer, .. } = arguments;
    listener.set_nonblocking(false)?;
    announce(&listener)?;
    loop {
        let (stream, _) = listener.accept()?;
        // A connection that fails concerns nobody else.
        thread::Builder::new().stack_size(STACK).spawn(move || match service {
            Service::Echo => echo(stream, buffer),
            Service::Idle => idle(stream),
            Service::Once => once(stream, buffer),
            Service::Http => http(stream, buffer),
            Service::Work => working(stream),
            Service::Flow => flow(stream),
        })?;
    }
}

fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    while let length @ 1.. = stream.read(&mut buffer)? {
        stream.write_all(&buffer[..length])?;
    }
    Ok(())
}

fn idle(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; SMALL];
    while let length @ 1.. = stream.read(&mut buffer)? {
        stream.write_all(&buffer[..length])?;
    }
    Ok(())
}

fn once(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    let length = stream.read(&mut buffer)?;
    stream.write_all(&buffer[..length])
}

fn http(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    let mut requests = Requests::default();
    while let length @ 1.. = stream.read(&mut buffer)? {
        for _ in 0..requests.count(&buffer[..length]) {
            stream.write_all(HELLO)?;
        }
    }
    Ok(())
}

fn working(mut stream: TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    loop {
        stream.read_exact(&mut message)?;
        work(&mut message);
        stream.write_all(&message)?;
    }
}

fn flow(mut stream: TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    stream.read_exact(&mut message)?;
    let mut chunk = vec![message[1]; CHUNK];
    match role(&message) {
        Role::Source => loop {
            stream.write_all(&chunk)?;
        },
        Role::Sink => {
            while stream.read(&mut chunk)? > 0 {}
            Ok(())
        }
        Role::Mirror => loop {
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
        },
    }
}

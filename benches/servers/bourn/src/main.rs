//! bourn: on the thread that calls, on workers that share tasks, on workers that share nothing.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use bourn::Builder;
use bourn::net::{TcpListener, TcpStream};
use versus_common::{Arguments, CHUNK, HELLO, MESSAGE, Requests, SMALL, Service, announce, is_source, work};

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    let builder = match arguments.flavor.as_str() {
        "current_thread" => Builder::new_current_thread(),
        "multi_thread" => Builder::new_multi_thread(),
        "thread_per_core" => Builder::new_thread_per_core(),
        other => panic!("bourn has no flavor {other}"),
    };
    let backend = arguments.backend.parse().map_err(io::Error::other)?;
    let runtime = builder.worker_threads(arguments.workers).backend(backend).build()?;
    let Arguments { service, buffer, .. } = arguments;
    if arguments.flavor == "thread_per_core" {
        let listeners = versus_common::listeners(arguments.workers)?;
        announce(&listeners[0])?;
        runtime.block_on(async {
            let all = bourn::runtime::Handle::current().spawn_on_each(move |worker| {
                let listener = listeners[worker].try_clone();
                async move { serve(TcpListener::try_from(OwnedFd::from(listener?))?, service, buffer).await }
            });
            for result in all.await {
                result.map_err(io::Error::other)??;
            }
            Ok(())
        })
    } else {
        let listener = versus_common::listener()?;
        announce(&listener)?;
        let serving = async move { serve(TcpListener::try_from(OwnedFd::from(listener))?, service, buffer).await };
        if arguments.flavor == "current_thread" {
            return runtime.block_on(serving);
        }
        // This thread waits outside, as tokio's does.
        runtime.spawn(async {
            let Err(error) = serving.await else { return };
            eprintln!("{error}");
            std::process::exit(1);
        });
        loop {
            std::thread::park();
        }
    }
}

async fn serve(listener: TcpListener, service: Service, buffer: usize) -> io::Result<()> {
    let mut incoming = listener.incoming();
    loop {
        let stream = incoming.next().await?;
        // A connection that fails concerns nobody else.
        match service {
            Service::Echo => _ = bourn::spawn(echo(stream, buffer)),
            Service::Idle => _ = bourn::spawn(idle(stream)),
            Service::Once => _ = bourn::spawn(once(stream, buffer)),
            Service::Http => _ = bourn::spawn(http(stream, buffer)),
            Service::Work => _ = bourn::spawn(working(stream)),
            Service::Flow => _ = bourn::spawn(flow(stream)),
        }
    }
}

async fn echo(stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    while let length @ 1.. = stream.read(&mut buffer).await? {
        stream.write_all(&buffer[..length]).await?;
    }
    Ok(())
}

async fn idle(stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; SMALL];
    while let length @ 1.. = stream.read(&mut buffer).await? {
        stream.write_all(&buffer[..length]).await?;
    }
    Ok(())
}

async fn once(stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    let length = stream.read(&mut buffer).await?;
    stream.write_all(&buffer[..length]).await?;
    Ok(())
}

async fn http(stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    let mut requests = Requests::default();
    while let length @ 1.. = stream.read(&mut buffer).await? {
        for _ in 0..requests.count(&buffer[..length]) {
            stream.write_all(HELLO).await?;
        }
    }
    Ok(())
}

async fn working(stream: TcpStream) -> io::Result<()> {
    let mut message = [0; MESSAGE];
    loop {
        stream.read_exact(&mut message).await?;
        work(&message);
        stream.write_all(&message).await?;
    }
}

async fn flow(stream: TcpStream) -> io::Result<()> {
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

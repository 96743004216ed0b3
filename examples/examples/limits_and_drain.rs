//! What an accept loop needs beside `accept`, on one screen: limits, and an end at which nobody loses an answer.
//!
//! Rows 28 and 37 of the sockets checklist.

use std::io;
use std::time::Duration;

use bourn::net::TcpStream;
use bourn::server::{Connection, Drain, Limits, Server};
use bourn::time::timeout;

/// Serves what comes with itself, until the peer has no more or the server drains.
async fn echo(connection: Connection) -> io::Result<()> {
    let mut buf = [0; 4096];
    while connection.more().await? {
        let length = connection.read(&mut buf).await?;
        connection.write_all(&buf[..length]).await?;
    }
    Ok(())
}

async fn ask(client: &TcpStream) -> io::Result<()> {
    client.write_all(b"?").await?;
    client.read_exact(&mut [0]).await
}

#[bourn::main]
async fn main() -> io::Result<()> {
    let limits = Limits::new().connections(2).idle(Duration::from_secs(2));
    let drain = Drain::new().deadline(Duration::from_secs(5));
    let mut server = Server::new().limits(limits).drain(drain).bind("127.0.0.1:0").await?;
    let (address, control) = (server.local_addrs()[0].tcp().expect("an address of TCP"), server.control());
    let serving = bourn::spawn(server.serve(echo));
    println!("1. a server for two connections at a time; two seconds without a byte are too long");

    let (one, two) = (TcpStream::connect(address).await?, TcpStream::connect(address).await?);
    ask(&one).await?;
    ask(&two).await?;
    let three = TcpStream::connect(address).await?;
    let waits = timeout(Duration::from_millis(50), ask(&three)).await.is_err();
    println!("2. two are served; the third is connected, and waits in the kernel's queue: {waits}");
    assert!(waits && control.stats().open == 2);

    three.read_exact(&mut [0]).await?;
    println!("3. the others said nothing more; {} cut, and the third has its answer", control.stats().cut_idle);
    assert!(control.stats().cut_idle >= 1);

    three.write_all(b"!").await?;
    control.drain(); // SIGTERM does the same
    three.read_exact(&mut [0]).await?;
    let after = three.read(&mut [0]).await?;
    println!("4. a drain while a request is on its way: answered, and then the end ({after})");
    let report = serving.await.expect("no panic")?;
    println!("5. {report}");
    assert!(report.unfinished.is_empty() && TcpStream::connect(address).await.is_err());
    println!("6. holds: limits and an orderly end are two lines at the server, and none in the handler");
    Ok(())
}

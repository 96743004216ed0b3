//! An echo server that survives what happens to servers, and ends when it is asked to.
//!
//! ```text
//! cargo run --release --example echo_server                    shows it, against unkind clients
//! cargo run --release --example echo_server -- 127.0.0.1:7000  serves; nc 127.0.0.1 7000 talks to it, Ctrl-C ends it
//! ```
//!
//! Rows 2, 17, 22, 61, 63 and 85 of the sockets checklist.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, net, thread};

use bourn::net::{TcpListener, TcpStream};
use bourn::task::JoinSet;
use bourn::time::timeout;
use futures_util::future::{Either, select};

const IDLE: Duration = Duration::from_secs(60);
const DRAIN: Duration = Duration::from_secs(5);

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; 16 << 10];
    // 0 is the client's half-close: what it sent before has been answered, and our half closes with the stream.
    while let length @ 1.. = timeout(IDLE, stream.read(&mut buf)).await?? {
        timeout(IDLE, stream.write_all(&buf[..length])).await??;
    }
    Ok(())
}

async fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    let mut connections = JoinSet::new();
    {
        let mut stop = pin!(bourn::signal::ctrl_c());
        // Skips errors of one connection, waits when descriptors have run out, ends only when the listener is broken.
        let mut incoming = listener.incoming();
        loop {
            match select(pin!(incoming.next()), stop.as_mut()).await {
                Either::Left((stream, _)) => _ = connections.spawn(echo(stream?)),
                Either::Right((signal, _)) => break signal?,
            }
            // A connection that failed is its client's affair; a panic would be reported by the runtime.
            while connections.try_join_next().is_some() {}
        }
    }
    drop(listener); // from now on clients are refused
    eprintln!("   server: SIGINT, {} connections to drain", connections.len());
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    eprintln!("   server: {}", if drained.is_ok() { "all have ended" } else { "some did not end in time" });
    Ok(())
}

/// Says `word` and waits for the echo.
fn talk(mut stream: &net::TcpStream, word: &str) -> io::Result<()> {
    stream.write_all(word.as_bytes())?;
    let mut answer = vec![0; word.len()];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, word.as_bytes());
    Ok(())
}

fn main() -> io::Result<()> {
    match &env::args().skip(1).collect::<Vec<_>>()[..] {
        [] => {}
        [address] => return bourn::block_on(serve(address)),
        [address, descriptors, ..] => {
            let most = descriptors.parse().map_err(io::Error::other)?;
            rlimit::setrlimit(rlimit::Resource::NOFILE, most, most)?;
            return bourn::block_on(serve(address));
        }
    }
    let mut server = Command::new(env::current_exe()?).args(["127.0.0.1:0", "40"]).stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(server.stdout.take().expect("piped")).read_line(&mut address)?;
    let address = address.trim();
    let connect = || {
        let stream = net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        io::Result::Ok(stream)
    };
    println!("1. a server at {address} that may have 40 descriptors");

    println!("2. a client that half-closes gets everything back, and then the end");
    let client = connect()?;
    let sender = client.try_clone()?;
    let send = thread::spawn(move || {
        (&sender).write_all(&[b'x'; 3_000_000])?;
        sender.shutdown(Shutdown::Write)
    });
    let mut echoed = Vec::new();
    (&client).read_to_end(&mut echoed)?;
    send.join().expect("no panic")?;
    println!("   sent 3000000 bytes and FIN, read {} bytes and FIN", echoed.len());
    assert_eq!(echoed.len(), 3_000_000);

    println!("3. fifty clients that reset in the middle");
    for _ in 0..50 {
        let client = connect()?;
        (&client).write_all(b"never mind")?;
        socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    }
    talk(&connect()?, "still there?")?;
    println!("   the server still answers");

    println!("4. eighty clients at once: more than it has descriptors");
    let crowd = (0..80).map(|_| connect()).collect::<io::Result<Vec<_>>>()?;
    let mut waiting = Vec::new();
    for (number, client) in crowd.iter().enumerate() {
        client.set_read_timeout(Some(Duration::from_millis(if waiting.is_empty() { 500 } else { 1 })))?;
        if talk(client, "hello").is_err() {
            waiting.push(number);
        }
    }
    println!("   {} are answered, {} wait in the kernel's queue", 80 - waiting.len(), waiting.len());
    assert!(waiting.len() >= 40, "the server can not have accepted them");
    let late = crowd.into_iter().enumerate().filter(|(number, _)| waiting.contains(number)).map(|(_, client)| client);
    for (number, client) in late.enumerate() {
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answer = [0; 5];
        (&client).read_exact(&mut answer)?; // those who were answered have left: there is room
        assert_eq!(&answer, b"hello", "client {number}");
    }
    println!("   the first ones leave, and the others get their answers");

    println!("5. Ctrl-C while a conversation is under way");
    let client = connect()?;
    talk(&client, "before")?;
    // SAFETY: our own child, which has not been waited for.
    unsafe { libc::kill(server.id() as i32, libc::SIGINT) };
    while connect().is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    talk(&client, "after the signal, and answered")?;
    drop(client);
    let status = server.wait()?;
    println!("   new clients are refused, the old one is answered; {status}");
    assert!(status.success());
    println!("6. holds: nothing that clients do ends the server, and nobody who is being served loses an answer");
    Ok(())
}

//! A netcat: standard input goes to the peer, what the peer says goes to standard output, and the end of the one does not
//! end the other.
//!
//! ```text
//! cargo run --release --example nc                       shows what half-close is for
//! cargo run --release --example nc -- HOST PORT          is a netcat
//! cargo run --release --example nc -- HOST PORT --no-half-close    is a wrong one
//! ```
//!
//! Rows 50, 61 and 62 of the sockets checklist.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::process::{Command, Stdio};
use std::{env, thread};

use bourn::net::{TcpListener, TcpStream};

/// Copies until both directions have ended; with `half_close` the end of the input only ends our half.
async fn netcat(host: &str, port: u16, half_close: bool) -> io::Result<()> {
    let stream = TcpStream::connect((host, port)).await?;
    let (mut from_peer, mut to_peer) = stream.into_split();
    // Standard input may be a file or a terminal, for which no readiness exists: a thread reads it.
    let (chunks, input) = async_channel::bounded::<Vec<u8>>(1);
    thread::spawn(move || {
        let mut buf = vec![0; 64 << 10];
        while let Ok(length @ 1..) = io::stdin().read(&mut buf) {
            if chunks.send_blocking(buf[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let sending = bourn::spawn(async move {
        while let Ok(chunk) = input.recv().await {
            to_peer.write_all(&chunk).await?;
        }
        to_peer.shutdown() // FIN: "I have said everything", not "I am gone"
    });
    if !half_close {
        return sending.await.expect("no panic"); // returns, closes, and what the peer says is lost
    }
    let mut buf = vec![0; 64 << 10];
    while let length @ 1.. = from_peer.read(&mut buf).await? {
        let chunk = buf[..length].to_vec();
        // The one who reads our output may be slow: a thread waits for him, not the runtime.
        bourn::task::spawn_blocking(move || io::stdout().write_all(&chunk)).await.expect("no panic")?;
    }
    Ok(())
}

/// Counts bytes until the end of the stream, and only then answers: like `wc`, `sort`, or a server of HTTP/1.0.
async fn count(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        // A client that has gone resets: that is its own loss.
        _ = stream.write_all(format!("{} bytes\n", all.len()).as_bytes()).await;
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [host, port, rest @ ..] = &arguments[..] {
        let port = port.parse().map_err(io::Error::other)?;
        return bourn::block_on(netcat(host, port, rest.is_empty()));
    }
    let runtime = bourn::Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let port = listener.local_addr()?.port();
    println!("1. a server on port {port} that answers when it has heard everything");
    thread::spawn(move || runtime.block_on(count(listener)));

    let mut answers = Vec::new();
    for wrong in [&["--no-half-close"][..], &[]] {
        let mut child = Command::new(env::current_exe()?)
            .args(["127.0.0.1", &port.to_string()])
            .args(wrong)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        child.stdin.take().expect("piped").write_all(&[b'x'; 300_000])?; // and the end of the input
        let output = child.wait_with_output()?;
        assert!(output.status.success());
        answers.push(String::from_utf8_lossy(&output.stdout).into_owned());
        println!(
            "{}. nc {:<16} < 300,000 bytes  prints {:?}",
            answers.len() + 1,
            wrong.join(" "),
            answers[answers.len() - 1]
        );
    }
    assert_eq!(answers, ["", "300000 bytes\n"]);
    println!("4. holds: the answer comes after our FIN, so whoever closes instead of half-closing loses it");

    println!("5. the wire is not the end of it: shutdown on one descriptor of two ends the connection for both");
    bourn::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let client = std::net::TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept().await?;
        let twin = client.try_clone()?;
        twin.shutdown(Shutdown::Write)?;
        drop(twin);
        assert_eq!(server.read(&mut [0]).await?, 0);
        println!("   the server reads 0, although a descriptor of the client is still open");
        drop(client);
        io::Result::Ok(())
    })
}

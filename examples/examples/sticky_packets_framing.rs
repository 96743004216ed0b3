//! TCP has no messages: writes stick together and come apart. What goes wrong, and how framing mends it.
//!
//! Rows 77, 78 and 84 of the sockets checklist. The framing is tokio-util's: bourn has none of its own.

use std::io;
use std::net::Shutdown;

use bourn::net::{TcpListener, TcpStream, UdpSocket};
use futures_util::{SinkExt, StreamExt};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec, LinesCodec};

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let near = TcpStream::connect(listener.local_addr()?).await?;
    Ok((near, listener.accept().await?.0))
}

/// Reads once, as tutorials do, and takes what comes for "the message".
async fn read_once(stream: &TcpStream) -> io::Result<String> {
    let mut buf = [0; 64 << 10];
    let length = stream.read(&mut buf).await?;
    Ok(String::from_utf8_lossy(&buf[..length]).into_owned())
}

#[bourn::main]
async fn main() -> io::Result<()> {
    println!("1. three writes, one read: they stick together");
    let (sender, receiver) = pair().await?;
    for word in ["aaa", "bbb", "ccc"] {
        sender.write_all(word.as_bytes()).await?;
    }
    while receiver.peek(&mut [0; 16]).await? < 9 {}
    let got = read_once(&receiver).await?;
    println!("   wrote \"aaa\", \"bbb\", \"ccc\"; read {got:?}");
    assert_eq!(got, "aaabbbccc");

    println!("2. one write, many reads: it comes apart");
    let writer = bourn::spawn(async move {
        sender.write_all(&[b'x'; 1_000_000]).await?;
        sender.shutdown(Shutdown::Write)
    });
    let mut reads = Vec::new();
    loop {
        match read_once(&receiver).await?.len() {
            0 => break,
            length => reads.push(length),
        }
    }
    writer.await.expect("no panic")?;
    println!("   wrote 1000000 bytes; {} reads, the first ones of {:?}", reads.len(), &reads[..3]);
    assert!(reads.len() > 1 && reads.iter().sum::<usize>() == 1_000_000);

    println!("3. a file upload without framing: name, then contents");
    let contents: String = (0..20_000).map(|line| format!("line {line}\n")).collect();
    let (sender, receiver) = pair().await?;
    sender.write_all(b"report.txt").await?;
    sender.write_all(&contents.as_bytes()[..6]).await?;
    while receiver.peek(&mut [0; 32]).await? < 16 {}
    let name = read_once(&receiver).await?;
    println!("   the receiver stores the file under the name {name:?}");
    assert_ne!(name, "report.txt", "this is the mistake");

    println!("4. the same upload in frames: a length of 4 bytes before each");
    let (sender, receiver) = pair().await?;
    let file = contents.clone();
    let upload = bourn::spawn(async move {
        let mut frames = FramedWrite::new(sender, LengthDelimitedCodec::new());
        frames.feed(Bytes::from_static(b"report.txt")).await?;
        for part in file.as_bytes().chunks(4096) {
            frames.feed(Bytes::copy_from_slice(part)).await?;
        }
        SinkExt::<Bytes>::close(&mut frames).await
    });
    let mut frames = FramedRead::new(receiver, LengthDelimitedCodec::new());
    let name = frames.next().await.expect("a name")?;
    let (mut stored, mut parts) = (Vec::new(), 0);
    while let Some(part) = frames.next().await {
        stored.extend_from_slice(&part?);
        parts += 1;
    }
    upload.await.expect("no panic")?;
    println!("   name {:?}, {parts} parts, {} bytes", String::from_utf8_lossy(&name), stored.len());
    assert!(name == "report.txt" && stored == contents.as_bytes());

    println!("5. or lines; and whoever frames needs a limit, or a peer fills the memory");
    let (sender, receiver) = pair().await?;
    let mut lines = FramedRead::new(receiver, LinesCodec::new_with_max_length(20));
    sender.write_all(b"first\nsec").await?;
    println!("   {:?}", lines.next().await);
    sender.write_all(b"ond\n").await?;
    let second = lines.next().await.expect("a line");
    println!("   {second:?}");
    assert_eq!(second.expect("a line"), "second");
    sender.write_all(&[b'x'; 40]).await?;
    let refused = lines.next().await.expect("an outcome");
    println!("   {refused:?}");
    assert!(refused.is_err());

    println!("6. UDP keeps boundaries: nothing to frame, and nothing that sticks");
    let receiver = UdpSocket::bind("127.0.0.1:0").await?;
    let sender = UdpSocket::bind("127.0.0.1:0").await?;
    let mut got = Vec::new();
    for word in ["aaa", "bbb", "ccc"] {
        sender.send_to(word.as_bytes(), receiver.local_addr()?).await?;
    }
    for _ in 0..3 {
        let mut buf = [0; 1024];
        let (length, _) = receiver.recv_from(&mut buf).await?;
        got.push(String::from_utf8_lossy(&buf[..length]).into_owned());
    }
    println!("   {got:?}");
    assert_eq!(got, ["aaa", "bbb", "ccc"]);
    println!("7. holds: TCP carries bytes; where a message ends is your protocol's business");
    Ok(())
}

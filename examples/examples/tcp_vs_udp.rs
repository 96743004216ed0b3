//! The same thousand messages over UDP and TCP, through a network that loses one packet in ten.
//!
//! Loss is real: a filter on the receiving socket drops packets at random (SO_ATTACH_FILTER with SKF_AD_RANDOM), after the
//! loopback device and before the protocol. Rows 23, 77, 82 and 83 of the sockets checklist.

use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use bourn::net::{TcpListener, TcpStream, UdpSocket};
use bourn::time::timeout;
use socket2::{SockFilter, SockRef};

const MESSAGES: u32 = 1_000;

/// Drops `percent` of what arrives at a socket.
fn lose(socket: &impl AsFd, percent: u32) -> io::Result<()> {
    let instruction = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
    let filter = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, random),
        // Greater or equal: to the instruction that keeps everything.
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, 0, u32::MAX / 100 * percent),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ];
    SockRef::from(socket).attach_filter(&filter).map_err(|error| {
        let message = format!("this system permits no filter on a socket, so nothing gets lost: {error}");
        io::Error::new(error.kind(), message)
    })
}

#[bourn::main]
async fn main() -> io::Result<()> {
    println!("1. UDP, no loss: boundaries are kept, one send is one recv");
    let receiver = UdpSocket::bind("127.0.0.1:0").await?;
    let sender = UdpSocket::bind("127.0.0.1:0").await?;
    sender.connect(receiver.local_addr()?).await?;
    for word in ["a", "bb", "ccc", ""] {
        sender.send(word.as_bytes()).await?;
    }
    let mut buf = [0; 64];
    let mut lengths = Vec::new();
    for _ in 0..4 {
        lengths.push(receiver.recv(&mut buf).await?);
    }
    println!("   sent 1, 2, 3 and 0 bytes; received {lengths:?}");
    assert_eq!(lengths, [1, 2, 3, 0]);
    sender.send(b"longer than the buffer").await?;
    let length = receiver.recv(&mut buf[..6]).await?;
    println!("   a buffer of 6 bytes gets {:?}; the rest is thrown away", String::from_utf8_lossy(&buf[..length]));
    assert_eq!(&buf[..length], b"longer");

    println!("2. UDP, 10 % loss: what is lost is lost, and nobody says so");
    lose(&receiver, 10)?;
    let mut received = HashSet::new();
    let mut in_order = 0;
    for number in 0..MESSAGES {
        sender.send(&number.to_be_bytes()).await?; // always succeeds
        // Loopback delivers within the send: what is not there now never comes.
        while let Ok(length) = receiver.try_recv(&mut buf) {
            let arrived = u32::from_be_bytes(buf[..length].try_into().expect("four bytes"));
            in_order += u32::from(arrived == number);
            received.insert(arrived);
        }
    }
    while let Ok(length) = timeout(Duration::from_millis(50), receiver.recv(&mut buf)).await {
        received.insert(u32::from_be_bytes(buf[..length?].try_into().expect("four bytes")));
    }
    println!("   sent {MESSAGES}, received {} ({in_order} at once)", received.len());
    assert!((800..980).contains(&received.len()), "about a tenth is lost");

    println!("3. UDP with acknowledgements of our own: send again until it is confirmed");
    lose(&sender, 10)?; // acknowledgements get lost, too
    let confirm = bourn::spawn(async move {
        let mut seen = HashSet::new();
        let mut buf = [0; 64];
        while seen.len() < MESSAGES as usize / 10 {
            let (length, peer) = receiver.recv_from(&mut buf).await?;
            receiver.send_to(&buf[..length], peer).await?;
            seen.insert(buf[..length].to_vec()); // a repeated message counts once
        }
        io::Result::Ok((receiver, seen.len()))
    });
    let mut sends = 0;
    for number in 0..MESSAGES / 10 {
        let last = number == MESSAGES / 10 - 1;
        loop {
            sends += 1;
            sender.send(&number.to_be_bytes()).await?;
            let answer = timeout(Duration::from_millis(10), sender.recv(&mut buf)).await;
            // After the last message the other side stops confirming: the old problem of the two generals.
            if answer.is_ok_and(|answer| answer.is_ok()) || last && confirm.is_finished() {
                break;
            }
        }
    }
    let (_receiver, unique) = confirm.await.expect("no panic")?;
    println!("   {} messages took {sends} sends; {unique} arrived", MESSAGES / 10);
    assert_eq!(unique, MESSAGES as usize / 10);
    assert!(sends > MESSAGES / 10);

    println!("4. TCP, the same loss: all of it, in order, and the kernel did the work");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    lose(&server, 10)?;
    let before = retransmitted()?;
    let send = bourn::spawn(async move {
        for number in 0..MESSAGES {
            client.write_all(&number.to_be_bytes()).await?;
            if number % 10 == 9 {
                bourn::time::sleep(Duration::from_millis(1)).await; // several segments, not one
            }
        }
        client.shutdown(std::net::Shutdown::Write)
    });
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).await?;
    send.await.expect("no panic")?;
    let numbers: Vec<u32> = bytes.chunks(4).map(|four| u32::from_be_bytes(four.try_into().expect("four"))).collect();
    let again = retransmitted()? - before;
    println!("   sent {MESSAGES}, received {} in order; the kernel sent {again} segments again", numbers.len());
    assert!(numbers.iter().copied().eq(0..MESSAGES), "complete and in order");
    assert!(again > 0, "something was lost on the way");
    println!("5. holds: UDP keeps boundaries and loses, TCP keeps order and repeats");
    Ok(())
}

/// Segments that this network namespace has sent again: `RetransSegs` in /proc/net/snmp.
fn retransmitted() -> io::Result<u64> {
    let table = std::fs::read_to_string("/proc/net/snmp")?;
    let mut rows = table.lines().filter(|line| line.starts_with("Tcp:")).map(str::split_whitespace);
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let (_, value) = names.zip(values).find(|(name, _)| *name == "RetransSegs").expect("a counter");
    value.parse().map_err(io::Error::other)
}

//! A chat room: what one says goes to all, and who does not listen is put out instead of slowing everybody down.
//!
//! ```text
//! cargo run --release --example chat                     shows three listeners and one who does not listen
//! cargo run --release --example chat -- 127.0.0.1:7000   serves; talk to it with nc 127.0.0.1 7000
//! ```

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::Sender;
use bourn::net::{TcpListener, TcpStream};
use bourn::time::timeout;
use futures_util::StreamExt;
use tokio_util::codec::{FramedRead, LinesCodec};

/// Lines that may wait for one listener, beside what the kernel holds for it.
const QUEUE: usize = 64;
/// How long everybody waits for one listener, before it has to go.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
struct Room(Arc<Mutex<HashMap<SocketAddr, Sender<Arc<str>>>>>);

impl Room {
    async fn say(&self, from: SocketAddr, line: Arc<str>) {
        let listeners: Vec<_> = self.0.lock().unwrap().iter().map(|(peer, queue)| (*peer, queue.clone())).collect();
        for (peer, queue) in listeners {
            if peer != from && !matches!(timeout(PATIENCE, queue.send(line.clone())).await, Ok(Ok(()))) {
                // The policy for slow consumers. Others: drop the oldest line, drop this one, never wait.
                println!("   {peer} does not listen and is put out");
                self.0.lock().unwrap().remove(&peer);
                queue.close();
            }
        }
    }

    async fn welcome(self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let (queue, lines) = async_channel::bounded::<Arc<str>>(QUEUE);
        self.0.lock().unwrap().insert(peer, queue.clone());
        let (reader, mut writer) = stream.into_split();
        let room = self.clone();
        let hear = bourn::spawn(async move {
            // At most so much of a line, for a line without end would fill the memory.
            let mut words = FramedRead::new(reader, LinesCodec::new_with_max_length(8 << 10));
            while let Some(Ok(line)) = words.next().await {
                room.say(peer, line.into()).await;
            }
            queue.close(); // lets the other task end when its queue is empty
        });
        while let Ok(line) = lines.recv().await {
            // One who reads nothing holds this task here; the queue's end closes the connection all the same.
            let write = async {
                writer.write_all(line.as_bytes()).await?;
                writer.write_all(b"\n").await
            };
            match timeout(2 * PATIENCE, write).await {
                Ok(Ok(())) => {}
                _ => break,
            }
        }
        self.0.lock().unwrap().remove(&peer);
        hear.abort();
        Ok(())
    }

    async fn open(self, listener: TcpListener) -> io::Result<()> {
        let mut incoming = listener.incoming();
        loop {
            let stream = incoming.next().await?;
            if let Ok(peer) = stream.peer_addr() {
                bourn::spawn(self.clone().welcome(stream, peer));
            }
        }
    }
}

#[bourn::main]
async fn main() -> io::Result<()> {
    let served = std::env::args().nth(1);
    let listener = TcpListener::bind(served.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let (address, room) = (listener.local_addr()?, Room::default());
    println!("1. a room at {address}");
    let open = bourn::spawn(room.clone().open(listener));
    if served.is_some() {
        return open.await.expect("no panic");
    }
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(TcpStream::connect(address).await?);
    }
    while room.0.lock().unwrap().len() < 5 {
        bourn::task::yield_now().await;
    }
    let speaker = streams.pop().expect("five");
    let deaf = streams.pop().expect("four");
    println!("2. three listen, {} does not, one says 8,000 lines of 1 KiB", deaf.local_addr()?);
    let mut listeners = Vec::new();
    for stream in streams {
        listeners.push(bourn::spawn(async move {
            let mut lines = FramedRead::new(stream, LinesCodec::new());
            let mut heard = 0;
            while heard < 8_000 {
                let line = lines.next().await.expect("a line").expect("a line");
                assert!(line.starts_with(&format!("{heard:04} ")), "in order, none missing: {line:.5}");
                heard += 1;
            }
            heard
        }));
    }
    for number in 0..8_000 {
        speaker.write_all(format!("{number:04} {}\n", "x".repeat(1018)).as_bytes()).await?;
    }
    for listener in listeners {
        assert_eq!(listener.await.expect("no panic"), 8_000);
    }
    println!("3. the three have heard every line, in order");
    let mut rest = Vec::new();
    let outcome = timeout(Duration::from_secs(10), deaf.read_to_end(&mut rest)).await.expect("the room has closed it");
    println!("   the deaf one finds {} bytes in its kernel's buffers and then the end ({outcome:?})", rest.len());
    assert!(rest.len() < 8_000 * 1024, "it was put out on the way");
    assert!(!room.0.lock().unwrap().contains_key(&deaf.local_addr()?));
    println!(
        "4. holds: memory is bounded, and the slowest listener costs the others {} s at most, once",
        PATIENCE.as_secs()
    );
    Ok(())
}

//! Connections come to life without `accept`: the kernel does the handshake and keeps them in a queue, until it is full.
//!
//! Ten clients, a backlog of 4, and a server that calls `accept` only after 1.3 seconds. Rows 13, 17, 18, 31 and 37 of the
//! sockets checklist.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bourn::net::{TcpSocket, TcpStream};
use bourn::task::JoinSet;
use bourn::time::sleep;
use bourn_examples::kernel;
use bourn_examples::picture::{self, Axis};

const BACKLOG: u32 = 4;
const CLIENTS: usize = 10;

/// How many connections wait for `accept`: the receive queue of a listening socket.
fn waiting(listener: SocketAddr) -> io::Result<usize> {
    let anybody = "0.0.0.0:0".parse().expect("an address");
    Ok(kernel::tcp(listener, anybody)?.expect("a listener").receive_queue as usize)
}

#[bourn::main]
async fn main() -> picture::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    println!("1. listening at {address}, backlog {BACKLOG}; nobody calls accept");

    let began = Instant::now();
    let (connected, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (connected, sent) = (connected.clone(), sent.clone());
        clients.spawn(async move {
            let stream = TcpStream::connect(address).await?;
            connected.fetch_add(1, Relaxed);
            stream.write_all(format!("client {number}").as_bytes()).await?; // into the kernel, far from any accept
            sent.fetch_add(1, Relaxed);
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            io::Result::Ok(answer)
        });
    }

    // What is where, every 20 ms.
    let accepted = Arc::new(AtomicUsize::new(0));
    let samples = Arc::new(Mutex::new(Vec::new()));
    let sampler = {
        let (connected, accepted, samples) = (connected.clone(), accepted.clone(), samples.clone());
        bourn::spawn(async move {
            loop {
                let counts = [CLIENTS - connected.load(Relaxed), waiting(address)?, accepted.load(Relaxed)];
                samples.lock().unwrap().push((began.elapsed().as_secs_f64(), counts));
                sleep(Duration::from_millis(20)).await;
            }
            #[allow(unreachable_code)]
            io::Result::Ok(())
        })
    };

    sleep(Duration::from_millis(1300)).await;
    let (established, queued, words) = (connected.load(Relaxed), waiting(address)?, sent.load(Relaxed));
    println!(
        "2. after 1.3 s {established} clients are connected, {words} have sent something, {queued} wait for accept"
    );
    println!("3. the other {} are stuck in connect: the kernel drops their SYN, they repeat it", CLIENTS - established);
    assert_eq!(queued, BACKLOG as usize + 1, "Linux lets one more in than the backlog says");
    assert!(established >= queued && words == established, "connected and sending without accept");
    assert!(established < CLIENTS, "the queue has an end");

    println!("4. now the server accepts, and finds the words already there");
    for _ in 0..CLIENTS {
        let (stream, peer) = listener.accept().await?;
        accepted.fetch_add(1, Relaxed);
        let mut word = [0; 16];
        let length = stream.read(&mut word).await?;
        let at = began.elapsed().as_millis();
        println!("   {at:>5} ms  {peer} says {:?}", String::from_utf8_lossy(&word[..length]));
        stream.write_all(b"welcome").await?;
    }
    while let Some(answer) = clients.join_next().await {
        assert_eq!(answer.expect("no panic")?, b"welcome");
    }
    sleep(Duration::from_millis(60)).await;
    sampler.abort();

    let samples = samples.lock().unwrap();
    let curve = |index: usize| samples.iter().map(|(at, counts)| (*at, counts[index] as f64)).collect();
    let title = "Ten clients, a backlog of 4; the first accept after 1.3 s";
    let x = Axis { label: "time (s)", logarithmic: false };
    let y = Axis { label: "connections", logarithmic: false };
    let curves =
        [("stuck in connect()", curve(0)), ("established, waiting for accept()", curve(1)), ("accepted", curve(2))];
    picture::lines("handshake_and_queues", title, x, y, &curves)?;
    println!("5. holds: accept takes no part in the handshake, and a full queue makes clients wait, not fail");
    Ok(())
}

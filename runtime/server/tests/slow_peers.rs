//! Thousands of peers that send byte by byte do not keep the others from being served, and are
//! cut by the limit that names what they do.

mod harness;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bourn::server::{Connection, Limits, Server};

use harness::{Lines, again, alone, multi_thread, until};

const SLOW: usize = 5000;
const NORMAL: usize = 100;
/// Of a second, at each of which one slow peer in so many sends.
const PARTS: usize = 500;
const REQUEST: usize = 64;
/// How long slow ones are tolerated, and how fast a peer has to be after that.
const GRACE: Duration = Duration::from_secs(12);
const RATE: u64 = 50;

/// Where the server of the test is, in the process with the slow peers.
const SERVER: &str = "BOURN_TEST_SERVER";

async fn answer(connection: Connection) -> std::io::Result<()> {
    let mut request = [0; REQUEST];
    while connection.more().await? {
        connection.read_exact(&mut request).await?;
        connection.write_all(&request).await?;
    }
    Ok(())
}

/// Sends a byte a second on each of many connections, until all are cut.
fn be_slow(addr: SocketAddr) {
    let connect = |_| {
        let client = TcpStream::connect(addr).expect("a server");
        client.set_nonblocking(true).expect("an option");
        client
    };
    let mut clients: Vec<_> = (0..SLOW).map(connect).collect();
    while !clients.is_empty() {
        let round = Instant::now();
        // Spread over the second, as so many peers would be.
        for part in 0..PARTS {
            for client in clients.iter_mut().skip(part).step_by(PARTS) {
                // One that was cut is found out below.
                let _ = client.write(b".");
            }
            let next = Duration::from_secs(1) * (part as u32 + 1) / PARTS as u32;
            std::thread::sleep(next.saturating_sub(round.elapsed()));
        }
        clients.retain_mut(
            |client| matches!(client.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        );
    }
}

/// The 99th percentile of the time that an answer takes a normal peer; each asks ten times a
/// second.
fn percentile(addr: SocketAddr, lasting: Duration) -> Duration {
    let end = Instant::now() + lasting;
    let ask = move |number: usize| {
        let mut took = Vec::new();
        let mut client = TcpStream::connect(addr).expect("a server");
        std::thread::sleep(Duration::from_millis(100) * number as u32 / NORMAL as u32);
        while Instant::now() < end {
            let start = Instant::now();
            client.write_all(&[b'?'; REQUEST]).expect("room");
            client.read_exact(&mut [0; REQUEST]).expect("an answer");
            took.push(start.elapsed());
            std::thread::sleep(Duration::from_millis(100));
        }
        took
    };
    let threads: Vec<_> = (0..NORMAL).map(|number| std::thread::spawn(move || ask(number))).collect();
    let mut took: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

#[test]
fn slow_peers_are_cut_and_delay_nobody() {
    let name = "slow_peers_are_cut_and_delay_nobody";
    alone(name, || {
        if let Ok(addr) = std::env::var(SERVER) {
            return be_slow(addr.parse().expect("an address"));
        }
        multi_thread().block_on(async {
            let lines = Lines::default();
            let server =
                Server::new().signals(false).on_notice(lines.hook()).limits(Limits::none().min_rate(RATE, GRACE));
            let mut server = server.bind("127.0.0.1:0").await.expect("a port is free");
            let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
            let control = server.control();
            let served = bourn::spawn(server.serve(answer));
            let measure = async || {
                let measured = bourn::task::spawn_blocking(move || percentile(addr, Duration::from_secs(2)));
                measured.await.expect("no panic")
            };
            // Whatever else the machine does may begin between what is compared with and all that is compared, so it is
            // measured again then.
            for attempt in 1.. {
                let (mut best, mut pairs) = (f64::MAX, Vec::new());
                let unloaded = measure().await;
                let mut slow = again(name).env(SERVER, addr.to_string()).spawn().expect("a process for the slow peers");
                until("all are there", || control.stats().open >= SLOW).await;
                let cut = (attempt - 1) * SLOW as u64;
                for _ in 0..3 {
                    // While they are tolerated.
                    let loaded = measure().await;
                    best = best.min(loaded.as_secs_f64() / unloaded.as_secs_f64());
                    pairs.push(loaded);
                    assert_eq!(control.stats().cut_min_rate, cut, "none was cut before its time");
                    if best <= 2.0 {
                        break;
                    }
                }
                println!("99th percentile {unloaded:?} unloaded, with {SLOW} slow peers {pairs:?}: {best:.2} times");
                until("all are cut", || control.stats().cut_min_rate == cut + SLOW as u64).await;
                assert!(lines.contain("the peer sends too slowly"));
                assert!(slow.wait().expect("it ends").success());
                until("all have gone", || control.stats().open == 0).await;
                if best <= 2.0 {
                    break;
                }
                assert!(attempt < 3, "{unloaded:?} unloaded, {pairs:?} with slow peers");
            }
            let cut = control.stats().cut_min_rate;
            control.drain();
            let stats = served.await.expect("no panic").expect("it serves").stats;
            assert_eq!(stats.failed, cut, "each handler was told");
        });
    });
}

//! Connections are spread evenly over the listeners of an address, and closing these resets
//! nobody.

mod harness;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use bourn::server::{Connection, Drain, Server};

use harness::{Lines, echo, everywhere, multi_thread, until, watched};

everywhere!(shards_share_one_port);

async fn shards_share_one_port() {
    let mut server = Server::new().signals(false).shards(3).bind("127.0.0.1:0").await.expect("a port is free");
    let addrs: Vec<_> = server.local_addrs().iter().map(|addr| addr.tcp().expect("an address of TCP")).collect();
    assert_eq!(addrs.len(), 3);
    assert!(addrs.iter().all(|addr| *addr == addrs[0]));
    let control = server.control();
    let served = bourn::spawn(server.serve(echo));
    for _ in 0..30 {
        let client = bourn::net::TcpStream::connect(addrs[0]).await.expect("a server");
        client.write_all(b"?").await.expect("room");
        client.read_exact(&mut [0]).await.expect("an answer");
    }
    control.drain();
    let report = served.await.expect("no panic").expect("it serves");
    assert_eq!(report.stats.by_listener.iter().sum::<u64>(), 30);
}

#[test]
fn workers_that_share_nothing_have_a_listener_each() {
    watched("a listener for each worker", || {
        harness::thread_per_core().block_on(async {
            let mut server = Server::new().signals(false).bind("127.0.0.1:0").await.expect("a port is free");
            assert_eq!(server.local_addrs().len(), 2);
            let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
            let control = server.control();
            let threads: Arc<Mutex<HashMap<ThreadId, u64>>> = Arc::default();
            let seen = Arc::clone(&threads);
            let served = bourn::spawn(server.serve(move |_: Connection| {
                let thread = std::thread::current().id();
                *seen.lock().expect("no panic").entry(thread).or_default() += 1;
                async {}
            }));
            for _ in 0..100 {
                let client = bourn::net::TcpStream::connect(addr).await.expect("a server");
                assert_eq!(client.read(&mut [0]).await.expect("the end in order"), 0);
            }
            control.drain();
            let mut shares = served.await.expect("no panic").expect("it serves").stats.by_listener;
            let mut counts: Vec<_> = threads.lock().expect("no panic").values().copied().collect();
            shares.sort_unstable();
            counts.sort_unstable();
            assert_eq!(counts, shares, "a connection stays with the worker whose listener it met");
        });
    });
}

#[test]
fn ten_thousand_connections_are_spread_evenly() {
    watched("ten thousand connections", || {
        multi_thread().block_on(async {
            let mut server = Server::new().signals(false).shards(8).bind("127.0.0.1:0").await.expect("a port is free");
            let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
            let control = server.control();
            let served = bourn::spawn(server.serve(async |_: Connection| {}));
            let clients = (0..4).map(|_| {
                bourn::task::spawn_blocking(move || {
                    for _ in 0..2500 {
                        let mut client = TcpStream::connect(addr).expect("a server");
                        assert_eq!(client.read(&mut [0]).expect("the end in order"), 0);
                    }
                })
            });
            for client in clients.collect::<Vec<_>>() {
                client.await.expect("no panic");
            }
            control.drain();
            let shares = served.await.expect("no panic").expect("it serves").stats.by_listener;
            assert_eq!((shares.len(), shares.iter().sum::<u64>()), (8, 10_000));
            let (most, least) = (shares.iter().max().expect("8"), shares.iter().min().expect("8"));
            let ratio = *most as f64 / *least as f64;
            println!("{shares:?}: largest over smallest {ratio:.3}");
            assert!(ratio <= 1.25, "{shares:?}");
        });
    });
}

/// What becomes of a client whose server ends under it: answered or refused, never reset.
fn ask(addr: SocketAddr) -> Result<bool, std::io::Error> {
    let mut client = match TcpStream::connect(addr) {
        Ok(client) => client,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(false),
        Err(error) => return Err(error),
    };
    client.write_all(b"?")?;
    client.read_exact(&mut [0])?;
    Ok(true)
}

#[test]
fn closing_shards_under_load_resets_nobody() {
    watched("closing shards", || {
        for round in 0..5 {
            let runtime = multi_thread();
            let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let go_on = Arc::new(AtomicBool::new(true));
            runtime.block_on(async {
                let lines = Lines::default();
                let server = Server::new().signals(false).shards(8).on_notice(lines.hook());
                let server = server.drain(Drain::new().deadline(Duration::from_secs(20)));
                let mut server = server.bind("127.0.0.1:0").await.expect("a port is free");
                let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
                let control = server.control();
                let served = bourn::spawn(server.serve(echo));
                let clients: Vec<_> = (0..16)
                    .map(|_| {
                        let (answered, refused, go_on) =
                            (Arc::clone(&answered), Arc::clone(&refused), Arc::clone(&go_on));
                        bourn::task::spawn_blocking(move || {
                            while go_on.load(Ordering::Relaxed) {
                                if ask(addr)? {
                                    answered.fetch_add(1, Ordering::Relaxed);
                                } else {
                                    refused.fetch_add(1, Ordering::Relaxed);
                                    break;
                                }
                            }
                            Ok::<(), std::io::Error>(())
                        })
                    })
                    .collect();
                until("there is load", || answered.load(Ordering::Relaxed) > 500).await;
                control.drain();
                let report = served.await.expect("no panic").expect("it serves");
                assert!(report.unfinished.is_empty(), "{report}");
                go_on.store(false, Ordering::Relaxed);
                for client in clients {
                    client.await.expect("no panic").expect("answered, or refused in so many words");
                }
                assert!(!lines.contain("stays open"));
                let (answered, refused) = (answered.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
                println!("round {round}: {answered} answered, then {refused} refused, none reset");
            });
        }
    });
}

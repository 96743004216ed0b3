//! A network that loses packets, resets connections and goes away for a while: in
//! namespaces of the test's own, which end with its process. Needs root.

use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bourn::net::{Keepalive, TcpListener, TcpSocket, TcpStream};
use bourn::time::{sleep, timeout};
use bourn_heavy::{child, descriptors, is_child, on_every_backend, runtime, succeeded, watched};

/// The peer's address, behind the link.
const FAR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// How many connections there are at once, on each backend.
const CONNECTIONS: u64 = 25;
/// How long an end of a connection may take.
const DEADLINE: Duration = Duration::from_secs(8);

/// Runs `body` in a process with a network of its own, which has a loopback
/// interface and nothing else.
fn in_namespace(name: &str, body: impl FnOnce()) {
    if is_child() {
        watched(name, || {
            run("ip link set lo up");
            body();
        });
    } else {
        print!("{}", succeeded(child(name, &["unshare", "--net", "--"]).output().expect("unshare(1)")));
    }
}

/// Runs a command of the shell in the network of this thread.
fn run(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().expect("a shell");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sets what becomes of packets that arrive here, in the place of what was set
/// before.
fn filter(rules: &str) {
    run(&format!(
        "nft flush ruleset; nft add table ip t; \
         nft 'add chain ip t in {{ type filter hook input priority 0; }}'"
    ));
    for rule in rules.split(';').map(str::trim).filter(|rule| !rule.is_empty()) {
        run(&format!("nft 'add rule ip t in {rule}'"));
    }
}

/// What a counter of the kernel for this network says.
fn counter(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").expect("procfs");
    let lines: Vec<_> = text.lines().collect();
    let found = lines.chunks(2).find_map(|pair| {
        let place = pair[0].split(' ').position(|word| word == name)?;
        pair[1].split(' ').nth(place)?.parse().ok()
    });
    found.expect("there is such a counter")
}

/// How many connections of this network are in TIME_WAIT.
fn time_waits() -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("procfs");
    text.lines().filter(|line| line.split_whitespace().nth(3) == Some("06")).count()
}

/// How many connections the listener at this address has in its queue.
fn waiting(addr: SocketAddr) -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/net/tcp").expect("procfs");
    let port = format!(":{:04X}", addr.port());
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.into_iter().find(|words| words[1].ends_with(&port) && words[3] == "0A").expect("it listens");
    let (_, queue) = line[4].split_once(':').expect("two numbers");
    usize::from_str_radix(queue, 16).expect("a number")
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    // xorshift64 (Marsaglia 2003)
    let mut state = seed | 1 << 40;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect()
}

/// Begins a second network with servers, one on each backend, at the end of a link
/// to this one: `near` here, `far` there.
fn link() -> Vec<SocketAddr> {
    let (told, number) = mpsc::channel();
    let (linked, go) = mpsc::channel::<()>();
    let (bound, addrs) = mpsc::channel();
    thread::spawn(move || {
        // SAFETY: takes no pointer; concerns this thread and what it starts.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
        let own = std::fs::read_link("/proc/thread-self").expect("procfs");
        told.send(own.file_name().expect("an id").to_str().expect("a number").to_owned()).expect("the test");
        go.recv().expect("the test");
        run(&format!("ip link set lo up; ip addr add {FAR}/24 dev far; ip link set far up"));
        for &backend in bourn::Backend::ALL {
            let bound = bound.clone();
            thread::spawn(move || runtime(backend).block_on(serve(bound)));
        }
    });
    let number = number.recv().expect("the other network");
    run(&format!("ip link add near type veth peer name far netns {number}"));
    run("ip addr add 10.77.0.1/24 dev near; ip link set near up");
    linked.send(()).expect("the other network");
    bourn::Backend::ALL.iter().map(|_| addrs.recv().expect("a server")).collect()
}

/// Echoes what it has read to the end.
async fn serve(bound: mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind((IpAddr::from(FAR).to_string(), 0)).await.expect("an address");
    bound.send(listener.local_addr().expect("bound")).expect("the test");
    let mut incoming = listener.incoming();
    loop {
        let stream = incoming.next().await.expect("a connection");
        bourn::spawn(timeout(DEADLINE, async move {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await?;
            stream.write_all(&all).await?;
            stream.shutdown(Shutdown::Write)?;
            // Until the client has closed, too.
            stream.read_closed().await
        }));
    }
}

/// Sends, and compares what comes back.
async fn exchange(addr: SocketAddr, seed: u64, length: usize) -> std::io::Result<()> {
    let stream = TcpStream::connect(addr).await?;
    let data = noise(seed, length);
    stream.write_all(&data).await?;
    stream.shutdown(Shutdown::Write)?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    assert!(all == data, "{} bytes came back of {}, or others", all.len(), data.len());
    Ok(())
}

/// What became of the connections.
#[derive(Debug, Default)]
struct Ends {
    whole: u64,
    errors: u64,
    late: u64,
}

/// Makes connections to all servers at once, from the same backends; `meanwhile`
/// happens to the network.
fn exchanges(addrs: &[SocketAddr], length: usize, meanwhile: impl FnOnce()) -> Ends {
    let start = Instant::now();
    let clients: Vec<_> = bourn::Backend::ALL
        .iter()
        .zip(addrs.to_vec())
        .map(|(&backend, addr)| {
            thread::spawn(move || {
                runtime(backend).block_on(async {
                    let mut ends = Ends::default();
                    let all: Vec<_> = (0..CONNECTIONS)
                        .map(|seed| bourn::spawn(timeout(DEADLINE, exchange(addr, seed, length))))
                        .collect();
                    for one in all {
                        match one.await.expect("no panic") {
                            Ok(Ok(())) => ends.whole += 1,
                            Ok(Err(error)) => {
                                use std::io::ErrorKind::*;
                                assert!(!matches!(error.kind(), WouldBlock | Interrupted | UnexpectedEof), "{error:?}");
                                ends.errors += 1;
                            }
                            Err(_) => ends.late += 1,
                        }
                    }
                    ends
                })
            })
        })
        .collect();
    meanwhile();
    let mut ends = Ends::default();
    for client in clients {
        let of_one = client.join().expect("no panic");
        ends.whole += of_one.whole;
        ends.errors += of_one.errors;
        ends.late += of_one.late;
    }
    println!("{ends:?} after {:?}", start.elapsed());
    assert!(start.elapsed() < DEADLINE + Duration::from_secs(3), "a deadline was missed");
    assert_eq!(ends.whole + ends.errors + ends.late, CONNECTIONS * bourn::Backend::ALL.len() as u64);
    ends
}

#[test]
fn every_connection_ends_whole_or_with_an_error_in_time() {
    in_namespace("every_connection_ends_whole_or_with_an_error_in_time", || {
        let addrs = link();
        let all = CONNECTIONS * addrs.len() as u64;
        let ends = exchanges(&addrs, 100_000, || {});
        assert_eq!(ends.whole, all, "the network is well");
        let before = descriptors();

        filter("numgen random mod 100 < 5 drop");
        let ends = exchanges(&addrs, 100_000, || {});
        assert!(ends.whole * 10 > all * 9 && ends.errors == 0, "{ends:?}");

        filter("numgen random mod 100 < 30 drop");
        let ends = exchanges(&addrs, 8_000, || {});
        assert!(ends.whole > 0 && ends.errors == 0, "{ends:?}");

        // Of answers, so that it is the server that hears of it; a client then
        // waits for nobody until it is late, or is told by the server.
        filter("tcp flags & (syn | fin) == 0 numgen random mod 100 < 2 reject with tcp reset");
        let ends = exchanges(&addrs, 100_000, || {});
        assert!(ends.errors + ends.late > 0, "{ends:?}");

        filter("");
        let ends = exchanges(&addrs, 20_000_000 / CONNECTIONS as usize, || {
            for _ in 0..3 {
                thread::sleep(Duration::from_millis(30));
                run("ip link set near down");
                thread::sleep(Duration::from_millis(300));
                run("ip link set near up");
            }
        });
        assert!(ends.whole > 0, "{ends:?}");
        let end = Instant::now() + 2 * DEADLINE;
        while descriptors() > before {
            assert!(Instant::now() < end, "{} descriptors, {before} before", descriptors());
            thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn row_66_keep_alive_finds_a_peer_that_is_gone() {
    in_namespace("row_66_keep_alive_finds_a_peer_that_is_gone", || {
        on_every_backend("keep-alive", || async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
            let (_server, _) = listener.accept().await.expect("one waits");
            let often = Keepalive { idle: Duration::from_secs(1), interval: Duration::from_secs(1), count: 2 };
            client.set_keepalive(Some(often)).expect("an option");
            filter("drop");
            let start = Instant::now();
            let error = client.read(&mut [0]).await.expect_err("nobody answers");
            assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
            let took = start.elapsed();
            assert!(Duration::from_secs(2) < took && took < Duration::from_secs(6), "{took:?}");
            filter("");
        });
    });
}

#[test]
fn row_34_connections_are_made_with_syn_cookies() {
    in_namespace("row_34_connections_are_made_with_syn_cookies", || {
        // Always, not only when there is a flood.
        run("echo 2 >/proc/sys/net/ipv4/tcp_syncookies");
        on_every_backend("cookies", || async {
            let before = (counter("SyncookiesSent"), counter("SyncookiesRecv"));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
            let (server, _) = listener.accept().await.expect("one waits");
            client.write_all(b"hello").await.expect("there is room");
            let mut buf = [0; 5];
            server.read_exact(&mut buf).await.expect("it arrives");
            assert_eq!(&buf, b"hello");
            let after = (counter("SyncookiesSent"), counter("SyncookiesRecv"));
            assert!(after.0 > before.0 && after.1 > before.1, "{before:?}, {after:?}");
        });
    });
}

#[test]
fn row_37_a_full_queue_resets_where_the_system_is_set_so() {
    in_namespace("row_37_a_full_queue_resets_where_the_system_is_set_so", || {
        run("echo 1 >/proc/sys/net/ipv4/tcp_abort_on_overflow");
        on_every_backend("overflow", || async {
            let socket = TcpSocket::new_v4().expect("a socket");
            // So that a handshake can be made in part.
            socket.set_defer_accept(Duration::from_secs(60)).expect("an option");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port is free");
            let addr = socket.local_addr().expect("bound");
            let _listener = socket.listen(4).expect("bound");
            let connect = async || TcpStream::connect(addr).await.expect("a place among the incomplete");
            let complete = async |stream: &TcpStream, number| {
                stream.write_all(b"x").await.expect("for the client it is made");
                while waiting(addr) < number {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            let mut clients = Vec::new();
            for number in 1..=4 {
                clients.push(connect().await);
                complete(&clients[number - 1], number).await;
            }
            // One more fits; the other comes to a queue that is full.
            let (one, other) = (connect().await, connect().await);
            complete(&one, 5).await;
            other.write_all(b"x").await.expect("for the client it is made");
            let error = other.read(&mut [0]).await.expect_err("there is no room");
            assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
        });
    });
}

#[test]
fn row_76_the_number_of_time_waits_has_a_limit() {
    in_namespace("row_76_the_number_of_time_waits_has_a_limit", || {
        let close = || {
            runtime(bourn::Backend::Epoll).block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
                for _ in 0..20 {
                    let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
                    let (server, _) = listener.accept().await.expect("one waits");
                    drop(client);
                    assert_eq!(server.read(&mut [0]).await.expect("the end"), 0);
                }
                // Until the last has come so far.
                sleep(Duration::from_millis(100)).await;
            });
            time_waits()
        };
        run("echo 5 >/proc/sys/net/ipv4/tcp_max_tw_buckets");
        let limited = close();
        run("echo 1000 >/proc/sys/net/ipv4/tcp_max_tw_buckets");
        let unlimited = close() - limited;
        assert!(limited <= 6 && unlimited == 20, "{limited}, {unlimited}");
    });
}

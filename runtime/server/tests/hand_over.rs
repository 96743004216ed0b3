//! Listening sockets change hands at one moment, and whoever fails before that is as if he
//! had never been.

mod harness;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use bourn::JoinHandle;
use bourn::net::{TcpStream, UnixStream};
use bourn::server::{Cause, Connection, Control, Drain, Limits, Report, Server};
use bourn::time::timeout;

use harness::{Lines, everywhere, until};

everywhere!(
    the_new_server_takes_over_when_it_serves,
    the_old_server_goes_on_if_the_new_one_ends_before,
    every_socket_and_shard_is_handed_over,
    sockets_go_from_hand_to_hand,
    who_only_connects_holds_up_nobody,
    what_is_no_server_is_refused,
    a_drain_in_the_middle_leaves_the_door_open,
    a_drain_in_the_middle_waits_for_what_becomes_of_the_new_one,
    what_is_bound_before_is_refused,
    only_a_stale_socket_is_replaced,
    a_server_that_is_to_end_soon_hands_over_for_good,
    who_was_accepted_before_is_served_whatever_the_limit,
);

fn scratch() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("bourn-hand-over-{}-{number}", std::process::id()))
}

async fn server(path: &Path, addr: SocketAddr) -> Server {
    let server = Server::new().signals(false).shards(1).hand_over(path).await.expect("a path");
    server.bind(addr).await.expect("free, or handed over")
}

struct Named {
    addr: SocketAddr,
    control: Control,
    served: JoinHandle<io::Result<Report>>,
}

/// Serves everybody with its name.
fn serve(mut server: Server, name: &'static str) -> Named {
    let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
    let control = server.control();
    let handler = async move |connection: Connection| connection.write_all(name.as_bytes()).await;
    Named { addr, control, served: bourn::spawn(server.serve(handler)) }
}

async fn who_serves(addr: SocketAddr) -> String {
    let mut name = Vec::new();
    let client = TcpStream::connect(addr).await.expect("a server");
    client.read_to_end(&mut name).await.expect("an answer");
    String::from_utf8(name).expect("a name")
}

fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

async fn the_new_server_takes_over_when_it_serves() {
    let path = scratch();
    let old = serve(server(&path, any_port()).await, "old");
    assert_eq!(who_serves(old.addr).await, "old");
    let mode = std::fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let new = server(&path, old.addr).await;
    // It has the sockets, and has not said that it serves.
    assert_eq!(who_serves(old.addr).await, "old");
    assert!(!old.control.is_draining());
    let new = serve(new, "new");
    let report = old.served.await.expect("no panic").expect("it served");
    assert_eq!(report.cause, Cause::HandedOver);
    assert!(report.unfinished.is_empty(), "{report}");
    for _ in 0..20 {
        assert_eq!(who_serves(new.addr).await, "new");
    }
    new.control.drain();
    let report = new.served.await.expect("no panic").expect("it served");
    assert_eq!(report.cause, Cause::Asked);
    TcpStream::connect(old.addr).await.expect_err("closed");
    std::fs::remove_file(&path).expect("it stays");
}

async fn the_old_server_goes_on_if_the_new_one_ends_before() {
    let path = scratch();
    let old = serve(server(&path, any_port()).await, "old");
    for _ in 0..3 {
        let new = server(&path, old.addr).await;
        assert_eq!(new.local_addrs().len(), 1);
        drop(new);
        assert_eq!(who_serves(old.addr).await, "old");
    }
    // One that connects and says nothing, and one that says nonsense.
    drop(UnixStream::connect(&path).await.expect("the old server"));
    let rude = UnixStream::connect(&path).await.expect("the old server");
    rude.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("room");
    let mut told = Vec::new();
    // To the end, in order or by a reset.
    let _ = rude.read_to_end(&mut told).await;
    assert_eq!(who_serves(old.addr).await, "old");
    assert!(!old.control.is_draining());
    let new = serve(server(&path, old.addr).await, "new");
    old.served.await.expect("no panic").expect("it served");
    assert_eq!(who_serves(new.addr).await, "new");
    std::fs::remove_file(&path).expect("it stays");
}

async fn every_socket_and_shard_is_handed_over() {
    let (path, unix) = (scratch(), scratch());
    let old = Server::new().signals(false).hand_over(&path).await.expect("a path").shards(3);
    let old = old.bind("127.0.0.1:0").await.expect("a port is free").shards(1).bind("127.0.0.1:0").await;
    let old = old.expect("another port").bind_unix(&unix).await.expect("a path");
    let addrs: Vec<_> = old.local_addrs();
    let [first, .., second, _] = &addrs[..] else { panic!("five sockets: {addrs:?}") };
    let (first, second) = (first.tcp().expect("TCP"), second.tcp().expect("TCP"));
    let old = serve(old, "old");
    let lines = Lines::default();
    let new = Server::new().signals(false).on_notice(lines.hook()).hand_over(&path).await.expect("the old server");
    let new = new.bind(first).await.expect("handed over").bind_unix(&unix).await.expect("handed over");
    assert_eq!(new.local_addrs().len(), 4, "what is not bound is not served");
    let new = serve(new, "new");
    old.served.await.expect("no panic").expect("it served");
    for _ in 0..30 {
        assert_eq!(who_serves(first).await, "new");
    }
    let mut name = Vec::new();
    UnixStream::connect(&unix).await.expect("a server").read_to_end(&mut name).await.expect("an answer");
    assert_eq!(name, b"new");
    TcpStream::connect(second).await.expect_err("closed");
    assert!(lines.contain(&format!("not bound, and so closed: {{\"{second}\"}}")));
    new.control.drain();
    new.served.await.expect("no panic").expect("it served");
    std::fs::remove_file(&path).expect("it stays");
    std::fs::remove_file(&unix).expect("it stays");
}

async fn sockets_go_from_hand_to_hand() {
    let path = scratch();
    let mut last = serve(server(&path, any_port()).await, "first");
    let addr = last.addr;
    for name in ["second", "third", "fourth"] {
        let next = serve(server(&path, addr).await, name);
        let report = last.served.await.expect("no panic").expect("it served");
        assert_eq!(report.cause, Cause::HandedOver);
        assert_eq!(who_serves(addr).await, name);
        last = next;
    }
    std::fs::remove_file(&path).expect("it stays");
}

/// What the old process has to say at the end is said before it ends, with its runtime.
#[test]
fn the_old_process_answers_before_it_ends() {
    harness::watched("an old process that ends", || {
        for _ in 0..20 {
            let path = scratch();
            let (tell, told) = mpsc::channel();
            let old = path.clone();
            let old = std::thread::spawn(move || {
                harness::multi_thread().block_on(async {
                    let server = server(&old, any_port()).await;
                    tell.send(server.local_addrs()[0].tcp().expect("TCP")).expect("the test listens");
                    server.serve(harness::echo).await.expect("it serves")
                })
            });
            let addr = told.recv().expect("an address");
            harness::multi_thread().block_on(async {
                let lines = Lines::default();
                let new = serve(server(&path, addr).await.on_notice(lines.hook()), "new");
                assert_eq!(
                    bourn::task::spawn_blocking(|| old.join()).await.expect("no panic").expect("no panic").cause,
                    Cause::HandedOver
                );
                assert_eq!(who_serves(addr).await, "new");
                new.control.drain();
                new.served.await.expect("no panic").expect("it served");
                assert!(!lines.contain("does not answer"), "it ended before");
            });
            std::fs::remove_file(&path).expect("it stays");
        }
    });
}

async fn who_only_connects_holds_up_nobody() {
    let path = scratch();
    let first = serve(server(&path, any_port()).await, "first");
    let _silent = UnixStream::connect(&path).await.expect("a server");
    let second = server(&path, first.addr).await.drain(Drain::new().deadline(Duration::from_secs(3600)));
    let second = serve(second, "second");
    first.served.await.expect("no panic").expect("it served");
    let silent = UnixStream::connect(&path).await.expect("a server");
    // Time for the server to turn to it; a drain that comes first is not held up anyway.
    bourn::time::sleep(Duration::from_millis(50)).await;
    second.control.drain();
    second.served.await.expect("no panic").expect("it served");
    drop(silent);
    std::fs::remove_file(&path).expect("it stays");
}

async fn what_is_no_server_is_refused() {
    let path = scratch();
    let listener = bourn::net::UnixListener::bind(&path).expect("a path");
    let other = bourn::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a peer");
        stream.write_all(b"220 mail.example.org").await.expect("room");
    });
    let refused = Server::new().hand_over(&path).await.expect_err("no server of ours");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    other.await.expect("no panic");
    std::fs::remove_file(&path).expect("it stays");
}

async fn a_drain_in_the_middle_leaves_the_door_open() {
    let path = scratch();
    let lines = Lines::default();
    let old = server(&path, any_port()).await.on_notice(lines.hook());
    let old = serve(old, "old");
    let new = server(&path, old.addr).await;
    old.control.drain();
    until("it drains", || old.control.is_draining()).await;
    let new = serve(new, "new");
    old.served.await.expect("no panic").expect("it served");
    assert_eq!(who_serves(new.addr).await, "new");
    std::fs::remove_file(&path).expect("it stays");
}

async fn a_drain_in_the_middle_waits_for_what_becomes_of_the_new_one() {
    let path = scratch();
    let old = server(&path, any_port()).await.drain(Drain::new().handshakes(Duration::ZERO));
    let old = serve(old, "old");
    let new = server(&path, old.addr).await;
    old.control.drain();
    until("it drains", || old.control.is_draining()).await;
    // The queue is the new one's as well, which may end before it has served anybody.
    for _ in 0..5 {
        let name = timeout(Duration::from_secs(20), who_serves(old.addr)).await;
        assert_eq!(name.expect("somebody accepts"), "old");
    }
    assert!(!old.served.is_finished());
    drop(new);
    let report = old.served.await.expect("no panic").expect("it served");
    assert!(report.unemptied.is_empty(), "{report}");
    TcpStream::connect(old.addr).await.expect_err("closed");
    std::fs::remove_file(&path).expect("it stays");
}

async fn what_is_bound_before_is_refused() {
    let path = scratch();
    let old = serve(server(&path, any_port()).await, "old");
    // Two sockets of one address are possible, and one of them would be forgotten.
    let early = Server::new().signals(false).shards(2).bind(any_port()).await.expect("a port is free");
    let refused = early.hand_over(&path).await.expect_err("too late");
    assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("before bind"), "{refused}");
    assert_eq!(who_serves(old.addr).await, "old");
    std::fs::remove_file(&path).expect("it stays");
}

async fn only_a_stale_socket_is_replaced() {
    let path = scratch();
    std::fs::write(&path, b"precious").expect("a file");
    let refused = Server::new().hand_over(&path).await.expect_err("no socket");
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(std::fs::read(&path).expect("untouched"), b"precious");
    std::fs::remove_file(&path).expect("it stays");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a path"));
    let first = serve(server(&path, any_port()).await, "first");
    let second = serve(server(&path, first.addr).await, "second");
    first.served.await.expect("no panic").expect("it served");
    assert_eq!(who_serves(second.addr).await, "second");
    std::fs::remove_file(&path).expect("it stays");
}

/// Nobody gets a place at which nobody could find him, also where a dead process has left its own.
#[test]
fn of_two_that_start_at_once_one_stands_at_the_path() {
    harness::watched("two that start at once", || {
        for round in 0..80 {
            let path = scratch();
            if round % 4 > 0 {
                drop(std::os::unix::net::UnixListener::bind(&path).expect("a path"));
            }
            let go_on = path.with_extension("over");
            let (start, (tell, told)) = (Arc::new(Barrier::new(2)), mpsc::channel());
            let threads = [(); 2].map(|()| {
                let (path, go_on, start, tell) = (path.clone(), go_on.clone(), Arc::clone(&start), tell.clone());
                std::thread::spawn(move || {
                    harness::current_thread(bourn::Backend::Epoll).block_on(async {
                        start.wait();
                        // The second one waits for the first to serve, and hears that it has ended.
                        let stands = Server::new().hand_over(&path).await;
                        tell.send(stands.is_ok()).expect("the test listens");
                        until("the test goes on", || go_on.exists()).await;
                    });
                })
            });
            assert!(told.recv().expect("one of them"), "the first one stands");
            let second = told.recv_timeout(Duration::from_millis(5));
            assert_ne!(second, Ok(true), "two stand at one path");
            std::fs::write(&go_on, b"").expect("a file");
            for thread in threads {
                thread.join().expect("no panic");
            }
            std::fs::remove_file(&go_on).expect("it stays");
            std::fs::remove_file(&path).expect("it stays");
        }
    });
}

async fn a_server_that_is_to_end_soon_hands_over_for_good() {
    let (path, unix) = (scratch(), scratch());
    let old = server(&path, any_port()).await.bind_unix(&unix).await.expect("a path");
    let old = serve(old.drain(Drain::new().announce(Duration::from_secs(60))), "old");
    old.control.drain();
    until("it drains", || old.control.is_draining()).await;
    assert_eq!(who_serves(old.addr).await, "old");
    let new = server(&path, old.addr).await.bind_unix(&unix).await.expect("handed over");
    let new = serve(new, "new");
    // Not after the announcement, for which there is no reason any more.
    let served = timeout(Duration::from_secs(50), old.served).await.expect("at once");
    assert_eq!(served.expect("no panic").expect("it served").cause, Cause::Asked);
    for _ in 0..5 {
        // A closed door of TCP does not answer.
        let name = timeout(Duration::from_secs(20), who_serves(new.addr)).await;
        assert_eq!(name.expect("the door is open"), "new");
        let mut name = Vec::new();
        UnixStream::connect(&unix).await.expect("a server").read_to_end(&mut name).await.expect("an answer");
        assert_eq!(name, b"new");
    }
    std::fs::remove_file(&path).expect("it stays");
    std::fs::remove_file(&unix).expect("it stays");
}

async fn who_was_accepted_before_is_served_whatever_the_limit() {
    let path = scratch();
    let mut old = server(&path, any_port()).await.limits(Limits::new().connections(1));
    for _ in 0..3 {
        old = old.bind(any_port()).await.expect("a port is free");
    }
    let addrs: Vec<_> = old.local_addrs().iter().map(|addr| addr.tcp().expect("TCP")).collect();
    let control = old.control();
    let old = bourn::spawn(old.serve(async |connection: Connection| {
        connection.read_exact(&mut [0]).await?;
        connection.write_all(b"old").await
    }));
    // Every loop waits for a peer, with room for it; then each gets one, and there is room for one. A loop that looks
    // for room only then does not take its own: so it is tried until all were waiting.
    let mut clients = Vec::new();
    for round in 1.. {
        assert!(round < 50, "the loops never waited all at once");
        let before = control.stats().accepted;
        for addr in &addrs {
            let client = std::net::TcpStream::connect(addr).expect("a server");
            clients.push(TcpStream::from_std(client).expect("a stream"));
        }
        let all = async || until("all are accepted", || control.stats().accepted == before + 4).await;
        if timeout(Duration::from_millis(200), all()).await.is_ok() && control.stats().open == 1 {
            break;
        }
        clients.clear();
        all().await;
        until("nobody is there", || control.stats().open == 0).await;
        bourn::time::sleep(Duration::from_millis(10)).await;
    }
    let mut new = Server::new().signals(false).hand_over(&path).await.expect("the old server");
    for addr in &addrs {
        new = new.bind(addr).await.expect("handed over");
    }
    let new = serve(new, "new");
    for client in &clients {
        client.write_all(b"?").await.expect("room");
        let mut name = Vec::new();
        client.read_to_end(&mut name).await.expect("an answer");
        assert_eq!(name, b"old");
    }
    let report = old.await.expect("no panic").expect("it served");
    assert_eq!(report.stats.shed_full, 0);
    assert_eq!(who_serves(addrs[0]).await, "new");
    drop(new);
    std::fs::remove_file(&path).expect("it stays");
}

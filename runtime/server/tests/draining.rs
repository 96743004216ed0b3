//! A drain loses nobody whom the kernel has taken in, and names who did not finish.

mod harness;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bourn::net::{TcpStream, UnixStream};
use bourn::server::{Cause, Connection, Drain, Limits, Server};

use harness::{echo, everywhere, start, until};

everywhere!(
    what_is_queued_is_accepted,
    what_is_queued_waits_for_room_and_is_accepted,
    a_unix_queue_is_emptied_and_its_door_closed,
    a_request_that_has_begun_gets_its_answer,
    an_announced_drain_still_accepts,
    who_does_not_finish_is_named_and_cancelled,
    new_connections_are_kept_out_while_the_queue_is_emptied,
);

/// So many connections that nobody has accepted: the runtime's thread makes them, and
/// blocks meanwhile.
fn queued(running: &harness::Running, count: usize) -> Vec<std::net::TcpStream> {
    let connect = || std::net::TcpStream::connect(running.addr).expect("a server");
    (0..count).map(|_| connect()).collect()
}

async fn what_is_queued_is_accepted() {
    let running = start(Server::new(), async |connection: Connection| connection.write_all(b"!").await).await;
    until("it accepts", || !running.control.stats().by_listener.is_empty()).await;
    let clients = queued(&running, 100);
    running.control.drain();
    let addr = running.addr;
    let report = running.server.await.expect("no panic");
    assert_eq!(report.stats.accepted, 100);
    assert!(report.unfinished.is_empty(), "{report}");
    for client in clients {
        let client = TcpStream::from_std(client).expect("a socket");
        let mut told = Vec::new();
        client.read_to_end(&mut told).await.expect("an answer, and the end in order");
        assert_eq!(told, b"!");
    }
    let refused = std::net::TcpStream::connect(addr).expect_err("closed");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

async fn what_is_queued_waits_for_room_and_is_accepted() {
    let server = Server::new().limits(Limits::new().connections(3));
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, now) = (Arc::clone(&most), Arc::new(AtomicUsize::new(0)));
    let running = start(server, move |connection: Connection| {
        let (most, now) = (Arc::clone(&most), Arc::clone(&now));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            bourn::task::yield_now().await;
            let written = connection.write_all(b"!").await;
            now.fetch_sub(1, Ordering::SeqCst);
            written
        }
    })
    .await;
    let clients = queued(&running, 50);
    let report = running.drained().await;
    assert_eq!(report.stats.accepted, 50);
    assert!(report.unfinished.is_empty(), "{report}");
    assert!(seen.load(Ordering::SeqCst) <= 3);
    drop(clients);
}

async fn a_unix_queue_is_emptied_and_its_door_closed() {
    let path =
        std::env::temp_dir().join(format!("bourn-drain-{}-{:?}", std::process::id(), std::thread::current().id()));
    let mut server = Server::new().signals(false).bind_unix(&path).await.expect("a path");
    let control = server.control();
    let server = bourn::spawn(server.serve(async |connection: Connection| connection.write_all(b"!").await));
    let connect = || std::os::unix::net::UnixStream::connect(&path).expect("a server");
    let clients: Vec<_> = (0..20).map(|_| connect()).collect();
    control.drain();
    let report = server.await.expect("no panic").expect("it serves");
    assert_eq!(report.stats.accepted, 20);
    // Known to be empty for good, so that no time is spent on handshakes.
    for client in clients {
        let mut told = Vec::new();
        UnixStream::from_std(client).expect("a socket").read_to_end(&mut told).await.expect("an answer");
        assert_eq!(told, b"!");
    }
    std::os::unix::net::UnixStream::connect(&path).expect_err("closed");
    std::fs::remove_file(&path).expect("it stays");
}

async fn a_request_that_has_begun_gets_its_answer() {
    let running = start(Server::new(), async |connection: Connection| {
        let mut buf = [0; 4];
        while connection.more().await? {
            connection.read_exact(&mut buf).await?;
            connection.write_all(&buf).await?;
        }
        Ok::<(), std::io::Error>(())
    })
    .await;
    let (begun, idle) = (running.connect().await, running.connect().await);
    let mut buf = [0; 4];
    for client in [&begun, &idle] {
        client.write_all(b"1234").await.expect("room");
        client.read_exact(&mut buf).await.expect("an answer");
    }
    begun.write_all(b"a").await.expect("room");
    let control = running.control.clone();
    control.drain();
    until("it drains", || control.is_draining()).await;
    // Nothing has arrived of the one, so it is over.
    assert_eq!(idle.read(&mut buf).await.expect("the end in order"), 0);
    bourn::time::sleep(Duration::from_millis(20)).await;
    begun.write_all(b"bcd").await.expect("room");
    begun.read_exact(&mut buf).await.expect("the whole answer");
    assert_eq!(&buf, b"abcd");
    let report = running.server.await.expect("no panic");
    assert!(report.unfinished.is_empty(), "{report}");
}

async fn an_announced_drain_still_accepts() {
    let drain = Drain::new().announce(Duration::from_millis(300));
    let running = start(Server::new().drain(drain), async |connection: Connection| {
        let draining = connection.is_draining();
        connection.write_all(if draining { b"draining" } else { b"serving." }).await
    })
    .await;
    let mut health = [0; 8];
    running.connect().await.read_exact(&mut health).await.expect("an answer");
    assert_eq!(&health, b"serving.");
    running.control.drain();
    until("it drains", || running.control.is_draining()).await;
    bourn::time::sleep(Duration::from_millis(20)).await;
    running.connect().await.read_exact(&mut health).await.expect("an answer");
    assert_eq!(&health, b"draining");
    assert!(running.server.await.expect("no panic").took >= Duration::from_millis(300));
}

async fn who_does_not_finish_is_named_and_cancelled() {
    struct Noted(Arc<AtomicUsize>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let note = Arc::clone(&dropped);
    let drain = Drain::new().deadline(Duration::from_millis(200));
    let running = start(Server::new().drain(drain), move |connection: Connection| {
        let noted = Noted(Arc::clone(&note));
        async move {
            let _noted = noted;
            let mut buf = [0; 1];
            connection.read_exact(&mut buf).await?;
            if &buf == b"!" {
                std::future::pending::<()>().await;
            }
            connection.write_all(&buf).await
        }
    })
    .await;
    let (endless, good) = (running.connect().await, running.connect().await);
    endless.write_all(b"!").await.expect("room");
    good.write_all(b"?").await.expect("room");
    good.read_exact(&mut [0]).await.expect("an answer");
    let lines = running.lines.clone();
    let report = running.drained().await;
    let peer = endless.local_addr().expect("an address");
    let [left] = &report.unfinished[..] else { panic!("one is left: {report}") };
    assert_eq!((left.peer.tcp(), left.outlived), (Some(peer), false));
    assert!(left.task.contains(&peer.to_string()), "{left:?}");
    assert!(lines.contain(&format!("{} (peer {peer}", left.task)));
    assert_eq!(format!("{:?}", report.exit_code()), format!("{:?}", ExitCode::FAILURE));
    assert_eq!((report.cause, report.stats.cancelled, report.stats.open), (Cause::Asked, 1, 0));
    assert_eq!(dropped.load(Ordering::Relaxed), 2);
    // Its connection was closed.
    assert_eq!(endless.read(&mut [0]).await.expect("the end in order"), 0);
}

/// A long queue is not emptied in one go, while nobody else has a turn.
#[test]
fn others_have_their_turn_while_a_queue_is_emptied() {
    harness::watched("a long queue", || {
        harness::current_thread(bourn::Backend::Epoll).block_on(async {
            let earliest = Arc::new(AtomicUsize::new(usize::MAX));
            let mut server = Server::new().signals(false).drain(Drain::new().handshakes(Duration::ZERO));
            server = server.bind("127.0.0.1:0").await.expect("a port is free");
            let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
            let (control, seen) = (server.control(), Arc::clone(&earliest));
            let stats = control.clone();
            let served = bourn::spawn(server.serve(move |_: Connection| {
                seen.fetch_min(stats.stats().accepted as usize, Ordering::Relaxed);
                async {}
            }));
            until("it accepts", || !control.stats().by_listener.is_empty()).await;
            let clients: Vec<_> =
                (0..1000).map(|_| std::net::TcpStream::connect(addr).expect("the queue is long")).collect();
            control.drain();
            assert_eq!(served.await.expect("no panic").expect("it serves").stats.accepted, 1000);
            let earliest = earliest.load(Ordering::Relaxed);
            assert!(earliest < 500, "the first handler began when {earliest} connections were accepted");
            drop(clients);
        });
    });
}

async fn new_connections_are_kept_out_while_the_queue_is_emptied() {
    let drain = Drain::new().handshakes(Duration::from_millis(300));
    let running = start(Server::new().drain(drain), echo).await;
    running.connect().await;
    running.control.drain();
    until("it drains", || running.control.is_draining()).await;
    let start = Instant::now();
    let addr = running.addr;
    // No handshake begins while the door is closed, so the peer's kernel tries again, and is refused.
    let late = bourn::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(50));
        std::net::TcpStream::connect(addr)
    });
    let refused = late.await.expect("no panic").expect_err("closed");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(start.elapsed() > Duration::from_millis(300));
    assert_eq!(running.server.await.expect("no panic").stats.accepted, 1);
}

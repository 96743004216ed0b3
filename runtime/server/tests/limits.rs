//! The limits hold below any protocol, and each names itself.

mod harness;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bourn::net::{TcpSocket, TcpStream};
use bourn::server::{Connection, Cut, CutReason, Limits, Server, WhenFull};
use bourn::time::timeout;

use harness::{Running, echo, everywhere, start, until};

everywhere!(
    row_37_when_full_connections_wait_in_the_queue,
    row_37_when_full_connections_are_shed,
    one_address_has_its_share,
    the_first_byte_is_waited_for_so_long,
    what_is_peeked_at_has_come,
    an_idle_connection_is_cut,
    a_busy_connection_is_never_idle,
    a_peer_that_takes_nothing_is_cut,
    a_peer_that_sends_byte_by_byte_is_cut,
    a_slow_answer_is_not_the_peer_s_fault,
    a_handler_that_does_not_read_is_cut_as_well,
);

/// Of a rate.
const GRACE: Duration = Duration::from_millis(200);

async fn answered(client: &TcpStream) {
    client.write_all(b"?").await.expect("room");
    client.read_exact(&mut [0]).await.expect("an answer");
}

/// Reads to the end; how long that took.
async fn ended(client: &TcpStream) -> Duration {
    let start = Instant::now();
    // The end in order, or by a reset.
    let _ = client.read_to_end(&mut Vec::new()).await;
    start.elapsed()
}

async fn row_37_when_full_connections_wait_in_the_queue() {
    let running = start(Server::new().limits(Limits::new().connections(2)), echo).await;
    let (one, two) = (running.connect().await, running.connect().await);
    answered(&one).await;
    answered(&two).await;
    // Not before: on several cores nobody says which of them comes first.
    let three = running.connect().await;
    three.write_all(b"?").await.expect("room");
    let mut buf = [0; 1];
    timeout(Duration::from_millis(30), three.read(&mut buf)).await.expect_err("there is no room");
    assert_eq!(running.control.stats().open, 2);
    drop(one);
    three.read_exact(&mut buf).await.expect("an answer");
    let stats = running.control.stats();
    assert_eq!((stats.open, stats.shed_full), (2, 0));
}

async fn row_37_when_full_connections_are_shed() {
    let limits = Limits::new().connections(2).when_full(WhenFull::Shed);
    let running = start(Server::new().limits(limits), echo).await;
    let (one, two) = (running.connect().await, running.connect().await);
    answered(&one).await;
    answered(&two).await;
    for _ in 0..10 {
        refused(TcpStream::connect(running.addr).await).await;
    }
    assert_eq!(running.control.stats().shed_full, 10);
    assert!(running.lines.contain("one was shed"));
    drop(one);
    until("there is room", || running.control.stats().open == 1).await;
    answered(&running.connect().await).await;
}

/// A reset comes as fast as it can, so the connect may see it already.
async fn refused(client: io::Result<TcpStream>) {
    let read = async { client?.read(&mut [0]).await };
    assert_eq!(read.await.expect_err("refused").kind(), io::ErrorKind::ConnectionReset);
}

async fn from(running: &Running, ip: &str) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    let ip: IpAddr = ip.parse().expect("an address");
    socket.bind(SocketAddr::new(ip, 0)).expect("loopback is a /8");
    socket.connect(running.addr).await
}

async fn one_address_has_its_share() {
    let running = start(Server::new().limits(Limits::new().per_address(2)), echo).await;
    let greedy = [from(&running, "127.0.0.9").await, from(&running, "127.0.0.9").await];
    let greedy = greedy.map(|client| client.expect("a server"));
    for client in &greedy {
        answered(client).await;
    }
    refused(from(&running, "127.0.0.9").await).await;
    answered(&from(&running, "127.0.0.8").await.expect("a server")).await;
    drop(greedy);
    until("its place is free", || running.control.stats().open == 0).await;
    answered(&from(&running, "127.0.0.9").await.expect("a server")).await;
    assert_eq!(running.control.stats().shed_address, 1);
}

/// A handler that notes why its connection was cut.
fn noting() -> (Arc<Mutex<Vec<CutReason>>>, impl Fn(io::Error) + Clone + Send + Sync + 'static) {
    let reasons: Arc<Mutex<Vec<CutReason>>> = Arc::default();
    let note = Arc::clone(&reasons);
    (reasons, move |error: io::Error| {
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        let cut: &Cut = error.get_ref().and_then(|error| error.downcast_ref()).expect("a cut");
        note.lock().expect("no panic").push(cut.reason);
    })
}

async fn the_first_byte_is_waited_for_so_long() {
    let (reasons, note) = noting();
    let limits = Limits::none().first_byte(Duration::from_millis(200));
    let running = start(Server::new().limits(limits), move |connection: Connection| {
        let note = note.clone();
        async move {
            let Err(error) = echo(connection).await else { return };
            note(error);
        }
    })
    .await;
    let (silent, other) = (running.connect().await, running.connect().await);
    answered(&other).await;
    assert!(ended(&silent).await >= Duration::from_millis(150));
    until("it is noted", || *reasons.lock().expect("no panic") == [CutReason::FirstByte]).await;
    // The first byte is only one.
    answered(&other).await;
    assert_eq!(running.control.stats().cut_first_byte, 1);
    assert!(running.lines.contain("no first byte in time"));
}

async fn what_is_peeked_at_has_come() {
    let limit = Duration::from_millis(200);
    let running =
        start(Server::new().limits(Limits::none().first_byte(limit)), move |connection: Connection| async move {
            assert!(connection.more().await?);
            bourn::time::sleep(limit * 3).await;
            echo(connection).await
        })
        .await;
    answered(&running.connect().await).await;
    assert_eq!(running.control.stats().cut_first_byte, 0);
}

async fn an_idle_connection_is_cut() {
    let (reasons, note) = noting();
    let limits = Limits::none().idle(Duration::from_millis(200));
    let running = start(Server::new().limits(limits), move |connection: Connection| {
        let note = note.clone();
        async move {
            let Err(error) = echo(connection).await else { return };
            note(error);
        }
    })
    .await;
    let client = running.connect().await;
    answered(&client).await;
    assert!(ended(&client).await >= Duration::from_millis(200));
    until("it is noted", || *reasons.lock().expect("no panic") == [CutReason::Idle]).await;
    assert_eq!(running.control.stats().cut_idle, 1);
}

async fn a_busy_connection_is_never_idle() {
    let limits = Limits::none().idle(Duration::from_millis(400)).first_byte(Duration::from_millis(400));
    let running = start(Server::new().limits(limits), echo).await;
    let client = running.connect().await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1000) {
        answered(&client).await;
        bourn::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(running.control.stats().cut_idle, 0);
}

async fn a_peer_that_takes_nothing_is_cut() {
    let (reasons, note) = noting();
    let limits = Limits::none().write_stall(Duration::from_millis(200));
    let running = start(Server::new().limits(limits), move |connection: Connection| {
        let note = note.clone();
        async move {
            loop {
                if let Err(error) = connection.write_all(&[0; 65536]).await {
                    return note(error);
                }
            }
        }
    })
    .await;
    let client = running.connect().await;
    until("it is noted", || *reasons.lock().expect("no panic") == [CutReason::WriteStall]).await;
    assert_eq!(running.control.stats().cut_write_stall, 1);
    drop(client);
}

async fn a_peer_that_sends_byte_by_byte_is_cut() {
    let (reasons, note) = noting();
    let limits = Limits::none().min_rate(1000, GRACE);
    let running = start(Server::new().limits(limits), move |connection: Connection| {
        let note = note.clone();
        async move {
            let Err(error) = connection.read_exact(&mut [0; 65536]).await else { return };
            note(error);
        }
    })
    .await;
    let client = running.connect().await;
    let start = Instant::now();
    while client.write_all(b".").await.is_ok() {
        bourn::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(start.elapsed() >= GRACE);
    until("it is noted", || *reasons.lock().expect("no panic") == [CutReason::MinRate]).await;
    assert_eq!(running.control.stats().cut_min_rate, 1);
}

async fn a_slow_answer_is_not_the_peer_s_fault() {
    let limits = Limits::none().min_rate(1_000_000, GRACE);
    let wait = GRACE * 4;
    let running = start(Server::new().limits(limits), move |connection: Connection| async move {
        connection.read_exact(&mut [0; 3]).await?;
        bourn::time::sleep(wait).await;
        connection.write_all(b"!").await
    })
    .await;
    let client = running.connect().await;
    client.write_all(b"ask").await.expect("room");
    client.read_exact(&mut [0]).await.expect("an answer");
    assert_eq!(running.control.stats().cut_min_rate, 0);
}

async fn a_handler_that_does_not_read_is_cut_as_well() {
    let limits = Limits::none().idle(Duration::from_millis(100));
    let running = start(Server::new().limits(limits), async |connection: Connection| {
        std::mem::forget(connection);
    })
    .await;
    let client = running.connect().await;
    ended(&client).await;
    assert_eq!(running.control.stats().cut_idle, 1);
}

//! The table of sockets says what the kernel knows and who waits, for what.

mod harness;

use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::task::Poll;

use bourn::inspect::{Connection, Operation, connections, stats};
use bourn::net::{TcpListener, TcpSocket, TcpState, TcpStream, UdpSocket, UnixStream};
use bourn::runtime::Builder;
use bourn::task;

/// The line of a descriptor, as soon as `when` holds of it.
async fn line(socket: &impl AsRawFd, when: impl Fn(&Connection) -> bool) -> Connection {
    loop {
        let all = connections().unwrap();
        let own = all.iter().find(|connection| connection.socket.fd == socket.as_raw_fd()).unwrap();
        if when(own) {
            return own.clone();
        }
        bourn::task::yield_now().await;
    }
}

fn waits(operation: Operation, name: &'static str) -> impl Fn(&Connection) -> bool {
    move |connection| {
        connection.waiters.iter().any(|waiter| {
            let named = waiter.task.as_ref().and_then(|task| task.name.as_deref()) == Some(name);
            waiter.operation == operation && named
        })
    }
}

on_every_backend!(
    row_28_the_table_joins_sockets_with_their_tasks,
    row_18_a_listener_shows_its_queue,
    a_connect_under_way_is_shown,
    other_sockets_are_shown,
    descriptors_are_counted
);

async fn row_28_the_table_joins_sockets_with_their_tasks() {
    let listener = std::sync::Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addr = listener.local_addr().unwrap();
    let accepting = task::Builder::new().name("acceptor").spawn({
        let listener = listener.clone();
        async move { listener.accept().await.unwrap().0 }
    });
    let found = line(&*listener, waits(Operation::Accept, "acceptor")).await;
    assert_eq!(found.socket.state, Some(TcpState::Listen));
    assert_eq!(found.socket.local, addr.to_string());
    let task = found.waiters[0].task.as_ref().unwrap();
    assert_eq!((task.id, task.location.file()), (accepting.id(), file!()));

    let client = TcpStream::connect(addr).await.unwrap();
    let server = accepting.await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let found = line(&server, |connection| connection.socket.received == Some(5)).await;
    assert_eq!((found.socket.protocol, found.socket.state), ("tcp", Some(TcpState::Established)));
    assert_eq!(found.socket.peer, client.local_addr().unwrap().to_string());
    assert!(found.waiters.is_empty());

    // Nobody reads any more, so what is sent stays here.
    let descriptor = client.as_raw_fd();
    let writing = task::Builder::new().name("writer").spawn(async move {
        let all = vec![0; 64 << 20];
        client.write_all(&all).await
    });
    let found = line(&descriptor, waits(Operation::Write, "writer")).await;
    assert!(found.socket.unsent > Some(0) && found.age.is_some());
    let text = connections().unwrap().to_string();
    let own = text.lines().find(|line| line.starts_with(&format!("{descriptor} "))).unwrap();
    assert!(own.contains("Write: task") && own.contains("\"writer\"") && own.contains(file!()), "{own}");

    client_shuts(&server).await;
    writing.abort();
}

/// The peer's end of the stream is seen as a state.
async fn client_shuts(server: &TcpStream) {
    server.shutdown(std::net::Shutdown::Write).unwrap();
    let found = line(server, |connection| connection.socket.state != Some(TcpState::Established)).await;
    assert!(matches!(found.socket.state, Some(TcpState::FinWait1 | TcpState::FinWait2)), "{found}");
}

async fn row_18_a_listener_shows_its_queue() {
    let listener = TcpSocket::new_v4().unwrap();
    listener.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = listener.listen(7).unwrap();
    let _first = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let _second = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let found = line(&listener, |connection| connection.socket.received == Some(2)).await;
    assert_eq!(found.socket.unsent, Some(7), "{found}");
}

async fn a_connect_under_way_is_shown() {
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(0).unwrap();
    let addr = full.local_addr().unwrap();
    let _only = TcpStream::connect(addr).await.unwrap();
    let connecting = task::Builder::new().name("connector").spawn(TcpStream::connect(addr));
    let mut found = None;
    while found.is_none() {
        task::yield_now().await;
        let all = connections().unwrap();
        found = all.iter().find(|connection| waits(Operation::Connect, "connector")(connection)).cloned();
    }
    assert_eq!(found.unwrap().socket.state, Some(TcpState::SynSent));
    connecting.abort();
}

async fn other_sockets_are_shown() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let found = line(&udp, |_| true).await;
    assert_eq!((found.socket.protocol, found.socket.local), ("udp", udp.local_addr().unwrap().to_string()));
    let (near, _far) = UnixStream::pair().unwrap();
    let mut buffer = [0];
    let mut reading = std::pin::pin!(near.read(&mut buffer));
    assert!(poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx).is_pending())).await);
    // The future of `block_on` is no task.
    let found = line(&near, |connection| !connection.waiters.is_empty()).await;
    assert!(found.waiters[0].task.is_none() && found.waiters[0].operation == Operation::Read);
    assert_eq!(found.socket.protocol, "unix");
}

async fn descriptors_are_counted() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    // Other tests of this process open some meanwhile.
    while count() != stats().unwrap().descriptors || stats().unwrap().limit <= count() {
        task::yield_now().await;
    }
}

/// The only worker is stuck; the table can be read all the same.
#[test]
fn the_table_can_be_read_while_workers_are_stuck() {
    harness::watched("the_table_can_be_read_while_workers_are_stuck", || {
        let runtime = Builder::new_multi_thread().worker_threads(1).rescue(false).build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (go, stuck) = mpsc::channel::<()>();
        let (begun, begin) = mpsc::channel();
        let descriptor = listener.as_raw_fd();
        runtime.spawn(async move { listener.accept().await.map(drop) });
        runtime.spawn(async move {
            begun.send(()).unwrap();
            // Until the sender is gone.
            let _ = stuck.recv();
        });
        begin.recv().unwrap();
        let all = connections().unwrap();
        let own = all.iter().find(|connection| connection.socket.fd == descriptor).unwrap();
        assert_eq!(own.waiters[0].operation, Operation::Accept);
        drop(go);
    });
}

/// Tables read while sockets come and go neither fail nor hang.
#[test]
fn descriptors_may_close_meanwhile() {
    harness::watched("descriptors_may_close_meanwhile", || {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let churn = runtime.spawn(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            loop {
                let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                drop((listener.accept().await.unwrap(), stream));
            }
        });
        for _ in 0..300 {
            assert!(!connections().unwrap().to_string().is_empty());
        }
        churn.abort();
    });
}

//! A server goes on, whatever its connections and handlers do.

mod harness;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;

use bourn::net::UnixStream;
use bourn::runtime::Builder;
use bourn::server::{Addr, Cause, Connection, Host, Limits, Server, Tasks, WhenFull};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use harness::{Lines, echo, everywhere, start, until, watched};

everywhere!(
    row_79_many_listeners_have_one_handler,
    generic_code_reads_and_writes,
    a_handler_that_panics_ends_alone,
    errors_of_handlers_are_counted,
    a_hook_that_panics_ends_nothing,
    a_leaked_connection_is_told_of,
    a_connection_may_outlive_its_handler,
    dropping_the_future_ends_everything,
    a_stale_path_is_replaced,
    a_path_where_somebody_is_busy_is_in_use,
    no_path_is_bound_while_somebody_looks,
);

async fn row_79_many_listeners_have_one_handler() {
    let path = scratch("many");
    let mut server = Server::new().signals(false).shards(1).bind("127.0.0.1:0").await.expect("a port is free");
    server = server.bind("127.0.0.1:0").await.expect("another port").bind_unix(&path).await.expect("a path");
    let addrs = server.local_addrs();
    let control = server.control();
    let served = bourn::spawn(server.serve(async |connection: Connection| {
        let peer = connection.direct_peer().to_string();
        connection.write_all(peer.as_bytes()).await
    }));
    for addr in &addrs {
        let mut told = Vec::new();
        let expected = match addr {
            Addr::Tcp(addr) => {
                let client = bourn::net::TcpStream::connect(*addr).await.expect("a server");
                client.read_to_end(&mut told).await.expect("an answer");
                client.local_addr().expect("an address").to_string()
            }
            _ => {
                let client = UnixStream::connect(&path).await.expect("a server");
                client.read_to_end(&mut told).await.expect("an answer");
                "unix".to_owned()
            }
        };
        assert_eq!(String::from_utf8_lossy(&told), expected);
    }
    control.drain();
    let report = served.await.expect("no panic").expect("it serves");
    assert_eq!(report.cause, Cause::Asked);
    assert!(report.unfinished.is_empty(), "{report}");
    assert_eq!((report.stats.accepted, report.stats.finished, report.stats.open), (3, 3, 0));
    assert_eq!(report.stats.by_listener, [1, 1, 1]);
    std::fs::remove_file(&path).expect("the path stays");
}

async fn generic_code_reads_and_writes() {
    let running = start(Server::new(), async |mut connection: Connection| {
        let mut all = Vec::new();
        connection.read_to_end(&mut all).await?;
        AsyncWriteExt::write_all(&mut &connection, &all).await?;
        connection.close().await
    })
    .await;
    let client = running.connect().await;
    client.write_all(b"question").await.expect("room");
    client.shutdown(std::net::Shutdown::Write).expect("connected");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"question");
    assert_eq!(running.drained().await.stats.failed, 0);
}

async fn a_handler_that_panics_ends_alone() {
    let running = start(Server::new(), async |connection: Connection| {
        let mut buf = [0; 1];
        connection.read_exact(&mut buf).await?;
        assert_ne!(&buf, b"!", "meant to happen");
        connection.write_all(&buf).await
    })
    .await;
    let (bad, good) = (running.connect().await, running.connect().await);
    bad.write_all(b"!").await.expect("room");
    let mut buf = [0; 1];
    assert_eq!(bad.read(&mut buf).await.expect("closed in order"), 0);
    good.write_all(b"?").await.expect("room");
    good.read_exact(&mut buf).await.expect("an answer");
    until("it is said", || running.lines.contain("has panicked")).await;
    let stats = running.drained().await.stats;
    assert_eq!((stats.accepted, stats.finished, stats.panicked, stats.open), (2, 2, 1, 0));
}

async fn errors_of_handlers_are_counted() {
    let running = start(Server::new(), async |_: Connection| Err::<(), _>(io::Error::other("meant to happen"))).await;
    assert_eq!(running.connect().await.read(&mut [0]).await.expect("closed in order"), 0);
    let stats = running.drained().await.stats;
    assert_eq!((stats.finished, stats.failed), (1, 1));
}

async fn a_hook_that_panics_ends_nothing() {
    let limits = Limits::none().idle(Duration::from_millis(100)).connections(2).when_full(WhenFull::Shed);
    let mut server = Server::new().signals(false).limits(limits).shards(1);
    server = server.on_notice(|_| panic!("meant to happen")).bind("127.0.0.1:0").await.expect("a port is free");
    let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
    let control = server.control();
    let served = bourn::spawn(server.serve(async |connection: Connection| {
        let mut buf = [0; 1];
        connection.read_exact(&mut buf).await?;
        assert_ne!(&buf, b"!", "meant to happen");
        connection.write_all(&buf).await
    }));
    for round in 1..=2 {
        // One for the sweep, one in an unwinding handler, one for the accept loop.
        let _idle = bourn::net::TcpStream::connect(addr).await.expect("a server");
        let bad = bourn::net::TcpStream::connect(addr).await.expect("a server");
        bad.write_all(b"!").await.expect("room");
        until("one is left", || control.stats().panicked == round && control.stats().open == 1).await;
        let _other = bourn::net::TcpStream::connect(addr).await.expect("a server");
        until("they are two", || control.stats().open == 2).await;
        // A reset comes as fast as it can.
        let shed = async { bourn::net::TcpStream::connect(addr).await?.read(&mut [0]).await };
        shed.await.expect_err("there is no room");
        until("they are cut", || control.stats().cut_idle == round * 2 && control.stats().open == 0).await;
        // One line a second comes on each topic.
        bourn::time::sleep(Duration::from_millis(1050)).await;
    }
    let good = bourn::net::TcpStream::connect(addr).await.expect("a server");
    good.write_all(b"?").await.expect("room");
    good.read_exact(&mut [0]).await.expect("an answer");
    control.drain();
    let report = served.await.expect("no panic").expect("it serves");
    assert!(report.unfinished.is_empty(), "{report}");
}

async fn a_leaked_connection_is_told_of() {
    let drain = bourn::server::Drain::new().deadline(Duration::from_millis(200));
    let running = start(Server::new().drain(drain), async |connection: Connection| std::mem::forget(connection)).await;
    let client = running.connect().await;
    until("it is noticed", || running.control.stats().outlived == 1).await;
    // The server goes on.
    let other = running.connect().await;
    until("the other one as well", || running.control.stats().outlived == 2).await;
    let (one, two) = (client.local_addr().expect("an address"), other.local_addr().expect("an address"));
    let report = running.drained().await;
    let left: Vec<_> = report.unfinished.iter().map(|one| (one.peer.tcp(), one.outlived)).collect();
    assert!(left.contains(&(Some(one), true)) && left.contains(&(Some(two), true)), "{report}");
    assert!(report.to_string().contains("its connection is still open, though its handler has ended"), "{report}");
}

async fn a_connection_may_outlive_its_handler() {
    let kept: Arc<Mutex<Vec<Connection>>> = Arc::default();
    let keep = Arc::clone(&kept);
    let running = start(Server::new(), move |connection: Connection| {
        keep.lock().expect("no panic").push(connection);
        async {}
    })
    .await;
    let client = running.connect().await;
    until("it is noticed", || running.control.stats().outlived == 1).await;
    let connection = kept.lock().expect("no panic").pop().expect("a connection");
    bourn::spawn(async move {
        connection.draining().await;
        connection.write_all(b"bye").await.expect("room");
    });
    let report = running.drained().await;
    assert!(report.unfinished.is_empty(), "{report}");
    assert_eq!((report.stats.open, report.stats.outlived), (0, 0));
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.expect("an answer");
    assert_eq!(told, b"bye");
}

async fn dropping_the_future_ends_everything() {
    struct Noted(Arc<AtomicUsize>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let note = Arc::clone(&dropped);
    let running = start(Server::new(), move |connection: Connection| {
        let noted = Noted(Arc::clone(&note));
        async move {
            let _noted = noted;
            echo(connection).await
        }
    })
    .await;
    let client = running.connect().await;
    client.write_all(b"?").await.expect("room");
    client.read_exact(&mut [0]).await.expect("an answer");
    running.server.abort();
    assert_eq!(client.read(&mut [0]).await.expect("closed in order"), 0);
    until("the handler is dropped", || dropped.load(Ordering::Relaxed) == 1).await;
    until("the listener is closed", || std::net::TcpStream::connect(running.addr).is_err()).await;
}

async fn a_stale_path_is_replaced() {
    let path = scratch("stale");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a path"));
    let first = Server::new().bind_unix(&path).await.expect("nobody listens there");
    let second = Server::new().bind_unix(&path).await.expect_err("somebody listens there now");
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    std::fs::remove_file(&path).expect("it stays");
    std::fs::write(&path, b"precious").expect("a file");
    let third = Server::new().bind_unix(&path).await.expect_err("no socket");
    assert_eq!(third.kind(), io::ErrorKind::AddrInUse);
    assert_eq!(std::fs::read(&path).expect("untouched"), b"precious");
    std::fs::remove_file(&path).expect("it stays");
}

async fn a_path_where_somebody_is_busy_is_in_use() {
    let path = scratch("busy");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a path");
    SockRef::from(&listener).listen(0).expect("a shorter backlog");
    let mut waiting = Vec::new();
    let full = loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).expect("a socket");
        match socket.connect(&SockAddr::unix(&path).expect("short")) {
            Ok(()) => waiting.push(socket),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let refused = Server::new().bind_unix(&path).await.expect_err("somebody listens there");
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    std::fs::remove_file(&path).expect("it stays");
}

/// Between bind(2) and listen(2) a socket looks as if it were stale.
async fn no_path_is_bound_while_somebody_looks() {
    let folder = scratch("looked-at");
    std::fs::create_dir(&folder).expect("a folder");
    let path = folder.join("socket");
    let lock = std::fs::File::open(&folder).expect("a folder");
    lock.try_lock().expect("it is new");
    let mut bind = pin!(Server::new().bind_unix(&path));
    assert!(futures_lite::future::poll_once(&mut bind).await.is_none(), "bound beside a lock");
    assert!(!path.exists());
    drop(lock);
    let server = bind.await.expect("nobody looks");
    drop(bourn::net::UnixStream::connect(&path).await.expect("it listens"));
    drop(server);
    std::fs::remove_dir_all(&folder).expect("it stays");
}

/// Of several that wait no longer, the second would remove what the first has just bound.
#[test]
fn in_a_folder_that_stays_locked_nothing_is_removed() {
    let folder = scratch("locked");
    std::fs::create_dir(&folder).expect("a folder");
    let (stale, free) = (folder.join("stale"), folder.join("free"));
    drop(std::os::unix::net::UnixListener::bind(&stale).expect("a path"));
    let lock = std::fs::File::open(&folder).expect("a folder");
    lock.try_lock().expect("it is new");
    watched("a folder that stays locked", || {
        harness::current_thread(bourn::Backend::Epoll).block_on(async {
            let in_vain = bourn::spawn(Server::new().bind_unix(stale.clone()));
            let in_vain_too = bourn::spawn(Server::new().hand_over(stale.clone()));
            let server = Server::new().bind_unix(&free).await.expect("nothing is there");
            drop(bourn::net::UnixStream::connect(&free).await.expect("it listens"));
            let refused = in_vain.await.expect("no panic").expect_err("it may be somebody's");
            assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
            let refused = in_vain_too.await.expect("no panic").expect_err("it may be somebody's");
            assert_eq!(refused.to_string(), "something keeps the folder locked");
            drop(server);
        });
    });
    assert!(stale.exists());
    drop(lock);
    std::fs::remove_dir_all(&folder).expect("it stays");
}

#[test]
fn of_two_that_bind_a_stale_path_at_once_one_listens() {
    watched("two that bind at once", || {
        for round in 0..400 {
            let path = scratch("at-once");
            drop(std::os::unix::net::UnixListener::bind(&path).expect("a path"));
            let start = Arc::new(Barrier::new(2));
            let threads = [(); 2].map(|()| {
                let (path, start) = (path.clone(), Arc::clone(&start));
                std::thread::spawn(move || {
                    let runtime = harness::current_thread(bourn::Backend::Epoll);
                    start.wait();
                    let bound = runtime.block_on(async { Server::new().bind_unix(&path).await });
                    (bound, runtime)
                })
            });
            let both = threads.map(|thread| thread.join().expect("no panic"));
            let bound: Vec<_> = both.iter().map(|(bound, _)| bound.as_ref().map(drop)).collect();
            assert!(bound[0].is_ok() != bound[1].is_ok(), "in round {round}: {bound:?}");
            drop(std::os::unix::net::UnixStream::connect(&path).expect("the one that is bound"));
            drop(both);
            std::fs::remove_file(&path).expect("it stays");
        }
    });
}

#[test]
fn a_handler_that_blocks_is_named_and_the_others_go_on() {
    watched("a handler that blocks", || {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let hook = move |stall: &bourn::runtime::Stall| {
            // After the test nobody listens.
            let _ = tell.lock().expect("no panic").send(stall.to_string());
        };
        let runtime = Builder::new_multi_thread().worker_threads(2).on_stall(hook).build().expect("a runtime");
        // A task of its own: what is inside `block_on` waits for its thread, which may be the one that is blocked.
        let test = runtime.spawn(async move {
            let (open, door) = mpsc::channel::<()>();
            let door = Arc::new(Mutex::new(door));
            let running = start(Server::new(), move |connection: Connection| {
                let door = Arc::clone(&door);
                async move {
                    let mut buf = [0; 1];
                    // A task has a name in the table once it has waited.
                    bourn::task::yield_now().await;
                    connection.read_exact(&mut buf).await?;
                    if &buf == b"!" {
                        // Until the test opens it.
                        let _ = door.lock().expect("no panic").recv();
                    }
                    connection.write_all(&buf).await
                }
            })
            .await;
            let blocked = running.connect().await;
            blocked.write_all(b"!").await.expect("room");
            for _ in 0..20 {
                let client = running.connect().await;
                client.write_all(b"?").await.expect("room");
                client.read_exact(&mut [0]).await.expect("an answer");
            }
            let name = format!("of {}", blocked.local_addr().expect("an address"));
            let named = bourn::task::spawn_blocking(move || told.iter().any(|line| line.contains(&name)));
            assert!(named.await.expect("no panic"), "the handler is named");
            drop(open);
            blocked.read_exact(&mut [0]).await.expect("an answer");
            assert!(running.drained().await.unfinished.is_empty());
        });
        runtime.block_on(test).expect("no panic");
    });
}

/// A runtime that starts no handlers.
#[derive(Clone)]
struct Broken(Tasks);

impl Host for Broken {
    type Signals = <Tasks as Host>::Signals;

    fn current() -> Broken {
        Broken(Tasks::current())
    }

    fn spawn(&self, name: String, future: impl Future<Output = ()> + Send + 'static) {
        assert!(!name.starts_with("connection"), "meant to happen");
        self.0.spawn(name, future);
    }

    fn spawn_on(&self, worker: usize, name: String, future: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn_on(worker, name, future);
    }

    fn shards(&self) -> usize {
        self.0.shards()
    }

    fn signals(&self) -> io::Result<Self::Signals> {
        self.0.signals()
    }
}

#[test]
fn an_accept_loop_that_panics_is_told_of_and_not_waited_for() {
    watched("a broken runtime", || {
        harness::multi_thread().block_on(async {
            let lines = Lines::default();
            let server = bourn_server::Server::<Broken>::new().signals(false).on_notice(lines.hook());
            let mut server = server.bind("127.0.0.1:0").await.expect("a port is free");
            let addr = server.local_addrs()[0].tcp().expect("an address of TCP");
            let control = server.control();
            let served = bourn::spawn(server.serve(echo));
            let client = bourn::net::TcpStream::connect(addr).await.expect("a server");
            assert_eq!(client.read(&mut [0]).await.unwrap_or(0), 0, "nobody serves it");
            until("it is said", || lines.contain("accept loop 0 has panicked: nobody does its work")).await;
            control.drain();
            let report = served.await.expect("no panic").expect("it serves");
            // Whoever waits behind the first one is reset with the socket.
            let [lost] = &report.unemptied[..] else { panic!("one queue was lost: {report}") };
            assert_eq!(lost.tcp(), Some(addr));
        });
    });
}

#[test]
fn a_server_says_so_if_it_listens_nowhere() {
    watched("a server without listeners", || {
        harness::multi_thread().block_on(async {
            let refused = Server::new().signals(false).serve(echo).await.expect_err("nothing to serve");
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        });
    });
}

fn scratch(name: &str) -> std::path::PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("bourn-{name}-{}-{number}", std::process::id()))
}

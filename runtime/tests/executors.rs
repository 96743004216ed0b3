//! Sockets and timers under other executors: the background reactor serves them.
//! (Its backend is the process's: CI runs this file once for each.)

mod harness;

use std::time::{Duration, Instant};

use bourn::net::{TcpListener, TcpStream};

use harness::watched;

/// An echo of `count` connections that live at the same time.
async fn echo(count: usize, spawn: impl Fn(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>)) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    spawn(Box::pin(async move {
        for _ in 0..count {
            let (stream, _) = listener.accept().await.unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            stream.write_all(&all).await.unwrap();
        }
    }));
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    for (number, client) in clients.iter().enumerate() {
        client.write_all(format!("client {number}").as_bytes()).await.unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
    }
    for (number, client) in clients.iter().enumerate() {
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, format!("client {number}").as_bytes());
    }
}

async fn sleep() {
    let start = Instant::now();
    bourn::time::sleep(Duration::from_millis(10)).await;
    assert!(start.elapsed() >= Duration::from_millis(10));
    let cut = bourn::time::timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
    assert!(cut.is_err());
}

#[test]
fn smol() {
    watched("smol", || {
        smol::block_on(async {
            echo(50, |task| smol::spawn(task).detach()).await;
            sleep().await;
        });
    });
}

#[test]
fn futures_lite() {
    watched("futures_lite", || {
        futures_lite::future::block_on(async {
            echo(50, |task| {
                std::thread::spawn(|| futures_lite::future::block_on(task));
            })
            .await;
            sleep().await;
        });
    });
}

#[test]
fn futures_executor() {
    watched("futures_executor", || {
        futures_executor::block_on(async {
            echo(50, |task| {
                std::thread::spawn(|| futures_executor::block_on(task));
            })
            .await;
            sleep().await;
        });
    });
}

/// A connection made in one runtime goes on under another executor, and in a
/// second runtime after the first one is gone.
#[test]
fn a_connection_moves_between_executors() {
    watched("moving", || {
        let first = bourn::Runtime::new().unwrap();
        let (client, server) = first.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            pass(&client, &server, b"in the first").await;
            (client, server)
        });
        futures_lite::future::block_on(pass(&client, &server, b"elsewhere"));
        first.block_on(pass(&client, &server, b"in the first again"));
        drop(first);
        let second = bourn::Runtime::new().unwrap();
        second.block_on(pass(&client, &server, b"in the second"));
        assert_eq!(second.handle().sources().len(), 1, "only the reader has waited there");
    });
}

/// The reader waits before the writer writes.
async fn pass(client: &TcpStream, server: &TcpStream, message: &[u8]) {
    let mut buffer = [0; 64];
    let read = async { server.read(&mut buffer).await.unwrap() };
    let write = async {
        // The reader is polled first, by the order in `zip`.
        client.write_all(message).await.unwrap();
    };
    let (length, ()) = futures_lite::future::zip(read, write).await;
    assert_eq!(&buffer[..length], message);
}

//! A task that never has to wait gives way to the others.

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bourn::net::{Interest, TcpListener, TcpStream};
use bourn::runtime::Handle;

on_every_backend!(reads, waits_for_readiness_and_tries, tries_whatever_is_asked, enters_a_runtime_before_each_read,);

/// Another task runs ten times within ten thousand operations of a greedy one, or never if it starves. Beside workers the
/// two may be on different threads, and the kernel may have let only one of these run: then once of three times.
async fn beside<F>(greedy: impl Fn(Arc<TcpStream>, Arc<AtomicUsize>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut turns = Vec::new();
    while turns.len() < 3 {
        turns.push(turns_beside(&greedy).await);
        if turns.ends_with(&[10]) {
            return;
        }
    }
    panic!("others came to run {turns:?} times in ten thousand operations");
}

/// Runs `greedy` on a stream that always has data; how often another task has run meanwhile, at most ten times.
async fn turns_beside<F>(greedy: impl Fn(Arc<TcpStream>, Arc<AtomicUsize>) -> F) -> usize
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let done = done.clone();
        std::thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            while !done.load(Ordering::Relaxed) {
                // The reader is aborted in the end, and this fails.
                if std::io::Write::write(&mut stream, &[7; 64 * 1024]).is_err() {
                    break;
                }
            }
        })
    };
    let (stream, _) = listener.accept().await.unwrap();
    // Until the receive queue is full, so that no operation ever waits.
    bourn::time::sleep(Duration::from_millis(20)).await;
    let operations = Arc::new(AtomicUsize::new(0));
    let reader = bourn::spawn(greedy(Arc::new(stream), operations.clone()));
    let mut turns = 0;
    while turns < 10 && operations.load(Ordering::Relaxed) < 10_000 {
        bourn::task::yield_now().await;
        turns += 1;
    }
    done.store(true, Ordering::Relaxed);
    reader.abort();
    drop(reader.await);
    writer.join().unwrap();
    turns
}

async fn reads() {
    beside(|stream, operations| async move {
        while stream.read(&mut [0; 16]).await.unwrap() > 0 {
            operations.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
}

async fn waits_for_readiness_and_tries() {
    beside(|stream, operations| async move {
        loop {
            stream.readable().await.unwrap();
            drop(stream.try_read(&mut [0; 16]));
            operations.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
}

async fn tries_whatever_is_asked() {
    beside(|stream, operations| async move {
        loop {
            stream.ready(Interest::READ).await.unwrap();
            drop(stream.try_read(&mut [0; 16]));
            operations.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
}

async fn enters_a_runtime_before_each_read() {
    beside(|stream, operations| async move {
        loop {
            drop(Handle::current().enter());
            stream.read(&mut [0; 16]).await.unwrap();
            operations.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
}

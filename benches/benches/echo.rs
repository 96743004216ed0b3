//! One message there and back over loopback, both ends in one runtime.
//! Hypothesis: with two system calls and a share of a wait per request, the
//! kernel is nearly all of the cost, on either runtime.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, criterion_group, criterion_main};

const MESSAGE: [u8; 64] = [7; 64];

fn bourn_pair(runtime: &bourn::Runtime) -> bourn::net::TcpStream {
    runtime.block_on(async {
        let listener = bourn::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let client = bourn::net::TcpStream::connect(address).await.expect("a connection");
        let (server, _) = listener.accept().await.expect("a connection");
        bourn::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = server.read(&mut buffer).await {
                if server.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
        });
        client
    })
}

fn tokio_pair(runtime: &tokio::runtime::Runtime) -> tokio::net::TcpStream {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("an address");
        let client = tokio::net::TcpStream::connect(address).await.expect("a connection");
        client.set_nodelay(true).expect("an option");
        let (mut server, _) = listener.accept().await.expect("a connection");
        server.set_nodelay(true).expect("an option");
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = server.read(&mut buffer).await {
                if server.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
        });
        client
    })
}

fn round_trip(criterion: &mut Criterion) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let bourn = bourn::Runtime::new().expect("a runtime");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group("echo 64 B x100");
    let client = bourn_pair(&bourn);
    group.bench_function("bourn", |bencher| {
        bencher.iter(|| {
            bourn.block_on(async {
                let mut buffer = [0; 64];
                for _ in 0..100 {
                    client.write_all(&MESSAGE).await.expect("a write");
                    client.read_exact(&mut buffer).await.expect("a read");
                }
            });
        });
    });
    let mut client = tokio_pair(&tokio);
    group.bench_function("tokio", |bencher| {
        bencher.iter(|| {
            tokio.block_on(async {
                let mut buffer = [0; 64];
                for _ in 0..100 {
                    client.write_all(&MESSAGE).await.expect("a write");
                    client.read_exact(&mut buffer).await.expect("a read");
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, round_trip);
criterion_main!(benches);

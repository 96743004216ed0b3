//! A socket belongs to no runtime: it works under whichever waits for it, also when
//! the one before is gone, and on whichever worker, without losing a byte.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use bourn::net::{TcpListener, TcpStream};
use bourn::runtime::Runtime;
use bourn::task::yield_now;
use harness::{flavors, watched};

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).await.expect("a connection");
    let (server, _) = listener.accept().await.expect("a connection");
    (client, server)
}

/// There and back, with a wait for the answer, in a task and in the caller.
fn talk(runtime: &Runtime, client: &Arc<TcpStream>, server: &Arc<TcpStream>, round: u8) {
    runtime.block_on(async {
        let ours = server.clone();
        let answers = bourn::spawn(async move {
            let mut question = [0; 1000];
            ours.read_exact(&mut question).await.expect("a question");
            assert!(question.iter().all(|&byte| byte == round));
            bourn::time::sleep(Duration::from_millis(1)).await;
            ours.write_all(&question).await.expect("an answer");
        });
        yield_now().await;
        client.write_all(&[round; 1000]).await.expect("a question");
        let mut answer = [0; 1000];
        client.read_exact(&mut answer).await.expect("an answer");
        assert!(answer.iter().all(|&byte| byte == round));
        answers.await.expect("the other side");
    });
}

#[test]
fn a_socket_goes_from_runtime_to_runtime() {
    for (first_flavor, first) in flavors() {
        for (second_flavor, second) in flavors() {
            watched(&format!("{first_flavor} and {second_flavor}"), || {
                let first = first.build().expect("a runtime");
                let second = second.build().expect("a runtime");
                let (client, server) = first.block_on(pair());
                let (client, server) = (Arc::new(client), Arc::new(server));
                // Both live: there, here, and back.
                for round in 0..3 {
                    talk(&first, &client, &server, 2 * round);
                    talk(&second, &client, &server, 2 * round + 1);
                }
                talk(&first, &client, &server, 7);
                drop(first);
                talk(&second, &client, &server, 8);
                // Under no runtime of ours at all.
                drop(second);
                futures_lite::future::block_on(async {
                    client.write_all(b"x").await.expect("a question");
                    server.read_exact(&mut [0; 1]).await.expect("it arrives");
                });
            });
        }
    }
}

/// A wait that is under way when its runtime goes on elsewhere.
#[test]
fn a_wait_outlives_the_runtime_it_began_under() {
    for (flavor, builder) in flavors() {
        watched(&flavor, || {
            let first = builder.build().expect("a runtime");
            let second = builder.build().expect("a runtime");
            let (client, server) = first.block_on(pair());
            let (client, server) = (Arc::new(client), Arc::new(server));
            // Registered and waiting there.
            let theirs = server.clone();
            let waits = first.spawn(async move { drop(theirs.read(&mut [0; 1]).await) });
            first.block_on(async {
                while bourn::Handle::current().sources().iter().all(|source| source.readers.is_empty()) {
                    yield_now().await;
                }
            });
            let ours = server.clone();
            let waits_too = second.spawn(async move {
                let mut bytes = [0; 2];
                ours.read_exact(&mut bytes).await.expect("two bytes");
                bytes
            });
            second.block_on(async {
                for _ in 0..10 {
                    yield_now().await;
                }
            });
            drop(first);
            assert!(futures_lite::future::block_on(waits).expect_err("its runtime is gone").is_cancelled());
            second.block_on(async {
                client.write_all(b"ok").await.expect("a write");
                assert_eq!(waits_too.await.expect("the reader"), *b"ok");
            });
        });
    }
}

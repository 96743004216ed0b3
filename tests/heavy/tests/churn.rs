//! Waves of connections: nothing is left of any.

use bourn::net::{TcpListener, TcpStream};
use bourn_heavy::{child, descriptors, is_child, on_every_backend, resident, succeeded};

const WAVES: usize = 10;
/// Fits select, whose descriptors end at 1,023.
const CONNECTIONS: usize = 400;

/// Clients that connect, ask, half-close and read to the end; some are dropped in
/// the middle, some reset.
#[test]
fn ten_waves_leave_nothing_behind() {
    if !is_child() {
        succeeded(child("ten_waves_leave_nothing_behind", &[]).output().unwrap());
        return;
    }
    on_every_backend("waves", || async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = bourn::spawn(async move {
            let mut incoming = listener.incoming();
            loop {
                let stream = incoming.next().await.unwrap();
                bourn::spawn(async move {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).await?;
                    stream.write_all(&all).await
                });
            }
        });
        let mut after_second = 0;
        let before = descriptors();
        for wave in 1..=WAVES {
            let clients: Vec<_> = (0..CONNECTIONS).map(|number| bourn::spawn(client(address, number))).collect();
            for client in clients {
                client.await.unwrap();
            }
            // Until the server's ends are gone too.
            while descriptors() > before {
                bourn::task::yield_now().await;
                bourn::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            if wave == 2 {
                after_second = resident();
            }
        }
        let grown = resident().saturating_sub(after_second);
        assert!(grown * 20 <= after_second, "{grown} bytes more than after the second wave");
        server.abort();
        assert!(server.await.unwrap_err().is_cancelled());
    });
}

async fn client(address: std::net::SocketAddr, number: usize) {
    let stream = TcpStream::connect(address).await.unwrap();
    let message = vec![number as u8; 100 + number];
    stream.write_all(&message).await.unwrap();
    match number % 10 {
        0 => drop(stream),
        1 => stream.reset().unwrap(),
        _ => {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut echoed = Vec::new();
            stream.read_to_end(&mut echoed).await.unwrap();
            assert!(echoed == message);
        }
    }
}

//! hyper alone: HTTP/1 and HTTP/2 on one port, and an upgrade to WebSocket.

use std::io;
use std::time::Duration;

use bourn::hyper::{Executor, Timer};
use bourn::net::TcpListener;
use hyper::service::service_fn;
use hyper_util::server::conn::auto;
use interop::site::answer;

fn main() -> io::Result<()> {
    interop::run(async {
        let mut http = auto::Builder::new(Executor);
        // hyper's limit for the head of a request is 30 seconds; a test asks for less.
        let limit = std::env::args().nth(1).map_or(30_000, |limit| limit.parse().expect("milliseconds"));
        http.http1().timer(Timer).header_read_timeout(Duration::from_millis(limit));
        http.http2().timer(Timer).max_concurrent_streams(1_000);

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        interop::listening(listener.local_addr()?);
        let mut incoming = listener.incoming();
        loop {
            let stream = incoming.next().await?;
            let http = http.clone();
            bourn::spawn(async move {
                let served = http.serve_connection_with_upgrades(stream, service_fn(answer)).await;
                if let Err(error) = served {
                    eprintln!("a connection ended: {error}");
                }
            });
        }
    })
}

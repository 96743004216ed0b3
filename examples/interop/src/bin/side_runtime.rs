//! A library that insists on tokio's runtime, next to bourn: reqwest inside async-compat.
//! And what that costs: the same requests by hyper on bourn.
//!
//! `.compat()` enters a runtime of tokio that async-compat starts, one thread with a
//! reactor of its own, around each poll. Sockets and timers of the library wake from
//! there; the task itself stays bourn's.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use async_compat::CompatExt;
use bourn::hyper::{Executor, Timer};
use bourn::net::{TcpListener, TcpStream};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, client, server};

/// Rounds, of each way in turn.
const ROUNDS: u32 = 5;
const REQUESTS: u32 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    interop::run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let serving = bourn::spawn(serve(listener));

        // The one line that the recipe is about.
        let compat = async |url: &str| reqwest::get(url).await?.text().await;
        assert_eq!(compat(&format!("http://{addr}/")).compat().await?, "Hello, world!");

        let client = reqwest::Client::new();
        let mut plain = connect(addr).await?;
        let (mut beside, mut native) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for _ in 0..REQUESTS {
                let answer = async { client.get(format!("http://{addr}/")).send().await?.bytes().await };
                assert_eq!(answer.compat().await?, "Hello, world!");
            }
            beside.push(start.elapsed() / REQUESTS);

            let start = Instant::now();
            for _ in 0..REQUESTS {
                let request = Request::get("/").header("host", "localhost").body(Empty::<Bytes>::new())?;
                // The connection's task may run elsewhere, and not be ready for the next one at once.
                plain.ready().await?;
                let answer = plain.send_request(request).await?.into_body().collect().await?.to_bytes();
                assert_eq!(answer, "Hello, world!");
            }
            native.push(start.elapsed() / REQUESTS);
        }
        serving.abort();
        let (beside, native) = (median(beside), median(native));
        println!(
            "one request after the other: {beside:?} with reqwest on async-compat, {native:?} with hyper on bourn"
        );
        Ok(())
    })
}

async fn serve(listener: TcpListener) {
    let mut http = server::conn::http1::Builder::new();
    http.timer(Timer);
    let mut incoming = listener.incoming();
    while let Ok(stream) = incoming.next().await {
        let answer =
            service_fn(|_| async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("Hello, world!")))) });
        bourn::spawn(http.serve_connection(stream, answer));
    }
}

async fn connect(addr: SocketAddr) -> Result<client::conn::http1::SendRequest<Empty<Bytes>>, Box<dyn Error>> {
    let (sender, connection) = client::conn::http1::handshake(TcpStream::connect(addr).await?).await?;
    hyper::rt::Executor::execute(&Executor, async {
        let _ = connection.await;
    });
    Ok(sender)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

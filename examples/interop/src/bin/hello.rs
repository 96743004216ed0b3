//! hyper: HTTP/1 and HTTP/2 on one port, and an upgrade to WebSocket.

use std::convert::Infallible;
use std::io;
use std::sync::LazyLock;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::Role;
use bourn::hyper::{Executor, Timer};
use bourn::net::TcpListener;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio_util::compat::TokioAsyncReadCompatExt;

type Body = BoxBody<Bytes, hyper::Error>;

/// More than any socket buffer takes.
static BIG: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; 64 << 20].into());

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

async fn answer(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(match request.uri().path() {
        "/" => Response::new(full("Hello, world!")),
        "/big" => Response::new(full(BIG.clone())),
        "/echo" => Response::new(request.into_body().boxed()),
        "/chat" => upgrade(&mut request),
        _ => with_status(StatusCode::NOT_FOUND),
    })
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed()
}

fn with_status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}

/// Agrees to speak WebSocket (RFC 6455) on this connection, and echoes what comes.
fn upgrade(request: &mut Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return with_status(StatusCode::UPGRADE_REQUIRED);
    };
    let accept = derive_accept_key(key.as_bytes()).parse().expect("base64 is a header's value");
    let upgraded = hyper::upgrade::on(request);
    bourn::spawn(async move {
        let io = TokioIo::new(upgraded.await.expect("hyper hands the connection over")).compat();
        let (sink, stream) = WebSocketStream::from_raw_socket(io, Role::Server, None).await.split();
        let echoes = stream.filter(|message| {
            let is_data = message.as_ref().map_or(true, |message| message.is_text() || message.is_binary());
            async move { is_data }
        });
        echoes.forward(sink).await
    });
    let mut response = with_status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, UPGRADE.as_str().parse().expect("a header's value"));
    headers.insert(UPGRADE, "websocket".parse().expect("a header's value"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

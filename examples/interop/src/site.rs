//! What is served: by hyper alone (`hello`), and through bourn's server (`served`).

use std::convert::Infallible;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::protocol::Role;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::ready;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_util::compat::TokioAsyncReadCompatExt;

pub type Body = BoxBody<Bytes, hyper::Error>;

/// More than any socket buffer takes.
static BIG: LazyLock<Bytes> = LazyLock::new(|| vec![b'x'; 64 << 20].into());

/// How many requests wait now.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Answers a request.
///
/// # Errors
/// None.
pub async fn answer(mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(match request.uri().path() {
        "/" => Response::new(full("Hello, world!")),
        "/big" => Response::new(full(BIG.clone())),
        "/echo" => Response::new(request.into_body().boxed()),
        "/waiting" => Response::new(full(waiting())),
        "/chat" => upgrade(&mut request),
        path => match path.strip_prefix("/wait/").map(str::parse) {
            Some(Ok(milliseconds)) => Response::new(full(wait(milliseconds).await)),
            _ => with_status(StatusCode::NOT_FOUND),
        },
    })
}

/// The answer, after so long.
pub async fn wait(milliseconds: u64) -> &'static str {
    let _counted = Waiting::new();
    bourn::time::sleep(Duration::from_millis(milliseconds)).await;
    "done"
}

/// How many wait for one now.
pub fn waiting() -> String {
    WAITING.load(Ordering::Relaxed).to_string()
}

/// Counts, until the answer is there or given up.
struct Waiting;

impl Waiting {
    fn new() -> Waiting {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Waiting
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
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
pub fn upgrade<B>(request: &mut Request<B>) -> Response<Body> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return with_status(StatusCode::UPGRADE_REQUIRED);
    };
    let accept = derive_accept_key(key.as_bytes()).parse().expect("base64 is a header's value");
    let upgraded = hyper::upgrade::on(request);
    bourn::spawn(async move {
        let io = TokioIo::new(upgraded.await.expect("hyper hands the connection over")).compat();
        let (sink, stream) = WebSocketStream::from_raw_socket(io, Role::Server, None).await.split();
        // Pings and the closing handshake are answered below.
        let data = stream
            .filter(|message| ready(message.as_ref().map_or(true, |message| message.is_text() || message.is_binary())));
        data.forward(sink).await
    });
    let mut response = with_status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, UPGRADE.as_str().parse().expect("a header's value"));
    headers.insert(UPGRADE, "websocket".parse().expect("a header's value"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

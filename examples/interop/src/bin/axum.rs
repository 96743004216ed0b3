//! axum and tower: a `Router` with extractors and layers, served with limits and a drain.
//! axum is used without its feature `tokio`, which is what its own `serve` needs.

use std::io;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bourn::http::Http;
use bourn::server::{Drain, Limits, Server};
use hyper_util::service::TowerToHyperService;
use interop::site;
use tower::ServiceBuilder;

fn main() -> io::Result<()> {
    interop::run(async {
        // No more than two at a time; who comes then is told so at once.
        let few = ServiceBuilder::new()
            .layer(HandleErrorLayer::new(async |_| StatusCode::SERVICE_UNAVAILABLE))
            .load_shed()
            .concurrency_limit(2);
        let app = Router::new()
            .route("/waiting", get(async || site::waiting()))
            .route("/few", get(|| site::wait(500)).layer(few))
            .route("/wait/{milliseconds}", get(|Path(milliseconds)| site::wait(milliseconds)))
            .layer(from_fn(limited))
            .route("/", get(async || "Hello, world!"))
            // WebSocket without axum's feature `ws`, which asks for tokio's runtime.
            .route("/chat", get(async |mut request: Request| site::upgrade(&mut request)))
            .route("/double", post(async |Json(number): Json<i64>| Json(number * 2)));

        let server = Server::new()
            .limits(Limits::new().connections(8).first_byte(Duration::from_millis(500)))
            .drain(Drain::new().deadline(Duration::from_secs(5)))
            .bind("127.0.0.1:0")
            .await?;
        interop::listening(server.local_addrs()[0].tcp().expect("an address of TCP"));
        let report = server.serve(Http::new().handler(TowerToHyperService::new(app))).await?;
        eprintln!("{report}");
        Ok(())
    })
}

/// Three seconds for each request: tower's own layer asks for tokio's timers.
async fn limited(request: Request, next: Next) -> Response {
    let limited = bourn::time::timeout(Duration::from_secs(3), next.run(request));
    limited.await.unwrap_or_else(|_elapsed| StatusCode::GATEWAY_TIMEOUT.into_response())
}

//! HTTP/1 and HTTP/2 for a [`Server`](crate::server::Server), by hyper: its limits and
//! its drain reach into the protocol.
//!
//! Requests, responses and services are hyper's: add it beside bourn (`cargo add hyper`).
//!
//! # Examples
//! ```no_run
//! use bourn::http::Http;
//! use bourn::server::Server;
//! use hyper::service::service_fn;
//!
//! # async fn answer(_: hyper::Request<hyper::body::Incoming>) -> std::io::Result<hyper::Response<String>> {
//! #     Ok(hyper::Response::new(String::new()))
//! # }
//! #[bourn::main]
//! async fn main() -> std::io::Result<()> {
//!     let server = Server::new().bind("127.0.0.1:8000").await?;
//!     let report = server.serve(Http::new().handler(service_fn(answer))).await?;
//!     println!("{report}");
//!     Ok(())
//! }
//! ```

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::server::conn::auto;

use crate::hyper::{Executor, Timer};
use crate::server::Connection;
use crate::time::{sleep, timeout};

type BoxError = Box<dyn Error + Send + Sync>;

/// How long a drain waits for what is on its way, and for what the reactor is yet to hear of.
const MOMENT: Duration = Duration::from_millis(100);

/// How HTTP is served. The protocol is told by the first bytes; time-outs have a timer.
#[derive(Clone, Debug)]
pub struct Http {
    builder: auto::Builder<Executor>,
}

impl Http {
    /// With hyper's own defaults: 30 seconds for the head of a request of HTTP/1, 200
    /// streams at a time for a connection of HTTP/2.
    pub fn new() -> Http {
        let mut builder = auto::Builder::new(Executor);
        builder.http1().timer(Timer);
        builder.http2().timer(Timer);
        Http { builder }
    }

    /// How long the head of a request of HTTP/1 may take, from the end of the last one.
    pub fn header_timeout(mut self, limit: Duration) -> Http {
        self.builder.http1().header_read_timeout(limit);
        self
    }

    /// Whether a client of HTTP/1 that has closed its half is still sent its answer.
    /// Default: no, as most who close have gone; the request is given up then.
    pub fn half_close(mut self, allow: bool) -> Http {
        self.builder.http1().half_close(allow);
        self
    }

    /// The most streams at a time for a connection of HTTP/2.
    pub fn max_concurrent_streams(mut self, most: u32) -> Http {
        self.builder.http2().max_concurrent_streams(most);
        self
    }

    /// A handler for [`Server::serve`](crate::server::Server), which answers by
    /// `service`. A request that is under way when the server drains is the last one of
    /// its connection, and the client is told so.
    pub fn handler<S, B>(
        self,
        service: S,
    ) -> impl Fn(Connection) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>> + Send + Sync
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        move |connection| {
            let (http, service) = (self.clone(), service.clone());
            Box::pin(async move {
                // One that has come while the server drains still has its request answered, also if that is on its way.
                if !connection.more().await? && !matches!(timeout(MOMENT, connection.peek(&mut [0])).await, Ok(Ok(1))) {
                    return Ok(());
                }
                let draining = connection.draining();
                // So that the reactor knows of what has arrived by then.
                let draining = async move {
                    draining.await;
                    sleep(MOMENT).await;
                };
                http.serve(connection, service, draining).await
            })
        }
    }

    /// Serves one connection to its end, or until the request at hand is answered after
    /// `draining` is ready: for what lies between connection and protocol, such as TLS.
    ///
    /// # Errors
    /// hyper's.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn serve<I, S, B>(&self, io: I, service: S, draining: impl Future<Output = ()>) -> Result<(), BoxError>
    where
        I: Read + Write + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = Response<B>>,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let mut serving = pin!(self.builder.serve_connection_with_upgrades(io, service));
        let mut draining = pin!(draining);
        let mut drains = false;
        poll_fn(|cx| {
            // First, so that what has arrived is begun.
            let served = serving.as_mut().poll(cx);
            if served.is_pending() && !drains && draining.as_mut().poll(cx).is_ready() {
                drains = true;
                serving.as_mut().graceful_shutdown();
                return serving.as_mut().poll(cx);
            }
            served
        })
        .await
    }
}

impl Default for Http {
    fn default() -> Http {
        Http::new()
    }
}

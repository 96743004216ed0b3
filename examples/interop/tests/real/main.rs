//! The programs against the real thing: curl, wrk, h2load, openssl, Python's websockets,
//! redis-server, PostgreSQL. A program that is missing is a failure.

mod axum;
mod databases;
mod executors;
mod first;
mod harness;
mod http;
mod quic;
mod served;
mod tls;
mod websocket;

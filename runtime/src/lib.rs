//! bourn, a small stream: an async runtime for network servers, with its own
//! epoll reactor and its own socket types.
//!
//! ```text
//!        your tasks          bourn::spawn, bourn::net, bourn::time
//!            |
//!          bourn             this crate: Runtime, Builder, Handle, time, macros
//!         /     \
//!   executor     net         tasks and who runs them | sockets
//!                 |
//!              reactor       epoll, poll, select or mio; timers
//! ```
//!
//! This crate is the face: it joins an executor that knows nothing about I/O with
//! sockets that know nothing about executors. Each half can be used alone: the
//! sockets and timers work under any executor, on a background reactor.
//!
//! # What there is
//!
//! * [`main`](macro@main) and [`test`](macro@test), [`Runtime`]
//!   and [`Builder`]: a runtime whose tasks run on the thread
//!   that is inside [`block_on`](runtime::Runtime::block_on), or on
//!   [workers](Builder::new_multi_thread) that share them.
//! * [`spawn`], [`spawn_local`], [`task`]: tasks, which can be awaited, aborted
//!   and listed; sets of them; task-locals; threads for calls that block.
//! * [`net`]: TCP, UDP and Unix sockets, pipes, and any other descriptor.
//! * [`inspect`]: every socket of the process, and the task that waits for it.
//! * [`server`]: accept loops with limits, draining and restarts without loss.
//! * [`signal`]: signals as something to wait for.
//! * [`time`]: [`sleep`](time::sleep()), [`timeout`](time::timeout()),
//!   [`interval`](time::interval()).
//!
//! With the feature `tokio`, streams have tokio's traits; with `hyper`, they have
//! hyper's, and the module `hyper` is there; with `http`, the module `http`. Other libraries: `docs/interop.md`.
//!
//! The reactor's kernel call is chosen at run time: by
//! [`Builder::backend`](runtime::Builder::backend) or the environment variable
//! `BOURN_BACKEND` (`epoll`, `poll`, `select`, `mio`).
//!
//! # Example
//! ```no_run
//! #[bourn::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = bourn::net::TcpListener::bind("127.0.0.1:7000").await?;
//!     let mut incoming = listener.incoming(); // skips what concerns one connection, waits when descriptors run out
//!     loop {
//!         let stream = incoming.next().await?;
//!         bourn::spawn(async move {
//!             let mut buffer = [0; 4096];
//!             while let Ok(length @ 1..) = stream.read(&mut buffer).await {
//!                 stream.write_all(&buffer[..length]).await?;
//!             }
//!             std::io::Result::Ok(())
//!         });
//!     }
//! }
//! ```
#![deny(unsafe_code)]

mod blocking;
mod context;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "hyper")]
pub mod hyper;
pub mod inspect;
mod misuse;
mod park;
pub mod runtime;
#[cfg(feature = "server")]
pub mod server;
pub mod signal;
pub mod task;
pub mod time;

pub use bourn_macros::{main, test};
pub use bourn_net as net;
pub use bourn_reactor::{Backend, UnknownBackend};
pub use runtime::{Builder, Handle, Runtime, block_on};
pub use task::{JoinHandle, spawn, spawn_local};

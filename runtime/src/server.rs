//! Servers that are right by default: accept errors, limits, draining, restarts.
//!
//! [`Server`] accepts connections at many listeners, starts one handler for each
//! connection, and drains when the process is asked to end.
//!
//! # Examples
//! ```no_run
//! use std::process::ExitCode;
//! use std::time::Duration;
//! use bourn::server::{Connection, Drain, Limits, Server};
//!
//! async fn echo(connection: Connection) -> std::io::Result<()> {
//!     let mut buf = [0; 4096];
//!     while connection.more().await? {
//!         let length = connection.read(&mut buf).await?;
//!         connection.write_all(&buf[..length]).await?;
//!     }
//!     Ok(())
//! }
//!
//! #[bourn::main]
//! async fn main() -> std::io::Result<ExitCode> {
//!     let server = Server::new()
//!         .limits(Limits::new().connections(10_000).idle(Duration::from_secs(75)))
//!         .drain(Drain::new().deadline(Duration::from_secs(20)))
//!         .bind("127.0.0.1:7000")
//!         .await?;
//!     let report = server.serve(echo).await?;
//!     println!("{report}");
//!     Ok(report.exit_code())
//! }
//! ```

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bourn_executor::Options;

pub use bourn_server::{
    Addr, Cause, Connection, Control, Cut, CutReason, Drain, Host, Limits, Outcome, Report, Signals, Stats, Unfinished,
    WhenFull,
};

use crate::runtime::Handle;
use crate::signal::unix::{Signal, SignalKind, signal};
use crate::time::{Sleep, sleep};

/// Before signals that could not be waited for are tried again.
const DEAF_PAUSE: Duration = Duration::from_secs(1);

/// A server in a runtime of this crate; see [`bourn_server::Server`] for its methods.
pub type Server = bourn_server::Server<Tasks>;

/// The runtime, as a server sees it.
#[derive(Clone, Debug)]
pub struct Tasks(Handle);

impl Host for Tasks {
    type Signals = Termination;

    fn current() -> Tasks {
        Tasks((*Handle::current_for("server::Server::new")).clone())
    }

    fn spawn(&self, name: String, future: impl Future<Output = ()> + Send + 'static) {
        // Detached: a panic in it is reported by the runtime.
        drop(self.0.executor.spawn_with(Options::new().name(name), future));
    }

    fn spawn_on(&self, worker: usize, name: String, future: impl Future<Output = ()> + Send + 'static) {
        let (worker, tasks) = (worker % self.shards(), self.clone());
        let future = Mutex::new(Some((name, future)));
        // What a worker spawns stays with it.
        drop(self.0.spawn_on_each(move |core| {
            if core == worker
                && let Some((name, future)) = future.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                tasks.spawn(name, future);
            }
            async {}
        }));
    }

    fn shards(&self) -> usize {
        self.0.executor.shards()
    }

    fn signals(&self) -> io::Result<Termination> {
        let signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
        Ok(Termination { signals, again: sleep(Duration::ZERO) })
    }
}

/// SIGTERM and SIGINT, as they come.
#[derive(Debug)]
pub struct Termination {
    signals: [Signal; 2],
    again: Sleep,
}

impl Signals for Termination {
    fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<i32> {
        loop {
            let mut deaf = false;
            for (signal, kind) in self.signals.iter_mut().zip([SignalKind::terminate(), SignalKind::interrupt()]) {
                match signal.poll_recv(cx) {
                    Poll::Ready(Some(())) => return Poll::Ready(kind.as_raw_value()),
                    heard => deaf |= heard.is_ready() && signal.is_ours(),
                }
            }
            if !deaf {
                return Poll::Pending;
            }
            // The kernel can not watch another descriptor, for now; the signal handler keeps what comes meanwhile.
            ready!(Pin::new(&mut self.again).poll(cx));
            self.again = sleep(DEAF_PAUSE);
        }
    }
}

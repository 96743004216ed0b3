//! What a server needs of the runtime that it runs in.

use std::future::Future;
use std::io;
use std::task::{Context, Poll};

/// A runtime, as a server sees it. The crate `bourn` has one, and makes
/// `bourn::server::Server` of it; whoever runs another executor writes one.
pub trait Host: Clone + Send + Sync + 'static {
    /// The source of [`signals`](Host::signals).
    type Signals: Signals + Send;

    /// The runtime of this thread.
    ///
    /// # Panics
    /// If the thread is in no runtime.
    #[track_caller]
    fn current() -> Self;

    /// Starts a task under a name. A panic of it is the runtime's to report.
    fn spawn(&self, name: String, future: impl Future<Output = ()> + Send + 'static);

    /// Starts a task on the worker of this number, counted around, as far as the
    /// runtime has workers that keep their tasks; otherwise as
    /// [`spawn`](Host::spawn).
    fn spawn_on(&self, worker: usize, name: String, future: impl Future<Output = ()> + Send + 'static);

    /// How many listeners an address gets if nobody says: as many as there are
    /// workers that keep their tasks, else one.
    fn shards(&self) -> usize;

    /// The signals that ask the process to end, from now on.
    ///
    /// # Errors
    /// What the system says.
    fn signals(&self) -> io::Result<Self::Signals>;
}

/// Signals that ask the process to end: SIGTERM and SIGINT.
pub trait Signals {
    /// Ready once for each signal that arrived, with its number.
    fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<i32>;
}

//! Signals as something to wait for: SIGINT, SIGTERM and the like.
//!
//! Every listener is told of every signal of its kind that comes after it was made,
//! in whichever thread the kernel delivers it. Signals that come while a listener is
//! not waiting are kept for it, several as one: so the kernel counts them, too.
//!
//! The first listener of a kind puts a handler in the place of the default action,
//! for the whole process and for good: from then on SIGTERM ends the process only if
//! the program does so. Handlers that were there before are called as well. In a
//! forked child, the handlers stay and do nothing; exec(2) restores the defaults.
//!
//! # Examples
//! ```no_run
//! use bourn::signal::unix::{SignalKind, signal};
//!
//! # async fn reload() {}
//! #[bourn::main]
//! async fn main() -> std::io::Result<()> {
//!     let mut hangups = signal(SignalKind::hangup())?;
//!     bourn::spawn(async move {
//!         while let Some(()) = hangups.recv().await {
//!             reload().await;
//!         }
//!     });
//!     bourn::signal::ctrl_c().await
//! }
//! ```

#[allow(unsafe_code)]
mod handler;
pub mod unix;

use std::io;

/// Waits for the next SIGINT, which Ctrl-C at the terminal sends.
///
/// The process listens from the first poll on. Whoever waits more than once makes a
/// [listener](unix::signal), which also keeps what comes between two waits.
///
/// # Errors
/// Those of [`unix::signal`], and of waiting: see [`unix::Signal::recv`].
///
/// # Cancel safety
/// A signal that comes between this future and the next one is not told to either.
pub async fn ctrl_c() -> io::Result<()> {
    unix::signal(unix::SignalKind::interrupt())?.told().await
}

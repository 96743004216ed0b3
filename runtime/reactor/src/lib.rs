//! Readiness, timers and waking for async sockets, over `epoll(7)`, `poll(2)`,
//! `select(2)` or mio.
//!
//! This crate waits: for descriptors to become ready and for moments to come. It
//! runs no tasks (any executor does that) and moves no bytes (that is
//! `bourn-net`'s part). It can be used in three ways:
//!
//! * a [`Poller`] for an event loop of your own, without futures;
//! * [`Source`] and [`Sleep`] under any executor: where no runtime is, a
//!   background reactor is started when first needed;
//! * a [`Reactor`] that your runtime's threads turn when they have nothing else
//!   to do, as those of the crate `bourn` do.
//!
//! ```text
//!    poll_ready --------> Source ---- registers ----> Reactor: table, wheel
//!        ^              (word, waiters)                   |
//!        |                    ^                         turn
//!      wakers                 |                           v
//!        '--- wake <--- mark -'<---- events <--------- Poller: epoll | poll |
//!                                                              select | mio
//! ```
//!
//! # The readiness contract
//!
//! It holds on every backend, and one test file checks it on all of them.
//!
//! * A direction is reported at least once after every `WouldBlock` seen on it.
//!   Before that, a repeat may come but is never owed.
//! * Events may be spurious: only the operation itself knows.
//! * A closed flag (`EPOLLRDHUP`, `EPOLLHUP`, `EPOLLERR` for reading; `EPOLLHUP`,
//!   `EPOLLERR` for writing) outlives what is concluded from a short read, for data
//!   and FIN can share one report. An observed `WouldBlock` clears it like
//!   everything else: a direction that is really closed never says that, and a
//!   descriptor that merely has an error to tell lives on.
//!
//! # Example
//! ```
//! use std::time::{Duration, Instant};
//! use bourn_reactor::Sleep;
//!
//! let start = Instant::now();
//! futures_lite::future::block_on(Sleep::after(Duration::from_millis(5)));
//! assert!(start.elapsed() >= Duration::from_millis(5));
//! ```
#![deny(unsafe_code)]
// The modelled kernel makes no system calls and knows no bits of theirs.
#![cfg_attr(loom, allow(dead_code))]

mod backend;
mod background;
pub mod budget;
mod clock;
mod context;
mod event;
#[doc(hidden)]
pub mod faults;
mod poller;
mod reactor;
// The slot.
#[allow(unsafe_code)]
mod readiness;
mod registered;
mod selector;
mod source;
mod sync;
#[allow(unsafe_code)]
mod sys;
mod table;
mod timer;
mod waiters;

pub use backend::{Backend, UnknownBackend};
pub use background::background_sources;
pub use context::{Entered, can_wait};
pub use event::{Direction, Event, Interest, Ready};
pub use poller::{Poller, Wait};
pub use reactor::{Reactor, ReactorMetrics, RuntimeId, Turned};
pub use readiness::Seen;
pub use registered::{SourceInfo, WakerId};
pub use source::{Kind, Source};
pub use timer::sleep::Sleep;
pub use waiters::Ticket;

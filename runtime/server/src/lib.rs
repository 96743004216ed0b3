//! A server that is right by default: what accept loops get wrong, done once.
//!
//! ```text
//!   listening sockets     one accept loop each          one task per connection
//!
//!   127.0.0.1:80 shard 0 --> accept --.    limits      .--> handler(Connection)
//!   127.0.0.1:80 shard 1 --> accept --+--> table ------+--> handler(Connection)
//!   /run/app.sock ---------> accept --'      ^         '--> handler(Connection)
//!                                            |
//!           SIGTERM, Control::drain ---> supervisor: announce, close the door, empty
//!                                        the queues, wait, cancel, report
//! ```
//!
//! * **Errors of accept(2)** that concern one connection are counted; when descriptors
//!   run out, the server waits for one or sheds ([`WhenFull`]). It never spins or ends.
//! * **[`Limits`]** on connections and on slow peers, below any protocol.
//! * **[`Drain`]** at SIGTERM and SIGINT, without losing a connection that a peer has.
//! * **Restarts without loss**: [`Server::inherit`] and [`Server::hand_over`].
//! * **Many machines**: the PROXY protocol, with the feature `proxy`.
//!
//! It is not a protocol: the handler gets a [`Connection`], a stream with the traits of
//! futures-io. Nor is it bound to a runtime: it needs a [`Host`], which the crate `bourn`
//! fills as `bourn::server::Server`. The examples there run.
#![deny(unsafe_code)]

mod accept;
mod bell;
mod connection;
mod hand_over;
mod host;
#[cfg(feature = "hyper")]
#[allow(unsafe_code)]
mod hyper;
mod inherit;
mod limits;
mod listener;
mod notice;
#[cfg(feature = "proxy")]
mod proxy;
mod report;
mod serve;
mod server;
mod shared;
mod stats;
mod sweep;
#[allow(unsafe_code)]
mod sys;
mod table;
#[cfg(feature = "tokio")]
mod tokio;
mod trusted;

pub use connection::{Connection, Cut, CutReason};
pub use host::{Host, Signals};
pub use limits::{Limits, WhenFull};
pub use listener::Addr;
pub use report::Report;
pub use server::{Outcome, Server};
pub use shared::{Cause, Control, Drain};
pub use stats::Stats;
pub use table::Unfinished;

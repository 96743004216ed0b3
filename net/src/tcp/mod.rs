//! Listeners, streams, and sockets that are neither yet (tcp(7)).

mod close;
mod connect;
mod incoming;
mod info;
mod listener;
mod socket;
mod stream;

pub use crate::stream::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use close::{CloseReport, Cork};
pub use connect::{ConnectAttempt, ConnectError};
pub use incoming::{AcceptErrorKind, Incoming};
pub use info::{ListenQueue, Queues, TcpInfo, TcpState};
pub use listener::TcpListener;
pub use socket::TcpSocket;
pub use stream::TcpStream;

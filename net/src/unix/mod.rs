//! Unix sockets (unix(7)): listeners, streams and datagrams within one host.
//!
//! An address is a path in the file system, a name in Linux's abstract namespace
//! (the methods `*_addr` take either), or none. A path stays when its socket is
//! closed: whoever binds to it again removes it first.

mod datagram;
mod descriptors;
mod listener;
pub mod pipe;
mod stream;

pub use crate::stream::unix::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use datagram::UnixDatagram;
pub use listener::UnixListener;
pub use stream::{Credentials, UnixStream};

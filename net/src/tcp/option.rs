//! The options of streams.

use std::io;
use std::os::fd::AsFd;

use crate::sys;
use crate::tcp::{Keepalive, TcpStream};

/// Options. Each getter asks the kernel.
///
/// # Errors
/// All of them return what the kernel says: [`InvalidInput`] for a value out of
/// its range (tcp(7), socket(7), ip(7)).
///
/// [`InvalidInput`]: io::ErrorKind::InvalidInput
impl TcpStream {
    /// Whether small segments are sent at once, not held back while earlier ones
    /// are unacknowledged (`TCP_NODELAY`, RFC 9293, 3.7.4).
    ///
    /// # Errors
    /// As above.
    pub fn nodelay(&self) -> io::Result<bool> {
        sys::nodelay(self.as_fd())
    }

    /// Sets `TCP_NODELAY`. On by default for connected and accepted streams.
    ///
    /// # Errors
    /// As above.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        sys::set_nodelay(self.as_fd(), nodelay)
    }

    /// How many routers may forward a packet (`IP_TTL`, `IPV6_UNICAST_HOPS`).
    ///
    /// # Errors
    /// As above.
    pub fn ttl(&self) -> io::Result<u32> {
        sys::ttl(self.as_fd())
    }

    /// Sets how many routers may forward a packet, 1 to 255. 64 by default.
    ///
    /// # Errors
    /// As above.
    pub fn set_ttl(&self, hops: u32) -> io::Result<()> {
        sys::set_ttl(self.as_fd(), hops)
    }

    /// Lets the stream, when it is dropped, throw away what is unsent and reset
    /// the connection (`SO_LINGER` of zero seconds), or ends that.
    ///
    /// There is no way to set any other time: `close(2)` would block the thread.
    ///
    /// # Errors
    /// As above.
    pub fn set_zero_linger(&self, zero: bool) -> io::Result<()> {
        sys::set_zero_linger(self.as_fd(), zero)
    }

    /// The size of the send buffer in bytes, with the kernel's bookkeeping
    /// (`SO_SNDBUF`).
    ///
    /// # Errors
    /// As above.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        sys::send_buffer_size(self.as_fd())
    }

    /// Sets the size of the send buffer in bytes. Linux doubles it for its
    /// bookkeeping, cuts it at `net.core.wmem_max`, and ceases to adapt it.
    ///
    /// # Errors
    /// As above.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        sys::set_send_buffer_size(self.as_fd(), bytes)
    }

    /// The size of the receive buffer in bytes, with the kernel's bookkeeping
    /// (`SO_RCVBUF`).
    ///
    /// # Errors
    /// As above.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        sys::recv_buffer_size(self.as_fd())
    }

    /// Sets the size of the receive buffer in bytes. Linux doubles it for its
    /// bookkeeping, cuts it at `net.core.rmem_max`, and ceases to adapt it. For a
    /// window above 64 KiB it has to be set before the connection is made
    /// ([`TcpSocket`](crate::TcpSocket)).
    ///
    /// # Errors
    /// As above.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        sys::set_recv_buffer_size(self.as_fd(), bytes)
    }

    /// When a silent connection is probed, if it is (`SO_KEEPALIVE`).
    ///
    /// # Errors
    /// As above.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        Keepalive::get(self.as_fd())
    }

    /// Sets when a silent connection is probed. Off by default.
    ///
    /// # Errors
    /// As above.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        Keepalive::set(keepalive, self.as_fd())
    }
}

//! UDP (udp(7)): datagrams, one by one or many in one call.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::Type;

use crate::addr::{ToSocketAddrs, first_of};
use crate::operation::operations;
use crate::socket::Socket;
use crate::sys;

/// A UDP socket.
///
/// All methods take `&self`: several tasks can send and receive at once. An error
/// that the network reports ([`ConnectionRefused`](io::ErrorKind::ConnectionRefused),
/// when nobody listens at the peer's port) comes out of the next call of a
/// connected socket, once; then the socket works on. (A
/// [`send_batch`](UdpSocket::send_batch) of several can lose it.)
///
/// The [rules of all sockets](crate#rules-of-all-sockets) hold.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use bourn_net::UdpSocket;
///
/// let server = UdpSocket::bind("127.0.0.1:0").await?;
/// let client = UdpSocket::bind("127.0.0.1:0").await?;
/// client.connect(server.local_addr()?).await?;
///
/// client.send(b"ping").await?;
/// let mut buf = [0; 16];
/// let (length, peer) = server.recv_from(&mut buf).await?;
/// server.send_to(&buf[..length], peer).await?;
/// assert_eq!(client.recv(&mut buf).await?, 4);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct UdpSocket {
    pub(crate) socket: Socket,
}

impl UdpSocket {
    /// Binds a socket to the first of the addresses that `addr` stands for to which
    /// it can be bound. Port 0 lets the kernel choose.
    ///
    /// `SO_REUSEADDR` stays off: on Linux, a second UDP socket that sets it as well could
    /// be bound to the same port, and the last one would get what was sent to the first.
    /// Listeners of multicast groups, who want just that, set it (or `SO_REUSEPORT`) before
    /// they bind, and come [from std](UdpSocket::from_std).
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::lookup_host), and of bind(2) for the last address.
    ///
    /// # Cancel safety
    /// Nothing is bound unless the future completes.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        first_of(addr, |addr| sys::open_at(&addr.into(), Type::DGRAM).map(UdpSocket::new)).await
    }

    /// Sends to, and receives from, only this peer from now on: the first of the
    /// addresses that `addr` stands for that the kernel accepts. Nothing is sent.
    ///
    /// # Errors
    /// Those of [`lookup_host`](crate::lookup_host), and of connect(2) for the last address.
    ///
    /// # Cancel safety
    /// Nothing is connected unless the future completes.
    pub async fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        first_of(addr, |addr| sys::connect_at_once(self.as_fd(), &addr.into())).await
    }
}

operations! {
    /// Sending to any peer.
    UdpSocket {
        /// Sends a datagram, which may be empty, to `peer`; returns its length. Whoever
        /// has a name looks it up once, with [`lookup_host`](crate::lookup_host).
        ///
        /// # Errors
        /// `EMSGSIZE` if it is too long, [`PermissionDenied`](io::ErrorKind::PermissionDenied)
        /// for a broadcast without [`set_broadcast`](UdpSocket::set_broadcast), and
        /// others of sendto(2) and udp(7).
        ///
        /// # Cancel safety
        /// Nothing is sent unless the future completes.
        send_to, poll_send_to, try_send_to(buf: &[u8], peer: SocketAddr) -> usize =
            Write, |fd| sys::send_to(fd, buf, Some(&peer.into()));
    }
}

/// Room for datagrams that are received in one call
/// ([`recv_batch`](UdpSocket::recv_batch)); made once, used again and again.
#[derive(Debug)]
pub struct RecvBatch {
    slots: Vec<u8>,
    size: usize,
    received: Vec<(usize, SocketAddr, bool)>,
}

/// A datagram of a [`RecvBatch`].
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Received<'a> {
    /// What of it fitted.
    pub bytes: &'a [u8],
    /// Who sent it.
    pub sender: SocketAddr,
    /// Whether its end is lost, for want of room.
    pub truncated: bool,
}

impl RecvBatch {
    /// Room for `datagrams` of at most `size` bytes each. One call receives 32 at
    /// most, so more room is of no use.
    ///
    /// # Panics
    /// If either is 0, or the room does not fit the address space.
    #[track_caller]
    pub fn new(datagrams: usize, size: usize) -> RecvBatch {
        assert!(
            datagrams > 0 && size > 0,
            "a batch of {datagrams} datagrams of {size} bytes has no room: both have to be above 0"
        );
        let datagrams = datagrams.min(sys::MOST_DATAGRAMS);
        let room = datagrams.checked_mul(size);
        RecvBatch {
            slots: vec![0; room.expect("a batch's room has to fit the address space")],
            size,
            received: Vec::with_capacity(datagrams),
        }
    }

    fn fill(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.received.clear();
        sys::recv_batch(fd, &mut self.slots, self.size, &mut self.received)
    }

    /// What the last call received, in that order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Received<'_>> {
        self.slots.chunks_exact(self.size).zip(&self.received).map(|(slot, &(length, sender, truncated))| Received {
            bytes: &slot[..length],
            sender,
            truncated,
        })
    }
}

operations! {
    /// Many datagrams in one call, without an allocation.
    UdpSocket {
        /// Receives the datagrams that are there, waiting for the first one, as many as
        /// `batch` has room for; returns their number. What was in `batch` before is
        /// gone (recvmmsg(2)).
        ///
        /// # Errors
        /// As [`recv`](UdpSocket::recv).
        ///
        /// # Cancel safety
        /// No datagram is lost: they are received only when the future completes.
        recv_batch, poll_recv_batch, try_recv_batch(batch: &mut RecvBatch) -> usize = Read, |fd| batch.fill(fd);
        /// Sends as many of `datagrams` as the kernel takes, in order, at least one and
        /// at most 32 (none if there is none), and returns their number. Each goes to
        /// its address, or to the connected peer (sendmmsg(2)).
        ///
        /// # Errors
        /// As [`send_to`](UdpSocket::send_to), if it concerns the first one. A later one
        /// that fails is only not sent: the next call meets an error of the datagram
        /// itself (`EMSGSIZE`) again, but one that the network reported (a peer that
        /// refuses) is lost, for sendmmsg(2) forgets it. Who needs those uses `send`.
        ///
        /// # Cancel safety
        /// Nothing is sent unless the future completes.
        send_batch, poll_send_batch, try_send_batch(datagrams: &[(&[u8], Option<SocketAddr>)]) -> usize =
            Write, |fd| sys::send_batch(fd, datagrams);
    }
}

//! Every system call of this crate, as small functions over a descriptor, and the
//! only place with `unsafe`: nothing else asks the kernel for anything, so faults
//! can be injected and another kernel can stand in here.
//!
//! Linux and the BSDs have what is used; where `EINTR` (signal(7)) ends a call
//! before it did anything, the call is made again, so no caller ever sees it.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, c_void};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

/// The kernel takes no more slices than this in one call (`IOV_MAX`, limits.h).
pub(crate) const MOST_SLICES: usize = 1024;
/// The kernel moves no more bytes than this in one call (`MAX_RW_COUNT`, see the
/// notes of read(2)).
pub(crate) const MOST_BYTES: usize = 0x7fff_f000;

/// Whether a connection is there when `connect(2)` returns.
pub(crate) enum Connecting {
    Done,
    UnderWay,
}

/// Makes a call that returns a count of bytes until no signal interrupts it.
fn count(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        // Negative is -1, with the reason in `errno`.
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn receive(fd: BorrowedFd<'_>, buf: &mut [u8], flags: c_int) -> io::Result<usize> {
    count(|| {
        // SAFETY: `buf` is writable for its length, and exclusively ours.
        unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) }
    })
}

/// `recv(2)`.
pub(crate) fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    receive(fd, buf, 0)
}

/// `recv(2)` into the room that is left in `buf`, which grows by what came.
pub(crate) fn recv_spare(fd: BorrowedFd<'_>, buf: &mut Vec<u8>) -> io::Result<usize> {
    let spare = buf.spare_capacity_mut();
    let received = count(|| {
        // SAFETY: the spare room is writable for its length, and exclusively
        // ours; recv only writes to it.
        unsafe { libc::recv(fd.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len(), 0) }
    })?;
    let len = buf.len() + received;
    // SAFETY: the kernel has initialised `received` bytes of the spare room.
    unsafe { buf.set_len(len) };
    Ok(received)
}

/// `recv(2)` that leaves what it returns in the queue.
pub(crate) fn peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    receive(fd, buf, libc::MSG_PEEK)
}

/// `readv(2)`, of at most [`MOST_SLICES`] slices.
pub(crate) fn recv_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let slices = bufs.len().min(MOST_SLICES);
    count(|| {
        // SAFETY: `IoSliceMut` has the layout of `iovec`, there are `slices` of
        // them, and what they point to is writable and exclusively ours.
        unsafe { libc::readv(fd.as_raw_fd(), bufs.as_mut_ptr().cast(), slices as c_int) }
    })
}

/// `send(2)`, without a SIGPIPE whatever the process thinks of that signal.
pub(crate) fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    count(|| {
        // SAFETY: `buf` is readable for its length.
        unsafe {
            libc::send(
                fd.as_raw_fd(),
                buf.as_ptr().cast(),
                buf.len(),
                libc::MSG_NOSIGNAL,
            )
        }
    })
}

/// `sendmsg(2)`, of at most [`MOST_SLICES`] slices and without a SIGPIPE, which
/// `writev(2)` would not suppress.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: `msghdr` is integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = bufs.as_ptr().cast_mut().cast();
    message.msg_iovlen = bufs.len().min(MOST_SLICES) as _;
    count(|| {
        // SAFETY: `IoSlice` has the layout of `iovec`, `message` counts no more
        // of them than there are, and sendmsg writes to none of it.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) }
    })
}

/// `accept4(2)`: a non-blocking descriptor that no child inherits, and its peer.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let call = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
        count(|| {
            // SAFETY: `try_init` passes storage for any address, and its size.
            let fd = unsafe { libc::accept4(fd.as_raw_fd(), storage.cast(), len, flags) };
            fd as libc::ssize_t
        })
    };
    // SAFETY: accept4 stores an address and its length, or fails.
    let (accepted, peer) = unsafe { SockAddr::try_init(call) }?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted as c_int) };
    Ok((accepted, internet(&peer)?))
}

fn internet(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "the address is not one of the internet",
        )
    })
}

/// `socket(2)`: a non-blocking TCP socket of the family of `addr`.
pub(crate) fn tcp_socket(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let kind = Type::STREAM.nonblocking().cloexec();
    Socket::new(Domain::for_address(*addr), kind, Some(Protocol::TCP)).map(OwnedFd::from)
}

/// `bind(2)`.
pub(crate) fn bind(fd: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<()> {
    SockRef::from(&fd).bind(&(*addr).into())
}

/// `listen(2)`. The kernel cuts a backlog above its limit.
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    SockRef::from(&fd).listen(c_int::try_from(backlog).unwrap_or(c_int::MAX))
}

/// `connect(2)`. An interrupted call goes on connecting, and calling again would
/// only say EALREADY.
pub(crate) fn connect(fd: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<Connecting> {
    match SockRef::from(&fd).connect(&(*addr).into()) {
        Ok(()) => Ok(Connecting::Done),
        Err(error) => match error.raw_os_error() {
            Some(libc::EINPROGRESS | libc::EINTR) => Ok(Connecting::UnderWay),
            _ => Err(error),
        },
    }
}

/// `shutdown(2)`.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    SockRef::from(&fd).shutdown(how)
}

/// `getsockname(2)`.
pub(crate) fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    internet(&SockRef::from(&fd).local_addr()?)
}

/// `getpeername(2)`.
pub(crate) fn peer_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    internet(&SockRef::from(&fd).peer_addr()?)
}

/// `SO_ERROR`, which the kernel forgets as it tells.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    SockRef::from(&fd).take_error()
}

/// Sets `O_NONBLOCK`.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_nonblocking(true)
}

/// Whether a short read of this socket means that it is empty: TCP itself, with
/// no upper-layer protocol over it and urgent data kept out of the stream.
pub(crate) fn is_plain_tcp(fd: BorrowedFd<'_>) -> bool {
    let socket = SockRef::from(&fd);
    // What can not be asked is not relied upon.
    matches!(socket.protocol(), Ok(Some(Protocol::TCP)))
        && matches!(socket.out_of_band_inline(), Ok(false))
        && !has_upper_layer(fd)
}

/// `TCP_ULP`: the name of the upper-layer protocol, none by default.
#[cfg(target_os = "linux")]
fn has_upper_layer(fd: BorrowedFd<'_>) -> bool {
    let mut name = [0u8; 16];
    let mut len = name.len() as libc::socklen_t;
    // SAFETY: `name` is writable for `len` bytes, and `len` says so.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_ULP,
            name.as_mut_ptr().cast::<c_void>(),
            &raw mut len,
        )
    };
    // Kernels before 4.13 refuse: they have no such protocols.
    result == 0 && len > 0
}

#[cfg(not(target_os = "linux"))]
fn has_upper_layer(_fd: BorrowedFd<'_>) -> bool {
    false
}

/// `getaddrinfo(3)`; blocks.
pub(crate) fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// `SO_REUSEADDR`.
pub(crate) fn set_reuse_addr(fd: BorrowedFd<'_>, reuse: bool) -> io::Result<()> {
    SockRef::from(&fd).set_reuse_address(reuse)
}

/// `SO_REUSEADDR`.
pub(crate) fn reuse_addr(fd: BorrowedFd<'_>) -> io::Result<bool> {
    SockRef::from(&fd).reuse_address()
}

/// `SO_REUSEPORT`.
pub(crate) fn set_reuse_port(fd: BorrowedFd<'_>, reuse: bool) -> io::Result<()> {
    SockRef::from(&fd).set_reuse_port(reuse)
}

/// `SO_REUSEPORT`.
pub(crate) fn reuse_port(fd: BorrowedFd<'_>) -> io::Result<bool> {
    SockRef::from(&fd).reuse_port()
}

/// `TCP_NODELAY`.
pub(crate) fn set_nodelay(fd: BorrowedFd<'_>, nodelay: bool) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_nodelay(nodelay)
}

/// `TCP_NODELAY`.
pub(crate) fn nodelay(fd: BorrowedFd<'_>) -> io::Result<bool> {
    SockRef::from(&fd).tcp_nodelay()
}

/// `IP_TTL`, and on an IPv6 socket `IPV6_UNICAST_HOPS` too: it may have IPv4 peers
/// (ipv6(7), mapped addresses), to which the latter means nothing.
pub(crate) fn set_ttl(fd: BorrowedFd<'_>, hops: u32) -> io::Result<()> {
    let socket = SockRef::from(&fd);
    if local_addr(fd)?.is_ipv6() {
        socket.set_unicast_hops_v6(hops)?;
    }
    socket.set_ttl_v4(hops)
}

/// `IP_TTL` or `IPV6_UNICAST_HOPS`, whichever is used towards the peer.
pub(crate) fn ttl(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let socket = SockRef::from(&fd);
    match peer_addr(fd).or_else(|_| local_addr(fd))? {
        SocketAddr::V6(addr) if addr.ip().to_ipv4_mapped().is_none() => socket.unicast_hops_v6(),
        _ => socket.ttl_v4(),
    }
}

/// `SO_LINGER` of zero seconds, or none.
pub(crate) fn set_zero_linger(fd: BorrowedFd<'_>, zero: bool) -> io::Result<()> {
    SockRef::from(&fd).set_linger(zero.then_some(Duration::ZERO))
}

/// `SO_SNDBUF`.
pub(crate) fn set_send_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    SockRef::from(&fd).set_send_buffer_size(bytes)
}

/// `SO_SNDBUF`.
pub(crate) fn send_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    SockRef::from(&fd).send_buffer_size()
}

/// `SO_RCVBUF`.
pub(crate) fn set_recv_buffer_size(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    SockRef::from(&fd).set_recv_buffer_size(bytes)
}

/// `SO_RCVBUF`.
pub(crate) fn recv_buffer_size(fd: BorrowedFd<'_>) -> io::Result<usize> {
    SockRef::from(&fd).recv_buffer_size()
}

/// `SO_KEEPALIVE` on, with `TCP_KEEPIDLE`, `TCP_KEEPINTVL` and `TCP_KEEPCNT`.
pub(crate) fn set_keepalive(
    fd: BorrowedFd<'_>,
    idle: Duration,
    interval: Duration,
    probes: u32,
) -> io::Result<()> {
    let times = TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(probes);
    SockRef::from(&fd).set_tcp_keepalive(&times)
}

/// `SO_KEEPALIVE` off.
pub(crate) fn end_keepalive(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_keepalive(false)
}

/// What [`set_keepalive`] set, if keep-alive is on.
pub(crate) fn keepalive(fd: BorrowedFd<'_>) -> io::Result<Option<(Duration, Duration, u32)>> {
    let socket = SockRef::from(&fd);
    if !socket.keepalive()? {
        return Ok(None);
    }
    Ok(Some((
        socket.tcp_keepalive_time()?,
        socket.tcp_keepalive_interval()?,
        socket.tcp_keepalive_retries()?,
    )))
}

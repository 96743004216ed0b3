//! Every system call of this crate, as small functions over a descriptor, and the
//! only place with `unsafe`: nothing else asks the kernel for anything, so faults
//! can be injected and another kernel can stand in here.
//!
//! Linux and the BSDs have what is used; where `EINTR` (signal(7)) ends a call
//! before it did anything, the call is made again, so no caller ever sees it.

#[cfg(target_os = "linux")]
use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::Path;

#[cfg(target_os = "linux")]
use crate::inspect::SocketInfo;
#[cfg(target_os = "linux")]
use crate::tcp::{TcpInfo, TcpState};
use bourn_reactor::faults::{Call, told};
use libc::c_int;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

mod fds;
mod room;
mod splice;
mod tcp_info;

pub(crate) use fds::{recv_with_fds, send_with_fds};
pub(crate) use room::Room;
pub(crate) use splice::{send_file, splice};
use tcp_info::queue;
pub(crate) use tcp_info::{RawInfo, listen_overflows, queues, tcp_info};

/// The kernel takes no more slices than this in one call (`IOV_MAX`, limits.h).
pub(crate) const MOST_SLICES: usize = 1024;
/// The kernel moves no more bytes than this in one call (`MAX_RW_COUNT`, see the
/// notes of read(2)).
pub(crate) const MOST_BYTES: usize = 0x7fff_f000;

/// No descriptor: what a call is about that makes one.
const NONE: RawFd = -1;

/// Whether a connection is there when `connect(2)` returns.
pub(crate) enum Connecting {
    Done,
    UnderWay,
}

/// Makes a call that is about `asked` bytes or slices of `fd` until no signal
/// interrupts it; returns the count that it returned.
fn count(
    call: Call,
    fd: BorrowedFd<'_>,
    asked: usize,
    mut make: impl FnMut(usize) -> libc::ssize_t,
) -> io::Result<usize> {
    loop {
        let result = told(call, fd.as_raw_fd(), asked).and_then(|asked| {
            // Negative is -1, with the reason in `errno`.
            usize::try_from(make(asked)).map_err(|_| io::Error::last_os_error())
        });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A first write that only began to connect (`TCP_FASTOPEN_CONNECT`).
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            result => return result,
        }
    }
}

/// The socket, to be asked for or told a name or an option: what a method of
/// [`SockRef`] does is one call of getsockopt(2) or setsockopt(2), mostly.
pub(crate) fn option<S: AsFd>(socket: &S) -> io::Result<SockRef<'_>> {
    told(Call::Option, socket.as_fd().as_raw_fd(), 0)?;
    Ok(SockRef::from(socket))
}

/// `getsockopt(2)` into `value`; returns how much of it the kernel filled.
#[cfg(target_os = "linux")]
fn read_option(fd: BorrowedFd<'_>, (level, name): (c_int, c_int), value: &mut [u8]) -> io::Result<usize> {
    let mut len = value.len() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes, and `len` says so.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(len as usize)
}

/// An option that is an `int` and that socket2 does not know.
#[cfg(target_os = "linux")]
pub(crate) fn int(socket: &Socket, option: (c_int, c_int)) -> io::Result<c_int> {
    let mut value = [0; size_of::<c_int>()];
    read_option(socket.as_fd(), option, &mut value)?;
    Ok(c_int::from_ne_bytes(value))
}

/// Sets an option that is an `int`; the kernel would take what does not fit for
/// something else.
#[cfg(target_os = "linux")]
pub(crate) fn set_int(socket: &Socket, (level, name): (c_int, c_int), value: impl TryInto<c_int>) -> io::Result<()> {
    let value: c_int = value.try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `value` lives through the call, which reads an `int`.
    let result = unsafe {
        let len = size_of::<c_int>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), len)
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Which calls move bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Calls {
    /// recv(2), send(2) and sendmsg(2).
    Socket,
    /// read(2), write(2) and writev(2), of a pipe.
    Pipe,
}

fn receive(fd: BorrowedFd<'_>, calls: Calls, buf: &mut [MaybeUninit<u8>], flags: c_int) -> io::Result<usize> {
    let (raw, at) = (fd.as_raw_fd(), buf.as_mut_ptr().cast());
    count(Call::Receive, fd, buf.len(), |asked| match calls {
        // SAFETY: `buf` is writable for its length, which is no less than `asked`,
        // and exclusively ours; the kernel only writes to it.
        Calls::Socket => unsafe { libc::recv(raw, at, asked, flags) },
        // SAFETY: as above.
        Calls::Pipe => unsafe { libc::read(raw, at, asked) },
    })
}

/// What is initialised, for calls that may write only what is.
fn maybe_uninit(buf: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: it has the layout of bytes, and the kernel, who is all that gets it,
    // writes no others.
    unsafe { &mut *(std::ptr::from_mut(buf) as *mut [MaybeUninit<u8>]) }
}

/// `recv(2)`.
pub(crate) fn recv(fd: BorrowedFd<'_>, calls: Calls, buf: &mut [u8]) -> io::Result<usize> {
    receive(fd, calls, maybe_uninit(buf), 0)
}

/// `recv(2)` into the room that is left in `buf`, which then holds what came.
pub(crate) fn recv_spare(fd: BorrowedFd<'_>, calls: Calls, buf: &mut impl Room) -> io::Result<usize> {
    let received = receive(fd, calls, buf.spare(), 0)?;
    // SAFETY: the kernel has initialised `received` bytes of the spare room.
    unsafe { buf.hold(received) };
    Ok(received)
}

/// `recv(2)` that leaves what it returns in the queue.
pub(crate) fn peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    receive(fd, Calls::Socket, maybe_uninit(buf), libc::MSG_PEEK)
}

/// `recv(2)` that drops what is there, at most 1 MiB of it, and only counts (tcp(7),
/// `MSG_TRUNC`).
pub(crate) fn discard(fd: BorrowedFd<'_>) -> io::Result<usize> {
    count(Call::Receive, fd, 1 << 20, |asked| {
        // SAFETY: TCP writes nothing for this flag; any other socket would say EFAULT.
        unsafe { libc::recv(fd.as_raw_fd(), std::ptr::null_mut(), asked, libc::MSG_TRUNC) }
    })
}

/// `recv(2)` of the urgent byte, which is at the side of the stream. None if there
/// is none, or it was received already.
pub(crate) fn recv_urgent(fd: BorrowedFd<'_>) -> io::Result<Option<u8>> {
    let mut byte = [0];
    match receive(fd, Calls::Socket, maybe_uninit(&mut byte), libc::MSG_OOB) {
        Ok(received) => Ok((received == 1).then_some(byte[0])),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `readv(2)`, of at most [`MOST_SLICES`] slices.
pub(crate) fn recv_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    count(Call::Receive, fd, bufs.len().min(MOST_SLICES), |slices| {
        // SAFETY: `IoSliceMut` has the layout of `iovec`, there are no less than
        // `slices` of them, and what they point to is writable and exclusively
        // ours.
        unsafe { libc::readv(fd.as_raw_fd(), bufs.as_mut_ptr().cast(), slices as c_int) }
    })
}

/// `send(2)`, without a SIGPIPE whatever the process thinks of that signal.
pub(crate) fn send(fd: BorrowedFd<'_>, calls: Calls, buf: &[u8]) -> io::Result<usize> {
    match calls {
        Calls::Socket => send_flagged(fd, buf, 0),
        Calls::Pipe => send_vectored(fd, calls, &[IoSlice::new(buf)]),
    }
}

/// `send(2)` with flags; `MSG_OOB` makes the last byte an urgent one.
pub(crate) fn send_flagged(fd: BorrowedFd<'_>, buf: &[u8], flags: c_int) -> io::Result<usize> {
    count(Call::Send, fd, buf.len(), |asked| {
        // SAFETY: `buf` is readable for its length, which is no less than
        // `asked`.
        unsafe { libc::send(fd.as_raw_fd(), buf.as_ptr().cast(), asked, libc::MSG_NOSIGNAL | flags) }
    })
}

/// `sendmsg(2)`, of at most [`MOST_SLICES`] slices and without a SIGPIPE, which
/// `writev(2)` would not suppress.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, calls: Calls, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: `msghdr` is integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = bufs.as_ptr().cast_mut().cast();
    let send = |slices| {
        message.msg_iovlen = slices as _;
        match calls {
            // SAFETY: `IoSlice` has the layout of `iovec`, `message` counts no more
            // of them than there are, and sendmsg writes to none of it.
            Calls::Socket => unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) },
            // SAFETY: as above.
            Calls::Pipe => unsafe { libc::writev(fd.as_raw_fd(), message.msg_iov, slices as c_int) },
        }
    };
    let slices = bufs.len().min(MOST_SLICES);
    match calls {
        Calls::Socket => count(Call::Send, fd, slices, send),
        Calls::Pipe => without_sigpipe(|| count(Call::Send, fd, slices, send)),
    }
}

/// Makes a call that has no flag against SIGPIPE: the signal goes to the thread that
/// calls, is blocked there meanwhile, and taken away if it came (signal(7)). One that
/// was blocked and pending before goes with it.
fn without_sigpipe<R>(call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    let mut pipe = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set.
    unsafe { libc::sigemptyset(pipe.as_mut_ptr()) };
    // SAFETY: the set is initialised.
    unsafe { libc::sigaddset(pipe.as_mut_ptr(), libc::SIGPIPE) };
    // SAFETY: one set is initialised, and there is room for the other.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, pipe.as_ptr(), before.as_mut_ptr()) };
    let result = call();
    if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the set is initialised, no information is asked for, and the time
        // lives through the call.
        unsafe { libc::sigtimedwait(pipe.as_ptr(), std::ptr::null_mut(), &raw const at_once) };
    }
    // SAFETY: the call above has stored the mask of before.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    result
}

/// `pipe2(2)`: a non-blocking pipe that no child inherits, its end for reading first.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    told(Call::Open, NONE, 0)?;
    let mut ends = [NONE; 2];
    // SAFETY: there is room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made these descriptors and nobody else knows them.
    Ok(ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }).into())
}

/// What a receiving call does with the datagram that it returns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue {
    Take,
    Leave,
}

impl Queue {
    fn flags(self) -> c_int {
        match self {
            Queue::Take => 0,
            Queue::Leave => libc::MSG_PEEK,
        }
    }
}

/// `recv(2)` of a datagram; what does not fit `buf` is lost.
pub(crate) fn recv_datagram(fd: BorrowedFd<'_>, buf: &mut [u8], queue: Queue) -> io::Result<usize> {
    count(Call::ReceiveDatagram, fd, buf.len(), |asked| {
        let flags = queue.flags();
        // SAFETY: `buf` is writable for its length, which is no less than
        // `asked`, and exclusively ours.
        unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), asked, flags) }
    })
}

/// `recvfrom(2)`: a datagram and its sender.
pub(crate) fn recv_from(fd: BorrowedFd<'_>, buf: &mut [u8], queue: Queue) -> io::Result<(usize, SockAddr)> {
    let call = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
        count(Call::ReceiveDatagram, fd, buf.len(), |asked| {
            // SAFETY: `buf` is writable for its length, which is no less than
            // `asked`; `try_init` passes storage for any address, and its size.
            unsafe {
                libc::recvfrom(fd.as_raw_fd(), buf.as_mut_ptr().cast(), asked, queue.flags(), storage.cast(), len)
            }
        })
    };
    // SAFETY: recvfrom stores an address and its length (none for an unnamed
    // sender), or fails.
    unsafe { SockAddr::try_init(call) }
}

/// `sendto(2)`, or `send(2)` to the connected peer.
pub(crate) fn send_to(fd: BorrowedFd<'_>, buf: &[u8], peer: Option<&SockAddr>) -> io::Result<usize> {
    let (addr, len) = peer.map_or((std::ptr::null(), 0), |peer| (peer.as_ptr(), peer.len()));
    count(Call::SendDatagram, fd, buf.len(), |asked| {
        // SAFETY: `buf` is readable for its length, which is no less than
        // `asked`, and `addr` is null or readable for `len`.
        unsafe { libc::sendto(fd.as_raw_fd(), buf.as_ptr().cast(), asked, libc::MSG_NOSIGNAL, addr.cast(), len) }
    })
}

/// How many datagrams one call moves at most, so that its arguments fit a stack
/// frame.
#[cfg(target_os = "linux")]
pub(crate) const MOST_DATAGRAMS: usize = 32;

/// `recvmmsg(2)`: as many datagrams as are there, each into a slot of `size` bytes
/// of `slots`. Calls `each` with the length, the sender, and whether the rest of
/// it was lost.
#[cfg(target_os = "linux")]
pub(crate) fn recv_batch(
    fd: BorrowedFd<'_>,
    slots: &mut [u8],
    size: usize,
    mut each: impl FnMut(usize, SocketAddr, bool),
) -> io::Result<usize> {
    let mut senders = [const { std::mem::MaybeUninit::<libc::sockaddr_storage>::zeroed() }; MOST_DATAGRAMS];
    // SAFETY: `iovec` is a pointer and an integer, for which zero is valid.
    let mut slices: [libc::iovec; MOST_DATAGRAMS] = unsafe { std::mem::zeroed() };
    // SAFETY: `mmsghdr` is integers and pointers, for which zero is valid.
    let mut messages: [libc::mmsghdr; MOST_DATAGRAMS] = unsafe { std::mem::zeroed() };
    let mut prepared = 0;
    for (number, slot) in slots.chunks_exact_mut(size).take(MOST_DATAGRAMS).enumerate() {
        slices[number].iov_base = slot.as_mut_ptr().cast();
        slices[number].iov_len = slot.len();
        let header = &mut messages[number].msg_hdr;
        header.msg_iov = &raw mut slices[number];
        header.msg_iovlen = 1;
        header.msg_name = senders[number].as_mut_ptr().cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        prepared += 1;
    }
    let received = count(Call::ReceiveDatagram, fd, prepared, |asked| {
        // SAFETY: no more than `prepared` headers are asked for, each of which
        // points to a slot of its own and to storage for any address.
        let received =
            unsafe { libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), asked as _, 0, std::ptr::null_mut()) };
        received as libc::ssize_t
    })?;
    for (message, sender) in messages.iter().zip(senders).take(received) {
        // SAFETY: zeroed, and then written by the kernel.
        let storage = unsafe { sender.assume_init() };
        let len = message.msg_hdr.msg_namelen;
        // SAFETY: the kernel has stored an address of this length.
        let sender = unsafe { address(storage, len) };
        let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        each(message.msg_len as usize, internet(&sender)?, truncated);
    }
    Ok(received)
}

/// The address that the kernel has stored.
///
/// # Safety
/// `len` bytes of `storage` are an address.
#[cfg(target_os = "linux")]
unsafe fn address(storage: libc::sockaddr_storage, len: libc::socklen_t) -> SockAddr {
    let mut own = socket2::SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_storage` is what it is storage for.
    *unsafe { own.view_as::<libc::sockaddr_storage>() } = storage;
    // SAFETY: as the caller says.
    unsafe { SockAddr::new(own, len) }
}

/// `sendmmsg(2)`: as many of the datagrams, in order, as the kernel takes.
#[cfg(target_os = "linux")]
pub(crate) fn send_batch(fd: BorrowedFd<'_>, datagrams: &[(&[u8], Option<SocketAddr>)]) -> io::Result<usize> {
    if datagrams.is_empty() {
        return Ok(0);
    }
    let peers: [Option<SockAddr>; MOST_DATAGRAMS] =
        std::array::from_fn(|number| datagrams.get(number)?.1.map(SockAddr::from));
    // SAFETY: `iovec` is a pointer and an integer, for which zero is valid.
    let mut slices: [libc::iovec; MOST_DATAGRAMS] = unsafe { std::mem::zeroed() };
    // SAFETY: `mmsghdr` is integers and pointers, for which zero is valid.
    let mut messages: [libc::mmsghdr; MOST_DATAGRAMS] = unsafe { std::mem::zeroed() };
    let prepared = datagrams.len().min(MOST_DATAGRAMS);
    for (number, (bytes, _)) in datagrams.iter().take(prepared).enumerate() {
        slices[number].iov_base = bytes.as_ptr().cast_mut().cast();
        slices[number].iov_len = bytes.len();
        let header = &mut messages[number].msg_hdr;
        header.msg_iov = &raw mut slices[number];
        header.msg_iovlen = 1;
        if let Some(peer) = &peers[number] {
            header.msg_name = peer.as_ptr().cast_mut().cast();
            header.msg_namelen = peer.len();
        }
    }
    count(Call::SendDatagram, fd, prepared, |asked| {
        // SAFETY: no more than `prepared` headers are asked for, each of which
        // points to readable bytes and to an address or none.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), asked as _, libc::MSG_NOSIGNAL) };
        sent as libc::ssize_t
    })
}

/// `accept4(2)`: a non-blocking descriptor that no child inherits, and its peer.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let call = |storage: *mut socket2::SockAddrStorage, len: *mut libc::socklen_t| {
        count(Call::Accept, fd, 0, |_| {
            // SAFETY: `try_init` passes storage for any address, and its size.
            let fd = unsafe { libc::accept4(fd.as_raw_fd(), storage.cast(), len, flags) };
            fd as libc::ssize_t
        })
    };
    // SAFETY: accept4 stores an address and its length, or fails.
    let (accepted, peer) = unsafe { SockAddr::try_init(call) }?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted as c_int) };
    Ok((accepted, peer))
}

pub(crate) fn internet(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the address is not one of the internet"))
}

/// `socket(2)`: a non-blocking TCP socket of the family of `addr`.
pub(crate) fn tcp_socket(addr: &SocketAddr) -> io::Result<OwnedFd> {
    told(Call::Open, NONE, 0)?;
    let kind = Type::STREAM.nonblocking().cloexec();
    Socket::new(Domain::for_address(*addr), kind, Some(Protocol::TCP)).map(OwnedFd::from)
}

/// `socket(2)`: a non-blocking UDP socket of the family of `addr`.
pub(crate) fn udp_socket(addr: &SocketAddr) -> io::Result<OwnedFd> {
    told(Call::Open, NONE, 0)?;
    let kind = Type::DGRAM.nonblocking().cloexec();
    Socket::new(Domain::for_address(*addr), kind, Some(Protocol::UDP)).map(OwnedFd::from)
}

/// `socket(2)`: a non-blocking Unix socket.
pub(crate) fn unix_socket(kind: Type) -> io::Result<OwnedFd> {
    told(Call::Open, NONE, 0)?;
    let kind = kind.nonblocking().cloexec();
    Socket::new(Domain::UNIX, kind, None).map(OwnedFd::from)
}

/// `socketpair(2)`: two non-blocking Unix sockets that are connected.
pub(crate) fn unix_pair(kind: Type) -> io::Result<(OwnedFd, OwnedFd)> {
    told(Call::Open, NONE, 0)?;
    let (one, other) = Socket::pair(Domain::UNIX, kind.nonblocking().cloexec(), None)?;
    Ok((one.into(), other.into()))
}

/// The address of a Unix socket as people know it; unnamed for the one that std can not
/// express, a path of 108 bytes: what comes from there is not to be lost for that.
pub(crate) fn unix(addr: &SockAddr) -> io::Result<UnixAddr> {
    if let Some(path) = addr.as_pathname() {
        return UnixAddr::from_pathname(path).or_else(|_| UnixAddr::from_pathname(""));
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = addr.as_abstract_namespace() {
        return UnixAddr::from_abstract_name(name);
    }
    // Unnamed, as one that is bound to no path is.
    UnixAddr::from_pathname("")
}

/// The address of a Unix socket as the kernel knows it.
pub(crate) fn unix_addr(addr: &UnixAddr) -> io::Result<SockAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = addr.as_abstract_name() {
        let name = [b"\0", name].concat();
        return SockAddr::unix(OsStr::from_bytes(&name));
    }
    SockAddr::unix(addr.as_pathname().unwrap_or_else(|| Path::new("")))
}

/// `SO_PEERCRED`: process, user and group of the peer when it connected, or listened.
#[cfg(target_os = "linux")]
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<[u32; 3]> {
    told(Call::Option, fd.as_raw_fd(), 0)?;
    // A `ucred`, which is three numbers of 32 bits.
    let mut credentials = [0; 12];
    read_option(fd, (libc::SOL_SOCKET, libc::SO_PEERCRED), &mut credentials)?;
    Ok(std::array::from_fn(|place| word(&credentials, place * 4)))
}

/// The number of 32 bits that the kernel has stored at `offset`.
fn word(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_ne_bytes(word)
}

/// `bind(2)`.
pub(crate) fn bind(fd: BorrowedFd<'_>, addr: &SockAddr) -> io::Result<()> {
    option(&fd)?.bind(addr)
}

/// `listen(2)`. The kernel cuts a backlog above its limit.
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    option(&fd)?.listen(c_int::try_from(backlog).unwrap_or(c_int::MAX))
}

/// `connect(2)`. An interrupted call goes on connecting, and calling again would
/// only say EALREADY.
pub(crate) fn connect(fd: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<Connecting> {
    let connecting = match SockRef::from(&fd).connect(&(*addr).into()) {
        Ok(()) => Connecting::Done,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Connecting::UnderWay,
        Err(error) => return Err(error),
    };
    // What is interrupted here has begun, so it is first begun; what has failed is
    // over, and its error told.
    match told(Call::Connect, fd.as_raw_fd(), 0) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Connecting::UnderWay),
        told => told.map(|_| connecting),
    }
}

/// `connect(2)` of a socket that never waits for an answer: of a datagram socket,
/// which only notes the address, or a Unix socket, for which there is room in the
/// listener's backlog or not (EAGAIN).
pub(crate) fn connect_at_once(fd: BorrowedFd<'_>, addr: &SockAddr) -> io::Result<()> {
    count(Call::Connect, fd, 0, |_| {
        // SAFETY: the address is readable for its length.
        let result = unsafe { libc::connect(fd.as_raw_fd(), addr.as_ptr().cast(), addr.len()) };
        result as libc::ssize_t
    })
    .map(drop)
}

/// `shutdown(2)`.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    SockRef::from(&fd).shutdown(how)
}

/// `getsockname(2)`.
pub(crate) fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    internet(&option(&fd)?.local_addr()?)
}

/// `getsockname(2)` of a Unix socket.
pub(crate) fn unix_local_addr(fd: BorrowedFd<'_>) -> io::Result<UnixAddr> {
    unix(&option(&fd)?.local_addr()?)
}

/// `getpeername(2)` of a Unix socket.
pub(crate) fn unix_peer_addr(fd: BorrowedFd<'_>) -> io::Result<UnixAddr> {
    unix(&option(&fd)?.peer_addr()?)
}

/// `getpeername(2)`.
pub(crate) fn peer_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    internet(&option(&fd)?.peer_addr()?)
}

/// `SO_ERROR`, which the kernel forgets as it tells.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    option(&fd)?.take_error()
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
    // Kernels before 4.13 refuse: they have no such protocols.
    read_option(fd, (libc::IPPROTO_TCP, libc::TCP_ULP), &mut [0; 16]).is_ok_and(|len| len > 0)
}

#[cfg(not(target_os = "linux"))]
fn has_upper_layer(_fd: BorrowedFd<'_>) -> bool {
    false
}

/// `getaddrinfo(3)`; blocks.
pub(crate) fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// `TCP_NODELAY`.
pub(crate) fn set_nodelay(fd: BorrowedFd<'_>, nodelay: bool) -> io::Result<()> {
    option(&fd)?.set_tcp_nodelay(nodelay)
}

/// `IP_ADD_MEMBERSHIP`, `IPV6_ADD_MEMBERSHIP`.
pub(crate) fn join(fd: BorrowedFd<'_>, group: Group) -> io::Result<()> {
    let socket = option(&fd)?;
    match group {
        Group::V4 { group, interface } => socket.join_multicast_v4(&group, &interface),
        Group::V6 { group, interface } => socket.join_multicast_v6(&group, interface),
    }
}

/// `IP_DROP_MEMBERSHIP`, `IPV6_DROP_MEMBERSHIP`.
pub(crate) fn leave(fd: BorrowedFd<'_>, group: Group) -> io::Result<()> {
    let socket = option(&fd)?;
    match group {
        Group::V4 { group, interface } => socket.leave_multicast_v4(&group, &interface),
        Group::V6 { group, interface } => socket.leave_multicast_v6(&group, interface),
    }
}

/// A multicast group at one interface of this host.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Group {
    V4 { group: Ipv4Addr, interface: Ipv4Addr },
    V6 { group: Ipv6Addr, interface: u32 },
}

/// The soft limit of descriptors (`RLIMIT_NOFILE`).
#[cfg(target_os = "linux")]
pub(crate) fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable; the call can not fail with these arguments.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur
}

/// What the kernel knows about a socket, found by its number.
#[cfg(target_os = "linux")]
pub(crate) fn describe(number: RawFd) -> io::Result<SocketInfo> {
    // SAFETY: lives in this function, which only asks: where the number stands for
    // nothing or for another file by now, the kernel says so, or tells of that one.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let socket = SockRef::from(&fd);
    let kind = socket.r#type()?;
    let protocol = match (socket.domain()?, kind, socket.protocol()?) {
        (_, _, Some(Protocol::TCP)) => "tcp",
        (_, _, Some(Protocol::UDP)) => "udp",
        (Domain::UNIX, Type::STREAM, _) => "unix",
        (Domain::UNIX, Type::DGRAM, _) => "unix-dgram",
        (Domain::UNIX, Type::SEQPACKET, _) => "unix-seq",
        _ => "other",
    };
    let address = |addr: io::Result<SockAddr>| {
        let internet = |addr: &SockAddr| addr.as_socket().map(|addr| addr.to_string());
        // Not `as_unix`, which panics at a path of 108 bytes.
        let path = |addr: &SockAddr| addr.as_pathname().map(|path| format!("{path:?} (pathname)"));
        let name = |name: &[u8]| format!("\"{}\" (abstract)", name.escape_ascii());
        let unix = |addr: &SockAddr| path(addr).or_else(|| addr.as_abstract_namespace().map(name));
        addr.ok().and_then(|addr| internet(&addr).or_else(|| unix(&addr))).unwrap_or_else(|| "-".to_owned())
    };
    let mut info = SocketInfo {
        fd: number,
        protocol,
        local: address(socket.local_addr()),
        peer: address(socket.peer_addr()),
        state: None,
        received: queue(fd, libc::FIONREAD).ok(),
        unsent: queue(fd, libc::TIOCOUTQ).ok(),
    };
    if protocol == "tcp"
        && let Ok(raw) = tcp_info(fd)
    {
        let state = TcpInfo::of(&raw).state;
        if state == TcpState::Listen {
            // As in `TcpListener::queue`.
            info.received = Some(raw.word(24) as usize);
            info.unsent = Some(raw.word(28) as usize);
        }
        info.state = Some(state);
    }
    Ok(info)
}

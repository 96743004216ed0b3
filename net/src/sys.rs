//! Every system call of this crate, as small functions over a descriptor, and the
//! only place with `unsafe`: nothing else asks the kernel for anything, so faults
//! can be injected and another kernel can stand in here.
//!
//! Linux has what is used; what other systems have not is not marked. Where `EINTR`
//! (signal(7)) ends a call before it did anything, the call is made again, so no caller
//! ever sees it.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::Path;

use bourn_reactor::Kind;
use bourn_reactor::faults::{Call, told};
use libc::{EMFILE, ENFILE, c_int};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

mod batch;
mod fds;
mod room;
mod splice;
mod tcp_info;

pub(crate) use batch::{MOST_DATAGRAMS, recv_batch, send_batch};
pub(crate) use fds::{recv_with_fds, send_with_fds};
pub(crate) use room::Room;
pub(crate) use splice::{send_file, splice};
pub(crate) use tcp_info::{listen_overflows, queue, tcp_info};

/// The kernel takes no more slices than this in one call (`IOV_MAX`, limits.h).
pub(crate) const MOST_SLICES: usize = 1024;
/// The kernel moves no more bytes than this in one call (`MAX_RW_COUNT`, see the
/// notes of read(2)).
pub(crate) const MOST_BYTES: usize = 0x7fff_f000;

/// No descriptor: what a call is about that makes one.
const NONE: RawFd = -1;

/// Makes a call that is about `asked` bytes or slices of `fd` until no signal
/// interrupts it.
// For what moves bytes, the call and what is done with its answer are one piece.
#[inline(always)]
fn uninterrupted<R>(
    call: Call,
    fd: BorrowedFd<'_>,
    asked: usize,
    mut make: impl FnMut(usize) -> io::Result<R>,
) -> io::Result<R> {
    loop {
        match told(call, fd.as_raw_fd(), asked).and_then(&mut make) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A first write that only began to connect (`TCP_FASTOPEN_CONNECT`).
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            result => return result,
        }
    }
}

/// The same of a call that is not socket2's, and returns a count.
#[inline(always)]
fn count(call: Call, fd: BorrowedFd<'_>, asked: usize, mut make: impl FnMut(usize) -> isize) -> io::Result<usize> {
    // Negative is -1, with the reason in `errno`.
    let checked = |result| usize::try_from(result).map_err(|_| io::Error::last_os_error());
    uninterrupted(call, fd, asked, |asked| checked(make(asked)))
}

/// The socket, to be asked for or told a name or an option: what a method of
/// [`SockRef`] does is one call of getsockopt(2) or setsockopt(2), mostly.
pub(crate) fn option<S: AsFd>(socket: &S) -> io::Result<SockRef<'_>> {
    told(Call::Option, socket.as_fd().as_raw_fd(), 0)?;
    Ok(SockRef::from(socket))
}

/// What the kernel wrote as the value of an option; what it did not write is 0.
pub(crate) struct RawInfo([u8; 256]);

impl RawInfo {
    pub(crate) fn byte(&self, offset: usize) -> u8 {
        self.0[offset]
    }

    pub(crate) fn word(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(std::array::from_fn(|place| self.0[offset + place]))
    }

    pub(crate) fn long(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(std::array::from_fn(|place| self.0[offset + place]))
    }
}

/// `getsockopt(2)` of an option that socket2 does not know.
fn read_option(fd: BorrowedFd<'_>, (level, name): (c_int, c_int)) -> io::Result<RawInfo> {
    let mut value = RawInfo([0; 256]);
    let mut len = value.0.len() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes, and `len` says so.
    let result = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value.0.as_mut_ptr().cast(), &raw mut len) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// An option that is an `int` and that socket2 does not know.
pub(crate) fn int(socket: &Socket, option: (c_int, c_int)) -> io::Result<c_int> {
    read_option(socket.as_fd(), option).map(|value| value.word(0).cast_signed())
}

/// Sets an option that is an `int`; the kernel would take what does not fit for
/// something else.
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
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Calls {
    /// recv(2), send(2) and sendmsg(2).
    #[default]
    Socket,
    /// read(2), write(2) and writev(2), of a pipe.
    Pipe,
}

/// recvfrom(2) or sendto(2), with nobody's address. Not by libc's functions: they let
/// another thread cancel this one meanwhile (pthreads(7)), which costs as much as all else
/// on this side of the kernel, and which nobody does to Rust's threads.
///
/// # Safety
/// There are `len` bytes at `start`, to be read, or to be written by the kernel alone.
#[inline]
unsafe fn transfer(
    number: libc::c_long,
    call: Call,
    fd: BorrowedFd<'_>,
    (start, len): (*const u8, usize),
    flags: c_int,
) -> io::Result<usize> {
    count(call, fd, len, |asked| {
        // SAFETY: the caller's promise, for no more than `len` is asked for; and there is no
        // room for an address, nor one.
        unsafe { libc::syscall(number, fd.as_raw_fd(), start, asked.min(len), flags, 0usize, 0usize) as isize }
    })
}

fn receive(call: Call, fd: BorrowedFd<'_>, buf: &mut [MaybeUninit<u8>], flags: c_int) -> io::Result<usize> {
    // SAFETY: `buf` is exclusively ours.
    unsafe { transfer(libc::SYS_recvfrom, call, fd, (buf.as_mut_ptr().cast(), buf.len()), flags) }
}

fn read(fd: BorrowedFd<'_>, calls: Calls, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    match calls {
        Calls::Socket => receive(Call::Receive, fd, buf, 0),
        Calls::Pipe => count(Call::Receive, fd, buf.len(), |asked| {
            // SAFETY: `buf` is writable for its length, which is no less than `asked`,
            // and exclusively ours; the kernel only writes to it.
            unsafe { libc::read(fd.as_raw_fd(), buf.as_mut_ptr().cast(), asked) }
        }),
    }
}

/// What is initialised, for calls that may write only what is.
fn maybe_uninit(buf: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: it has the layout of bytes, and the kernel, who is all that gets it,
    // writes no others.
    unsafe { &mut *(std::ptr::from_mut(buf) as *mut [MaybeUninit<u8>]) }
}

/// `recv(2)`.
pub(crate) fn recv(fd: BorrowedFd<'_>, calls: Calls, buf: &mut [u8]) -> io::Result<usize> {
    read(fd, calls, maybe_uninit(buf))
}

/// `recv(2)` into the room that is left in `buf`, which then holds what came.
pub(crate) fn recv_spare(fd: BorrowedFd<'_>, calls: Calls, buf: &mut impl Room) -> io::Result<usize> {
    let received = read(fd, calls, buf.spare())?;
    // SAFETY: the kernel has initialised `received` bytes of the spare room.
    unsafe { buf.hold(received) };
    Ok(received)
}

/// `recv(2)` that leaves what it returns in the queue.
pub(crate) fn peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    receive(Call::Receive, fd, maybe_uninit(buf), libc::MSG_PEEK)
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
    match receive(Call::Receive, fd, maybe_uninit(&mut byte), libc::MSG_OOB) {
        Ok(received) => Ok((received == 1).then_some(byte[0])),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many empty slices come first: 1,024 of them would be all that the kernel takes,
/// and look like the end of the stream.
fn empty<B: Deref<Target = [u8]>>(bufs: &[B]) -> usize {
    bufs.iter().take_while(|buf| buf.is_empty()).count()
}

/// How many bytes a call moves at most between a socket and these slices.
pub(crate) fn asked<B: Deref<Target = [u8]>>(bufs: &[B]) -> usize {
    let taken = bufs[empty(bufs)..].iter().take(MOST_SLICES);
    taken.fold(0, |sum, buf| sum.saturating_add(buf.len()))
}

/// `readv(2)`, of at most [`MOST_SLICES`] slices.
pub(crate) fn recv_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let first = empty(bufs);
    let bufs = &mut bufs[first..];
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
    let flags = libc::MSG_NOSIGNAL | flags;
    // SAFETY: `buf` is readable.
    unsafe { transfer(libc::SYS_sendto, Call::Send, fd, (buf.as_ptr(), buf.len()), flags) }
}

/// `sendmsg(2)`, of at most [`MOST_SLICES`] slices and without a SIGPIPE, which
/// `writev(2)` would not suppress.
// Not inlined: or its slices would be made ready wherever a socket is written to.
#[inline(never)]
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, calls: Calls, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let bufs = &bufs[empty(bufs)..];
    let slices = bufs.len().min(MOST_SLICES);
    match calls {
        Calls::Socket => uninterrupted(Call::Send, fd, slices, |slices| {
            SockRef::from(&fd).send_vectored_with_flags(&bufs[..slices], libc::MSG_NOSIGNAL)
        }),
        Calls::Pipe => without_sigpipe(|| {
            count(Call::Send, fd, slices, |slices| {
                // SAFETY: `IoSlice` has the layout of `iovec`, and there are no less than
                // `slices` of them.
                unsafe { libc::writev(fd.as_raw_fd(), bufs.as_ptr().cast(), slices as c_int) }
            })
        }),
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

/// `recv(2)` of a datagram; what does not fit `buf` is lost. `MSG_PEEK` leaves it in the
/// queue.
pub(crate) fn recv_datagram(fd: BorrowedFd<'_>, buf: &mut [u8], flags: c_int) -> io::Result<usize> {
    receive(Call::ReceiveDatagram, fd, maybe_uninit(buf), flags)
}

/// `recvfrom(2)`: a datagram and its sender, of which `address` makes what is returned.
pub(crate) fn recv_from<A>(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    flags: c_int,
    address: fn(&SockAddr) -> io::Result<A>,
) -> io::Result<(usize, A)> {
    let buf = maybe_uninit(buf);
    let (length, sender) = uninterrupted(Call::ReceiveDatagram, fd, buf.len(), |asked| {
        SockRef::from(&fd).recv_from_with_flags(&mut buf[..asked], flags)
    })?;
    Ok((length, address(&sender)?))
}

/// `sendto(2)`, or `send(2)` to the connected peer.
pub(crate) fn send_to(fd: BorrowedFd<'_>, buf: &[u8], peer: Option<&SockAddr>) -> io::Result<usize> {
    let socket = SockRef::from(&fd);
    uninterrupted(Call::SendDatagram, fd, buf.len(), |asked| match peer {
        Some(peer) => socket.send_to_with_flags(&buf[..asked], peer, libc::MSG_NOSIGNAL),
        None => socket.send_with_flags(&buf[..asked], libc::MSG_NOSIGNAL),
    })
}

/// `accept4(2)`: a non-blocking descriptor that no child inherits, and its peer.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SockAddr)> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    match uninterrupted(Call::Accept, fd, 0, |_| SockRef::from(&fd).accept4(flags)) {
        // The kernel looks for a descriptor first, and into the queue afterwards: in an empty one, nobody lacks it.
        Err(error) if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) && is_empty(fd) => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        accepted => accepted.map(|(accepted, peer)| (accepted.into(), peer)),
    }
}

/// `poll(2)`: whether there is nothing to read, or to accept.
fn is_empty(fd: BorrowedFd<'_>) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&raw mut entry, 1, 0) == 0 }
}

pub(crate) fn internet(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the address is not one of the internet"))
}

/// `socket(2)`, not blocking and closed on exec.
pub(crate) fn open(domain: Domain, kind: Type) -> io::Result<OwnedFd> {
    told(Call::Open, NONE, 0)?;
    Socket::new(domain, kind.nonblocking().cloexec(), None).map(OwnedFd::from)
}

/// A socket like that of the family of `addr`, bound to it (bind(2)).
pub(crate) fn open_at(addr: &SockAddr, kind: Type) -> io::Result<OwnedFd> {
    let fd = open(addr.domain(), kind)?;
    option(&fd)?.bind(addr)?;
    Ok(fd)
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
    if let Some(name) = addr.as_abstract_namespace() {
        return UnixAddr::from_abstract_name(name);
    }
    // Unnamed is one that is bound to no path.
    UnixAddr::from_pathname(addr.as_pathname().unwrap_or(Path::new(""))).or_else(|_| UnixAddr::from_pathname(""))
}

/// The address of a Unix socket as the kernel knows it.
pub(crate) fn unix_addr(addr: &UnixAddr) -> io::Result<SockAddr> {
    if let Some(name) = addr.as_abstract_name() {
        let name = [b"\0", name].concat();
        return SockAddr::unix(OsStr::from_bytes(&name));
    }
    SockAddr::unix(addr.as_pathname().unwrap_or_else(|| Path::new("")))
}

/// `SO_PEERCRED`: process, user and group of the peer when it connected, or listened.
pub(crate) fn peer_credentials(fd: BorrowedFd<'_>) -> io::Result<[u32; 3]> {
    told(Call::Option, fd.as_raw_fd(), 0)?;
    // A `ucred`, which is three numbers of 32 bits.
    let credentials = read_option(fd, (libc::SOL_SOCKET, libc::SO_PEERCRED))?;
    Ok([0, 4, 8].map(|offset| credentials.word(offset)))
}

/// `listen(2)`. The kernel cuts a backlog above its limit.
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    option(&fd)?.listen(c_int::try_from(backlog).unwrap_or(c_int::MAX))
}

/// `connect(2)`, and whether the connection is there already. An interrupted call goes on
/// connecting, and calling again would only say EALREADY.
pub(crate) fn connect(fd: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<Kind> {
    let kind = match SockRef::from(&fd).connect(&(*addr).into()) {
        Ok(()) => Kind::Stream,
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Kind::Connecting,
        Err(error) => return Err(error),
    };
    // What is interrupted here has begun, so it is first begun; what has failed is
    // over, and its error told.
    match told(Call::Connect, fd.as_raw_fd(), 0) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Kind::Connecting),
        told => told.map(|_| kind),
    }
}

/// Nothing if a `connect(2)` that was under way has succeeded.
pub(crate) fn connected(fd: BorrowedFd<'_>) -> io::Result<()> {
    let socket = option(&fd)?;
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    socket.peer_addr().map(drop).map_err(|error| match error.kind() {
        // Neither connected nor failed: the report was spurious.
        io::ErrorKind::NotConnected => io::ErrorKind::WouldBlock.into(),
        _ => error,
    })
}

/// `connect(2)` of a socket that never waits for an answer: of a datagram socket,
/// which only notes the address, or a Unix socket, for which there is room in the
/// listener's backlog or not (EAGAIN).
pub(crate) fn connect_at_once(fd: BorrowedFd<'_>, addr: &SockAddr) -> io::Result<()> {
    uninterrupted(Call::Connect, fd, 0, |_| SockRef::from(&fd).connect(addr))
}

/// `shutdown(2)`.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    SockRef::from(&fd).shutdown(how)
}

/// Whether a short read of this socket means that it is empty: TCP itself, with
/// no upper-layer protocol over it and urgent data kept out of the stream.
pub(crate) fn is_plain_tcp(fd: BorrowedFd<'_>) -> bool {
    let socket = SockRef::from(&fd);
    // What can not be asked is not relied upon.
    matches!(socket.protocol(), Ok(Some(Protocol::TCP)))
        && matches!(socket.out_of_band_inline(), Ok(false))
        // The name of the upper-layer protocol. Kernels before 4.13 refuse: they have none.
        && read_option(fd, (libc::IPPROTO_TCP, libc::TCP_ULP)).map_or(true, |name| name.byte(0) == 0)
}

/// `getaddrinfo(3)`; blocks.
pub(crate) fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// The soft limit of descriptors (`RLIMIT_NOFILE`).
pub(crate) fn descriptor_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable; the call can not fail with these arguments.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur
}

/// Asks about a descriptor by its number. `ask` only asks: where the number stands for
/// nothing (EBADF) or for another file by now, the kernel says so, or tells of that one.
pub(crate) fn by_number<R>(number: RawFd, ask: fn(BorrowedFd<'_>) -> io::Result<R>) -> io::Result<R> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: not -1. No memory depends on what the number stands for, only the kernel's answers; as `ask` has no state
    // and takes any lifetime, what it is given ends with the call, and safe code can not close it.
    ask(unsafe { BorrowedFd::borrow_raw(number) })
}

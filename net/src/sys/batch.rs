//! Several datagrams by one call.

use std::array;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use bourn_reactor::faults::Call;
use libc::{c_void, iovec, mmsghdr, socklen_t};
use socket2::{SockAddr, SockAddrStorage};

use super::{count, internet};

/// How many datagrams one call moves at most, so that its arguments fit a stack
/// frame.
pub(crate) const MOST_DATAGRAMS: usize = 32;

type Slices = [iovec; MOST_DATAGRAMS];

const NO_SLICES: Slices = [iovec { iov_base: ptr::null_mut(), iov_len: 0 }; MOST_DATAGRAMS];

/// The headers of a batch, and how many there are: one for each of `parts`, which say
/// where the bytes are, which go by way of `slices`, and where the address is.
fn headers(
    slices: &mut Slices,
    parts: impl Iterator<Item = (iovec, *mut c_void, socklen_t)>,
) -> ([mmsghdr; MOST_DATAGRAMS], usize) {
    // SAFETY: `mmsghdr` is integers and pointers, for which zero is valid.
    let mut messages: [mmsghdr; MOST_DATAGRAMS] = unsafe { std::mem::zeroed() };
    let mut prepared = 0;
    for ((message, slice), (bytes, name, name_len)) in messages.iter_mut().zip(slices).zip(parts) {
        *slice = bytes;
        let header = &mut message.msg_hdr;
        (header.msg_iov, header.msg_iovlen) = (slice, 1);
        (header.msg_name, header.msg_namelen) = (name, name_len);
        prepared += 1;
    }
    (messages, prepared)
}

/// `recvmmsg(2)`: as many datagrams as are there, each into a slot of `size` bytes
/// of `slots`. Adds the length, the sender, and whether the rest of it was lost, to
/// `datagrams`.
pub(crate) fn recv_batch(
    fd: BorrowedFd<'_>,
    slots: &mut [u8],
    size: usize,
    datagrams: &mut Vec<(usize, SocketAddr, bool)>,
) -> io::Result<usize> {
    let mut senders: [_; MOST_DATAGRAMS] = array::from_fn(|_| SockAddrStorage::zeroed());
    let mut slices = NO_SLICES;
    let parts = slots.chunks_exact_mut(size).zip(&mut senders).map(|(slot, sender)| {
        let bytes = iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
        (bytes, ptr::from_mut(sender).cast(), size_of::<SockAddrStorage>() as socklen_t)
    });
    let (mut messages, prepared) = headers(&mut slices, parts);
    let received = count(Call::ReceiveDatagram, fd, prepared, |asked| {
        // SAFETY: no more than `prepared` headers are asked for, each of which
        // points to a slot of its own and to storage for any address.
        let received = unsafe { libc::recvmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), asked as _, 0, ptr::null_mut()) };
        received as libc::ssize_t
    })?;
    for (message, sender) in messages.iter().zip(senders).take(received) {
        // SAFETY: the kernel has stored an address of this length.
        let sender = unsafe { SockAddr::new(sender, message.msg_hdr.msg_namelen) };
        let truncated = message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        datagrams.push((message.msg_len as usize, internet(&sender)?, truncated));
    }
    Ok(received)
}

/// `sendmmsg(2)`: as many of the datagrams, in order, as the kernel takes.
pub(crate) fn send_batch(fd: BorrowedFd<'_>, datagrams: &[(&[u8], Option<SocketAddr>)]) -> io::Result<usize> {
    if datagrams.is_empty() {
        return Ok(0);
    }
    let peers: [Option<SockAddr>; MOST_DATAGRAMS] =
        array::from_fn(|number| datagrams.get(number)?.1.map(SockAddr::from));
    let mut slices = NO_SLICES;
    let parts = datagrams.iter().zip(&peers).map(|((bytes, _), peer)| {
        let bytes = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let name = peer.as_ref().map_or(ptr::null_mut(), |peer| peer.as_ptr().cast_mut().cast());
        (bytes, name, peer.as_ref().map_or(0, SockAddr::len))
    });
    let (mut messages, prepared) = headers(&mut slices, parts);
    count(Call::SendDatagram, fd, prepared, |asked| {
        // SAFETY: no more than `prepared` headers are asked for, each of which
        // points to readable bytes and to an address or none.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), messages.as_mut_ptr(), asked as _, libc::MSG_NOSIGNAL) };
        sent as libc::ssize_t
    })
}

//! Descriptors that travel beside bytes (`SCM_RIGHTS`, unix(7), cmsg(3)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use bourn_reactor::faults::Call;
use libc::{c_int, cmsghdr, iovec, msghdr};

use super::count;

/// The kernel passes no more descriptors than this at a time (`SCM_MAX_FD`).
const MOST_FDS: usize = 253;

/// A descriptor of the sender's process, for who has set `SO_PASSPIDFD` (linux/socket.h).
const SCM_PIDFD: c_int = 4;

/// Room for so many, and for credentials that somebody has asked for; aligned as
/// `cmsghdr` has to be.
const ROOM: usize = (MOST_FDS * size_of::<RawFd>() + 128) / size_of::<u64>();

/// A message of one slice, with room for what goes beside it.
fn message(slice: &mut iovec, control: &mut [u64; ROOM]) -> msghdr {
    // SAFETY: `msghdr` is integers and pointers, for which zero is valid.
    let mut message: msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slice;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control) as _;
    message
}

/// `sendmsg(2)` with `fds` beside the first byte of `buf`.
pub(crate) fn send_with_fds(fd: BorrowedFd<'_>, call: Call, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if fds.len() > MOST_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than 253 descriptors can not be sent at a time"));
    }
    let mut slice = iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() };
    let mut control = [0; ROOM];
    let mut message = message(&mut slice, &mut control);
    let bytes = size_of_val(fds);
    // SAFETY: it only reckons.
    message.msg_controllen = if fds.is_empty() { 0 } else { unsafe { libc::CMSG_SPACE(bytes as _) as _ } };
    // SAFETY: the message has control data of that length.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    if !header.is_null() {
        // SAFETY: it only reckons.
        let len = unsafe { libc::CMSG_LEN(bytes as _) };
        // SAFETY: the header is in `control`, aligned, and exclusively ours; all of
        // it is integers, for which zero is valid.
        let head: &mut cmsghdr = unsafe { &mut *header };
        head.cmsg_len = len as _;
        head.cmsg_level = libc::SOL_SOCKET;
        head.cmsg_type = libc::SCM_RIGHTS;
        // SAFETY: the header is in `control`.
        let data = unsafe { libc::CMSG_DATA(header) };
        // SAFETY: `BorrowedFd` has the layout of `RawFd`; there is room for `bytes`
        // behind the header, as `CMSG_SPACE` says.
        unsafe { ptr::copy_nonoverlapping(fds.as_ptr().cast(), data, bytes) };
    }
    count(call, fd, buf.len(), |asked| {
        slice.iov_len = asked;
        // SAFETY: the message points to readable bytes, no more than there are, and
        // to control data of the length that it says.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) }
    })
}

/// `recvmsg(2)` with the descriptors that came along, which no child inherits.
pub(crate) fn recv_with_fds(fd: BorrowedFd<'_>, call: Call, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut slice = iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let mut control = [0; ROOM];
    let mut message = message(&mut slice, &mut control);
    let received = count(call, fd, buf.len(), |asked| {
        slice.iov_len = asked;
        // SAFETY: the message points to bytes that are writable and exclusively ours,
        // no more than there are, and to room for control data of the length that it
        // says, which the kernel changes when it succeeds alone.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) }
    })?;
    let mut fds = Vec::new();
    // SAFETY: the kernel has written control data of the length that it says.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: the header is in `control`, and the kernel has written it.
        let head: cmsghdr = unsafe { header.read() };
        if head.cmsg_level == libc::SOL_SOCKET && matches!(head.cmsg_type, libc::SCM_RIGHTS | SCM_PIDFD) {
            // SAFETY: it only reckons.
            let before = unsafe { libc::CMSG_LEN(0) } as usize;
            // SAFETY: the header is in `control`.
            let data: *const RawFd = unsafe { libc::CMSG_DATA(header) }.cast();
            for place in 0..(head.cmsg_len as usize - before) / size_of::<c_int>() {
                // SAFETY: there are so many behind the header.
                let raw = unsafe { data.wrapping_add(place).read_unaligned() };
                // A process that is gone has an error in place of one.
                if raw >= 0 {
                    // SAFETY: the kernel just made this descriptor and nobody else knows it.
                    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
                    // That of a process, which nobody asked us for, is closed here.
                    fds.extend((head.cmsg_type == libc::SCM_RIGHTS).then_some(fd));
                }
            }
        }
        // SAFETY: as with the first.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        // What came is closed here.
        return Err(io::Error::other(
            "descriptors that the peer sent along are lost, and the bytes beside them: this process can have no more",
        ));
    }
    Ok((received, fds))
}

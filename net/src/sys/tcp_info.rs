//! What the kernel tells of TCP connections.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use bourn_reactor::faults::{Call, told};
use libc::c_int;

use super::read_option;

/// A `tcp_info` as the kernel wrote it; what it did not write is 0.
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

/// `TCP_INFO`.
pub(crate) fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<RawInfo> {
    told(Call::Option, fd.as_raw_fd(), 0)?;
    let mut raw = RawInfo([0; 256]);
    read_option(fd, (libc::IPPROTO_TCP, libc::TCP_INFO), &mut raw.0)?;
    Ok(raw)
}

/// `SIOCINQ`, `SIOCOUTQ` and `SIOCOUTQNSD` (tcp(7), linux/sockios.h).
pub(crate) fn queues(fd: BorrowedFd<'_>) -> io::Result<[usize; 3]> {
    told(Call::Option, fd.as_raw_fd(), 0)?;
    Ok([queue(fd, libc::FIONREAD)?, queue(fd, libc::TIOCOUTQ)?, queue(fd, libc::SIOCOUTQNSD)?])
}

/// One of these.
pub(super) fn queue(fd: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<usize> {
    let mut answer: c_int = 0;
    // SAFETY: each of these writes an `int`, which lives through the call.
    if unsafe { libc::ioctl(fd.as_raw_fd(), request, &raw mut answer) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer.unsigned_abs() as usize)
}

/// `ListenOverflows` of this thread's network namespace.
pub(crate) fn listen_overflows() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    // A line of names, and a line of numbers beneath.
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, numbers) = (lines.next().into_iter().flatten(), lines.next().into_iter().flatten());
    let found = names.zip(numbers).find(|(name, _)| *name == "ListenOverflows");
    found.and_then(|(_, number)| number.parse().ok()).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

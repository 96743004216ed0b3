//! The descriptors that a process is started with: the only place with `unsafe` here.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes over a descriptor that came with the process, and keeps children from getting it.
///
/// # Safety
/// Nothing else in the process owns `fd`.
pub(crate) unsafe fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: a descriptor that is not open is refused with EBADF; nothing else is changed
    // than its flag.
    let set = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    if set == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, as the call above has shown, and the caller says whose it is.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

//! The descriptors that a process is started with: with the traits of hyper, the only place
//! with `unsafe` here.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes over `count` descriptors from `first` on that came with the process, and keeps
/// its children from getting them; once in the life of the process.
pub(crate) fn adopt(first: RawFd, count: RawFd) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        let message = "the inherited descriptors are taken already: call inherit once in a process";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let adopted = (first..first.saturating_add(count)).map(|fd| {
        // SAFETY: a descriptor that is not open is refused with EBADF; nothing else is
        // changed than its flag.
        let set = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        if set == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is open, as the call above has shown. Whoever started the process
        // opened it for whoever asks for it, and that is done once, here.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    });
    adopted.collect()
}

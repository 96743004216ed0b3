//! Bytes that go from one descriptor to another without passing through here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use bourn_reactor::faults::Call;

use super::{count, without_sigpipe};

/// How much one splice(2) moves at most: what a pipe holds by default.
const MOST: usize = 64 * 1024;

/// `splice(2)` of at most `bytes`, one of the two being a pipe. `call` says which of
/// them the call is about: the other one must not be able to say `EAGAIN`.
pub(crate) fn splice(call: Call, from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
    let about = if call == Call::Receive { from } else { to };
    without_sigpipe(|| {
        count(call, about, bytes.min(MOST), |asked| {
            let (none, flags) = (ptr::null_mut(), libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE);
            // SAFETY: no memory is passed; neither has an offset.
            unsafe { libc::splice(from.as_raw_fd(), none, to.as_raw_fd(), none, asked, flags) }
        })
    })
}

/// `sendfile(2)` of at most `bytes`, from `offset` on.
pub(crate) fn send_file(to: BorrowedFd<'_>, file: BorrowedFd<'_>, offset: u64, bytes: usize) -> io::Result<usize> {
    let mut offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    without_sigpipe(|| {
        count(Call::Send, to, bytes, |asked| {
            // SAFETY: the offset lives through the call.
            unsafe { libc::sendfile64(to.as_raw_fd(), file.as_raw_fd(), &raw mut offset, asked) }
        })
    })
}

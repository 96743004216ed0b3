//! The system calls.
#![allow(unsafe_code)]

use std::io;

/// Has the kernel send `SIGIO` when something happens at standard input, which ends a process that does not handle it: no
/// thread has to wait for it, and no loop to look (`O_ASYNC`, fcntl(2) and pipe(7)). True if something has happened before.
/// The flag is the pipe's or terminal's, not the descriptor's: it stays when the process has ended.
pub fn end_with_input() -> io::Result<bool> {
    // Whoever started this may have ignored it, which is inherited (signal(7)).
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_DFL) };
    // SAFETY: no pointers. The process is its own.
    checked(unsafe { libc::fcntl(libc::STDIN_FILENO, libc::F_SETOWN, libc::getpid()) })?;
    // SAFETY: no pointers.
    let flags = checked(unsafe { libc::fcntl(libc::STDIN_FILENO, libc::F_GETFL) })?;
    // SAFETY: no pointers.
    checked(unsafe { libc::fcntl(libc::STDIN_FILENO, libc::F_SETFL, flags | libc::O_ASYNC) })?;
    // Only now, for what happens from here on is signalled.
    let mut input = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
    // SAFETY: it is one entry, which outlives the call.
    Ok(checked(unsafe { libc::poll(&raw mut input, 1, 0) })? > 0)
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

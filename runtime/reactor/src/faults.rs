//! The seam at which tests make system calls fail.
//!
//! The `sys` modules of this crate and of `bourn-net` ask [`told`] before each
//! call. In a build with `--cfg bourn_faults` a test can have installed a plan of
//! faults; in every other build the answer is a constant and the question costs
//! nothing. Not part of the public interface.

use std::io;
use std::os::fd::RawFd;

#[cfg(bourn_faults)]
mod plan;

#[cfg(bourn_faults)]
pub use plan::{Fault, Installed, Plan};

/// What a system call is about, which decides how it can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Makes a descriptor.
    Open,
    /// accept4(2).
    Accept,
    /// connect(2).
    Connect,
    /// Receives bytes of a stream.
    Receive,
    /// Receives whole datagrams.
    ReceiveDatagram,
    /// Sends bytes into a stream.
    Send,
    /// Sends whole datagrams.
    SendDatagram,
    /// Reads or sets an option or a name.
    Option,
    /// Adds a descriptor to the kernel's list.
    Add,
    /// Waits for readiness.
    Wait,
    /// Adds to the counter of an eventfd, to end a wait.
    Notify,
    /// Writes a byte to end a wait, unless it is certain to end.
    Ring,
}

/// Asked before a system call that is about `asked` bytes or slices of `fd`: how
/// many the kernel is to be asked for.
///
/// # Errors
/// What the test wants the call to say; it is not made then.
#[cfg_attr(not(bourn_faults), inline(always), expect(unused_variables))]
pub fn told(call: Call, fd: RawFd, asked: usize) -> io::Result<usize> {
    #[cfg(bourn_faults)]
    let asked = plan::told(call, fd, asked)?;
    Ok(asked)
}

//! Listening sockets that a process is started with (sd_listen_fds(3)).

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys;

/// The first of them (`SD_LISTEN_FDS_START`).
const START: i32 = 3;

/// The descriptors with their names, once in the life of the process. None if they are
/// another process's.
pub(crate) fn descriptors() -> io::Result<Vec<(String, OwnedFd)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let count = match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(pid), Some(count)) if pid == std::process::id() => i32::try_from(count).unwrap_or(0),
        _ => return Ok(Vec::new()),
    };
    if TAKEN.swap(true, Ordering::Relaxed) {
        let message = "the inherited descriptors are taken already: call inherit once in a process";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').chain(std::iter::repeat("unknown"));
    let descriptors = (START..START.saturating_add(count)).zip(names).map(|(fd, name)| {
        // SAFETY: whoever started the process opened these for whoever asks for them, which is
        // done once, here.
        unsafe { sys::adopt(fd) }.map(|fd| (name.to_owned(), fd))
    });
    descriptors.collect()
}

//! Listening sockets that a process is started with (sd_listen_fds(3)).

use std::env;
use std::io;
use std::iter;
use std::os::fd::OwnedFd;

use crate::sys;

/// The first of them (`SD_LISTEN_FDS_START`).
const START: i32 = 3;

/// The descriptors with their names, once in the life of the process. None if they are
/// another process's.
pub(crate) fn descriptors() -> io::Result<Vec<(String, OwnedFd)>> {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let count = match (number("LISTEN_PID"), number("LISTEN_FDS")) {
        (Some(pid), Some(count)) if pid == std::process::id() => i32::try_from(count).unwrap_or(0),
        _ => return Ok(Vec::new()),
    };
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').map(str::to_owned).chain(iter::repeat_with(String::new));
    Ok(names.zip(sys::adopt(START, count)?).collect())
}

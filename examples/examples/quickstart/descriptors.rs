//! How many connections a process may hold.
//!
//! Every connection is a descriptor, and a process may have no more of them than
//! its *soft* limit says: 1,024 on most systems, for the sake of programs that use
//! `select(2)`. It may raise that itself, up to its *hard* limit (setrlimit(2)).

use std::io;

use bourn::Backend;
use rlimit::Resource;

/// For the program itself: files, the listener, the reactor, pipes.
const RESERVE: u64 = 64;

/// `FD_SETSIZE`: select has no place for descriptors from here on.
const SELECT_LIMIT: u64 = 1024;

/// How many connections fit, and why not more.
#[derive(Debug)]
pub struct Room {
    pub connections: usize,
    pub reason: &'static str,
}

/// Raises the soft limit as far as is of use; child processes inherit it.
///
/// # Errors
/// If the kernel refuses, or `BOURN_BACKEND` names no backend.
pub fn raise_limit() -> io::Result<Room> {
    let (soft, hard) = Resource::NOFILE.get()?;
    let (limit, reason) = if Backend::from_env()? == Backend::Select && hard > SELECT_LIMIT {
        // Better to run out of descriptors, which a server bears, than to get one that is of no use.
        Resource::NOFILE.set(SELECT_LIMIT, hard)?;
        (SELECT_LIMIT, "select(2) knows 1,024 descriptors")
    } else {
        let limit = rlimit::increase_nofile_limit(hard)?.max(soft);
        (limit, "the hard limit of descriptors (ulimit -Hn) is that low")
    };
    let connections = limit.saturating_sub(RESERVE).try_into().unwrap_or(usize::MAX);
    Ok(Room { connections, reason })
}

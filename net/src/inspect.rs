//! The sockets of this process, as the kernel knows them.
//!
//! Nothing is kept for this while sockets work: each look asks the kernel about every
//! descriptor, ours or not, with a few calls that wait for nothing. It needs no
//! descriptor itself, so it works when none is left.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, Protocol, SockAddr, Type};

use crate::sys;
use crate::tcp::{TcpInfo, TcpState};

/// A socket as it was when it was looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SocketInfo {
    /// The descriptor's number.
    pub fd: RawFd,
    /// `tcp`, `udp`, `unix`, `unix-dgram`, `unix-seq`, or `other`.
    pub protocol: &'static str,
    /// What it is bound to: `127.0.0.1:80`, `"/run/socket" (pathname)`, `"name" (abstract)`;
    /// a `-` if it is not.
    pub local: String,
    /// What it is connected to.
    pub peer: String,
    /// Where a TCP socket is in its life.
    pub state: Option<TcpState>,
    /// Bytes that were received and not read; connections to accept, of a listener of
    /// TCP; bytes of the first datagram, of UDP.
    pub received: Option<usize>,
    /// Bytes that were sent and not acknowledged or, of other sockets, not read; of a
    /// listener of TCP, how many connections may wait.
    pub unsent: Option<usize>,
}

/// How many descriptors there are, and may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Open descriptors of this process.
    pub descriptors: u64,
    /// The number that none of them may reach (`RLIMIT_NOFILE`, the soft limit).
    pub limit: u64,
}

/// How many descriptors this process has, against its limit.
///
/// # Errors
/// Where there is no procfs.
pub fn stats() -> io::Result<Stats> {
    // The length is the number of descriptors (proc_pid_fd(5)) since Linux 6.2.
    let mut descriptors = std::fs::metadata("/proc/self/fd")?.len();
    if descriptors == 0 {
        // One is open for this count.
        descriptors = std::fs::read_dir("/proc/self/fd")?.count() as u64 - 1;
    }
    Ok(Stats { descriptors, limit: sys::descriptor_limit() })
}

/// Every socket of this process. One that is closed or replaced meanwhile is left
/// out, or shown as what it was at one of several moments; then others may be left
/// out whose numbers come after a gap of a thousand. Nothing is looked for after one of 65,536.
///
/// # Errors
/// Those of [`stats`].
pub fn sockets() -> io::Result<Vec<SocketInfo>> {
    let Stats { descriptors, limit } = stats()?;
    let mut sockets = Vec::new();
    let (mut seen, mut gap) = (0, 0_u64);
    for fd in 0..RawFd::try_from(limit).unwrap_or(RawFd::MAX) {
        match sys::by_number(fd, describe) {
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {
                gap += 1;
                // The number of those seen alone proves no end, and may never come to that of all: others are opened and
                // closed meanwhile, and one of `O_PATH` looks like none.
                if gap.is_multiple_of(1024) && (seen >= descriptors || gap >= 1 << 16) {
                    break;
                }
            }
            other => {
                sockets.extend(other);
                (seen, gap) = (seen + 1, 0);
            }
        }
    }
    Ok(sockets)
}

/// What the kernel knows about a socket.
fn describe(fd: BorrowedFd<'_>) -> io::Result<SocketInfo> {
    let socket = sys::option(&fd)?;
    let kind = socket.r#type()?;
    let protocol = match (socket.domain()?, kind, socket.protocol()?) {
        (_, _, Some(Protocol::TCP)) => "tcp",
        (_, _, Some(Protocol::UDP)) => "udp",
        (Domain::UNIX, Type::STREAM, _) => "unix",
        (Domain::UNIX, Type::DGRAM, _) => "unix-dgram",
        (Domain::UNIX, Type::SEQPACKET, _) => "unix-seq",
        _ => "other",
    };
    let (local, peer) = (text(socket.local_addr()), text(socket.peer_addr()));
    let raw = if protocol == "tcp" { sys::tcp_info(fd).ok() } else { None };
    let state = raw.as_ref().map(|raw| TcpInfo::of(raw).state);
    let (received, unsent) = match raw {
        // As in `TcpListener::queue`.
        Some(raw) if state == Some(TcpState::Listen) => (Some(raw.word(24) as usize), Some(raw.word(28) as usize)),
        _ => (sys::queue(fd, libc::FIONREAD).ok(), sys::queue(fd, libc::TIOCOUTQ).ok()),
    };
    Ok(SocketInfo { fd: fd.as_raw_fd(), protocol, local, peer, state, received, unsent })
}

fn text(addr: io::Result<SockAddr>) -> String {
    let internet = |addr: &SockAddr| addr.as_socket().map(|addr| addr.to_string());
    // Not `as_unix`, which panics at a path of 108 bytes.
    let path = |addr: &SockAddr| addr.as_pathname().map(|path| format!("{path:?} (pathname)"));
    let name = |name: &[u8]| format!("\"{}\" (abstract)", name.escape_ascii());
    let unix = |addr: &SockAddr| path(addr).or_else(|| addr.as_abstract_namespace().map(name));
    addr.ok().and_then(|addr| internet(&addr).or_else(|| unix(&addr))).unwrap_or_else(|| "-".to_owned())
}

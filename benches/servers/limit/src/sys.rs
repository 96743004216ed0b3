//! The system calls.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::RawFd;

pub use libc::epoll_event as Event;

pub const NO_EVENT: Event = Event { events: 0, u64: 0 };
/// Reported once for each change; with room for writing only after a write has failed.
pub const EDGES: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
pub const LEVEL: u32 = libc::EPOLLIN as u32;

pub fn epoll() -> io::Result<RawFd> {
    // SAFETY: no pointers.
    let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if epoll < 0 { Err(io::Error::last_os_error()) } else { Ok(epoll) }
}

pub fn add(epoll: RawFd, fd: RawFd, events: u32, data: u64) -> io::Result<()> {
    let mut event = Event { events, u64: data };
    // SAFETY: the event outlives the call.
    let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// How many events there are now; none if a signal came.
#[inline]
pub fn wait(epoll: RawFd, events: &mut [Event]) -> usize {
    // SAFETY: there is room for so many events.
    let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, -1) };
    usize::try_from(count).unwrap_or(0)
}

/// A new connection; negative if there is none.
pub fn accept(listener: RawFd) -> RawFd {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the peer's address is not asked for.
    unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) }
}

/// Bytes read; 0 at the end, negative if there are none or the connection is broken.
#[inline]
pub fn recv(fd: RawFd, buffer: &mut [u8]) -> isize {
    // SAFETY: there is room for so many bytes.
    unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) }
}

/// Bytes sent; negative if there is no room or the connection is broken.
#[inline]
pub fn send(fd: RawFd, bytes: &[u8]) -> isize {
    // SAFETY: there are so many bytes.
    unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) }
}

pub fn would_block() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

pub fn close(fd: RawFd) {
    // SAFETY: its connection is forgotten with this call.
    unsafe { libc::close(fd) };
}

const _: () = assert!(mem::size_of::<usize>() == 8, "descriptors and marks share a word");

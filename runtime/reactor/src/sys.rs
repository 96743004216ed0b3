//! Every system call of this crate, as small safe functions: the only place with
//! `unsafe`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use libc::c_int;

use crate::faults::{Call, told};

/// No descriptor: what a call is about that is about none.
const NONE: RawFd = -1;

/// Turns the `-1` of a system call into the error in `errno`.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Makes a call again as long as a signal has kept it from doing anything (signal(7)).
pub(crate) fn uninterrupted<R>(mut call: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn timespec(timeout: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    }
}

/// Whole milliseconds for the calls that take no finer time-out: rounded up, so
/// that no wait ends before its time and none spins through the last fraction.
fn milliseconds(timeout: Option<Duration>) -> c_int {
    let rounded = |timeout: Duration| c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(c_int::MAX);
    timeout.map_or(-1, rounded)
}

/// `epoll_create1(2)`.
pub(crate) fn epoll_create() -> io::Result<OwnedFd> {
    told(Call::Open, NONE, 0)?;
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `epoll_ctl(2)`, `EPOLL_CTL_ADD`.
pub(crate) fn epoll_add(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, events: c_int, token: u64) -> io::Result<()> {
    told(Call::Add, fd.as_raw_fd(), 0)?;
    let mut event = libc::epoll_event { events: events as u32, u64: token };
    // SAFETY: `event` lives through the call, which only reads it.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) })?;
    Ok(())
}

/// `epoll_ctl(2)`, `EPOLL_CTL_MOD`, for tests that owe a report.
#[cfg(bourn_faults)]
pub(crate) fn epoll_modify(epoll: RawFd, fd: RawFd, events: u32, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: `event` lives through the call, which only reads it.
    check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, fd, &raw mut event) })?;
    Ok(())
}

/// `epoll_ctl(2)`, `EPOLL_CTL_DEL`.
pub(crate) fn epoll_delete(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: DEL ignores the event pointer (null is allowed since Linux 2.6.9).
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut()) })?;
    Ok(())
}

/// `epoll_wait(2)`, or `epoll_pwait2(2)` where the time-out needs its
/// nanoseconds; the number of events stored.
///
/// Kernels before 5.11, system call filters and valgrind lack `epoll_pwait2`
/// (ENOSYS or EPERM); from the first such answer on, time-outs are rounded up to
/// milliseconds.
pub(crate) fn epoll_wait(
    epoll: BorrowedFd<'_>,
    events: &mut [libc::epoll_event],
    timeout: Option<Duration>,
) -> io::Result<usize> {
    static COARSE: AtomicBool = AtomicBool::new(false);

    told(Call::Wait, NONE, 0)?;
    let capacity = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
    if let Some(exact) = timeout.filter(|timeout| !timeout.is_zero())
        && !COARSE.load(Ordering::Relaxed)
    {
        let exact = timespec(exact);
        // SAFETY: `events` is valid for `capacity` entries, `exact` outlives the
        // call, and a null signal mask leaves the mask alone.
        let stored = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                epoll.as_raw_fd(),
                events.as_mut_ptr(),
                capacity,
                &raw const exact,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        match check(stored as c_int) {
            Ok(stored) => return Ok(stored as usize),
            Err(error) => match error.raw_os_error() {
                Some(libc::ENOSYS | libc::EPERM) => COARSE.store(true, Ordering::Relaxed),
                _ => return Err(error),
            },
        }
    }
    // SAFETY: `events` is valid for `capacity` entries.
    let stored =
        check(unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), capacity, milliseconds(timeout)) })?;
    Ok(stored as usize)
}

/// `eventfd(2)`, non-blocking.
pub(crate) fn eventfd() -> io::Result<File> {
    told(Call::Open, NONE, 0)?;
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Adds one to an eventfd's counter.
pub(crate) fn eventfd_add(mut eventfd: &File) -> io::Result<()> {
    told(Call::Notify, eventfd.as_raw_fd(), 0)?;
    eventfd.write(&1u64.to_ne_bytes()).map(drop)
}

/// Sets an eventfd's counter back to zero.
pub(crate) fn eventfd_reset(mut eventfd: &File) -> io::Result<()> {
    eventfd.read(&mut [0; 8]).map(drop)
}

/// Two connected sockets, non-blocking: what is written into the second ends a
/// wait for the first.
pub(crate) fn bell() -> io::Result<(UnixStream, UnixStream)> {
    told(Call::Open, NONE, 0)?;
    let (bell, rope) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    rope.set_nonblocking(true)?;
    Ok((bell, rope))
}

/// Writes one byte into a socket, which takes it whole or not at all.
pub(crate) fn ring(mut rope: &UnixStream) -> io::Result<()> {
    told(Call::Ring, rope.as_raw_fd(), 0)?;
    rope.write(&[1]).map(drop)
}

/// `poll(2)`, or `ppoll(2)` where it exists and the time-out needs its
/// nanoseconds; the number of entries with an answer.
pub(crate) fn poll(fds: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<usize> {
    told(Call::Wait, NONE, 0)?;
    let count = fds.len() as libc::nfds_t;
    if let Some(exact) = timeout.filter(|timeout| !timeout.is_zero()) {
        let exact = timespec(exact);
        // SAFETY: `fds` is valid for `count` entries, `exact` outlives the call,
        // and a null signal mask leaves the mask alone.
        let ready = check(unsafe { libc::ppoll(fds.as_mut_ptr(), count, &raw const exact, std::ptr::null()) })?;
        return Ok(ready as usize);
    }
    // SAFETY: `fds` is valid for `count` entries.
    let ready = check(unsafe { libc::poll(fds.as_mut_ptr(), count, milliseconds(timeout)) })?;
    Ok(ready as usize)
}

/// A set of descriptors below `FD_SETSIZE`, as `select(2)` takes it.
pub(crate) struct DescriptorSet(libc::fd_set);

impl DescriptorSet {
    pub(crate) fn new() -> Self {
        // SAFETY: `fd_set` is an array of integers, for which zero is valid, and
        // all zeroes is the empty set.
        Self(unsafe { std::mem::zeroed() })
    }

    /// Whether `fd` fits into any such set.
    pub(crate) fn admits(fd: RawFd) -> bool {
        usize::try_from(fd).is_ok_and(|fd| fd < libc::FD_SETSIZE)
    }

    /// Adds `fd`.
    ///
    /// # Panics
    /// If the set does not [admit](Self::admits) it: a write past the set's end
    /// would be the alternative.
    pub(crate) fn insert(&mut self, fd: RawFd) {
        assert!(Self::admits(fd), "descriptor {fd} does not fit a select set");
        // SAFETY: the assertion keeps the bit inside the set.
        unsafe { libc::FD_SET(fd, &raw mut self.0) }
    }

    pub(crate) fn contains(&self, fd: RawFd) -> bool {
        // SAFETY: the first condition keeps the bit inside the set.
        Self::admits(fd) && unsafe { libc::FD_ISSET(fd, &raw const self.0) }
    }
}

/// `pselect(2)`; the sets come back with what is ready.
pub(crate) fn select(
    end: RawFd,
    read: &mut DescriptorSet,
    write: &mut DescriptorSet,
    except: &mut DescriptorSet,
    timeout: Option<Duration>,
) -> io::Result<usize> {
    told(Call::Wait, NONE, 0)?;
    let timeout = timeout.map(timespec);
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the sets are whole, `end` is at most FD_SETSIZE because every
    // member passed `insert`, and the time-out outlives the call.
    let ready = check(unsafe {
        libc::pselect(end, &raw mut read.0, &raw mut write.0, &raw mut except.0, timeout, std::ptr::null())
    })?;
    Ok(ready as usize)
}

/// The calling thread's timer slack in nanoseconds (`PR_GET_TIMERSLACK`).
pub(crate) fn timer_slack() -> Option<u64> {
    // SAFETY: takes no pointer.
    let slack = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
    u64::try_from(slack).ok()
}

/// Sets the calling thread's timer slack (`PR_SET_TIMERSLACK`). A refusal only
/// costs precision, so it is not reported.
pub(crate) fn set_timer_slack(nanoseconds: u64) {
    // SAFETY: takes no pointer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) };
}

/// How many `fork(2)`s lie between this process and the one that asked first, or more. `_Fork(3)`, vfork(2) and a
/// bare clone(2) call no handlers, and are not counted.
///
/// A reactor remembers the count of its birth: where it differs, the reactor is
/// a forked child's copy, whose kernel objects are still the parent's.
#[inline]
pub(crate) fn forks() -> u32 {
    static FORKS: AtomicU32 = AtomicU32::new(0);
    static IS_COUNTED: AtomicBool = AtomicBool::new(false);

    extern "C" fn count() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    // Not a `Once`, in which a child that is forked meanwhile would wait for ever. Where two threads come here
    // together, a fork counts twice, which is another number as well.
    // SAFETY: `count` is async-signal-safe (one atomic add), which is what pthread_atfork(3) asks of a child handler.
    if !IS_COUNTED.load(Ordering::Acquire) && unsafe { libc::pthread_atfork(None, None, Some(count)) } == 0 {
        IS_COUNTED.store(true, Ordering::Release);
    }
    FORKS.load(Ordering::Relaxed)
}

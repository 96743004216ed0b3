//! System calls that the standard library has not.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::time::Duration;

pub use libc::epoll_event as Event;

pub const READ: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP) as u32;
pub const WRITE: u32 = libc::EPOLLOUT as u32;
pub const EDGES: u32 = libc::EPOLLET as u32;

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An epoll instance and room for what it reports.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<Event>,
}

impl Epoll {
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: it is new and nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Epoll { fd, events: vec![Event { events: 0, u64: 0 }; 256] })
    }

    pub fn add(&self, fd: RawFd, events: u32, token: usize) -> io::Result<()> {
        let mut event = Event { events, u64: token as u64 };
        // SAFETY: the event outlives the call.
        checked(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
        Ok(())
    }

    /// What has happened when something has, or nothing after the limit.
    pub fn wait(&mut self, limit: Duration) -> io::Result<usize> {
        let limit = libc::timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        let room = self.events.len() as i32;
        let events = self.events.as_mut_ptr();
        loop {
            let epoll = self.fd.as_raw_fd();
            // SAFETY: there is room for so many events, and the limit outlives the call.
            let count = unsafe { libc::epoll_pwait2(epoll, events, room, &raw const limit, std::ptr::null()) };
            match checked(count) {
                Ok(count) => return Ok(count as usize),
                // Without any signal, too: the kernel does so for a ring that was closed a moment ago.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The token and the flags of an event of the last wait.
    pub fn event(&self, index: usize) -> (usize, u32) {
        let event = self.events[index];
        (event.u64 as usize, event.events)
    }
}

/// A connection, made in one go; on loopback it is there when the call returns.
pub fn connect(address: SocketAddr) -> io::Result<OwnedFd> {
    finish_connect(socket()?, address)
}

/// The same, whose peer may send no more at once than such a buffer holds, in segments as on Ethernet.
pub fn connect_with_little_room(address: SocketAddr, bytes: i32) -> io::Result<OwnedFd> {
    let fd = socket()?;
    // Before it is connected: the window that it begins with is made of this.
    set_option(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, bytes)?;
    set_option(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG, 1460)?;
    finish_connect(fd, address)
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: it is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn finish_connect(fd: OwnedFd, address: SocketAddr) -> io::Result<OwnedFd> {
    let address = internet(address)?;
    let length = size_of::<libc::sockaddr_in>() as u32;
    // SAFETY: the address is as long as it says.
    checked(unsafe { libc::connect(fd.as_raw_fd(), (&raw const address).cast(), length) })?;
    Ok(fd)
}

/// An IPv4 address as the kernel wants it.
pub fn internet(address: SocketAddr) -> io::Result<libc::sockaddr_in> {
    let SocketAddr::V4(address) = address else { return Err(io::ErrorKind::Unsupported.into()) };
    Ok(libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
        sin_zero: [0; 8],
    })
}

pub fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: there are so many bytes.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

pub fn recv(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: there is room for so many bytes.
    let read = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    if read < 0 { Err(io::Error::last_os_error()) } else { Ok(read as usize) }
}

/// Reads without looking: the bytes are not copied (`MSG_TRUNC`, tcp(7)).
pub fn skip(fd: RawFd, length: usize) -> io::Result<usize> {
    // SAFETY: nothing is written with this flag.
    let read = unsafe { libc::recv(fd, std::ptr::null_mut(), length, libc::MSG_DONTWAIT | libc::MSG_TRUNC) };
    if read < 0 { Err(io::Error::last_os_error()) } else { Ok(read as usize) }
}

/// So many zeros in memory that a socket can be sent without a copy.
pub fn zeros(length: usize) -> io::Result<OwnedFd> {
    // SAFETY: the name is a string.
    let fd = checked(unsafe { libc::memfd_create(c"zeros".as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: it is new and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let file = std::fs::File::from(fd);
    // Written, for what is only a hole has no pages of its own.
    std::io::Write::write_all(&mut &file, &vec![0; length])?;
    Ok(file.into())
}

/// Sends from the start of a file; the socket is told each time not to wait.
pub fn send_file(fd: RawFd, file: RawFd, length: usize) -> io::Result<usize> {
    let mut from = 0;
    // SAFETY: the place that it counts in outlives the call.
    let sent = unsafe { libc::sendfile(fd, file, &raw mut from, length) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

/// Waits until there is something to read. False after the limit.
pub fn readable(fd: RawFd, limit: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: it is one entry, which outlives the call.
    Ok(checked(unsafe { libc::poll(&raw mut entry, 1, limit.as_millis() as i32) })? > 0)
}

fn set_option(fd: RawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as u32;
    // SAFETY: the value is as long as it says.
    checked(unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), length) })?;
    Ok(())
}

/// The processors that this process may use, as they were when this was first asked.
pub fn processors() -> &'static [usize] {
    static PROCESSORS: OnceLock<Vec<usize>> = OnceLock::new();
    PROCESSORS.get_or_init(|| {
        let mut set = no_processors();
        // SAFETY: there is room for the set.
        let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
        // SAFETY: all of these are smaller than the set.
        let is_allowed = |processor: &usize| unsafe { libc::CPU_ISSET(*processor, &set) };
        if result < 0 { vec![0] } else { (0..libc::CPU_SETSIZE as usize).filter(is_allowed).collect() }
    })
}

/// Has this thread, and what it starts from now on, run on these processors.
pub fn pin(processors: &[usize]) -> io::Result<()> {
    let mut set = no_processors();
    for &processor in processors {
        // SAFETY: it came out of such a set.
        unsafe { libc::CPU_SET(processor, &mut set) };
    }
    // SAFETY: the set is as long as it says.
    checked(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) })?;
    Ok(())
}

fn no_processors() -> libc::cpu_set_t {
    // SAFETY: a set of processors is plain numbers, and zero is the empty one.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Whether waits of this thread are to end when they are due, not 50 us later.
pub fn wait_precisely(precisely: bool) {
    // SAFETY: no pointers. 0 is what it was in the beginning.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, libc::c_ulong::from(precisely)) };
}

/// The processor time of all threads that a process has or had: what `/proc/PID/task/*/schedstat` counts, but with those
/// that have ended, and in one call.
pub fn processor_time(process: u32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: there is room for the clock's id.
    let error = unsafe { libc::clock_getcpuclockid(process as i32, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    time_of(clock)
}

/// The processor time of this thread.
pub fn own_processor_time() -> io::Result<Duration> {
    time_of(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn time_of(clock: libc::clockid_t) -> io::Result<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the time.
    checked(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// As many descriptors as are allowed.
pub fn raise_descriptors() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for the limit.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: it outlives the call.
    checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    Ok(limit.rlim_cur)
}

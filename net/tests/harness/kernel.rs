//! What the kernel says of a socket, asked without the code under test.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use bourn_reactor::Sleep;

/// The states of a TCP socket (linux/tcp_states.h).
pub mod state {
    pub const ESTABLISHED: u8 = 1;
    pub const SYN_SENT: u8 = 2;
    pub const SYN_RECV: u8 = 3;
    pub const FIN_WAIT1: u8 = 4;
    pub const FIN_WAIT2: u8 = 5;
    pub const TIME_WAIT: u8 = 6;
    pub const CLOSE: u8 = 7;
    pub const CLOSE_WAIT: u8 = 8;
    pub const LAST_ACK: u8 = 9;
    pub const LISTEN: u8 = 10;
    pub const CLOSING: u8 = 11;
}

/// Reads an option of a type that is plain bytes, such as an integer.
pub fn get<T: Copy>(fd: impl AsFd, level: i32, name: i32) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for `len` bytes, and `len` says so.
    let result =
        unsafe { libc::getsockopt(fd.as_fd().as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed before and written by the kernel; callers ask for integers
    // and structures of integers.
    Ok(unsafe { value.assume_init() })
}

/// Reads an option that is an `int`.
pub fn int(fd: impl AsFd, level: i32, name: i32) -> i32 {
    get(fd, level, name).expect("an option")
}

/// Sets an option that is an `int`.
pub fn set(fd: impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is readable for `len` bytes.
    let result = unsafe { libc::setsockopt(fd.as_fd().as_raw_fd(), level, name, (&raw const value).cast(), len) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `TCP_INFO`.
pub fn info(fd: impl AsFd) -> libc::tcp_info {
    get(fd, libc::IPPROTO_TCP, libc::TCP_INFO).expect("a TCP socket")
}

/// The state of a TCP socket.
pub fn state_of(fd: impl AsFd) -> u8 {
    info(fd).tcpi_state
}

fn ask(fd: BorrowedFd<'_>, request: libc::c_ulong) -> usize {
    let mut answer: libc::c_int = 0;
    // SAFETY: these requests store an int.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, &raw mut answer) };
    assert_ne!(result, -1, "{}", io::Error::last_os_error());
    answer as usize
}

/// Bytes in the receive queue (`SIOCINQ`).
pub fn unread(fd: impl AsFd) -> usize {
    ask(fd.as_fd(), libc::FIONREAD)
}

/// Bytes in the send queue, sent or not, that are unacknowledged (`SIOCOUTQ`).
pub fn unacknowledged(fd: impl AsFd) -> usize {
    ask(fd.as_fd(), libc::TIOCOUTQ)
}

/// Bytes in the send queue that are not sent yet (`SIOCOUTQNSD`).
pub fn unsent(fd: impl AsFd) -> usize {
    ask(fd.as_fd(), 0x894B)
}

/// What fcntl(2) says to a request without an argument.
pub fn flags(fd: impl AsFd, request: i32) -> i32 {
    // SAFETY: takes no pointer.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), request) };
    assert_ne!(flags, -1, "{}", io::Error::last_os_error());
    flags
}

/// Whether no program that this process becomes has the descriptor.
pub fn is_close_on_exec(fd: impl AsFd) -> bool {
    flags(fd, libc::F_GETFD) & libc::FD_CLOEXEC != 0
}

/// Whether operations never block.
pub fn is_nonblocking(fd: impl AsFd) -> bool {
    flags(fd, libc::F_GETFL) & libc::O_NONBLOCK != 0
}

/// What the descriptor is, as `/proc/self/fd` names it: `socket:[48121]`.
pub fn file(fd: impl AsFd) -> String {
    let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())).expect("it is open");
    link.into_os_string().into_string().expect("text")
}

/// What poll(2) says of a descriptor now.
pub fn events(fd: impl AsFd, asked: i16) -> i16 {
    let mut entry = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events: asked, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    let answered = unsafe { libc::poll(&raw mut entry, 1, 0) };
    assert_ne!(answered, -1, "{}", io::Error::last_os_error());
    entry.revents
}

/// A line of `/proc/net/tcp` (proc_net(5)).
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub state: u8,
    /// 2: keep-alive.
    pub timer: u8,
    pub inode: u64,
}

/// The IPv4 TCP sockets of this network namespace that have this port at one of their ends.
/// Others may have left a hundred thousand in TIME_WAIT, to read all of which takes seconds.
pub fn table(port: u16) -> Vec<Line> {
    let text = fs::read_to_string("/proc/net/tcp").expect("procfs");
    let addr = |word: &str| {
        let (ip, port) = word.split_once(':').expect("an address and a port");
        let ip = u32::from_str_radix(ip, 16).expect("a number").to_ne_bytes();
        SocketAddr::from((ip, u16::from_str_radix(port, 16).expect("a number")))
    };
    let port = format!(":{port:04X} ");
    let lines = text.lines().skip(1).filter(|line| line.contains(&port)).map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let timer = words[5].split(':').next().expect("two numbers");
        Line {
            local: addr(words[1]),
            remote: addr(words[2]),
            state: u8::from_str_radix(words[3], 16).expect("a number"),
            timer: u8::from_str_radix(timer, 16).expect("a number"),
            inode: words[9].parse().expect("a number"),
        }
    });
    lines.collect()
}

/// The line of a connection's end. The kernel does not list all in one piece, so one
/// look may miss it.
pub fn line(local: SocketAddr, remote: SocketAddr) -> Option<Line> {
    (0..3).find_map(|_| table(local.port()).into_iter().find(|line| line.local == local && line.remote == remote))
}

/// A counter of `/proc/net/netstat`, such as `ListenOverflows`.
pub fn counter(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/net/netstat").expect("procfs");
    let lines: Vec<_> = text.lines().collect();
    for pair in lines.chunks(2) {
        if let Some(place) = pair[0].split(' ').position(|word| word == name) {
            return pair[1].split(' ').nth(place).and_then(|word| word.parse().ok()).expect("a number");
        }
    }
    panic!("there is no counter {name}");
}

/// Returns when the kernel has come to agree; the test's watchdog says when it
/// never does.
pub async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        Sleep::after(Duration::from_millis(1)).await;
    }
}

//! What the kernel knows of one TCP connection, asked as `ss` does it: sock_diag(7).
//!
//! It answers for connections, too, that no program has a descriptor of any more. `/proc/net/tcp` has the same, but is
//! slow and may miss rows while others come and go.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// One side of a connection, or a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// For example `"ESTABLISHED"`.
    pub state: &'static str,
    /// Bytes received and not read; of a listener: connections that wait for `accept`.
    pub receive_queue: u32,
    /// Bytes written and not acknowledged; of a listener: the backlog.
    pub send_queue: u32,
}

const STATES: [&str; 13] = [
    "?",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];

/// The socket with this local address and peer (IPv4), or `None`: the kernel knows of none.
///
/// # Errors
/// What the kernel says to a netlink socket.
pub fn tcp(local: SocketAddr, peer: SocketAddr) -> io::Result<Option<Tcp>> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    let address = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED.octets(),
    };
    // struct nlmsghdr, struct inet_diag_req_v2.
    let mut request = Vec::new();
    request.extend(72_u32.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend((libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend([0; 8]); // sequence, sender
    request.extend([libc::AF_INET as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes()); // in any state
    request.extend(local.port().to_be_bytes());
    request.extend(peer.port().to_be_bytes());
    for end in [local, peer] {
        request.extend(address(end));
        request.extend([0; 12]);
    }
    request.extend([0; 4]); // on any interface
    request.extend([0xff; 8]); // whatever its cookie
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(libc::NETLINK_SOCK_DIAG)))?;
    socket.send(&request)?;
    let mut answer = [0; 4096];
    let length = (&socket).read(&mut answer)?;
    let byte = |at: usize| if at < length { answer[at] } else { 0 };
    let number = |at: usize| u32::from_ne_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]);
    if u16::from_ne_bytes([byte(4), byte(5)]) != SOCK_DIAG_BY_FAMILY {
        return Ok(None); // an error: ENOENT
    }
    // struct inet_diag_msg behind the header.
    let state = STATES.get(usize::from(byte(17))).copied().unwrap_or("?");
    Ok(Some(Tcp { state, receive_queue: number(72), send_queue: number(76) }))
}

/// When the kernel was asked (ms since the start), and the states of both sides then (`"gone"`: it has forgotten the side).
pub type Look = (f64, [&'static str; 2]);

/// How often [`watch`] has looked.
static LOOKS: AtomicUsize = AtomicUsize::new(0);

/// Looks at the connection between two addresses every millisecond, in a thread of its own, until `what` has happened.
///
/// # Panics
/// If the kernel does not answer.
pub fn watch([here, there]: [SocketAddr; 2], what: impl FnOnce()) -> Vec<Look> {
    let (stop, stopped) = mpsc::channel::<()>();
    let watcher = thread::spawn(move || {
        let (began, mut looks) = (Instant::now(), Vec::new());
        let state = |local, peer| tcp(local, peer).expect("an answer").map_or("gone", |side| side.state);
        while stopped.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            looks.push((began.elapsed().as_secs_f64() * 1e3, [state(here, there), state(there, here)]));
            LOOKS.fetch_add(1, Relaxed);
        }
        looks
    });
    what();
    drop(stop);
    watcher.join().expect("no panic")
}

/// Waits until [`watch`] has surely seen how things are now.
pub fn seen() {
    // The first of them may have begun before.
    let before = LOOKS.load(Relaxed);
    while LOOKS.load(Relaxed) < before + 3 {
        thread::sleep(Duration::from_millis(1));
    }
}

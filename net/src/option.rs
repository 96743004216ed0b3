//! The options of all sockets (socket(7), ip(7), ipv6(7), tcp(7), udp(7)): one table
//! for each set of kinds that have them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::time::Duration;

use libc::c_int;
use socket2::{Domain, Socket, TcpKeepalive};

use crate::sys;
use crate::tcp::{TcpListener, TcpSocket, TcpStream};
use crate::udp::UdpSocket;
use crate::unix::{UnixDatagram, UnixListener, UnixStream};

/// A question to the kernel, or an order, for each row: a function of socket2 or the
/// table, which gets the socket.
macro_rules! facts {
    ([$($kind:ident)*] $table:tt) => {$( facts! { @of $kind [] $table } )*};
    (@of $kind:ident [$($heading:literal)?] {$(
        $(#[doc = $about:expr])* $name:ident($($value:ident: $given:ty),*) -> $answer:ty = $ask:expr;
    )*}) => {
        $(#[doc = $heading])?
        impl $kind {$(
            $(#[doc = $about])*
            pub fn $name(&self $(, $value: $given)*) -> io::Result<$answer> {
                let ask: fn(&Socket $(, $given)*) -> io::Result<$answer> = $ask;
                ask(&*sys::option(self)? $(, $value)*)
            }
        )*}
    };
}

/// A getter and a setter for each option.
macro_rules! options {
    ([$($kind:ident)*] $table:tt) => {$( options! { @of $kind $table } )*};
    (@of $kind:ident {$(
        $(#[doc = $about:literal])* $get:ident, $set:ident: $value:ty = $ask:expr, $tell:expr;
    )*}) => {
        facts! { @of $kind [" Options. What a listener is told, the streams inherit that it accepts from then on, unless it says otherwise."] {$(
            #[doc = concat!("Reads the option that [`", stringify!($set), "`](Self::", stringify!($set), ") sets.")]
            ///
            /// # Errors
            /// What the kernel says.
            $get() -> $value = $ask;
            $(#[doc = $about])*
            ///
            /// # Errors
            /// What the kernel says: [`InvalidInput`](io::ErrorKind::InvalidInput) for a
            /// value out of its range.
            $set(value: $value) -> () = $tell;
        )*}}
    };
}

facts! { [TcpSocket TcpListener TcpStream UdpSocket] {
    /// The address of this end.
    ///
    /// # Errors
    /// What the kernel says.
    local_addr() -> SocketAddr = |socket| sys::internet(&socket.local_addr()?);
    /// An error that is pending at the socket, which the kernel then forgets
    /// (`SO_ERROR`). Operations return it by themselves.
    ///
    /// # Errors
    /// What the kernel says.
    take_error() -> Option<io::Error> = Socket::take_error;
    /// The network interface that the socket is [bound](Self::bind_device) to, if any.
    /// Accepted streams inherit it.
    ///
    /// # Errors
    /// What the kernel says.
    device() -> Option<Vec<u8>> = Socket::device;
    /// Lets the socket use this network interface only (`SO_BINDTODEVICE`), or
    /// again any.
    ///
    /// # Errors
    /// `ENODEV` if there is no such interface;
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied), without
    /// `CAP_NET_RAW`, if it is bound to one already.
    bind_device(interface: Option<&[u8]>) -> () = |socket, interface| socket.bind_device(interface);
}}

facts! { [TcpStream UdpSocket] {
    /// The address of the peer.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if there is none, or the connection
    /// is over.
    peer_addr() -> SocketAddr = |socket| sys::internet(&socket.peer_addr()?);
}}

facts! { [UnixListener UnixStream UnixDatagram] {
    /// The address of this end; streams that connected have none.
    ///
    /// # Errors
    /// What the kernel says.
    local_addr() -> UnixAddr = |socket| sys::unix(&socket.local_addr()?);
}}

facts! { [UnixStream UnixDatagram] {
    /// The address of the peer, which may have none.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if there is no peer.
    peer_addr() -> UnixAddr = |socket| sys::unix(&socket.peer_addr()?);
}}

options! { [TcpSocket TcpListener TcpStream UdpSocket UnixStream UnixDatagram] {
    /// Sets the size of the send buffer in bytes (`SO_SNDBUF`). Linux doubles it for
    /// its bookkeeping, which the getter shows, cuts it at `net.core.wmem_max`, and
    /// ceases to adapt it to the connection.
    send_buffer_size, set_send_buffer_size: usize =
        Socket::send_buffer_size, |socket, bytes| socket.set_send_buffer_size(bytes.min(MOST));
    /// Sets the size of the receive buffer in bytes (`SO_RCVBUF`); UDP loses what does
    /// not fit. Linux doubles it for its bookkeeping, which the getter shows, cuts it
    /// at `net.core.rmem_max`, and ceases to adapt it to the connection. A TCP window
    /// above 64 KiB needs it set before the connection is made
    /// ([`TcpSocket`](crate::TcpSocket)).
    recv_buffer_size, set_recv_buffer_size: usize =
        Socket::recv_buffer_size, |socket, bytes| socket.set_recv_buffer_size(bytes.min(MOST));
}}

options! { [TcpSocket TcpListener TcpStream UdpSocket] {
    /// Sets how many routers may forward a packet to one receiver, 1 to 255 (`IP_TTL`,
    /// `IPV6_UNICAST_HOPS`). 64 by default.
    ttl, set_ttl: u32 =
        |socket| of_packets(socket, Socket::ttl_v4, Socket::unicast_hops_v6),
        |socket, hops| set_of_packets(socket, in_range(hops)?, Socket::set_ttl_v4, Socket::set_unicast_hops_v6);
    /// Sets the type-of-service byte of packets: DSCP in the upper 6 bits (`IP_TOS`,
    /// `IPV6_TCLASS`). 0 by default. The lower 2 bits are TCP's own (ECN); it ignores
    /// them here.
    tos, set_tos: u8 =
        |socket| of_packets(socket, Socket::tos_v4, Socket::tclass_v6).map(|tos| tos as u8),
        |socket, tos| set_of_packets(socket, tos.into(), Socket::set_tos_v4, Socket::set_tclass_v6);
    /// Sets the mark of packets, for routing and firewalls (`SO_MARK`). 0 by default;
    /// needs `CAP_NET_ADMIN` or `CAP_NET_RAW`.
    mark, set_mark: u32 = Socket::mark, Socket::set_mark;
    /// Sets the processor that is to handle this socket's packets (`SO_INCOMING_CPU`):
    /// of several listeners on one address, the one of the processor that receives a
    /// connection gets it. The getter tells which one received last. None by default.
    incoming_cpu, set_incoming_cpu: Option<u16> =
        |socket| Ok(u16::try_from(socket.cpu_affinity()?).ok()),
        // No processor turns into -1.
        |socket, cpu| socket.set_cpu_affinity(cpu.map_or(usize::MAX, usize::from));
    /// Sets for how long, in whole microseconds, a wait for data may ask the network
    /// card again and again (`SO_BUSY_POLL`). `net.core.busy_read` by default, which is
    /// mostly 0; more than that needs `CAP_NET_ADMIN`.
    busy_poll, set_busy_poll: Duration =
        |socket| Ok(Duration::from_micros(socket.busy_poll()?.into())),
        |socket, time| socket.set_busy_poll(time.as_micros().min(MOST as u128) as u32);
    /// Allows `MSG_ZEROCOPY` for those who send through the descriptor
    /// (`SO_ZEROCOPY`); nothing in this crate does. Off by default.
    zerocopy, set_zerocopy: bool =
        |socket| Ok(sys::int(socket, ZEROCOPY)? != 0), |socket, allow| sys::set_int(socket, ZEROCOPY, allow);
}}

options! { [TcpSocket TcpListener TcpStream] {
    /// Sets whether small segments are sent at once, not held back while earlier ones
    /// are unacknowledged (`TCP_NODELAY`; RFC 9293, 3.7.4). On by default, for sockets
    /// that this crate made or accepted.
    nodelay, set_nodelay: bool = Socket::tcp_nodelay, Socket::set_tcp_nodelay;
    /// Sets when a silent connection is probed, if it is (`SO_KEEPALIVE`). Not by
    /// default.
    keepalive, set_keepalive: Option<Keepalive> = keepalive, set_keepalive;
    /// Sets whether the stream, when it is dropped, throws away what is unsent and
    /// resets the connection (`SO_LINGER` of zero seconds). Off by default.
    ///
    /// There is no way to set any other time: `close(2)` would block the thread.
    zero_linger, set_zero_linger: bool =
        |socket| Ok(socket.linger()? == Some(Duration::ZERO)),
        |socket, zero| socket.set_linger(zero.then_some(Duration::ZERO));
    /// Sets how long what was sent may stay unacknowledged, or a window closed, before
    /// the connection is given up with [`TimedOut`](io::ErrorKind::TimedOut), rounded
    /// up to milliseconds (`TCP_USER_TIMEOUT`, RFC 5482). Without it, which is the
    /// default, a peer that has vanished is given up after some 15 minutes
    /// (`net.ipv4.tcp_retries2`).
    user_timeout, set_user_timeout: Option<Duration> =
        Socket::tcp_user_timeout,
        // Or what is below a millisecond would end it.
        |socket, time| socket.set_tcp_user_timeout(time.map(|time| time.saturating_add(Duration::from_nanos(999_999))));
    /// Sets from how many unsent bytes on the stream counts as full
    /// (`TCP_NOTSENT_LOWAT`), so that it is writable only below. As many as the send
    /// buffer holds by default, shown as 0 (`net.ipv4.tcp_notsent_lowat`).
    notsent_lowat, set_notsent_lowat: u32 = Socket::tcp_notsent_lowat, Socket::set_tcp_notsent_lowat;
}}

options! { [TcpSocket] {
    /// Allows binding while connections of an earlier listener linger
    /// (`SO_REUSEADDR`). Off by default here; on for
    /// [`TcpListener::bind`](crate::TcpListener::bind). Linux asks this of the earlier
    /// listener as well.
    reuse_addr, set_reuse_addr: bool = Socket::reuse_address, Socket::set_reuse_address;
    /// Allows several listeners of one user on the same address, among which the kernel
    /// spreads connections (`SO_REUSEPORT`). Off by default.
    reuse_port, set_reuse_port: bool = Socket::reuse_port, Socket::set_reuse_port;
    /// Sets whether connecting to a peer whose cookie is known is done at once, and the
    /// first write is the first packet (`TCP_FASTOPEN_CONNECT`, RFC 7413): errors come
    /// out of that write then, and a read before it is not connected. Off by default. It takes bit 1 of
    /// `net.ipv4.tcp_fastopen`, which is set by default.
    fastopen_connect, set_fastopen_connect: bool =
        |socket| Ok(sys::int(socket, FASTOPEN_CONNECT)? != 0),
        |socket, at_once| sys::set_int(socket, FASTOPEN_CONNECT, at_once);
}}

options! { [UdpSocket] {
    /// Allows sending to broadcast addresses (`SO_BROADCAST`). Off by default.
    broadcast, set_broadcast: bool = Socket::broadcast, Socket::set_broadcast;
    /// Sets whether this host gets the multicast packets that it sends itself
    /// (`IP_MULTICAST_LOOP`). On by default.
    multicast_loop_v4, set_multicast_loop_v4: bool = Socket::multicast_loop_v4, Socket::set_multicast_loop_v4;
    /// Sets whether this host gets the multicast packets that it sends itself
    /// (`IPV6_MULTICAST_LOOP`). On by default.
    multicast_loop_v6, set_multicast_loop_v6: bool = Socket::multicast_loop_v6, Socket::set_multicast_loop_v6;
    /// Sets how many routers may forward a multicast packet, 0 to 255
    /// (`IP_MULTICAST_TTL`). 1 by default: none.
    multicast_ttl_v4, set_multicast_ttl_v4: u32 =
        Socket::multicast_ttl_v4, |socket, hops| socket.set_multicast_ttl_v4(in_range(hops)?);
    /// Sets how many routers may forward a multicast packet, 0 to 255
    /// (`IPV6_MULTICAST_HOPS`). 1 by default: none.
    multicast_hops_v6, set_multicast_hops_v6: u32 =
        Socket::multicast_hops_v6, |socket, hops| socket.set_multicast_hops_v6(in_range(hops)?);
    /// Sets the interface, by its address, that multicast packets leave through
    /// (`IP_MULTICAST_IF`).
    multicast_if_v4, set_multicast_if_v4: Ipv4Addr =
        Socket::multicast_if_v4, |socket, interface| socket.set_multicast_if_v4(&interface);
    /// Sets the interface, by its index, that multicast packets leave through
    /// (`IPV6_MULTICAST_IF`).
    multicast_if_v6, set_multicast_if_v6: u32 = Socket::multicast_if_v6, Socket::set_multicast_if_v6;
}}

options! { [TcpStream] {
    /// Sets whether the next acknowledgements are sent at once (`TCP_QUICKACK`). The
    /// kernel changes it back when it sees fit. At the start mostly on.
    quickack, set_quickack: bool = Socket::tcp_quickack, Socket::set_tcp_quickack;
}}

options! { [TcpSocket TcpListener] {
    /// Lets a connection wait to be accepted only when its client has sent something,
    /// or this time has passed (`TCP_DEFER_ACCEPT`), rounded up to a number of
    /// retransmissions: 1, 3, 7, 15... seconds. Zero, the default, ends that. Streams
    /// do not have it.
    defer_accept, set_defer_accept: Duration =
        |socket| Ok(Duration::from_secs(sys::int(socket, DEFER_ACCEPT)?.unsigned_abs().into())),
        |socket, time| sys::set_int(socket, DEFER_ACCEPT, whole_seconds(time).as_secs());
    /// Sets how many connections whose first packet had data may be in the making
    /// (`TCP_FASTOPEN`, RFC 7413). 0, the default: none. It also takes bit 2 of
    /// `net.ipv4.tcp_fastopen`. Streams do not have it.
    fastopen, set_fastopen: u32 =
        |socket| Ok(sys::int(socket, FASTOPEN)?.cast_unsigned()), |socket, most| sys::set_int(socket, FASTOPEN, most);
}}

facts! { [TcpStream] {
    /// Whether urgent bytes are left in the stream.
    ///
    /// # Errors
    /// What the kernel says.
    oob_inline() -> bool = Socket::out_of_band_inline;
}}

facts! { [UdpSocket] {
    /// Joins a group at the interface that has this address
    /// ([`UNSPECIFIED`](Ipv4Addr::UNSPECIFIED): the kernel chooses).
    ///
    /// # Errors
    /// What the kernel says: [`AddrInUse`](io::ErrorKind::AddrInUse) if the socket
    /// is in that group already, `ENODEV` if there is no such interface.
    join_multicast_v4(group: Ipv4Addr, interface: Ipv4Addr) -> () =
        |socket, group, interface| socket.join_multicast_v4(&group, &interface);
    /// Leaves a group.
    ///
    /// # Errors
    /// What the kernel says:
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if the socket is not in
    /// it.
    leave_multicast_v4(group: Ipv4Addr, interface: Ipv4Addr) -> () =
        |socket, group, interface| socket.leave_multicast_v4(&group, &interface);
    /// Joins a group at the interface that has this index (0: the kernel chooses).
    ///
    /// # Errors
    /// As [`join_multicast_v4`](UdpSocket::join_multicast_v4).
    join_multicast_v6(group: Ipv6Addr, interface: u32) -> () =
        |socket, group, interface| socket.join_multicast_v6(&group, interface);
    /// Leaves a group.
    ///
    /// # Errors
    /// As [`leave_multicast_v4`](UdpSocket::leave_multicast_v4).
    leave_multicast_v6(group: Ipv6Addr, interface: u32) -> () =
        |socket, group, interface| socket.leave_multicast_v6(&group, interface);
}}

/// More than an `int` holds, the kernel would take for something else.
const MOST: usize = c_int::MAX as usize;

type Ask = fn(&Socket) -> io::Result<u32>;
type Tell = fn(&Socket, u32) -> io::Result<()>;

/// Whichever is used for packets to the peer, or to any. An IPv6 socket may have IPv4
/// peers (ipv6(7), mapped addresses), for whom the options of IPv4 hold.
fn of_packets(socket: &Socket, v4: Ask, v6: Ask) -> io::Result<u32> {
    let addr = socket.peer_addr().or_else(|_| socket.local_addr())?;
    let is_v6 = addr.as_socket_ipv6().is_some_and(|addr| addr.ip().to_ipv4_mapped().is_none());
    if is_v6 { v6(socket) } else { v4(socket) }
}

/// Sets both of an IPv6 socket, whatever its peers are.
fn set_of_packets(socket: &Socket, value: u32, v4: Tell, v6: Tell) -> io::Result<()> {
    if socket.domain()? == Domain::IPV6 {
        v6(socket, value)?;
    }
    v4(socket, value)
}

/// A number of hops that an IP header has room for. The kernel would take what turns
/// into -1 for its default.
fn in_range(hops: u32) -> io::Result<u32> {
    u8::try_from(hops).map(u32::from).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// When a silent connection is probed, and when it is given up (tcp(7),
/// `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`; RFC 9293, 3.8.4).
///
/// The default finds a dead peer in 2 minutes: 60 s, 10 s, 6 probes. The kernel's
/// own is 2 hours, 75 s, 9 probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long the connection is silent before the first probe. The kernel
    /// counts whole seconds: rounded up.
    pub idle: Duration,
    /// How long after each unanswered probe the next one is sent; rounded up to
    /// whole seconds.
    pub interval: Duration,
    /// How many probes go unanswered before the connection is given up.
    pub count: u32,
}

impl Default for Keepalive {
    fn default() -> Keepalive {
        Keepalive { idle: Duration::from_secs(60), interval: Duration::from_secs(10), count: 6 }
    }
}

fn keepalive(socket: &Socket) -> io::Result<Option<Keepalive>> {
    if !socket.keepalive()? {
        return Ok(None);
    }
    let (idle, interval) = (socket.tcp_keepalive_time()?, socket.tcp_keepalive_interval()?);
    Ok(Some(Keepalive { idle, interval, count: socket.tcp_keepalive_retries()? }))
}

fn set_keepalive(socket: &Socket, keepalive: Option<Keepalive>) -> io::Result<()> {
    let Some(Keepalive { idle, interval, count }) = keepalive else {
        return socket.set_keepalive(false);
    };
    let times = TcpKeepalive::new().with_time(whole_seconds(idle)).with_interval(whole_seconds(interval));
    socket.set_tcp_keepalive(&times.with_retries(count))
}

fn whole_seconds(time: Duration) -> Duration {
    let more = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs(time.as_secs().saturating_add(more))
}

const ZEROCOPY: (c_int, c_int) = (libc::SOL_SOCKET, libc::SO_ZEROCOPY);
const DEFER_ACCEPT: (c_int, c_int) = (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT);
const FASTOPEN: (c_int, c_int) = (libc::IPPROTO_TCP, libc::TCP_FASTOPEN);
const FASTOPEN_CONNECT: (c_int, c_int) = (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), Duration::from_secs(1));
        assert_eq!(whole_seconds(Duration::from_secs(2)), Duration::from_secs(2));
        assert_eq!(whole_seconds(Duration::MAX), Duration::from_secs(u64::MAX));
    }
}

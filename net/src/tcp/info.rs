//! What the kernel knows of a connection (tcp(7), `TCP_INFO`; linux/tcp.h).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::sys::{self, RawInfo};
use crate::tcp::{TcpListener, TcpStream};

/// Where a connection is in its life (RFC 9293, 3.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "they are the names of the RFC")]
pub enum TcpState {
    Established,
    SynSent,
    SynReceived,
    FinWait1,
    FinWait2,
    TimeWait,
    /// Also after a reset.
    Closed,
    /// The peer has closed its half, and this end has not.
    CloseWait,
    LastAck,
    Listen,
    Closing,
    /// One that Linux got after this was written.
    Unknown,
}

impl TcpState {
    /// In the order of Linux's numbers, which begin at 1.
    const ALL: [TcpState; 11] = {
        use TcpState::*;
        [Established, SynSent, SynReceived, FinWait1, FinWait2, TimeWait, Closed, CloseWait, LastAck, Listen, Closing]
    };
}

macro_rules! info {
    ($($(#[doc = $about:literal])* $field:ident: $value:ty = $offset:literal $read:expr;)*) => {
        /// What the kernel knows of a connection at one moment, from
        /// [`TcpStream::info`]. What an older kernel does not tell is 0.
        #[derive(Clone, Copy, Debug)]
        #[non_exhaustive]
        pub struct TcpInfo {
            /// Where the connection is in its life.
            pub state: TcpState,
            $($(#[doc = $about])* pub $field: $value,)*
        }

        impl TcpInfo {
            pub(crate) fn of(raw: &RawInfo) -> TcpInfo {
                let state = TcpState::ALL.get(usize::from(raw.byte(0)).wrapping_sub(1));
                TcpInfo { state: state.copied().unwrap_or(TcpState::Unknown), $($field: $read(raw, $offset)),* }
            }
        }
    };
}

fn micros(raw: &RawInfo, offset: usize) -> Duration {
    Duration::from_micros(raw.word(offset).into())
}

fn millis(raw: &RawInfo, offset: usize) -> Duration {
    Duration::from_millis(raw.word(offset).into())
}

info! {
    /// Time-outs in a row after which something was sent again and is not acknowledged.
    retransmits: u8 = 2 RawInfo::byte;
    /// Probes in a row without an answer: of a closed window, or for keep-alive.
    probes: u8 = 3 RawInfo::byte;
    /// After which time without an acknowledgement it is sent again.
    rto: Duration = 8 micros;
    /// The largest segment that is sent, in bytes.
    snd_mss: u32 = 16 RawInfo::word;
    /// The largest segment that was received, in bytes.
    rcv_mss: u32 = 20 RawInfo::word;
    /// Segments on the way: sent, and not acknowledged.
    unacked: u32 = 24 RawInfo::word;
    /// Of these, how many are thought to be lost.
    lost: u32 = 32 RawInfo::word;
    /// The time since data was sent.
    last_data_sent: Duration = 44 millis;
    /// The time since data was received.
    last_data_recv: Duration = 52 millis;
    /// The time since an acknowledgement was received.
    last_ack_recv: Duration = 56 millis;
    /// The largest packet that the path carries, in bytes.
    pmtu: u32 = 60 RawInfo::word;
    /// The round-trip time, smoothed (RFC 6298).
    rtt: Duration = 68 micros;
    /// Its variation.
    rttvar: Duration = 72 micros;
    /// The shortest round-trip time of late.
    min_rtt: Duration = 148 micros;
    /// Below how many segments the window doubles each round trip.
    snd_ssthresh: u32 = 76 RawInfo::word;
    /// The congestion window, in segments.
    snd_cwnd: u32 = 80 RawInfo::word;
    /// Segments that were sent again, in all.
    total_retrans: u32 = 100 RawInfo::word;
    /// Bytes that the peer has acknowledged; 1 more if this end connected, and 1 more
    /// when its FIN is.
    bytes_acked: u64 = 120 RawInfo::long;
    /// Bytes that came; 1 more when the peer's FIN did.
    bytes_received: u64 = 128 RawInfo::long;
    /// Bytes that were sent, some more than once.
    bytes_sent: u64 = 200 RawInfo::long;
    /// Bytes that were sent again.
    bytes_retrans: u64 = 208 RawInfo::long;
    /// Packets that were sent, also without data.
    segs_out: u32 = 136 RawInfo::word;
    /// Packets that came, also without data.
    segs_in: u32 = 140 RawInfo::word;
    /// Bytes that were written and not yet sent.
    notsent_bytes: u32 = 144 RawInfo::word;
    /// How fast the peer has got data of late, in bytes per second.
    delivery_rate: u64 = 160 RawInfo::long;
    /// The peer's window, in bytes; 0 if it has stopped reading.
    snd_wnd: u32 = 228 RawInfo::word;
}

/// How many bytes are in the kernel, from [`TcpStream::queues`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queues {
    /// Received, and not read (`SIOCINQ`).
    pub unread: usize,
    /// Written, and not acknowledged by the peer's kernel, whether sent or not
    /// (`SIOCOUTQ`).
    pub unacknowledged: usize,
    /// Of these, how many are not sent (`SIOCOUTQNSD`).
    pub unsent: usize,
}

/// The connections that wait to be accepted, from [`TcpListener::queue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenQueue {
    /// How many wait.
    pub length: u32,
    /// How many may. One more does, in fact.
    pub limit: u32,
    /// How often a connection found no place, at any listener of this network namespace
    /// since that exists (`ListenOverflows` of /proc/net/netstat). A client that is not
    /// given up is counted with each of its attempts.
    pub overflows: u64,
}

/// Seeing. Each method asks the kernel.
impl TcpStream {
    /// Round-trip time, window, losses, counters (`TCP_INFO`).
    ///
    /// # Errors
    /// What the kernel says.
    pub fn info(&self) -> io::Result<TcpInfo> {
        sys::tcp_info(self.as_fd()).map(|raw| TcpInfo::of(&raw))
    }

    /// Where the connection is in its life.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn state(&self) -> io::Result<TcpState> {
        self.info().map(|info| info.state)
    }

    /// How many bytes are unread, unacknowledged, unsent. A FIN that is not acknowledged,
    /// or not sent, counts as one byte.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn queues(&self) -> io::Result<Queues> {
        let queue = |request| sys::queue(self.as_fd(), request);
        let (unread, unacknowledged) = (queue(libc::FIONREAD)?, queue(libc::TIOCOUTQ)?);
        Ok(Queues { unread, unacknowledged, unsent: queue(libc::SIOCOUTQNSD)? })
    }
}

/// Seeing.
impl TcpListener {
    /// How many connections wait to be accepted, how many may, and how many found no
    /// place. Asks the kernel and reads a file of procfs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn queue(&self) -> io::Result<ListenQueue> {
        let raw = sys::tcp_info(self.as_fd())?;
        // These two fields mean something else while a socket listens.
        Ok(ListenQueue { length: raw.word(24), limit: raw.word(28), overflows: sys::listen_overflows()? })
    }
}

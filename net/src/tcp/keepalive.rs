//! When to probe a silent connection.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::sys;

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

impl Keepalive {
    pub(super) fn set(of: Option<Keepalive>, fd: BorrowedFd<'_>) -> io::Result<()> {
        match of {
            None => sys::end_keepalive(fd),
            Some(Keepalive { idle, interval, count }) => {
                sys::set_keepalive(fd, whole_seconds(idle), whole_seconds(interval), count)
            }
        }
    }

    pub(super) fn get(fd: BorrowedFd<'_>) -> io::Result<Option<Keepalive>> {
        let set = sys::keepalive(fd)?;
        Ok(set.map(|(idle, interval, count)| Keepalive { idle, interval, count }))
    }
}

fn whole_seconds(time: Duration) -> Duration {
    let more = u64::from(time.subsec_nanos() > 0);
    Duration::from_secs(time.as_secs().saturating_add(more))
}

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

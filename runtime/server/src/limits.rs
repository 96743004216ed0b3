//! How much a server takes on, and how long it waits for a peer.

use std::time::Duration;

/// What is done with connections that there is no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// They wait in the kernel's queue until there is room; the kernel lets peers
    /// beyond that queue wait.
    #[default]
    Wait,
    /// They are accepted and reset at once, so that the peer can go elsewhere.
    Shed,
}

/// Bounds of a [`Server`](crate::Server), enforced below whatever protocol is spoken.
///
/// The limits in time are checked eight times in each of the shortest one, at least
/// every second: a connection is cut between the limit and an eighth more. Time during
/// which the process does not run does not count. A connection that is cut is shut
/// down in both directions: reading and writing return an error of the kind
/// [`TimedOut`](std::io::ErrorKind::TimedOut) with a [`Cut`](crate::Cut) inside.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use bourn_server::{Limits, WhenFull};
///
/// let limits = Limits::new()
///     .connections(10_000)
///     .per_address(100)
///     .when_full(WhenFull::Shed)
///     .idle(Duration::from_secs(75));
/// # drop(limits);
/// ```
#[derive(Clone, Debug)]
#[must_use = "limits bind the server that is given them"]
pub struct Limits {
    pub(crate) connections: Option<usize>,
    pub(crate) per_address: Option<usize>,
    pub(crate) when_full: WhenFull,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) write_stall: Option<Duration>,
    pub(crate) min_rate: Option<(u64, Duration)>,
}

impl Limits {
    /// The defaults: no bound but the process's descriptors on how many connections
    /// there are, 30 seconds for the first byte, 10 minutes of idleness, 60 seconds
    /// without progress in writing, and no rate.
    pub fn new() -> Limits {
        Limits {
            connections: None,
            per_address: None,
            when_full: WhenFull::Wait,
            first_byte: Some(Duration::from_secs(30)),
            idle: Some(Duration::from_secs(600)),
            write_stall: Some(Duration::from_secs(60)),
            min_rate: None,
        }
    }

    /// No bounds at all.
    pub fn none() -> Limits {
        Limits { first_byte: None, idle: None, write_stall: None, ..Limits::new() }
    }

    /// The most connections at a time, at least 1.
    pub fn connections(self, most: usize) -> Limits {
        Limits { connections: Some(most.max(1)), ..self }
    }

    /// The most connections of one peer at a time, at least 1: of an IPv4 address, or
    /// of a /64 network of IPv6, for that is what one customer gets. Behind a proxy that
    /// [is trusted](crate::Server::proxy_from) it is the real peer that counts. Further
    /// ones are shed, whatever [`when_full`](Limits::when_full) says: in the queue they
    /// would keep out everybody else.
    pub fn per_address(self, most: usize) -> Limits {
        Limits { per_address: Some(most.max(1)), ..self }
    }

    /// What is done when there are as many connections as there may be, or when no
    /// descriptor is left. Default: [`WhenFull::Wait`].
    pub fn when_full(self, policy: WhenFull) -> Limits {
        Limits { when_full: policy, ..self }
    }

    /// How long a peer may take for its first byte. Not for protocols in which the
    /// server speaks first and the client may be slow to answer. Default: 30 seconds.
    pub fn first_byte(self, limit: impl Into<Option<Duration>>) -> Limits {
        Limits { first_byte: limit.into(), ..self }
    }

    /// How long a connection may be without a byte in either direction. Default: 10
    /// minutes.
    pub fn idle(self, limit: impl Into<Option<Duration>>) -> Limits {
        Limits { idle: limit.into(), ..self }
    }

    /// How long a write may wait without the peer taking a byte. One that was begun through a
    /// trait waits until a further one goes through, also if it was given up meanwhile.
    /// Default: 60 seconds.
    pub fn write_stall(self, limit: impl Into<Option<Duration>>) -> Limits {
        Limits { write_stall: limit.into(), ..self }
    }

    /// How many bytes a second a peer has to send, on average, between the first byte
    /// after the server's last answer and the latest one, once that has lasted for `grace`.
    /// It meets peers that send a request byte by byte for ever, which are never idle. A
    /// peer that says nothing is not measured, nor is the time that an answer takes. It is
    /// for protocols of requests and answers: a peer that sends little things and expects
    /// no answer would be cut. Default: none, so that a peer that sends a byte now and then
    /// is not cut by anything.
    pub fn min_rate(self, bytes_per_second: u64, grace: Duration) -> Limits {
        Limits { min_rate: Some((bytes_per_second, grace)), ..self }
    }

    /// How often the limits in time are looked at, if there are any.
    pub(crate) fn period(&self) -> Option<Duration> {
        let rate = self.min_rate.map(|(_, grace)| grace);
        let shortest = [self.first_byte, self.idle, self.write_stall, rate].into_iter().flatten().min()?;
        Some((shortest / 8).clamp(Duration::from_millis(5), Duration::from_secs(1)))
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new()
    }
}

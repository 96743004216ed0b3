//! Connecting: to one address, or a race among several.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bourn_reactor::Sleep;

use crate::tcp::{TcpSocket, TcpStream};

/// How long an attempt goes on before the next address is tried beside it
/// (RFC 8305, section 8, "Connection Attempt Delay").
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to the first of `addrs` that answers: each is tried beside those before
/// it when the last of them has had its head start, or at once when one fails.
pub(super) async fn connect_any(addrs: &[SocketAddr]) -> io::Result<TcpStream> {
    if let [only] = addrs {
        return connect_to(*only).await;
    }
    // Not the clock of timers: this is told to people, nothing waits for it.
    let start = |addr| (addr, Instant::now(), Box::pin(connect_to(addr)));
    let mut waiting = interleaved(addrs);
    let mut racing: Vec<_> = waiting.next().into_iter().map(start).collect();
    let mut failed = Vec::new();
    let mut head_start = Sleep::after(HEAD_START);
    poll_fn(|cx| {
        loop {
            let failed_before = failed.len();
            let mut place = 0;
            while let Some((addr, begin, attempt)) = racing.get_mut(place) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        failed.push(ConnectAttempt { addr: *addr, error, elapsed: begin.elapsed() });
                        drop(racing.remove(place));
                    }
                    Poll::Pending => place += 1,
                }
            }
            if failed.len() == failed_before && Pin::new(&mut head_start).poll(cx).is_pending() {
                return Poll::Pending;
            }
            match waiting.next() {
                Some(addr) => racing.push(start(addr)),
                None if racing.is_empty() => {
                    let attempts = std::mem::take(&mut failed);
                    let kind = attempts.last().map_or(io::ErrorKind::InvalidInput, |last| last.error.kind());
                    return Poll::Ready(Err(io::Error::new(kind, ConnectError { attempts })));
                }
                None => return Poll::Pending,
            }
            head_start = Sleep::after(HEAD_START);
        }
    })
    .await
}

/// The families take turns, that of the first address first; within each, the order
/// stays (RFC 8305, section 4).
fn interleaved(addrs: &[SocketAddr]) -> impl Iterator<Item = SocketAddr> {
    let (one, other): (Vec<_>, Vec<_>) = addrs.iter().partition(|addr| addr.is_ipv6() == addrs[0].is_ipv6());
    let mut queues = [one.into_iter(), other.into_iter()];
    std::iter::from_fn(move || {
        let [turn, rest] = &mut queues;
        let next = turn.next().or_else(|| rest.next());
        queues.swap(0, 1);
        next
    })
}

async fn connect_to(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpSocket::of_family(&addr)?.connect(addr).await?;
    // A peer that is gone already is told by the first read, as ever.
    if stream.peer_addr().ok() == Some(stream.local_addr()?) {
        // The kernel gave us the very port that we asked for, where nobody
        // listens, and joined the socket to itself (RFC 9293, 3.5, simultaneous
        // open). A reset leaves no TIME_WAIT to keep a server from that port.
        stream.reset()?;
        return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
    }
    Ok(stream)
}

/// One address that did not answer.
#[derive(Debug)]
pub struct ConnectAttempt {
    addr: SocketAddr,
    error: io::Error,
    elapsed: Duration,
}

impl ConnectAttempt {
    /// The address that was tried.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the kernel said.
    pub fn error(&self) -> &io::Error {
        &self.error
    }

    /// How long it took to say so.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

/// None of several addresses answered: the payload
/// ([`get_ref`](io::Error::get_ref)) of the [`io::Error`] that
/// [`TcpStream::connect`] returns then. Its kind is the last attempt's.
#[derive(Debug)]
pub struct ConnectError {
    attempts: Vec<ConnectAttempt>,
}

impl ConnectError {
    /// Every attempt, in the order in which they failed.
    pub fn attempts(&self) -> &[ConnectAttempt] {
        &self.attempts
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "none of {} addresses answered", self.attempts.len())?;
        for (place, attempt) in self.attempts.iter().enumerate() {
            let mark = if place == 0 { ": " } else { "; " };
            write!(formatter, "{mark}{} after {:?}: {}", attempt.addr, attempt.elapsed, attempt.error)?;
        }
        Ok(())
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.attempts.last().map(|last| &last.error as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(addrs: &[&str]) -> Vec<String> {
        let addrs: Vec<SocketAddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        interleaved(&addrs).map(|addr| addr.to_string()).collect()
    }

    #[test]
    fn families_take_turns() {
        let mixed = ["[::1]:1", "[::2]:1", "[::3]:1", "1.0.0.1:1", "1.0.0.2:1"];
        assert_eq!(order(&mixed), ["[::1]:1", "1.0.0.1:1", "[::2]:1", "1.0.0.2:1", "[::3]:1"]);
        let four_first = ["1.0.0.1:1", "[::1]:1", "[::2]:1", "[::3]:1"];
        assert_eq!(order(&four_first), four_first);
        assert_eq!(order(&[]).len(), 0);
    }
}

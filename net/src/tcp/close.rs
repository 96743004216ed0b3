//! Closing with the certainty of what became of the bytes.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use bourn_reactor::Sleep;

use crate::socket::Read;
use crate::stall::before;
use crate::sys;
use crate::tcp::{TcpState, TcpStream};

/// How long [`TcpStream::close`] lingers.
const LINGER: Duration = Duration::from_secs(30);

/// What became of a connection's bytes, from [`TcpStream::close`]: the kernel's counts
/// at the moment when the descriptor was closed.
#[derive(Debug)]
#[non_exhaustive]
pub struct CloseReport {
    /// Bytes that the peer has sent and nobody has read; those that came while closing
    /// are among them.
    pub unread: u64,
    /// Bytes that were written and never sent, for the peer had no room.
    pub unsent: u64,
    /// Bytes that were written and not acknowledged by the peer's kernel, `unsent` ones
    /// among them.
    pub unacknowledged: u64,
    /// Bytes that the peer's kernel has acknowledged, of all that were ever written.
    pub acknowledged: u64,
    /// Whether the peer has closed its half, too.
    pub peer_closed: bool,
    /// The error by which the connection ended, such as
    /// [`ConnectionReset`](io::ErrorKind::ConnectionReset).
    pub error: Option<io::Error>,
}

impl CloseReport {
    /// Whether the peer's kernel has everything that was written, and nothing that it
    /// sent was left unread.
    pub fn is_complete(&self) -> bool {
        self.unread == 0 && self.unacknowledged == 0 && self.error.is_none()
    }
}

/// Segments are held back until this is dropped, from [`TcpStream::cork`].
#[derive(Debug)]
#[must_use = "dropped at once, it holds nothing back"]
pub struct Cork<'a> {
    stream: &'a TcpStream,
}

impl Drop for Cork<'_> {
    fn drop(&mut self) {
        // Fails for a descriptor alone that is no TCP socket.
        let _ = sys::option(self.stream).and_then(|socket| socket.set_tcp_cork(false));
    }
}

impl TcpStream {
    /// Closes the connection and tells what became of its bytes: as
    /// [`close_within`](TcpStream::close_within) 30 seconds.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn close(self) -> io::Result<CloseReport> {
        self.close_within(LINGER).await
    }

    /// Closes the connection and tells what became of its bytes.
    ///
    /// Sends FIN after what was written, then reads and drops what still comes, until
    /// the peer has closed its half and acknowledged everything, or `limit` is over; a
    /// read time-out counts no more.
    /// A stream that is only dropped while the peer still sends is reset, and may lose
    /// what the peer has not read yet (RFC 2525, 2.17).
    ///
    /// What is unacknowledged at the end, the kernel still tries to deliver, unless
    /// there is unread data, the connection is over, or the stream lingers for no time
    /// (`SO_LINGER` of zero), which resets it.
    ///
    /// # Errors
    /// What the kernel says when it is asked for its counts. How the connection ended
    /// stands in the report. With kTLS over it the kernel may refuse to drop what comes
    /// unseen: that is an error in the report, and the counts are those of then.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection at once.
    ///
    /// # Examples
    /// ```
    /// # futures_lite::future::block_on(async {
    /// # use bourn_net::{TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    /// client.write_all(b"hello").await?;
    /// server.write_all(b"never read").await?;
    ///
    /// let (client, server) = futures_lite::future::zip(client.close(), server.close()).await;
    /// let (client, server) = (client?, server?);
    /// assert_eq!((client.acknowledged, client.unread), (5, 10));
    /// assert_eq!((server.acknowledged, server.unread), (10, 5));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn close_within(self, limit: Duration) -> io::Result<CloseReport> {
        let mut end = Sleep::after(limit);
        self.set_read_timeout(None);
        // What was shut down before has its FIN, too. Not connected is what is over, whose
        // FIN, if there was one, is mostly acknowledged.
        let has_fin = match sys::shutdown(self.as_fd(), Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => false,
            result => result.map(|()| true)?,
        };
        let mut drained = 0;
        let drain = async {
            loop {
                match self.socket.operate(Read, sys::discard).await? {
                    0 => return io::Result::Ok(()),
                    dropped => drained += dropped as u64,
                }
            }
        };
        let drain = before(&mut end, drain).await;
        let peer_closed = matches!(drain, Some(Ok(())));
        if peer_closed {
            // If that fails, the counts tell.
            let _ = before(&mut end, self.acknowledged()).await;
        }
        let error = drain.and_then(Result::err);
        let info = self.info()?;
        let queues = self.queues()?;
        let error = if error.is_none() { self.take_error()? } else { error };
        let unread = drained + queues.unread as u64;
        // The FIN is the last byte of what was written.
        let fin = u64::from(has_fin);
        let unacknowledged = (queues.unacknowledged as u64).saturating_sub(fin);
        let unsent = (queues.unsent as u64).saturating_sub(fin);
        // What is acknowledged may include a SYN and a FIN; what was sent does not.
        let on_the_way = unacknowledged.saturating_sub(unsent);
        let sent_once = info.bytes_sent.saturating_sub(info.bytes_retrans);
        let at_least = info.bytes_acked.saturating_sub(2);
        let acknowledged = sent_once.saturating_sub(on_the_way).clamp(at_least, info.bytes_acked);
        Ok(CloseReport { unread, unsent, unacknowledged, acknowledged, peer_closed, error })
    }

    /// Waits until the peer's kernel has acknowledged everything that was written, its
    /// FIN if that was [shut down](TcpStream::shutdown). Whether the peer's program has
    /// read it is not known then. The kernel reports no acknowledgement: this looks
    /// again after 1 ms, doubling to 50 ms.
    ///
    /// # Errors
    /// [`NotConnected`](io::ErrorKind::NotConnected) if the connection is over and
    /// something was not acknowledged.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn acknowledged(&self) -> io::Result<()> {
        let acknowledged = self.socket.until_room(|_| match self.queues()?.unacknowledged {
            0 => Ok(()),
            _ if self.state()? == TcpState::Closed => Err(io::ErrorKind::NotConnected.into()),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        });
        acknowledged.await
    }

    /// Holds segments that are not full back until the guard is dropped, or 200 ms
    /// have passed (`TCP_CORK`): what is written in pieces meanwhile travels in few
    /// packets. Of several guards, the first that is dropped ends it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn cork(&self) -> io::Result<Cork<'_>> {
        sys::option(self)?.set_tcp_cork(true)?;
        Ok(Cork { stream: self })
    }
}

//! A socket over its source: the one path of ordinary input and output.
//!
//! Each operation is tried first and waits on `WouldBlock`; what it saw of its
//! direction before it asked the kernel is what it clears afterwards. Another way
//! to reach the kernel has to provide these functions and nothing else.

use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bourn_reactor::{Direction, Interest, Kind, Seen, Sleep, Source, Ticket, budget};
use socket2::SockAddr;

use crate::stall::Stalls;
use crate::sys::{self, Calls, Room};
use crate::vacancy::Occupancy;

/// How long to wait at first, and at most, for room that is not reported.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// A non-blocking socket, or an end of a pipe, that can be waited for.
#[derive(Debug)]
pub(crate) struct Socket {
    source: Source,
    calls: Calls,
    stalls: Stalls,
    /// After the source, for fields are dropped in this order: the descriptor is
    /// closed before its vacancy is announced.
    occupancy: Occupancy,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, kind: Kind) -> Socket {
        Socket { source: Source::new(fd, kind), calls: Calls::Socket, stalls: Stalls::default(), occupancy: Occupancy }
    }

    /// One end of a pipe.
    pub(crate) fn of_pipe(fd: OwnedFd) -> Socket {
        Socket { calls: Calls::Pipe, ..Socket::new(fd, Kind::Other) }
    }

    pub(crate) fn calls(&self) -> Calls {
        self.calls
    }

    /// Deregisters the socket and returns its descriptor.
    pub(crate) fn into_fd(self) -> OwnedFd {
        let Socket { source, occupancy, .. } = self;
        // The descriptor stays occupied by its next owner.
        std::mem::forget(occupancy);
        source.into_fd()
    }

    /// Tries `operation` until it says something else than `WouldBlock`, and
    /// waits for a report after each time that it does.
    fn poll_operation<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<(R, Seen)>> {
        ready!(budget::poll_left(cx));
        loop {
            let Poll::Ready(seen) = self.source.poll_ready(cx, direction, ticket) else {
                return self.stalls.poll(direction, cx).map(Err);
            };
            let seen = seen?;
            match operation(self.source.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.source.clear(seen),
                // An error is work too: a task that goes on after each must not
                // keep the others from theirs.
                result => {
                    budget::spend();
                    self.stalls.progress(direction);
                    return Poll::Ready(result.map(|done| (done, seen)));
                }
            }
        }
    }

    /// Notes that `asked` bytes were asked for and `received` came: fewer mean
    /// that the socket is empty, which saves the call that would say so.
    fn conclude(&self, received: usize, asked: usize, seen: Seen) {
        if 0 < received && received < asked.min(sys::MOST_BYTES) {
            self.source.clear_short(seen);
        }
    }

    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let received = self.poll_operation(cx, Direction::Read, ticket, |fd| sys::recv(fd, self.calls, buf));
        let (received, seen) = ready!(received)?;
        self.conclude(received, buf.len(), seen);
        Poll::Ready(Ok(received))
    }

    /// Like `poll_recv`, into the room that is left in `buf`.
    pub(crate) fn poll_recv_spare(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        buf: &mut impl Room,
    ) -> Poll<io::Result<usize>> {
        let asked = buf.spare().len();
        if asked == 0 {
            return Poll::Ready(Ok(0));
        }
        let received = self.poll_operation(cx, Direction::Read, ticket, |fd| sys::recv_spare(fd, self.calls, buf));
        let (received, seen) = ready!(received)?;
        self.conclude(received, asked, seen);
        Poll::Ready(Ok(received))
    }

    pub(crate) fn poll_recv_vectored(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(first) = bufs.iter().position(|buf| !buf.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        // Or 1,024 empty slices would look like the end of the stream.
        let bufs = &mut bufs[first..];
        let asked = bufs.iter().take(sys::MOST_SLICES).fold(0, |sum: usize, buf| sum.saturating_add(buf.len()));
        let received = self.poll_operation(cx, Direction::Read, ticket, |fd| sys::recv_vectored(fd, bufs));
        let (received, seen) = ready!(received)?;
        self.conclude(received, asked, seen);
        Poll::Ready(Ok(received))
    }

    /// Like `poll_recv`, but what is returned stays in the queue, so its length
    /// says nothing about what else is there.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_operation(cx, Direction::Read, ticket, |fd| sys::peek(fd, buf)).map_ok(|(peeked, _)| peeked)
    }

    /// A short send concludes nothing: it does not always arm the kernel's
    /// wake-up for writing, which only `WouldBlock` surely does.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, ticket: &mut Ticket, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_operation(cx, Direction::Write, ticket, |fd| sys::send(fd, self.calls, buf)).map_ok(|(sent, _)| sent)
    }

    pub(crate) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(first) = bufs.iter().position(|buf| !buf.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        let bufs = &bufs[first..];
        self.poll_operation(cx, Direction::Write, ticket, |fd| sys::send_vectored(fd, self.calls, bufs))
            .map_ok(|(sent, _)| sent)
    }

    /// What happens to datagrams, which may be empty, and to other than bytes.
    pub(crate) fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
        operation: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_operation(cx, direction, ticket, operation).map_ok(|(done, _)| done)
    }

    pub(crate) async fn operate<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.wait(direction, |cx, ticket| self.poll_io(cx, direction, ticket, &mut operation)).await
    }

    pub(crate) fn stalls(&self) -> &Stalls {
        &self.stalls
    }

    /// Whoever has to do with urgent data must not conclude from short reads: they
    /// stop at its mark, with more behind.
    pub(crate) fn distrust_short_reads(&self) {
        self.source.distrust_short_reads();
    }

    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
    ) -> Poll<io::Result<(OwnedFd, SockAddr)>> {
        self.poll_operation(cx, Direction::Read, ticket, sys::accept).map_ok(|(accepted, _)| accepted)
    }

    /// Ready when a `connect(2)` that is under way has ended; returns the peer.
    pub(crate) fn poll_connect(&self, cx: &mut Context<'_>, ticket: &mut Ticket) -> Poll<io::Result<SocketAddr>> {
        self.poll_operation(cx, Direction::Write, ticket, |fd| {
            if let Some(error) = sys::take_error(fd)? {
                return Err(error);
            }
            sys::peer_addr(fd).map_err(|error| match error.kind() {
                // Neither connected nor failed: the report was spurious.
                io::ErrorKind::NotConnected => io::ErrorKind::WouldBlock.into(),
                _ => error,
            })
        })
        .map_ok(|(peer, _)| peer)
    }

    /// Ready as soon as something was reported of `direction` that no operation
    /// has cleared since.
    pub(crate) fn poll_reported(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
    ) -> Poll<io::Result<()>> {
        ready!(budget::poll_left(cx));
        let reported = ready!(self.source.poll_reported(cx, direction, ticket));
        budget::spend();
        Poll::Ready(reported.map(drop))
    }

    pub(crate) fn poll_read_closed(&self, cx: &mut Context<'_>, ticket: &mut Ticket) -> Poll<io::Result<()>> {
        ready!(budget::poll_left(cx));
        let closed = ready!(self.source.poll_read_closed(cx, ticket));
        budget::spend();
        Poll::Ready(closed)
    }

    /// Runs `operation` once; if it says `WouldBlock`, clears what was known of
    /// the directions in `interest` before, so that the next wait is a true one.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let known = |direction| self.source.seen(direction);
        let reading = interest.contains(Interest::READ) || interest.contains(Interest::CLOSED);
        let read = reading.then(|| known(Direction::Read)).flatten();
        let writing = interest.contains(Interest::WRITE);
        let write = writing.then(|| known(Direction::Write)).flatten();
        let result = operation(self.source.as_fd());
        if let Err(error) = &result
            && error.kind() == io::ErrorKind::WouldBlock
        {
            for seen in read.into_iter().chain(write) {
                self.source.clear(seen);
            }
            return result;
        }
        for (direction, tried) in [(Direction::Read, reading), (Direction::Write, writing)] {
            if tried {
                self.stalls.progress(direction);
            }
        }
        result
    }

    /// Gives up the place of a ticket whose owner waits no more.
    pub(crate) fn forget(&self, direction: Direction, ticket: &Ticket) {
        self.source.forget(direction, ticket);
    }

    pub(crate) async fn reported(&self, direction: Direction) -> io::Result<()> {
        self.wait(direction, |cx, ticket| self.poll_reported(cx, direction, ticket)).await
    }

    /// Tries `operation` until it finds room, for what the kernel reports none:
    /// again after 1 ms, doubling to 50 ms, as long as it says `WouldBlock`.
    pub(crate) async fn until_room<R>(
        &self,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let mut pause = FIRST_PAUSE;
        loop {
            poll_fn(budget::poll_left).await;
            match operation(self.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => {
                    budget::spend();
                    return result;
                }
            }
            Sleep::after(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// A place among the waiters of `direction`, taken when it is first needed.
    pub(crate) fn place(&self, direction: Direction) -> Place<'_> {
        Place { socket: self, direction, ticket: Ticket::new() }
    }

    /// What of `interest` was reported and not cleared since, as soon as some is.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Interest> {
        let mut places = [
            (Interest::READ, self.place(Direction::Read)),
            (Interest::WRITE, self.place(Direction::Write)),
            (Interest::CLOSED, self.place(Direction::Read)),
        ];
        poll_fn(|cx| {
            let mut held: Option<Interest> = None;
            for (part, place) in &mut places {
                if !interest.contains(*part) {
                    continue;
                }
                let reported =
                    if *part == Interest::CLOSED { place.poll_read_closed(cx) } else { place.poll_reported(cx) };
                if let Poll::Ready(result) = reported {
                    result?;
                    held = Some(held.map_or(*part, |held| held | *part));
                }
            }
            held.map_or(Poll::Pending, |held| Poll::Ready(Ok(held)))
        })
        .await
    }

    /// Awaits one of the `poll_*` functions above with a place of its own among
    /// the waiters, given up if the future is dropped.
    pub(crate) async fn wait<R>(
        &self,
        direction: Direction,
        mut poll: impl FnMut(&mut Context<'_>, &mut Ticket) -> Poll<R>,
    ) -> R {
        let mut place = self.place(direction);
        poll_fn(|cx| poll(cx, &mut place.ticket)).await
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// A waiting operation's place among the waiters of its direction; given up on
/// drop.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    socket: &'a Socket,
    direction: Direction,
    ticket: Ticket,
}

impl Place<'_> {
    pub(crate) fn ticket(&mut self) -> &mut Ticket {
        &mut self.ticket
    }

    pub(crate) fn poll_io<R>(
        &mut self,
        cx: &mut Context<'_>,
        operation: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.socket.poll_io(cx, self.direction, &mut self.ticket, operation)
    }

    pub(crate) fn poll_reported(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_reported(cx, self.direction, &mut self.ticket)
    }

    pub(crate) fn poll_read_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read_closed(cx, &mut self.ticket)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.socket.forget(self.direction, &self.ticket);
    }
}

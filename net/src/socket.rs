//! A socket over its source: the one path of ordinary input and output.
//!
//! Each operation is tried first and waits on `WouldBlock`; what it saw of its
//! direction before it asked the kernel is what it clears afterwards. Another way
//! to reach the kernel has to provide these functions and nothing else.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bourn_reactor::{Direction, Interest, Kind, Seen, Sleep, Source, Ticket, budget};
use once_cell::race::OnceBox;

use crate::stall::Stalls;
use crate::sys::{self, Calls, Room};
use crate::vacancy::Occupancy;

/// How long to wait at first, and at most, for room that is not reported.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LAST_PAUSE: Duration = Duration::from_millis(50);

/// How an operation stands.
type Polled<R> = Poll<io::Result<R>>;

/// A non-blocking socket, or an end of a pipe, that can be waited for.
pub(crate) struct Socket {
    source: Source,
    rare: OnceBox<Rare>,
    /// After the source, for fields are dropped in this order: the descriptor is
    /// closed before its vacancy is announced.
    occupancy: Occupancy,
}

/// What few sockets have. All others pay a word and a look for it.
#[derive(Debug, Default)]
struct Rare {
    calls: Calls,
    stalls: Stalls,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, kind: Kind) -> Socket {
        Socket { source: Source::new(fd, kind), rare: OnceBox::new(), occupancy: Occupancy }
    }

    /// One end of a pipe.
    pub(crate) fn of_pipe(fd: OwnedFd) -> Socket {
        let rare = Box::new(Rare { calls: Calls::Pipe, ..Rare::default() });
        Socket { rare: OnceBox::with_value(rare), ..Socket::new(fd, Kind::Other) }
    }

    #[inline]
    pub(crate) fn calls(&self) -> Calls {
        self.rare.get().map_or(Calls::Socket, |rare| rare.calls)
    }

    /// Sets how long a stall may last.
    pub(crate) fn set_limit(&self, direction: Direction, limit: Option<Duration>) {
        self.rare.get_or_init(Box::default).stalls.set(direction, limit);
    }

    pub(crate) fn limit(&self, direction: Direction) -> Option<Duration> {
        self.rare.get()?.stalls.get(direction)
    }

    /// Tries `operation` until it says something else than `WouldBlock`, and
    /// waits for a report after each time that it does.
    #[inline]
    fn poll_operation<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
        mut operation: impl FnMut(Seen) -> io::Result<R>,
    ) -> Polled<R> {
        ready!(budget::poll_left(cx));
        loop {
            let Poll::Ready(seen) = self.source.poll_ready(cx, direction, ticket) else {
                return self.rare.get().map_or(Poll::Pending, |rare| rare.stalls.poll(direction, cx).map(Err));
            };
            let seen = seen?;
            match operation(seen) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.source.clear(seen),
                // An error is work too: a task that goes on after each must not
                // keep the others from theirs.
                result => {
                    budget::spend();
                    if let Some(rare) = self.rare.get() {
                        rare.stalls.progress(direction);
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Moves bytes, of which there are `asked` at most.
    ///
    /// A read of fewer means that the socket is empty, which saves the call that would
    /// say so. A short send concludes nothing: it does not always arm the kernel's
    /// wake-up for writing, which only `WouldBlock` surely does.
    #[inline]
    fn poll_move(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
        asked: usize,
        mut operation: impl FnMut(BorrowedFd<'_>, Calls) -> io::Result<usize>,
    ) -> Polled<usize> {
        if asked == 0 {
            return Poll::Ready(Ok(0));
        }
        self.poll_operation(cx, direction, ticket, |seen| {
            let moved = operation(self.as_fd(), self.calls())?;
            if direction == Direction::Read && 0 < moved && moved < asked.min(sys::MOST_BYTES) {
                self.source.clear_short(seen);
            }
            Ok(moved)
        })
    }

    #[inline]
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>, ticket: &mut Ticket, buf: &mut [u8]) -> Polled<usize> {
        self.poll_move(cx, Direction::Read, ticket, buf.len(), |fd, calls| sys::recv(fd, calls, buf))
    }

    /// Like `poll_recv`, into the room that is left in `buf`.
    pub(crate) fn poll_recv_spare<B: Room>(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        buf: &mut B,
    ) -> Polled<usize> {
        let asked = buf.spare().len();
        self.poll_move(cx, Direction::Read, ticket, asked, |fd, calls| sys::recv_spare(fd, calls, buf))
    }

    pub(crate) fn poll_recv_vectored(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Polled<usize> {
        let asked = sys::asked(bufs);
        self.poll_move(cx, Direction::Read, ticket, asked, |fd, _| sys::recv_vectored(fd, bufs))
    }

    /// Like `poll_recv`, but what is returned stays in the queue, so its length
    /// says nothing about what else is there.
    pub(crate) fn poll_peek(&self, cx: &mut Context<'_>, ticket: &mut Ticket, buf: &mut [u8]) -> Polled<usize> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        self.poll_io(cx, Direction::Read, ticket, |fd| sys::peek(fd, buf))
    }

    #[inline]
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, ticket: &mut Ticket, buf: &[u8]) -> Polled<usize> {
        self.poll_move(cx, Direction::Write, ticket, buf.len(), |fd, calls| sys::send(fd, calls, buf))
    }

    pub(crate) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Ticket,
        bufs: &[IoSlice<'_>],
    ) -> Polled<usize> {
        let asked = sys::asked(bufs);
        self.poll_move(cx, Direction::Write, ticket, asked, |fd, calls| sys::send_vectored(fd, calls, bufs))
    }

    /// What happens to datagrams, which may be empty, and to other than bytes.
    pub(crate) fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        ticket: &mut Ticket,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Polled<R> {
        self.poll_operation(cx, direction, ticket, |_| operation(self.as_fd()))
    }

    pub(crate) async fn operate<R, W: Way>(
        &self,
        way: W,
        mut operation: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.wait(way, |socket, cx, ticket| socket.poll_io(cx, W::DIRECTION, ticket, &mut operation)).await
    }

    /// Whoever has to do with urgent data must not conclude from short reads: they
    /// stop at its mark, with more behind.
    pub(crate) fn distrust_short_reads(&self) {
        self.source.distrust_short_reads();
    }

    /// Ready as soon as `part`, which is one interest, was reported, and no operation has cleared it since.
    pub(crate) fn poll_reported(&self, cx: &mut Context<'_>, part: Interest, ticket: &mut Ticket) -> Polled<()> {
        ready!(budget::poll_left(cx));
        let reported = ready!(match part {
            Interest::CLOSED => self.source.poll_read_closed(cx, ticket),
            Interest::WRITE => self.source.poll_reported(cx, Direction::Write, ticket).map_ok(drop),
            _ => self.source.poll_reported(cx, Direction::Read, ticket).map_ok(drop),
        });
        budget::spend();
        Poll::Ready(reported)
    }

    /// Runs `operation` once; if it says `WouldBlock`, clears what was known of
    /// the directions in `interest` before, so that the next wait is a true one.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        operation: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        let reading = interest.contains(Interest::READ) || interest.contains(Interest::CLOSED);
        let read = reading.then_some(Direction::Read);
        let asked = [read, interest.contains(Interest::WRITE).then_some(Direction::Write)];
        let known = asked.map(|direction| self.source.seen(direction?));
        let result = operation(self.source.as_fd());
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            known.into_iter().flatten().for_each(|seen| self.source.clear(seen));
        } else if let Some(rare) = self.rare.get() {
            asked.into_iter().flatten().for_each(|direction| rare.stalls.progress(direction));
        }
        result
    }

    pub(crate) async fn reported<W: Way>(&self, way: W) -> io::Result<()> {
        self.wait(way, |socket, cx, ticket| socket.poll_reported(cx, W::DIRECTION.into(), ticket)).await
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

    /// What of `interest` was reported and not cleared since, as soon as some is.
    pub(crate) async fn ready(&self, interest: Interest) -> io::Result<Interest> {
        let (mut read, mut closed) = (Place::new(self, Read), Place::new(self, Read));
        let mut write = Place::new(self, Write);
        poll_fn(|cx| {
            let mut held: Option<Interest> = None;
            let places = [(Interest::READ, &mut read.ticket), (Interest::CLOSED, &mut closed.ticket)];
            let places = places.into_iter().chain([(Interest::WRITE, &mut write.ticket)]);
            for (part, ticket) in places.filter(|(part, _)| interest.contains(*part)) {
                if let Poll::Ready(result) = self.poll_reported(cx, part, ticket) {
                    result?;
                    held = Some(held.map_or(part, |held| held | part));
                }
            }
            held.map_or(Poll::Pending, |held| Poll::Ready(Ok(held)))
        })
        .await
    }

    /// Awaits one of the `poll_*` functions above with a place of its own among
    /// the waiters, given up if the future is dropped.
    #[inline]
    pub(crate) fn wait<R, W: Way, F>(&self, way: W, poll: F) -> Waiting<'_, W, F>
    where
        F: FnMut(&Socket, &mut Context<'_>, &mut Ticket) -> Poll<R>,
    {
        Waiting { place: Place::new(self, way), poll: Some(poll) }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Socket").field("source", &self.source).field("rare", &self.rare.get()).finish()
    }
}

/// Deregisters the socket and returns its descriptor.
impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        let Socket { source, occupancy, .. } = socket;
        // The descriptor stays occupied by its next owner.
        std::mem::forget(occupancy);
        source.into_fd()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

/// What has a socket.
pub(crate) trait Holder {
    fn socket(&self) -> &Socket;
}

impl Holder for Socket {
    fn socket(&self) -> &Socket {
        self
    }
}

/// The future of [`Socket::wait`]. No async block: that would be twice as large, and
/// large ones are copied by calls.
pub(crate) struct Waiting<'a, W: Way, F> {
    place: Place<&'a Socket, W>,
    /// None once it is done: what was written must not be written again. The place is
    /// kept until the future is dropped, which `await` does at once.
    poll: Option<F>,
}

// Neither field is ever pinned.
impl<W: Way, F> Unpin for Waiting<'_, W, F> {}

impl<R, W: Way, F: FnMut(&Socket, &mut Context<'_>, &mut Ticket) -> Poll<R>> Future for Waiting<'_, W, F> {
    type Output = R;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = &mut *self;
        let Some(poll) = &mut this.poll else { panic!("a future of a socket was polled after it had completed") };
        let polled = poll(this.place.holder, cx, &mut this.place.ticket);
        if polled.is_ready() {
            this.poll = None;
        }
        polled
    }
}

/// A direction that the compiler knows: so a place among its waiters needs no field for it.
pub(crate) trait Way {
    const DIRECTION: Direction;
}

#[derive(Debug)]
pub(crate) struct Read;

#[derive(Debug)]
pub(crate) struct Write;

impl Way for Read {
    const DIRECTION: Direction = Direction::Read;
}

impl Way for Write {
    const DIRECTION: Direction = Direction::Write;
}

/// A place among the waiters of one direction, taken when it is first needed; given
/// up on drop.
#[derive(Debug)]
pub(crate) struct Place<H: Deref<Target: Holder>, W: Way> {
    holder: H,
    ticket: Ticket,
    _way: W,
}

impl<H: Deref<Target: Holder>, W: Way> Place<H, W> {
    pub(crate) fn new(holder: H, way: W) -> Place<H, W> {
        Place { holder, ticket: Ticket::new(), _way: way }
    }

    pub(crate) fn holder(&self) -> &H {
        &self.holder
    }

    pub(crate) fn with<R>(&mut self, operation: impl FnOnce(&Socket, &mut Ticket) -> R) -> R {
        operation(self.holder.socket(), &mut self.ticket)
    }

    pub(crate) fn poll_io<R>(
        &mut self,
        cx: &mut Context<'_>,
        operation: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Polled<R> {
        self.holder.socket().poll_io(cx, W::DIRECTION, &mut self.ticket, operation)
    }
}

impl<H: Deref<Target: Holder>, W: Way> Drop for Place<H, W> {
    fn drop(&mut self) {
        self.holder.socket().source.forget(W::DIRECTION, &self.ticket);
    }
}

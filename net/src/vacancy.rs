//! Tells who waits for a descriptor to become free that one of our sockets has
//! been closed.
//!
//! A watch counts itself, then notes how many vacancies there were, then tries
//! once more to get a descriptor, and only then waits for the count to change.
//! A socket is closed first and looks for watches afterwards. The kernel opens
//! and closes descriptors under one lock: a try that fails comes before the close
//! there, so the close comes after the watch was counted, and sees it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// How many watches there are: what a close looks at, and mostly all.
static WATCHES: AtomicUsize = AtomicUsize::new(0);

static BOARD: Mutex<Board> = Mutex::new(Board { vacancies: 0, last: 0, waiting: BTreeMap::new() });

struct Board {
    /// Sockets closed while there were watches.
    vacancies: u64,
    /// The last number given to a watch.
    last: u64,
    waiting: BTreeMap<u64, Waker>,
}

fn board() -> MutexGuard<'static, Board> {
    // No foreign code runs under the lock, so poison means nothing.
    BOARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Announces a vacancy when it is dropped: to be kept beside a descriptor, and
/// dropped after it.
#[derive(Debug)]
pub(crate) struct Occupancy;

impl Drop for Occupancy {
    fn drop(&mut self) {
        // SeqCst: after the close in every thread's eyes; see the module's head.
        if WATCHES.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut board = board();
        board.vacancies += 1;
        let waiting = std::mem::take(&mut board.waiting);
        drop(board);
        waiting.into_values().for_each(Waker::wake);
    }
}

/// A wait for the next socket of this crate to be closed, wherever in the process:
/// for accept loops that ran out of descriptors.
///
/// What was closed before the watch was made is not told, so the order is: make a
/// watch, try once more, wait. A descriptor that something else closes is not told
/// either, so a wait has a limit beside it.
#[derive(Debug)]
pub struct Watch {
    number: u64,
    /// How many vacancies this watch knows of.
    seen: u64,
}

impl Watch {
    /// A watch that knows of every socket that was closed before.
    #[expect(clippy::new_without_default, reason = "what it sees depends on when it is made")]
    pub fn new() -> Watch {
        // SeqCst: before the next try for a descriptor; see the module's head.
        WATCHES.fetch_add(1, Ordering::SeqCst);
        let mut board = board();
        board.last += 1;
        Watch { number: board.last, seen: board.vacancies }
    }

    /// Ready if there was a vacancy since the last time, or since the watch was
    /// made.
    pub fn poll_vacancy(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Cloned and dropped outside the lock: that is foreign code.
        let waker = cx.waker().clone();
        let mut board = board();
        if board.vacancies != self.seen {
            self.seen = board.vacancies;
            drop(board);
            return Poll::Ready(());
        }
        let before = board.waiting.insert(self.number, waker);
        drop(board);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHES.fetch_sub(1, Ordering::SeqCst);
        // Dropped outside the lock.
        let waiter = board().waiting.remove(&self.number);
        drop(waiter);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::UdpSocket;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use bourn_reactor::Kind;

    use super::*;
    use crate::socket::Socket;

    /// The tests share one board: one at a time.
    static TURN: Mutex<()> = Mutex::new(());

    #[test]
    fn a_vacancy_is_seen_once_by_every_watch() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cx = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (Watch::new(), Watch::new());
        assert!(first.poll_vacancy(&mut cx).is_pending());
        drop(Occupancy);
        // `second` has not waited yet, and must not miss it.
        assert!(first.poll_vacancy(&mut cx).is_ready());
        assert!(second.poll_vacancy(&mut cx).is_ready());
        assert!(first.poll_vacancy(&mut cx).is_pending());
    }

    /// Looks, when it is woken, whether a descriptor is still what it was.
    struct Look {
        descriptor: PathBuf,
        socket: PathBuf,
        was_closed: AtomicBool,
    }

    impl Wake for Look {
        fn wake(self: Arc<Self>) {
            let now = fs::read_link(&self.descriptor);
            let closed = now.map_or(true, |now| now != self.socket);
            self.was_closed.store(closed, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_descriptor_is_free_when_its_vacancy_is_announced() {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let fd = OwnedFd::from(UdpSocket::bind("127.0.0.1:0").expect("a port is free"));
        let descriptor = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let socket = fs::read_link(&descriptor).expect("procfs");
        let look = Arc::new(Look { descriptor, socket, was_closed: AtomicBool::new(false) });
        let socket = Socket::new(fd, Kind::Other);
        let waker = Waker::from(Arc::clone(&look));
        let mut watch = Watch::new();
        assert!(watch.poll_vacancy(&mut Context::from_waker(&waker)).is_pending());
        drop(socket);
        assert!(look.was_closed.load(Ordering::Relaxed));
    }
}

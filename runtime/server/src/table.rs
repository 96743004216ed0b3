//! The connections of a server: how many there are, what they are doing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use slab::Slab;

use crate::bell::{Bell, when};
use crate::connection::CutReason;
use crate::listener::{Addr, Stream};

/// Who did not finish in time, in a [`Report`](crate::Report).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unfinished {
    /// The name of the task that the handler runs in.
    pub task: String,
    /// The peer; behind a trusted proxy, the real one.
    pub peer: Addr,
    /// How long ago the connection was accepted.
    pub age: Duration,
    /// The handler had ended, and the connection was still open: it was given to
    /// another task, or leaked.
    pub outlived: bool,
}

/// What is known of a connection beside its stream. Each word is written by whoever
/// reads or writes the connection and read by the sweep, and stands for itself alone:
/// so all of it is relaxed, and two tasks that read at once may lose a byte's count.
#[derive(Debug)]
pub(crate) struct Life {
    number: u64,
    /// Of its slot.
    key: usize,
    pub(crate) peer: Addr,
    accepted: Instant,
    /// The tick in which it was accepted.
    pub(crate) born: u32,
    pub(crate) marks: Marks,
}

/// What has become of a connection.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The tick in which the last byte came or went; that of its birth before.
    pub(crate) moved: AtomicU32,
    /// Whom a trusted proxy names.
    pub(crate) real_peer: OnceLock<SocketAddr>,
    /// A byte has come.
    pub(crate) heard: AtomicBool,
    /// Since when a write waits; 0 if none does.
    pub(crate) stalled: AtomicU32,
    /// The tick of the first byte since the last answer, and how many came since;
    /// 0 if none did.
    pub(crate) asking: AtomicU32,
    pub(crate) asked: AtomicU64,
    /// The tick of the last byte that came.
    pub(crate) asked_last: AtomicU32,
    /// Why the connection was cut, if it was.
    pub(crate) cut: OnceLock<CutReason>,
    cancelled: AtomicBool,
    /// Of the task that runs the handler.
    waker: Mutex<Option<Waker>>,
}

impl Life {
    pub(crate) fn peer(&self) -> Addr {
        self.marks.real_peer.get().map_or_else(|| self.peer.clone(), |peer| Addr::Tcp(*peer))
    }

    pub(crate) fn task_name(&self) -> String {
        format!("connection {} of {}", self.number, self.peer)
    }

    pub(crate) fn cancel(&self) {
        // The lock orders this and the look that follows the waker's storing.
        let waker = {
            let mut waker = self.marks.waker.lock().unwrap_or_else(PoisonError::into_inner);
            self.marks.cancelled.store(true, Relaxed);
            waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready when the handler is to be dropped.
    pub(crate) fn poll_cancelled(&self, cx: &Context<'_>) -> Poll<()> {
        if self.marks.cancelled.load(Relaxed) {
            return Poll::Ready(());
        }
        let lock = || self.marks.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().as_ref().is_some_and(|placed| placed.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        // Cloned and dropped outside the lock: that is foreign code.
        let waker = cx.waker().clone();
        let before = lock().replace(waker);
        drop(before);
        // Whoever cancels says so under the lock, before it looks for the waker.
        when(self.marks.cancelled.load(Relaxed))
    }
}

/// Whose connections are counted together: an IPv4 address, or a /64 of IPv6.
fn neighbourhood(addr: IpAddr) -> u64 {
    match addr.to_canonical() {
        // No IPv6 network begins with 0xffff....
        IpAddr::V4(addr) => u64::from(addr.to_bits()) | 0xffff_ffff << 32,
        IpAddr::V6(addr) => (addr.to_bits() >> 64) as u64,
    }
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    inner: Mutex<Inner>,
    /// Rung when a connection or a handler ends, and when the first one comes.
    pub(crate) changed: Bell,
}

#[derive(Debug, Default)]
struct Inner {
    slots: Slab<Slot>,
    last: u64,
    open: usize,
    by_neighbourhood: HashMap<u64, usize>,
}

#[derive(Debug)]
struct Slot {
    life: Arc<Life>,
    stream: Weak<Stream>,
    open: bool,
    running: bool,
    neighbourhood: Option<u64>,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No foreign code runs under the lock, so poison means nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection whose handler is about to run, if fewer than `most` are open. It stays until it is
    /// [closed](Table::close) and its handler has [ended](Table::end).
    pub(crate) fn enter(&self, stream: &Arc<Stream>, peer: Addr, tick: u32, most: Option<usize>) -> Option<Arc<Life>> {
        let mut inner = self.lock();
        if most.is_some_and(|most| inner.open >= most) {
            return None;
        }
        inner.last += 1;
        inner.open += 1;
        let (number, first) = (inner.last, inner.open == 1);
        let slot = inner.slots.vacant_entry();
        let life = Arc::new(Life {
            number,
            key: slot.key(),
            peer,
            accepted: Instant::now(),
            born: tick,
            marks: Marks { moved: AtomicU32::new(tick), ..Marks::default() },
        });
        let stream = Arc::downgrade(stream);
        slot.insert(Slot { life: Arc::clone(&life), stream, open: true, running: true, neighbourhood: None });
        drop(inner);
        if first {
            self.changed.ring();
        }
        Some(life)
    }

    /// Counts an open connection among its neighbours, if there are fewer than `most`.
    pub(crate) fn settle(&self, life: &Life, addr: IpAddr, most: usize) -> bool {
        let neighbourhood = neighbourhood(addr);
        let mut inner = self.lock();
        let count = inner.by_neighbourhood.entry(neighbourhood).or_default();
        if *count >= most {
            return false;
        }
        *count += 1;
        inner.slots[life.key].neighbourhood = Some(neighbourhood);
        true
    }

    /// The connection is closed: to be called after its stream is dropped.
    pub(crate) fn close(&self, life: &Life) {
        self.leave(life, |inner| {
            inner.open -= 1;
            let slot = &mut inner.slots[life.key];
            slot.open = false;
            if let Some(Entry::Occupied(mut count)) = slot.neighbourhood.map(|one| inner.by_neighbourhood.entry(one)) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        });
    }

    /// The handler has ended; its connection may have been passed on, to a task that speaks WebSocket, say.
    pub(crate) fn end(&self, life: &Life) {
        self.leave(life, |inner| inner.slots[life.key].running = false);
    }

    /// Removes who is neither open nor running after `change`.
    fn leave(&self, life: &Life, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.lock();
        change(&mut inner);
        let slot = &inner.slots[life.key];
        let stays = slot.open || slot.running;
        let gone = (!stays).then(|| inner.slots.remove(life.key));
        drop(inner);
        drop(gone);
        self.changed.ring();
    }

    pub(crate) fn has_room(&self, most: usize) -> bool {
        self.lock().open < most
    }

    /// How many are open, and how many of them have outlived their handler.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.open, inner.slots.iter().filter(|(_, slot)| !slot.running).count())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().slots.is_empty()
    }

    pub(crate) fn list(&self) -> Vec<Unfinished> {
        let inner = self.lock();
        let unfinished = |(_, slot): (usize, &Slot)| Unfinished {
            task: slot.life.task_name(),
            peer: slot.life.peer(),
            age: slot.life.accepted.elapsed(),
            outlived: !slot.running,
        };
        inner.slots.iter().map(unfinished).collect()
    }

    pub(crate) fn cancel_all(&self) {
        let lives: Vec<_> = self.lock().slots.iter().map(|(_, slot)| Arc::clone(&slot.life)).collect();
        for life in lives {
            life.cancel();
        }
    }

    /// Marks the connections for which `judge` has a reason as cut; returns them, to be shut down.
    pub(crate) fn cut(&self, judge: impl Fn(&Life) -> Option<CutReason>) -> Vec<(CutReason, Arc<Life>, Arc<Stream>)> {
        let mut cut = Vec::new();
        let inner = self.lock();
        for (_, slot) in inner.slots.iter().filter(|(_, slot)| slot.open) {
            if let Some(reason) = judge(&slot.life)
                && let Some(stream) = slot.stream.upgrade()
                && slot.life.marks.cut.set(reason).is_ok()
            {
                cut.push((reason, Arc::clone(&slot.life), stream));
            }
        }
        cut
    }
}

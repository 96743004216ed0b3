//! Models of sources on a whole reactor, over the modelled kernel. Each names
//! the mutations (in `.ci/mutations`) that it must notice.

use loom::thread;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use std::os::fd::RawFd;
use std::task::Waker;

use super::*;
use crate::Backend;
use crate::event::Ready;
use crate::poller::Wait;
use crate::reactor::Reactor;
use crate::reactor::{RuntimeId, Turned};

const READABLE: Ready = Ready::model(true, false);
const WRITABLE: Ready = Ready::model(false, true);

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task that waits to read.
#[derive(Clone, Default)]
struct Reader {
    wakes: Arc<Wakes>,
}

impl Reader {
    /// Polls once from `reactor`; true if it waits to read now.
    fn waits(&self, source: &Source, reactor: &Arc<Reactor>, ticket: &mut Ticket) -> bool {
        self.waits_for(Direction::Read, source, reactor, ticket)
    }

    fn waits_for(&self, direction: Direction, source: &Source, reactor: &Arc<Reactor>, ticket: &mut Ticket) -> bool {
        let _entered = reactor.enter();
        let waker = Waker::from(Arc::clone(&self.wakes));
        let polled = source.poll_reported(&mut Context::from_waker(&waker), direction, ticket);
        match polled {
            Poll::Pending => true,
            Poll::Ready(seen) => {
                seen.unwrap();
                false
            }
        }
    }
}

/// With at most three preemptions in each order, where all orders would take minutes.
fn bounded(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

fn reactor(backend: Backend) -> Arc<Reactor> {
    Reactor::new(backend, RuntimeId::new()).unwrap()
}

/// A source of which nothing is assumed.
fn source() -> Arc<Source> {
    let source = Source::new(File::open("/dev/null").unwrap().into(), Kind::Other);
    source.registered.readiness.set(READY | CLOSED, false);
    Arc::new(source)
}

fn fd(source: &Source) -> RawFd {
    source.registered.fd
}

/// What a turn does with an event.
fn report(source: &Source, ready: Ready) {
    let mut wakers = Vec::new();
    source.registered.mark(ready, &mut wakers);
    wake_all(&mut wakers);
}

fn turn(reactor: &Arc<Reactor>) {
    assert_eq!(reactor.turn(Wait::No).unwrap(), Turned::Done);
}

/// Killed by it: `reactor-looks-before-arming`,
/// `reactor-forgets-a-report`.
#[test]
fn loom_source_a_wait_and_a_report_do_not_miss_each_other() {
    loom::model(|| {
        let (reactor, source, reader) = (reactor(Backend::Epoll), source(), Reader::default());
        let kernel = {
            let (reactor, source) = (Arc::clone(&reactor), Arc::clone(&source));
            thread::spawn(move || {
                reactor.poller.model().raise(fd(&source), READABLE);
                turn(&reactor);
            })
        };
        // Not on the model's first thread, where loom leaves some orders out.
        let waits = {
            let (reactor, source, reader) = (Arc::clone(&reactor), Arc::clone(&source), reader.clone());
            thread::spawn(move || reader.waits(&source, &reactor, &mut Ticket::new()))
        };
        kernel.join().unwrap();
        let waits = waits.join().unwrap();
        turn(&reactor);
        assert!(!waits || reader.wakes.count() == 1, "the wake-up is lost");
    });
}

/// At home, with one report that says it may be read, of a socket of which a short read proves that it is empty.
fn stream(reactor: &Arc<Reactor>) -> Arc<Source> {
    let source = source();
    source.registered.readiness.set(EXACT, true);
    let mut ticket = Ticket::new();
    assert!(Reader::default().waits(&source, reactor, &mut ticket));
    source.forget(Direction::Read, &ticket);
    report(&source, READABLE);
    source
}

/// What follows a read that has emptied it, and was begun before this: the wait for more.
fn reads_short(source: &Arc<Source>, seen: Seen, reactor: &Arc<Reactor>, reader: &Reader) -> thread::JoinHandle<bool> {
    let (reactor, source, reader) = (Arc::clone(reactor), Arc::clone(source), reader.clone());
    thread::spawn(move || {
        source.clear_short(seen);
        reader.waits(&source, &reactor, &mut Ticket::new())
    })
}

/// Killed by it: `reactor-dry-at-a-later-tick`, `reactor-dry-for-good`.
#[test]
fn loom_source_a_short_read_and_a_report_do_not_miss_each_other() {
    loom::model(|| {
        let (reactor, reader) = (reactor(Backend::Epoll), Reader::default());
        let source = stream(&reactor);
        let seen = source.seen(Direction::Read).unwrap();
        // First, or loom leaves the orders out in which the report comes before all of the reader's.
        let kernel = {
            let source = Arc::clone(&source);
            thread::spawn(move || report(&source, READABLE))
        };
        let waits = reads_short(&source, seen, &reactor, &reader);
        kernel.join().unwrap();
        assert!(!waits.join().unwrap() || reader.wakes.count() == 1, "the wake-up is lost");
    });
}

#[test]
fn loom_source_two_short_reads_and_a_report_do_not_miss_each_other() {
    bounded(|| {
        let (reactor, readers) = (reactor(Backend::Epoll), [Reader::default(), Reader::default()]);
        let source = stream(&reactor);
        let seen = source.seen(Direction::Read).unwrap();
        let waits = readers.each_ref().map(|reader| reads_short(&source, seen, &reactor, reader));
        report(&source, READABLE);
        for (waits, reader) in waits.into_iter().zip(&readers) {
            assert!(!waits.join().unwrap() || reader.wakes.count() == 1, "the wake-up is lost");
        }
    });
}

/// A tick that has passed is forgotten, or it would say the same again when it comes round.
#[test]
fn loom_source_a_dry_tick_that_has_passed_is_forgotten() {
    loom::model(|| {
        let source = stream(&reactor(Backend::Epoll));
        let seen = source.seen(Direction::Read).unwrap();
        source.clear_short(seen);
        assert!(source.seen(Direction::Read).is_none());
        report(&source, READABLE);
        assert!(source.seen(Direction::Read).is_some());
        assert_eq!(source.dry_at.load(crate::sync::atomic::Ordering::Relaxed), NEVER);
    });
}

/// Killed by it: `reactor-registers-twice`.
#[test]
fn loom_source_two_waiters_register_once() {
    bounded(|| {
        let (reactor, source) = (reactor(Backend::Epoll), source());
        reactor.poller.model().raise(fd(&source), READABLE);
        let (first, second) = (Reader::default(), Reader::default());
        let other = {
            let (reactor, source, second) = (Arc::clone(&reactor), Arc::clone(&source), second.clone());
            thread::spawn(move || second.waits(&source, &reactor, &mut Ticket::new()))
        };
        // Not on the model's first thread, where loom leaves some orders out.
        let first_waits = {
            let (reactor, source, first) = (Arc::clone(&reactor), Arc::clone(&source), first.clone());
            thread::spawn(move || first.waits(&source, &reactor, &mut Ticket::new()))
        };
        turn(&reactor);
        let (first_waits, second_waits) = (first_waits.join().unwrap(), other.join().unwrap());
        turn(&reactor);
        assert_eq!(reactor.poller.model().adds(), 1);
        assert!(!first_waits || first.wakes.count() == 1, "the first is lost");
        assert!(!second_waits || second.wakes.count() == 1, "the second is lost");
        drop(Arc::into_inner(source).unwrap());
        assert!(!reactor.occupied());
        assert_eq!(reactor.poller.model().watched(), 0);
    });
}

/// Killed by it: `reactor-forget-disarms-all`.
#[test]
fn loom_source_a_ticket_given_back_takes_no_wake_up_along() {
    loom::model(|| {
        let (reactor, source) = (reactor(Backend::Epoll), source());
        let (leaves, stays) = (Reader::default(), Reader::default());
        let mut ticket = Ticket::new();
        assert!(leaves.waits(&source, &reactor, &mut ticket));
        assert!(stays.waits(&source, &reactor, &mut Ticket::new()));
        reactor.poller.model().raise(fd(&source), READABLE);
        let kernel = {
            let reactor = Arc::clone(&reactor);
            thread::spawn(move || turn(&reactor))
        };
        source.forget(Direction::Read, &ticket);
        assert!(Arc::strong_count(&leaves.wakes) <= 2, "its waker is kept twice");
        kernel.join().unwrap();
        assert_eq!(stays.wakes.count(), 1, "the other is lost");
        assert!(source.registered.info().readers.is_empty());
    });
}

/// Killed by it: `reactor-done-drops-displaced`.
#[test]
fn loom_source_a_displaced_reader_is_woken() {
    loom::model(|| {
        let (reactor, source) = (reactor(Backend::Epoll), source());
        let (slot, first, second) = (Reader::default(), Reader::default(), Reader::default());
        assert!(slot.waits(&source, &reactor, &mut Ticket::shared()));
        assert!(first.waits(&source, &reactor, &mut Ticket::shared()));
        reactor.poller.model().raise(fd(&source), READABLE);
        let kernel = {
            let reactor = Arc::clone(&reactor);
            thread::spawn(move || turn(&reactor))
        };
        let second_waits = second.waits(&source, &reactor, &mut Ticket::shared());
        kernel.join().unwrap();
        assert_eq!((slot.wakes.count(), first.wakes.count()), (1, 1), "the first are lost");
        assert!(!second_waits || second.wakes.count() == 1, "the second is lost");
    });
}

/// Killed by it: `reactor-table-without-generation`.
#[test]
fn loom_source_a_stale_report_misses() {
    loom::model(|| {
        let (reactor, source) = (reactor(Backend::Epoll), source());
        let (hot, cold) = (Reader::default(), Reader::default());
        assert!(hot.waits(&source, &reactor, &mut Ticket::new()));
        reactor.poller.model().raise(fd(&source), READABLE);
        let kernel = {
            let reactor = Arc::clone(&reactor);
            thread::spawn(move || turn(&reactor))
        };
        let number = fd(&source);
        drop(Arc::into_inner(source).unwrap());
        reactor.poller.model().take(number);
        let next = self::source();
        assert!(cold.waits(&next, &reactor, &mut Ticket::new()));
        kernel.join().unwrap();
        turn(&reactor);
        assert_eq!(cold.wakes.count(), 0, "woken for another's report");
        assert_eq!(reactor.poller.model().watched(), 1);
    });
}

/// Killed by it: `reactor-closed-after-visits`, `reactor-settles-where-closed`.
#[test]
fn loom_source_a_close_strands_nobody() {
    loom::model(|| {
        let (reactor, source, reader) = (reactor(Backend::Epoll), source(), Reader::default());
        let closer = {
            let reactor = Arc::clone(&reactor);
            thread::spawn(move || reactor.close())
        };
        let waker = Waker::from(Arc::clone(&reader.wakes));
        let waits = {
            let _entered = reactor.enter();
            let mut cx = Context::from_waker(&waker);
            source.poll_reported(&mut cx, Direction::Read, &mut Ticket::new()).is_pending()
        };
        closer.join().unwrap();
        assert!(!waits || reader.wakes.count() == 1, "it waits at a closed reactor");
        assert!(!source.registered.has_home(), "a closed reactor is its home");
        assert!(!reactor.occupied());
    });
}

/// Killed by it: `reactor-wait-trusts-the-home`, `reactor-home-cleared-late`.
#[test]
fn loom_source_a_wait_meets_the_close_of_its_home() {
    bounded(|| {
        let (reactor, source, reader) = (reactor(Backend::Epoll), source(), Reader::default());
        let mut ticket = Ticket::new();
        assert!(reader.waits(&source, &reactor, &mut ticket));
        source.forget(Direction::Read, &ticket);
        let closer = {
            let reactor = Arc::clone(&reactor);
            thread::spawn(move || reactor.close())
        };
        let other = {
            let source = Arc::clone(&source);
            thread::spawn(move || {
                if let Some(seen) = source.seen(Direction::Read) {
                    source.clear(seen);
                }
            })
        };
        let waiter = {
            let (reactor, source, reader) = (Arc::clone(&reactor), Arc::clone(&source), reader.clone());
            thread::spawn(move || {
                let (_entered, waker) = (reactor.enter(), Waker::from(Arc::clone(&reader.wakes)));
                let mut cx = Context::from_waker(&waker);
                source.poll_reported(&mut cx, Direction::Read, &mut Ticket::new()).is_pending()
            })
        };
        closer.join().unwrap();
        other.join().unwrap();
        assert!(!waiter.join().unwrap() || reader.wakes.count() == 1, "it waits at a closed reactor");
    });
}

/// Who strayed counts in the address of the home, so no wait passes by a move that is under way.
#[test]
fn loom_source_a_wait_meets_a_move_that_fails() {
    bounded(|| {
        let runtime = RuntimeId::new();
        let [home, other] = [Backend::Poll, Backend::Epoll].map(|backend| Reactor::new(backend, runtime).unwrap());
        let (source, stays, strays) = (source(), Reader::default(), Reader::default());
        let mut ticket = Ticket::new();
        assert!(stays.waits(&source, &home, &mut ticket));
        for _ in 0..3 {
            assert!(strays.waits(&source, &other, &mut ticket));
        }
        source.forget(Direction::Read, &ticket);
        home.poller.model().raise(fd(&source), READABLE);
        turn(&home);
        // Its descriptor is there already.
        other.poller.add(&*source, 7).unwrap();
        let mover = {
            let (other, source) = (Arc::clone(&other), Arc::clone(&source));
            thread::spawn(move || strays.waits(&source, &other, &mut Ticket::new()))
        };
        let waiter = {
            let (home, source, stays) = (Arc::clone(&home), Arc::clone(&source), stays.clone());
            thread::spawn(move || {
                home.poller.model().take(fd(&source));
                if let Some(seen) = source.seen(Direction::Read) {
                    source.clear(seen);
                }
                // One that looks at READY first, as operations do.
                source.seen(Direction::Read).is_none() && stays.waits(&source, &home, &mut Ticket::new())
            })
        };
        mover.join().unwrap();
        let waits = waiter.join().unwrap();
        home.poller.model().raise(fd(&source), READABLE);
        turn(&home);
        assert!(!waits || stays.wakes.count() > 0, "who stays is lost");
    });
}

/// Killed by it: `reactor-level-told-late`.
#[test]
fn loom_source_a_level_is_asked_for_again() {
    bounded(|| {
        let (reactor, source) = (reactor(Backend::Poll), source());
        let (first, second) = (Reader::default(), Reader::default());
        reactor.poller.model().raise(fd(&source), READABLE);
        let other = {
            let (reactor, source, second) = (Arc::clone(&reactor), Arc::clone(&source), second.clone());
            thread::spawn(move || {
                turn(&reactor);
                let seen = source.seen(Direction::Read);
                // Somebody else has read it.
                reactor.poller.model().take(fd(&source));
                if let Some(seen) = seen {
                    source.clear(seen);
                }
                second.waits(&source, &reactor, &mut Ticket::new())
            })
        };
        let first_waits = first.waits(&source, &reactor, &mut Ticket::new());
        let second_waits = other.join().unwrap();
        reactor.poller.model().raise(fd(&source), READABLE);
        turn(&reactor);
        assert!(!first_waits || first.wakes.count() > 0, "the first is lost");
        assert!(!second_waits || second.wakes.count() > 0, "the second is lost");
    });
}

/// Killed by it: `reactor-moves-but-stays`.
#[test]
fn loom_source_a_move_loses_no_report() {
    loom::model(|| {
        let (old, new) = (reactor(Backend::Epoll), reactor(Backend::Epoll));
        let source = source();
        let (stays, moves) = (Reader::default(), Reader::default());
        assert!(stays.waits(&source, &old, &mut Ticket::new()));
        let kernel = {
            let (old, new, source) = (Arc::clone(&old), Arc::clone(&new), Arc::clone(&source));
            thread::spawn(move || {
                // One event, seen by both kernel lists.
                new.poller.model().raise(fd(&source), READABLE);
                old.poller.model().raise(fd(&source), READABLE);
                turn(&old);
            })
        };
        let waits = moves.waits(&source, &new, &mut Ticket::new());
        kernel.join().unwrap();
        turn(&new);
        assert_eq!(stays.wakes.count(), 1, "who waited before is lost");
        assert!(!waits || moves.wakes.count() == 1, "who moved it is lost");
        assert!(!old.occupied());
        assert_eq!((old.poller.model().watched(), new.poller.model().watched()), (0, 1));
    });
}

/// To write, so in the list. Killed by it: `reactor-mark-leaves-it-to-the-next`, `reactor-mark-disarms-late`.
#[test]
fn loom_source_a_wait_that_meets_a_report_on_its_way() {
    loom::model(|| {
        let (reactor, source) = (reactor(Backend::Epoll), source());
        let (first, second) = (Reader::default(), Reader::default());
        assert!(first.waits_for(Direction::Write, &source, &reactor, &mut Ticket::new()));
        let kernel = {
            let source = Arc::clone(&source);
            thread::spawn(move || report(&source, WRITABLE))
        };
        // Not on the model's first thread, where loom leaves some orders out.
        let other = {
            let (reactor, source, second) = (Arc::clone(&reactor), Arc::clone(&source), second.clone());
            thread::spawn(move || {
                // Somebody else has written.
                if let Some(seen) = source.seen(Direction::Write) {
                    source.clear(seen);
                }
                second.waits_for(Direction::Write, &source, &reactor, &mut Ticket::new())
            })
        };
        let second_waits = other.join().unwrap();
        kernel.join().unwrap();
        assert_eq!(first.wakes.count(), 1, "who waited before is lost");
        report(&source, WRITABLE);
        assert!(!second_waits || second.wakes.count() == 1, "who came meanwhile is lost");
    });
}

/// The second report finds no flag, and the one who gives up none either.
#[test]
fn loom_source_a_report_that_passes_by() {
    loom::model(|| {
        let (reactor, source) = (reactor(Backend::Epoll), source());
        let (leaves, stays) = (Reader::default(), Reader::default());
        let mut ticket = Ticket::new();
        assert!(leaves.waits(&source, &reactor, &mut ticket));
        assert!(stays.waits(&source, &reactor, &mut Ticket::new()));
        let kernels = [(); 2].map(|()| {
            let source = Arc::clone(&source);
            thread::spawn(move || report(&source, READABLE))
        });
        source.forget(Direction::Read, &ticket);
        for kernel in kernels {
            kernel.join().unwrap();
        }
        assert_eq!(stays.wakes.count(), 1, "who stays is lost");
        assert!(source.registered.info().readers.is_empty());
    });
}

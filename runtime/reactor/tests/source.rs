//! Sources: where they register, whom they wake, and how they leave.

mod harness;

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bourn_reactor::{Backend, Direction, Kind, Reactor, RuntimeId, Seen, Source, Ticket, Turned, Wait};
use futures_lite::future::block_on;
use harness::{SOON, Turner, Wakes, alone, tcp_pair, unix_pair};

harness::on_every_backend! {
    a_source_registers_at_its_first_wait,
    a_report_comes_before_an_answer,
    a_connecting_source_waits_for_the_kernel,
    a_report_wakes_everybody,
    shared_places_are_for_several_tasks,
    a_place_changes_hands,
    a_ticket_given_back_is_not_woken,
    a_report_before_the_clear_is_kept,
    a_short_read_keeps_the_end_of_the_stream,
    urgent_data_ends_the_rule_of_short_reads,
    the_end_is_seen_behind_unread_data,
    a_source_moves_to_the_runtime_that_waits,
    a_source_follows_a_task_that_stays_away,
    a_source_stays_as_long_as_somebody_else_waits,
    a_closed_reactor_sends_its_waiters_elsewhere,
    a_stale_report_wakes_nobody,
    a_waker_that_panics_takes_nobody_along,
    a_refused_registration_reaches_the_operation,
    a_dropped_source_sends_its_fin_at_once,
    a_source_taken_apart_is_left_alone,
    sources_are_listed_with_their_wakers,
    no_wake_up_is_lost_between_threads,
    plain_threads_are_served_in_the_background,
    a_forked_child_can_only_close,
    an_idle_reactor_sleeps,
}

/// Polls once, with the outcome of a wait.
fn wait(source: &Source, direction: Direction, ticket: &mut Ticket, waker: &Waker) -> Poll<io::Result<Seen>> {
    source.poll_ready(&mut Context::from_waker(waker), direction, ticket)
}

/// A source whose reading is known to be dry, so that the next wait is a true one.
fn source_of(fd: impl Into<OwnedFd>) -> Source {
    dry(Source::new(fd.into(), Kind::Other))
}

fn dry(source: Source) -> Source {
    source.clear(source.seen(Direction::Read).unwrap());
    source
}

fn read(source: &Source, buf: &mut [u8]) -> io::Result<usize> {
    // A duplicate shares the file's O_NONBLOCK and its data.
    File::from(source.as_fd().try_clone_to_owned()?).read(buf)
}

/// Turns `reactor`, from this thread, until `wakes` has come to `count`.
#[track_caller]
fn turn_until(reactor: &Arc<Reactor>, wakes: &Wakes, count: usize) {
    let deadline = Instant::now() + SOON;
    while wakes.count() < count {
        assert!(Instant::now() < deadline, "woken {} times instead of {count}", wakes.count());
        assert_eq!(reactor.turn(Wait::Until(deadline)).unwrap(), Turned::Done);
    }
}

/// Turns until nothing has been reported for a while.
fn settle(reactor: &Arc<Reactor>) {
    for _ in 0..5 {
        assert_eq!(reactor.turn(Wait::No).unwrap(), Turned::Done);
    }
}

/// Reads in the way of every async method: try, and wait on `WouldBlock`.
async fn read_some(source: &Source, buf: &mut [u8]) -> io::Result<usize> {
    let mut ticket = Ticket::new();
    poll_fn(|cx| {
        loop {
            let seen = std::task::ready!(source.poll_ready(cx, Direction::Read, &mut ticket))?;
            match read(source, buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => source.clear(seen),
                result => {
                    source.forget(Direction::Read, &ticket);
                    return Poll::Ready(result);
                }
            }
        }
    })
    .await
}

fn a_source_registers_at_its_first_wait(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = unix_pair();
    let source = Source::new(near.into(), Kind::Other);
    let (wakes, waker) = Wakes::new();
    let mut ticket = Ticket::new();

    // Nothing is known, so it may be tried, and nothing is registered for that.
    let Poll::Ready(Ok(seen)) = wait(&source, Direction::Read, &mut ticket, &waker) else {
        panic!("a new source has to be tried first");
    };
    assert!(!reactor.occupied());
    source.clear(seen);
    assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_pending());
    assert!(reactor.occupied());
    far.write_all(b"x").unwrap();
    turn_until(&reactor, &wakes, 1);
    assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_ready());
    drop(source);
    assert!(!reactor.occupied());
}

fn a_report_comes_before_an_answer(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, _far) = unix_pair();
    let source = Source::new(near.into(), Kind::Other);
    for (direction, reported) in [(Direction::Read, false), (Direction::Write, true)] {
        let (wakes, waker) = Wakes::new();
        let mut cx = Context::from_waker(&waker);
        let mut ticket = Ticket::new();
        let first = source.poll_reported(&mut cx, direction, &mut ticket);
        settle(&reactor);
        if reported {
            // Whoever registered for reading has also had writing reported.
            assert!(first.is_ready() || wakes.count() > 0);
        }
        let second = source.poll_reported(&mut cx, direction, &mut ticket);
        assert_eq!(second.is_ready(), reported, "{direction:?}");
        source.forget(direction, &ticket);
    }
}

fn a_connecting_source_waits_for_the_kernel(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, _far) = tcp_pair();
    let source = Source::new(near.into(), Kind::Connecting);
    let (wakes, waker) = Wakes::new();
    let mut ticket = Ticket::new();
    assert!(wait(&source, Direction::Write, &mut ticket, &waker).is_pending());
    turn_until(&reactor, &wakes, 1);
    assert!(wait(&source, Direction::Write, &mut ticket, &waker).is_ready());
}

fn a_report_wakes_everybody(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    let mut waiting: Vec<_> =
        (0..4).map(|_| (Wakes::new(), Ticket::new())).chain([(Wakes::new(), Ticket::shared())]).collect();
    for round in 1..=3 {
        for ((_, waker), ticket) in &mut waiting {
            assert!(wait(&source, Direction::Read, ticket, waker).is_pending());
        }
        far.write_all(b"x").unwrap();
        for ((wakes, _), _) in &waiting {
            turn_until(&reactor, wakes, round);
            assert_eq!(wakes.count(), round);
        }
        assert_eq!(read(&source, &mut [0; 8]).unwrap(), 1);
        let seen = source.seen(Direction::Read).unwrap();
        assert_eq!(read(&source, &mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        source.clear(seen);
    }
}

fn shared_places_are_for_several_tasks(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    // More tasks than places, each polling twice: at worst one of them is woken
    // early, none is forgotten.
    let tasks: Vec<_> = (0..40).map(|_| Wakes::new()).collect();
    for (_, waker) in tasks.iter().chain(&tasks[..2]) {
        assert!(wait(&source, Direction::Read, &mut Ticket::shared(), waker).is_pending());
    }
    let early = tasks.iter().filter(|(wakes, _)| wakes.count() > 0).count();
    assert!(early <= 10, "{early} tasks of 40 lost their places");
    for (wakes, _) in &tasks[2..30] {
        assert_eq!(wakes.count(), 0, "two tasks would wake each other without end");
    }
    far.write_all(b"x").unwrap();
    assert_eq!(reactor.turn(Wait::Forever).unwrap(), Turned::Done);
    for (number, (wakes, _)) in tasks.iter().enumerate() {
        assert!(wakes.count() > 0, "task {number} sleeps for ever");
    }
}

fn a_place_changes_hands(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    let (_first, first_waker) = Wakes::new();
    let (second, second_waker) = Wakes::new();
    for waker in [&first_waker, &second_waker] {
        assert!(wait(&source, Direction::Read, &mut Ticket::shared(), waker).is_pending());
    }
    // The place of one operation may change hands silently.
    let (third, third_waker) = Wakes::new();
    let (fourth, fourth_waker) = Wakes::new();
    let mut ticket = Ticket::new();
    assert!(wait(&source, Direction::Read, &mut ticket, &third_waker).is_pending());
    assert!(wait(&source, Direction::Read, &mut ticket, &fourth_waker).is_pending());
    far.write_all(b"x").unwrap();
    turn_until(&reactor, &second, 1);
    assert_eq!((second.count(), third.count(), fourth.count()), (1, 0, 1));

    // Displaced by one that finds its direction ready all the same. One has the slot, 32 are in the list.
    let others: Vec<_> = (0..33).map(|_| Wakes::new()).collect();
    for (_, waker) in &others {
        let mut cx = Context::from_waker(waker);
        assert!(source.poll_read_closed(&mut cx, &mut Ticket::shared()).is_pending());
    }
    let woken = || -> usize { others.iter().map(|(wakes, _)| wakes.count()).sum() };
    assert_eq!(woken(), 0);
    let mut cx = Context::from_waker(&second_waker);
    assert!(source.poll_reported(&mut cx, Direction::Read, &mut Ticket::shared()).is_ready());
    assert_eq!(woken(), 1, "the task whose place was taken sleeps for ever");
}

fn a_ticket_given_back_is_not_woken(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    let mut all: Vec<_> = (0..3).map(|_| (Wakes::new(), Ticket::new())).collect();
    for ((_, waker), ticket) in &mut all {
        assert!(wait(&source, Direction::Read, ticket, waker).is_pending());
    }
    source.forget(Direction::Read, &all[0].1);
    source.forget(Direction::Read, &all[1].1);
    assert_eq!(Arc::strong_count(&all[0].0.0), 2, "its waker is kept");
    far.write_all(b"x").unwrap();
    turn_until(&reactor, &all[2].0.0, 1);
    assert_eq!(all[0].0.0.count() + all[1].0.0.count(), 0);
}

fn a_report_before_the_clear_is_kept(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    let (wakes, waker) = Wakes::new();
    let mut ticket = Ticket::new();
    for round in 1..=20 {
        assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_pending());
        far.write_all(b"x").unwrap();
        turn_until(&reactor, &wakes, round);
        let Poll::Ready(Ok(first)) = wait(&source, Direction::Read, &mut ticket, &waker) else {
            panic!("it was reported");
        };
        assert_eq!(read(&source, &mut [0; 8]).unwrap(), 1);
        source.clear(first);
        // Between the operation that says `WouldBlock` and its clear.
        let before = source.try_io(Direction::Read, || {
            let dry = read(&source, &mut [0; 8]).unwrap_err();
            far.write_all(b"y").unwrap();
            settle(&reactor);
            Err::<(), _>(dry)
        });
        assert!(before.is_err());
        settle(&reactor);
        let Poll::Ready(Ok(second)) = wait(&source, Direction::Read, &mut ticket, &waker) else {
            panic!("the report in between is lost");
        };
        assert_eq!(read(&source, &mut [0; 8]).unwrap(), 1);
        source.clear(second);
        source.forget(Direction::Read, &ticket);
    }
}

fn a_short_read_keeps_the_end_of_the_stream(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = tcp_pair();
    let source = dry(Source::new(near.into(), Kind::Stream));
    let (wakes, waker) = Wakes::new();
    let mut ticket = Ticket::new();
    assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_pending());

    // Without an end, a short read empties a stream where edges are reported.
    far.write_all(b"hello").unwrap();
    turn_until(&reactor, &wakes, 1);
    let seen = source.seen(Direction::Read).unwrap();
    assert_eq!(read(&source, &mut [0; 64]).unwrap(), 5);
    source.clear_short(seen);
    let edges = matches!(backend, Backend::Epoll | Backend::Mio);
    assert_eq!(source.seen(Direction::Read).is_none(), edges);
    if let Some(seen) = source.seen(Direction::Read) {
        source.clear(seen);
    }

    // With one, the rest must not be waited for.
    assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_pending());
    far.write_all(b"hello").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    while wakes.count() < 2 || !ended(&source) {
        settle(&reactor);
    }
    let seen = source.seen(Direction::Read).unwrap();
    assert_eq!(read(&source, &mut [0; 64]).unwrap(), 5);
    source.clear_short(seen);
    assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_ready(), "the end is waited for in vain");
    assert_eq!(read(&source, &mut [0; 64]).unwrap(), 0);
}

/// Whether the peer's FIN is in the kernel's receive queue.
fn ended(source: &Source) -> bool {
    let mut question = libc::pollfd { fd: source.as_fd().as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one entry, which lives through the call.
    unsafe { libc::poll(&raw mut question, 1, 0) == 1 }
}

fn urgent_data_ends_the_rule_of_short_reads(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = tcp_pair();
    let source = dry(Source::new(near.into(), Kind::Stream));
    let (wakes, waker) = Wakes::new();
    let mut ticket = Ticket::new();
    assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_pending());
    far.write_all(b"aaaa").unwrap();
    // SAFETY: the one byte is readable and lives through the call.
    let sent = unsafe { libc::send(far.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!(sent, 1);
    far.write_all(b"bbbb").unwrap();
    turn_until(&reactor, &wakes, 1);
    let mut came = Vec::new();
    let deadline = Instant::now() + SOON;
    while came.len() < 8 {
        assert!(Instant::now() < deadline, "only {came:?} came");
        let Poll::Ready(Ok(seen)) = wait(&source, Direction::Read, &mut ticket, &waker) else {
            assert_eq!(reactor.turn(Wait::Until(deadline)).unwrap(), Turned::Done);
            continue;
        };
        let mut buf = [0; 64];
        match read(&source, &mut buf) {
            Ok(count) => {
                came.extend_from_slice(&buf[..count]);
                source.clear_short(seen);
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                source.clear(seen);
            }
        }
    }
    assert_eq!(came, b"aaaabbbb");
}

fn the_end_is_seen_behind_unread_data(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = tcp_pair();
    let source = dry(Source::new(near.into(), Kind::Stream));
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let mut ticket = Ticket::new();
    assert!(source.poll_read_closed(&mut cx, &mut ticket).is_pending());
    far.write_all(b"unread").unwrap();
    turn_until(&reactor, &wakes, 1);
    assert!(source.poll_read_closed(&mut cx, &mut ticket).is_pending());
    far.shutdown(Shutdown::Write).unwrap();
    turn_until(&reactor, &wakes, 2);
    assert!(source.poll_read_closed(&mut cx, &mut ticket).is_ready());
    assert_eq!(read(&source, &mut [0; 64]).unwrap(), 6);
}

fn a_source_moves_to_the_runtime_that_waits(backend: Backend) {
    let (here, there) = (harness::reactor(backend), harness::reactor(backend));
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    let (stays, stays_waker) = Wakes::new();
    let (moves, moves_waker) = Wakes::new();
    {
        let _entered = here.enter();
        assert!(wait(&source, Direction::Read, &mut Ticket::new(), &stays_waker).is_pending());
        settle(&here);
    }
    let _entered = there.enter();
    assert!(wait(&source, Direction::Read, &mut Ticket::new(), &moves_waker).is_pending());
    assert!(!here.occupied());
    assert!(there.occupied());
    far.write_all(b"x").unwrap();
    settle(&here);
    assert_eq!(stays.count() + moves.count(), 0);
    turn_until(&there, &moves, 1);
    assert_eq!((stays.count(), moves.count()), (1, 1));
}

/// One wait from `from` that ends with a report at `home`.
fn one_wait(source: &Source, far: &mut UnixStream, from: &Arc<Reactor>, home: &Arc<Reactor>) {
    let _entered = from.enter();
    let (wakes, waker) = Wakes::new();
    let mut ticket = Ticket::new();
    assert!(wait(source, Direction::Read, &mut ticket, &waker).is_pending());
    far.write_all(b"x").unwrap();
    turn_until(home, &wakes, 1);
    let seen = source.seen(Direction::Read).unwrap();
    assert_eq!(read(source, &mut [0; 8]).unwrap(), 1);
    source.clear(seen);
    source.forget(Direction::Read, &ticket);
}

fn a_source_follows_a_task_that_stays_away(backend: Backend) {
    let runtime = RuntimeId::new();
    let [here, there] = [(); 2].map(|()| Reactor::new(backend, runtime).unwrap());
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    one_wait(&source, &mut far, &here, &here);
    // Three in a row do not suffice, and one at home ends the row.
    for _ in 0..2 {
        for _ in 0..3 {
            one_wait(&source, &mut far, &there, &here);
        }
        one_wait(&source, &mut far, &here, &here);
    }
    for _ in 0..3 {
        one_wait(&source, &mut far, &there, &here);
    }
    assert!(here.occupied() && !there.occupied());
    one_wait(&source, &mut far, &there, &there);
    assert!(!here.occupied() && there.occupied());
}

fn a_source_stays_as_long_as_somebody_else_waits(backend: Backend) {
    let runtime = RuntimeId::new();
    let [here, there] = [(); 2].map(|()| Reactor::new(backend, runtime).unwrap());
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    one_wait(&source, &mut far, &here, &here);
    settle(&here);
    harness::fill(File::from(source.as_fd().try_clone_to_owned().unwrap()));
    if let Some(seen) = source.seen(Direction::Write) {
        source.clear(seen);
    }
    let (others, other) = Wakes::new();
    let mut ticket = Ticket::new();
    {
        let _entered = here.enter();
        assert!(wait(&source, Direction::Write, &mut ticket, &other).is_pending());
    }
    for _ in 0..10 {
        one_wait(&source, &mut far, &there, &here);
    }
    assert_eq!(others.count(), 0, "nobody waited any more, so nothing was shown");
    assert!(here.occupied() && !there.occupied());
    source.forget(Direction::Write, &ticket);
    one_wait(&source, &mut far, &there, &there);
    assert!(!here.occupied() && there.occupied());
}

fn a_closed_reactor_sends_its_waiters_elsewhere(backend: Backend) {
    let (here, there) = (harness::reactor(backend), harness::reactor(backend));
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    let (wakes, waker) = Wakes::new();
    let mut ticket = Ticket::new();
    {
        let _entered = here.enter();
        assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_pending());
        here.close();
        assert_eq!(wakes.count(), 1);
        assert!(here.is_closed() && !here.occupied());
        // Later turns return at once.
        assert_eq!(here.turn(Wait::Forever).unwrap(), Turned::Done);
        // It may be tried again; waiting here is an error that says why.
        source.clear(source.seen(Direction::Read).unwrap());
        let Poll::Ready(Err(error)) = wait(&source, Direction::Read, &mut ticket, &waker) else {
            panic!("nothing will ever be reported here");
        };
        assert!(error.to_string().contains("shut down"), "{error}");
    }
    let _entered = there.enter();
    assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_pending());
    far.write_all(b"x").unwrap();
    turn_until(&there, &wakes, 2);
    assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_ready());
}

/// In a process of its own, so that the number of a closed descriptor is the
/// next one's: `cold` gets the number of `hot`, of which a report is under way.
fn a_stale_report_wakes_nobody(backend: Backend) {
    const CYCLES: usize = 100_000;
    alone(backend, "a_stale_report_wakes_nobody", || {
        let reactor = harness::reactor(backend);
        let _entered = reactor.enter();
        let turner = Turner::start(&reactor);
        let (hot, mut far) = unix_pair();
        far.write_all(b"never read").unwrap();
        let (cold, _its_peer) = unix_pair();
        let (hot_wakes, hot_waker) = Wakes::new();
        let (cold_wakes, cold_waker) = Wakes::new();
        let mut repeats = 0;
        for _ in 0..CYCLES {
            let first = source_of(hot.try_clone().unwrap());
            let number = first.as_fd().as_raw_fd();
            let mut ticket = Ticket::new();
            // The report may be faster than this.
            drop(wait(&first, Direction::Read, &mut ticket, &hot_waker));
            drop(first);
            let second = source_of(cold.try_clone().unwrap());
            repeats += usize::from(second.as_fd().as_raw_fd() == number);
            let mut ticket = Ticket::new();
            let waited = wait(&second, Direction::Read, &mut ticket, &cold_waker);
            assert!(waited.is_pending(), "ready for another's report");
        }
        drop(turner);
        assert_eq!(repeats, CYCLES);
        assert!(hot_wakes.count() > 0, "no report was ever under way");
        assert_eq!(cold_wakes.count(), 0, "woken for another's report");
        assert!(!reactor.occupied());
    });
}

fn a_waker_that_panics_takes_nobody_along(backend: Backend) {
    struct Panics(AtomicUsize);
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("this panic is part of the test");
        }
    }
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    let panics = Arc::new(Panics(AtomicUsize::new(0)));
    let (wakes, waker) = Wakes::new();
    let mut tickets: [Ticket; 5] = Default::default();
    for (place, ticket) in tickets.iter_mut().enumerate() {
        let waker = if place == 2 { waker.clone() } else { Waker::from(Arc::clone(&panics)) };
        assert!(wait(&source, Direction::Read, ticket, &waker).is_pending());
    }
    far.write_all(b"x").unwrap();
    turn_until(&reactor, &wakes, 1);
    assert_eq!(panics.0.load(Ordering::Relaxed), 4);
}

fn a_refused_registration_reaches_the_operation(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let file = File::open(std::env::current_exe().unwrap()).unwrap();
    let source = source_of(file);
    let (wakes, waker) = Wakes::new();
    let mut ticket = Ticket::new();
    let waited = wait(&source, Direction::Read, &mut ticket, &waker);
    if matches!(backend, Backend::Epoll | Backend::Mio) {
        let Poll::Ready(Err(error)) = waited else {
            panic!("a regular file can not be waited for: {waited:?}");
        };
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        assert!(!reactor.occupied());
        // And it is as it was: it may be tried.
        assert!(wait(&source, Direction::Read, &mut ticket, &waker).is_ready());
    } else {
        assert!(waited.is_pending());
        turn_until(&reactor, &wakes, 1);
    }
}

fn a_dropped_source_sends_its_fin_at_once(backend: Backend) {
    let reactor = harness::reactor(backend);
    let turner = Turner::start(&reactor);
    let _entered = reactor.enter();
    for _ in 0..20 {
        let (near, mut far) = tcp_pair();
        far.set_nonblocking(false).unwrap();
        far.set_read_timeout(Some(SOON)).unwrap();
        let source = dry(Source::new(near.into(), Kind::Stream));
        let (_, waker) = Wakes::new();
        assert!(wait(&source, Direction::Read, &mut Ticket::new(), &waker).is_pending());
        turner.until_asleep();
        drop(source);
        assert_eq!(far.read(&mut [0]).unwrap(), 0);
    }
}

fn a_source_taken_apart_is_left_alone(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, mut far) = unix_pair();
    let source = source_of(near);
    let (wakes, waker) = Wakes::new();
    assert!(wait(&source, Direction::Read, &mut Ticket::new(), &waker).is_pending());
    settle(&reactor);
    let mut near = UnixStream::from(source.into_fd());
    assert!(!reactor.occupied());
    far.write_all(b"x").unwrap();
    settle(&reactor);
    assert_eq!(wakes.count(), 0);
    assert_eq!(near.read(&mut [0; 8]).unwrap(), 1);
}

fn sources_are_listed_with_their_wakers(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (near, _far) = unix_pair();
    let source = source_of(near);
    let (_, waker) = Wakes::new();
    assert!(reactor.sources().is_empty());
    assert!(wait(&source, Direction::Read, &mut Ticket::new(), &waker).is_pending());
    let listed = reactor.sources();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].fd, source.as_fd().as_raw_fd());
    assert_eq!(listed[0].readers.len(), 1);
    assert_eq!(listed[0].readers[0].data, waker.data().addr());
    assert_eq!(listed[0].readers[0].vtable, std::ptr::from_ref(waker.vtable()).addr());
    assert!(listed[0].writers.is_empty());
}

/// Each round needs two wake-ups, so a lost one hangs, which the watchdog tells.
fn no_wake_up_is_lost_between_threads(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _turner = Turner::start(&reactor);
    let (ping, pong) = unix_pair();
    let [ping, pong] = [ping, pong].map(|end| Source::new(end.into(), Kind::Other));
    play(2_000, &ping, &pong, || Some(reactor.enter()));
}

/// Two threads hand one byte to and fro.
fn play<E>(rounds: usize, ping: &Source, pong: &Source, enter: impl Fn() -> E + Sync) {
    let send = |source: &Source| {
        let mut socket = File::from(source.as_fd().try_clone_to_owned().unwrap());
        socket.write_all(b"x").unwrap();
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let _entered = enter();
            for _ in 0..rounds {
                assert_eq!(block_on(read_some(pong, &mut [0; 8])).unwrap(), 1);
                send(pong);
            }
        });
        let _entered = enter();
        for _ in 0..rounds {
            send(ping);
            assert_eq!(block_on(read_some(ping, &mut [0; 8])).unwrap(), 1);
        }
    });
}

fn plain_threads_are_served_in_the_background(backend: Backend) {
    alone(backend, "plain_threads_are_served_in_the_background", || {
        let (ping, pong) = unix_pair();
        let [ping, pong] = [ping, pong].map(|end| Source::new(end.into(), Kind::Other));
        play(500, &ping, &pong, || ());
        // While other threads end, the list may leave some out, and one may be
        // gone when it is asked for its name: so until ours is seen. The
        // watchdog ends this if there is none.
        loop {
            let threads = std::fs::read_dir("/proc/self/task").unwrap();
            let names = threads
                .filter_map(|thread| thread.ok())
                .filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
            let ours = names.filter(|name| name.trim() == "bourn-reactor").count();
            assert!(ours <= 1, "{ours} background reactors");
            if ours == 1 {
                break;
            }
        }
    });
}

fn a_forked_child_can_only_close(backend: Backend) {
    alone(backend, "a_forked_child_can_only_close", || {
        let reactor = harness::reactor(backend);
        let (near, mut far) = unix_pair();
        let mut source = Some(source_of(near));
        let (fresh, _other) = unix_pair();
        let fresh = source_of(fresh);
        let (wakes, waker) = Wakes::new();
        let mut ticket = Ticket::new();
        let entered = reactor.enter();
        assert!(wait(source.as_ref().unwrap(), Direction::Read, &mut ticket, &waker).is_pending());
        settle(&reactor);

        // SAFETY: the child is single-threaded, takes no lock that another thread
        // of the parent could have held, and ends with `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0);
        if child == 0 {
            let refused = |what: &mut dyn FnMut()| {
                let panic = catch_unwind(AssertUnwindSafe(what)).expect_err("the child uses its parent's runtime");
                let message = panic.downcast_ref::<String>().map(String::as_str);
                let message = message.or(panic.downcast_ref::<&str>().copied()).unwrap();
                assert!(message.contains("fork(2)"), "{message}");
            };
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                refused(&mut || drop(reactor.enter()));
                refused(&mut || drop(reactor.turn(Wait::No)));
                refused(&mut || drop(wait(source.as_ref().unwrap(), Direction::Read, &mut Ticket::new(), &waker)));
                drop(source.take());
                // One that nobody has waited for yet finds a home at a reactor of the child's own.
                let own = harness::reactor(backend);
                let _own = own.enter();
                assert!(wait(&fresh, Direction::Read, &mut Ticket::new(), &waker).is_pending());
            }));
            // SAFETY: ends the process.
            unsafe { libc::_exit(libc::c_int::from(outcome.is_err())) };
        }
        let mut status = 0;
        // SAFETY: `status` is writable and lives through the call.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!((waited, status), (child, 0));

        far.write_all(b"x").unwrap();
        turn_until(&reactor, &wakes, 1);
        drop(entered);
    });
}

fn an_idle_reactor_sleeps(backend: Backend) {
    let reactor = harness::reactor(backend);
    let turner = Turner::start(&reactor);
    let _entered = reactor.enter();
    let (near, _far) = unix_pair();
    let source = source_of(near);
    let (wakes, waker) = Wakes::new();
    assert!(wait(&source, Direction::Read, &mut Ticket::new(), &waker).is_pending());
    // What the registration itself stirs up.
    thread::sleep(Duration::from_millis(20));
    turner.until_asleep();
    let before = (turner.turns(), turner.sleeps());
    thread::sleep(Duration::from_millis(200));
    assert_eq!((turner.turns(), turner.sleeps()), before);
    assert_eq!(wakes.count(), 0);
}

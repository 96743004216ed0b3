//! Timers: never early, in order, and woken by whichever thread turns.

mod harness;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bourn_reactor::{Backend, Sleep, Turned, Wait};
use futures_lite::future::block_on;
use harness::{SOON, Turner, Wakes, alone};

harness::on_every_backend! {
    a_sleep_is_never_short,
    sleeps_end_in_order,
    a_turn_ends_with_the_first_timer,
    a_sleep_moved_ahead_ends_later,
    a_sleep_moved_back_ends_earlier,
    a_sleep_that_is_over_can_be_awaited_again,
    a_dropped_sleep_wakes_nobody,
    a_sleep_wakes_who_polled_last,
    the_end_of_time_is_no_panic,
    a_timer_from_elsewhere_is_seen_by_a_wait_under_way,
    a_sleep_outlives_its_reactor,
    a_sleep_moves_to_the_runtime_that_polls_it,
    ten_thousand_sleeps_all_end,
    a_sleep_works_under_any_executor,
    the_slack_of_the_thread_is_given_back,
    timers_taken_back_end_one_wait_at_most,
    a_timer_after_one_taken_back_is_in_time,
    a_thread_keeps_no_reactor_that_it_has_left,
    no_thread_keeps_a_reactor_that_it_has_not_entered,
    a_reactor_that_is_gone_serves_nobody,
}

fn poll(sleep: &mut Sleep, waker: &Waker) -> Poll<()> {
    Pin::new(sleep).poll(&mut Context::from_waker(waker))
}

/// A sleep that has been polled and is not over: a longer one where the machine was busy for so long.
fn asleep(mut length: Duration, waker: &Waker) -> Sleep {
    loop {
        let mut sleep = Sleep::after(length);
        if poll(&mut sleep, waker).is_pending() {
            return sleep;
        }
        length *= 2;
    }
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Turns `reactor` until `sleep` is over.
fn finish(reactor: &bourn_reactor::Reactor, sleep: &mut Sleep) {
    let (_, waker) = Wakes::new();
    let deadline = Instant::now() + SOON;
    while poll(sleep, &waker).is_pending() {
        assert!(Instant::now() < deadline, "{sleep:?} does not end");
        assert_eq!(reactor.turn(Wait::Until(deadline)).unwrap(), Turned::Done);
    }
}

fn a_sleep_is_never_short(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    for microseconds in [0, 1, 30, 100, 250, 999, 1_000, 1_700, 19_900, 20_100, 33_000] {
        let duration = Duration::from_micros(microseconds);
        let start = Instant::now();
        finish(&reactor, &mut Sleep::after(duration));
        assert!(start.elapsed() >= duration, "{:?} of {duration:?}", start.elapsed());
        let deadline = Instant::now() + duration;
        finish(&reactor, &mut Sleep::until(deadline));
        assert!(Instant::now() >= deadline);
    }
    assert!(!reactor.occupied());
}

fn sleeps_end_in_order(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let start = Instant::now();
    // Close together, and in no order.
    let mut sleeps: Vec<_> = (0..40)
        .map(|number| start + millis(20) + Duration::from_micros(number * 7 % 40 * 100))
        .map(|deadline| (Sleep::until(deadline), Wakes::new()))
        .collect();
    // On a busy machine, the first may be over by now.
    sleeps.retain_mut(|(sleep, (_, waker))| poll(sleep, waker).is_pending());
    sleeps.sort_by_key(|(sleep, _)| sleep.deadline());
    while sleeps.iter().any(|(_, (wakes, _))| wakes.count() == 0) {
        assert_eq!(reactor.turn(Wait::Forever).unwrap(), Turned::Done);
        let woken: Vec<_> = sleeps.iter().map(|(_, (wakes, _))| wakes.count()).collect();
        assert!(woken.is_sorted_by(|first, second| first >= second), "{woken:?}");
        for (sleep, (wakes, _)) in &sleeps {
            assert!(wakes.count() == 0 || Instant::now() >= sleep.deadline(), "woken early");
        }
    }
}

fn a_turn_ends_with_the_first_timer(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (wakes, waker) = Wakes::new();
    let _sleep = asleep(millis(5), &waker);
    assert!(reactor.occupied());
    let start = Instant::now();
    assert_eq!(reactor.turn(Wait::Until(start + SOON)).unwrap(), Turned::Done);
    assert!(start.elapsed() < SOON);
    assert_eq!(wakes.count(), 1);
    // A turn that does not wait expires timers, too.
    let _sleep = asleep(millis(1), &waker);
    let deadline = Instant::now() + SOON;
    while wakes.count() < 2 {
        assert!(Instant::now() < deadline);
        assert_eq!(reactor.turn(Wait::No).unwrap(), Turned::Done);
    }
}

fn a_sleep_moved_ahead_ends_later(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (wakes, waker) = Wakes::new();
    let start = Instant::now();
    let mut sleep = Sleep::until(start + Duration::from_secs(3_600));
    assert!(poll(&mut sleep, &waker).is_pending());
    for count in [4, 8, 20] {
        sleep.reset(start + millis(count).max(start.elapsed() + millis(10)));
    }
    let deadline = sleep.deadline();
    finish(&reactor, &mut sleep);
    assert!(Instant::now() >= deadline);
    assert!(sleep.is_elapsed());
    // `finish` polled with wakers of its own.
    assert_eq!(wakes.count(), 0);
}

fn a_sleep_moved_back_ends_earlier(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _turner = Turner::start(&reactor);
    let _entered = reactor.enter();
    let (wakes, waker) = Wakes::new();
    let mut sleep = Sleep::after(Duration::from_secs(3_600));
    assert!(poll(&mut sleep, &waker).is_pending());
    let deadline = Instant::now() + millis(5);
    sleep.reset(deadline);
    // Not polled again: who polled last is woken.
    wakes.until(1);
    assert!(Instant::now() >= deadline);
    assert!(poll(&mut sleep, &waker).is_ready());
}

fn a_sleep_that_is_over_can_be_awaited_again(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let mut sleep = Sleep::after(Duration::ZERO);
    assert!(poll(&mut sleep, Waker::noop()).is_ready());
    assert!(poll(&mut sleep, Waker::noop()).is_ready());
    for _ in 0..3 {
        let deadline = Instant::now() + millis(2);
        sleep.reset(deadline);
        finish(&reactor, &mut sleep);
        assert!(Instant::now() >= deadline);
    }
}

fn a_dropped_sleep_wakes_nobody(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (wakes, waker) = Wakes::new();
    let (_, kept_waker) = Wakes::new();
    let dropped = asleep(millis(2), &waker);
    let mut kept = asleep(millis(6), &kept_waker);
    drop(dropped);
    finish(&reactor, &mut kept);
    assert_eq!(wakes.count(), 0);
    assert!(!reactor.occupied());
}

fn a_sleep_wakes_who_polled_last(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let (first, first_waker) = Wakes::new();
    let (second, second_waker) = Wakes::new();
    let mut sleep = Sleep::after(Duration::from_secs(3_600));
    assert!(poll(&mut sleep, &first_waker).is_pending());
    assert!(poll(&mut sleep, &second_waker).is_pending());
    sleep.reset(Instant::now() + millis(10));
    let deadline = Instant::now() + SOON;
    while second.count() == 0 {
        assert!(Instant::now() < deadline);
        assert_eq!(reactor.turn(Wait::Until(deadline)).unwrap(), Turned::Done);
    }
    assert_eq!((first.count(), second.count()), (0, 1));
}

fn the_end_of_time_is_no_panic(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _turner = Turner::start(&reactor);
    let _entered = reactor.enter();
    let (wakes, waker) = Wakes::new();
    let mut sleeps = [
        Sleep::after(Duration::MAX),
        Sleep::after(Duration::from_secs(u64::from(u32::MAX))),
        Sleep::after(Duration::from_secs(365 * 24 * 3_600)),
    ];
    for sleep in &mut sleeps {
        assert!(poll(sleep, &waker).is_pending());
        assert!(!sleep.is_elapsed());
    }
    // The thread that turns waits with them, and sees a near one all the same.
    let (near, near_waker) = Wakes::new();
    let _sleep = asleep(millis(3), &near_waker);
    near.until(1);
    assert_eq!(wakes.count(), 0);
    sleeps[0].reset(Instant::now());
    wakes.until(1);
}

fn a_timer_from_elsewhere_is_seen_by_a_wait_under_way(backend: Backend) {
    let reactor = harness::reactor(backend);
    let turner = Turner::start(&reactor);
    let _entered = reactor.enter();
    let mut late = Sleep::after(Duration::from_secs(3_600));
    assert!(poll(&mut late, Waker::noop()).is_pending());
    for _ in 0..20 {
        turner.until_asleep();
        let (wakes, waker) = Wakes::new();
        let mut sleep = asleep(millis(1), &waker);
        wakes.until(1);
        assert!(poll(&mut sleep, &waker).is_ready());
    }
}

/// The time that is left goes on at the background reactor.
fn a_sleep_outlives_its_reactor(backend: Backend) {
    alone(backend, "a_sleep_outlives_its_reactor", || {
        let reactor = harness::reactor(backend);
        let start = Instant::now();
        // Long enough that it is not over where a busy machine delays what is done until then.
        let length = millis(500);
        let mut sleep = Sleep::until(start + length);
        let (wakes, waker) = Wakes::new();
        {
            let _entered = reactor.enter();
            assert!(poll(&mut sleep, &waker).is_pending());
            reactor.close();
            assert_eq!(wakes.count(), 1);
            assert!(!reactor.occupied());
            // Still inside: the closed reactor takes no timers.
            assert!(poll(&mut sleep, &waker).is_pending());
            assert!(!reactor.occupied());
        }
        wakes.until(2);
        assert!(start.elapsed() >= length);
        assert!(poll(&mut sleep, &waker).is_ready());

        // One that is dropped after its reactor takes nothing away.
        let reactor = harness::reactor(backend);
        let mut sleep = Sleep::after(Duration::from_secs(3_600));
        {
            let _entered = reactor.enter();
            assert!(poll(&mut sleep, &waker).is_pending());
        }
        reactor.close();
        drop(reactor);
        drop(sleep);
    });
}

fn a_sleep_moves_to_the_runtime_that_polls_it(backend: Backend) {
    let (here, there) = (harness::reactor(backend), harness::reactor(backend));
    let (wakes, waker) = Wakes::new();
    let mut sleep = Sleep::after(Duration::from_secs(3_600));
    {
        let _entered = here.enter();
        assert!(poll(&mut sleep, &waker).is_pending());
    }
    let _entered = there.enter();
    assert!(poll(&mut sleep, &waker).is_pending());
    assert!(!here.occupied() && there.occupied());
    sleep.reset(Instant::now() + millis(10));
    finish(&there, &mut sleep);
    assert_eq!(wakes.count(), 0);
}

fn ten_thousand_sleeps_all_end(backend: Backend) {
    const COUNT: u64 = 10_000;
    let reactor = harness::reactor(backend);
    let turner = Turner::start(&reactor);
    let _entered = reactor.enter();
    let start = Instant::now();
    let mut sleeps: Vec<_> = (0..COUNT)
        .map(|number| {
            // 1 to 101 ms, in no order.
            let after = Duration::from_micros(1_000 + number * 7_919 % 100_003);
            (Sleep::until(start + after), Wakes::new())
        })
        .collect();
    for (place, (sleep, (_, waker))) in sleeps.iter_mut().enumerate() {
        let polled = poll(sleep, waker);
        if place % 3 == 0 && polled.is_pending() {
            sleep.reset(start + millis(150));
        }
    }
    // A third are dropped on the way.
    let mut place = 0;
    sleeps.retain(|_| {
        place += 1;
        place % 3 != 2
    });
    for (sleep, (wakes, waker)) in &mut sleeps {
        while poll(sleep, waker).is_pending() {
            wakes.until(1);
        }
        assert!(Instant::now() >= sleep.deadline());
    }
    drop(turner);
    assert!(!reactor.occupied());
}

fn a_sleep_works_under_any_executor(backend: Backend) {
    alone(backend, "a_sleep_works_under_any_executor", || {
        let (told, ends) = mpsc::channel();
        for count in [20, 5, 12] {
            let told = told.clone();
            thread::spawn(move || {
                let start = Instant::now();
                block_on(Sleep::after(millis(count)));
                told.send((start.elapsed(), millis(count))).unwrap();
            });
        }
        drop(told);
        let ends: Vec<_> = ends.iter().collect();
        assert_eq!(ends.len(), 3);
        for (took, duration) in ends {
            assert!(took >= duration, "{took:?} of {duration:?}");
        }
    });
}

fn the_slack_of_the_thread_is_given_back(backend: Backend) {
    // SAFETY: takes no pointer.
    let slack = || unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
    let before = slack();
    assert!(before > 1, "there is nothing to be sharpened");
    let reactor = harness::reactor(backend);
    {
        let _entered = reactor.enter();
        let inner = reactor.enter();
        finish(&reactor, &mut Sleep::after(millis(1)));
        assert_eq!(slack(), 1);
        drop(inner);
        assert_eq!(slack(), 1);
    }
    assert_eq!(slack(), before);
}

fn timers_taken_back_end_one_wait_at_most(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    let sleeps: Vec<_> = (1..50).map(|count| asleep(millis(count), Waker::noop())).collect();
    assert!(reactor.occupied());
    drop(sleeps);
    assert!(!reactor.occupied());
    let deadline = Instant::now() + millis(60);
    let mut in_vain = 0;
    loop {
        assert_eq!(reactor.turn(Wait::Until(deadline)).unwrap(), Turned::Done);
        if Instant::now() >= deadline {
            break;
        }
        in_vain += 1;
    }
    assert!(in_vain <= 1, "{in_vain}");
}

fn a_timer_after_one_taken_back_is_in_time(backend: Backend) {
    let reactor = harness::reactor(backend);
    let _entered = reactor.enter();
    for (taken_back, kept) in [(3_600_000, 2), (1, 5)] {
        drop(asleep(millis(taken_back), Waker::noop()));
        let mut sleep = Sleep::after(millis(kept));
        finish(&reactor, &mut sleep);
        assert!(Instant::now() >= sleep.deadline());
    }
}

/// Lets the thread have a spare reference to the reactor that it has entered.
fn use_timers() {
    drop(asleep(Duration::from_secs(3_600), Waker::noop()));
}

fn a_thread_keeps_no_reactor_that_it_has_left(backend: Backend) {
    let (outer, inner) = (harness::reactor(backend), harness::reactor(backend));
    for _ in 0..2 {
        let in_outer = outer.enter();
        use_timers();
        let in_inner = inner.enter();
        use_timers();
        drop(in_inner);
        assert_eq!(Arc::strong_count(&inner), 1);
        use_timers();
        // In the order of their making.
        let again = inner.enter();
        use_timers();
        drop(in_outer);
        assert_eq!(Arc::strong_count(&outer), 1);
        use_timers();
        drop(again);
        assert_eq!((Arc::strong_count(&outer), Arc::strong_count(&inner)), (1, 1));
    }
}

fn no_thread_keeps_a_reactor_that_it_has_not_entered(backend: Backend) {
    let (here, there) = (harness::reactor(backend), harness::reactor(backend));
    let timers = {
        let _entered = here.enter();
        [(); 3].map(|()| asleep(Duration::from_secs(3_600), Waker::noop()))
    };
    assert_eq!(Arc::strong_count(&here), 4);
    let [first, second, third] = timers;
    drop(first);
    assert_eq!(Arc::strong_count(&here), 3);
    {
        let _entered = there.enter();
        drop(second);
        assert_eq!(Arc::strong_count(&here), 2);
        // Not by way of what the thread has put by, either.
        use_timers();
        assert_eq!((here.metrics().timers, there.metrics().timers), (1, 0));
    }
    thread::spawn(move || drop(third)).join().unwrap();
    assert_eq!((Arc::strong_count(&here), Arc::strong_count(&there)), (1, 1));
    assert!(!here.occupied() && !there.occupied());
}

/// Time goes on at the background reactor.
fn a_reactor_that_is_gone_serves_nobody(backend: Backend) {
    alone(backend, "a_reactor_that_is_gone_serves_nobody", || {
        let reactor = harness::reactor(backend);
        let _entered = reactor.enter();
        assert_eq!(Arc::strong_count(&reactor), 1, "whoever enters it keeps it");
        drop(reactor);
        let start = Instant::now();
        block_on(Sleep::after(millis(5)));
        assert!(start.elapsed() >= millis(5));
    });
}

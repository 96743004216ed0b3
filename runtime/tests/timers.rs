//! Timers: never early, on every backend.

mod harness;

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bourn::time::{MissedTickBehavior, Sleep, interval, interval_at, sleep, sleep_until, timeout, timeout_at};

on_every_backend!(
    sleeps_are_never_early,
    sleeps_end_in_the_order_of_their_deadlines,
    the_longest_sleep_does_not_panic,
    a_sleep_can_be_reset,
    a_dropped_sleep_wakes_nobody,
    a_time_out_cuts_what_never_ends,
    a_time_out_returns_what_ends_in_time,
    a_time_out_ends_a_future_that_spends_every_budget,
    an_interval_does_not_drift,
    a_tick_that_is_cancelled_is_not_lost,
    a_missed_tick_is_skipped_if_asked,
    many_sleeps_all_end,
);

async fn sleeps_are_never_early() {
    for micros in [0, 1, 50, 100, 999, 1000, 1001, 5_000, 25_000] {
        let wanted = Duration::from_micros(micros);
        let start = Instant::now();
        sleep(wanted).await;
        assert!(start.elapsed() >= wanted, "{wanted:?} lasted {:?}", start.elapsed());
    }
    let deadline = Instant::now() + Duration::from_millis(3);
    sleep_until(deadline).await;
    assert!(Instant::now() >= deadline);
    // Over already.
    sleep_until(deadline).await;
}

async fn sleeps_end_in_the_order_of_their_deadlines() {
    let start = Instant::now();
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tasks: Vec<_> = [30, 10, 20, 0, 15]
        .map(|millis| {
            let order = order.clone();
            bourn::spawn(async move {
                sleep_until(start + Duration::from_millis(millis)).await;
                order.lock().unwrap().push(millis);
            })
        })
        .into();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [0, 10, 15, 20, 30]);
}

async fn the_longest_sleep_does_not_panic() {
    let limited = timeout(Duration::from_millis(2), sleep(Duration::MAX));
    assert!(limited.await.is_err());
    let unlimited = timeout(Duration::MAX, sleep(Duration::from_millis(1)));
    unlimited.await.unwrap();
    let mut ticks = interval(Duration::MAX);
    ticks.tick().await;
    assert!(timeout(Duration::from_millis(2), ticks.tick()).await.is_err());
}

async fn a_sleep_can_be_reset() {
    // Earlier: the task must be woken at the new deadline.
    let start = Instant::now();
    let mut moved = sleep(Duration::from_secs(3600));
    poll_once(&mut moved).await;
    moved.reset(start + Duration::from_millis(5));
    (&mut moved).await;
    assert!(start.elapsed() >= Duration::from_millis(5));
    // Later: never at the old one.
    let deadline = Instant::now() + Duration::from_millis(20);
    let mut moved = sleep(Duration::from_millis(2));
    poll_once(&mut moved).await;
    moved.reset(deadline);
    (&mut moved).await;
    assert!(Instant::now() >= deadline);
    // Again, after it was over.
    let deadline = Instant::now() + Duration::from_millis(5);
    moved.reset(deadline);
    moved.await;
    assert!(Instant::now() >= deadline);
}

async fn poll_once(sleep: &mut Sleep) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *sleep).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

async fn a_dropped_sleep_wakes_nobody() {
    let mut polls = 0;
    let mut dropped = Some(sleep(Duration::from_millis(1)));
    let mut last = pin!(sleep(Duration::from_millis(20)));
    poll_fn(|cx| {
        polls += 1;
        if let Some(sleep) = &mut dropped {
            assert!(Pin::new(sleep).poll(cx).is_pending());
        }
        dropped = None;
        last.as_mut().poll(cx)
    })
    .await;
    assert_eq!(polls, 2, "the task was woken for a sleep that was gone");
}

async fn a_time_out_cuts_what_never_ends() {
    let start = Instant::now();
    let cut = timeout(Duration::from_millis(5), pending::<()>()).await;
    assert!(start.elapsed() >= Duration::from_millis(5));
    let error: std::io::Error = cut.unwrap_err().into();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    let cut = timeout_at(start, pending::<()>()).await;
    assert!(cut.is_err());
}

async fn a_time_out_returns_what_ends_in_time() {
    let slow = async {
        sleep(Duration::from_millis(2)).await;
        7
    };
    assert_eq!(timeout(Duration::from_secs(3600), slow).await.unwrap(), 7);
    // Both are over: the future wins.
    assert_eq!(timeout(Duration::ZERO, async { 8 }).await.unwrap(), 8);
}

async fn a_time_out_ends_a_future_that_spends_every_budget() {
    let greedy = async {
        loop {
            // Over already, so each is an operation that succeeds at once.
            sleep(Duration::ZERO).await;
        }
    };
    let cut: Result<(), _> = timeout(Duration::from_millis(5), greedy).await;
    assert!(cut.is_err());
}

async fn an_interval_does_not_drift() {
    let start = Instant::now() + Duration::from_millis(2);
    let period = Duration::from_millis(3);
    let mut ticks = interval_at(start, period);
    for number in 0..5 {
        let tick = ticks.tick().await;
        assert_eq!(tick, start + period * number);
        assert!(Instant::now() >= tick);
    }
}

async fn a_tick_that_is_cancelled_is_not_lost() {
    let start = Instant::now();
    let period = Duration::from_millis(3);
    let mut ticks = interval_at(start, period);
    for number in 0..4 {
        for _ in 0..3 {
            // Dropped after one poll, whatever it said is not lost.
            let first = {
                let mut tick = pin!(ticks.tick());
                poll_fn(|cx| Poll::Ready(tick.as_mut().poll(cx))).await
            };
            if let Poll::Ready(tick) = first {
                assert_eq!(tick, start + period * number);
                break;
            }
        }
        if Instant::now() < start + period * number {
            assert_eq!(ticks.tick().await, start + period * number);
        }
    }
}

async fn a_missed_tick_is_skipped_if_asked() {
    let start = Instant::now();
    let period = Duration::from_millis(4);
    let mut ticks = interval_at(start, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    assert_eq!(ticks.tick().await, start);
    while start.elapsed() < period * 3 {
        sleep(period).await;
    }
    assert_eq!(ticks.tick().await, start + period);
    let next = ticks.tick().await;
    assert!(next >= start + period * 3, "a tick that was missed came all the same");
    assert_eq!((next - start).as_nanos() % period.as_nanos(), 0);
}

async fn many_sleeps_all_end() {
    let start = Instant::now();
    let tasks: Vec<_> = (0..2_000u64)
        .map(|number| {
            let wanted = Duration::from_micros(number * 37 % 20_000);
            bourn::spawn(async move {
                sleep_until(start + wanted).await;
                assert!(start.elapsed() >= wanted);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Neither the thread that drops it keeps any, nor one that goes on elsewhere.
#[test]
fn a_runtime_that_is_gone_leaves_no_descriptor() {
    const ALONE: &str = "BOURN_TEST_ALONE";
    const NAME: &str = "a_runtime_that_is_gone_leaves_no_descriptor";
    if std::env::var_os(ALONE).is_none() {
        let arguments = ["--exact", NAME, "--test-threads=1", "--nocapture"];
        let alone = Command::new(std::env::current_exe().unwrap()).args(arguments).env(ALONE, "1").output().unwrap();
        assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
        assert!(String::from_utf8_lossy(&alone.stdout).contains("1 passed"), "it was not found");
        return;
    }
    async fn use_timers() {
        timeout(Duration::from_secs(3_600), bourn::task::yield_now()).await.unwrap();
    }
    harness::watched(NAME, || {
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        for backend in bourn::Backend::ALL {
            let before = count();
            let runtime = bourn::Builder::new_current_thread().backend(*backend).build().unwrap();
            runtime.block_on(use_timers());
            let handle = runtime.handle().clone();
            let (used, was_used) = mpsc::channel();
            let (end, ended) = mpsc::channel::<()>();
            let elsewhere = thread::spawn(move || {
                handle.block_on(use_timers());
                drop(handle);
                used.send(()).unwrap();
                ended.recv().unwrap();
            });
            was_used.recv().unwrap();
            // Entered, and left before the timer is taken back.
            let entered = runtime.enter();
            let mut left = Box::pin(sleep(Duration::from_secs(3_600)));
            assert!(left.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(entered);
            drop(left);
            assert!(count() > before, "{backend}");
            drop(runtime);
            assert_eq!(count(), before, "{backend}");
            end.send(()).unwrap();
            elsewhere.join().unwrap();
        }
    });
}

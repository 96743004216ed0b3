//! No fault of the kernel loses a byte, hangs anybody, or leaves anything behind.

#[path = "../../../net/tests/harness/mod.rs"]
mod harness;

use std::pin::pin;
use std::time::{Duration, Instant};

use bourn_faults::{Expected, converse, registered};
use bourn_net::TcpListener;
use bourn_reactor::faults::{Fault, Plan};
use bourn_reactor::{Backend, Reactor, RuntimeId};

use harness::{both, descriptors, elsewhere, on_every_backend, pends, turn_until};

/// What this process holds now: descriptors, and registrations.
fn holdings() -> (usize, usize) {
    let sources = harness::reactor().map_or(0, |reactor| reactor.sources().len());
    (descriptors(), registered() + sources)
}

/// Runs all conversations under `plan`; returns how many calls failed.
async fn under(plan: Plan, expected: Expected, seed: u64) -> u64 {
    let before = holdings();
    let what = format!("{plan:?}");
    // The last one is what hangs, if any does.
    println!("{what}");
    let installed = plan.install();
    converse(expected, seed).await;
    let injected = installed.injected();
    drop(installed);
    assert_eq!(holdings(), before, "left behind by {what}");
    injected
}

/// Starts what is started once, and counts from there.
async fn warm_up() {
    converse(Expected::Success, 0).await;
}

on_every_backend! {
    alone;

    async fn what_the_kernel_may_do_at_any_time_is_never_noticed() {
        warm_up().await;
        for fault in Fault::HIDDEN {
            for nth in [2, 3, 4, 5, 7, 11, 16, 23, 50, 101] {
                // A proxy in the kernel makes two calls each time that it is polled, of
                // which it would always be the same one that says EAGAIN.
                let seed = if nth == 2 { 1 } else { nth };
                let injected = under(Plan::every(nth, &[fault]), Expected::Success, seed).await;
                assert!(injected > 0, "{fault:?} at every {nth}th call tests nothing");
            }
        }
    }

    async fn seeded_mixes_lose_nothing() {
        warm_up().await;
        // Of each of the five, others: 10,000 in all.
        let runs = std::env::var("BOURN_FAULT_RUNS").map_or(2_000, |runs| runs.parse().expect("a number"));
        let backend = harness::reactor().map(|reactor| reactor.backend());
        let which = Backend::ALL.iter().position(|one| Some(*one) == backend).map_or(0, |place| place as u64 + 1);
        let mut injected = 0;
        for seed in which * runs..(which + 1) * runs {
            let plan = Plan::mixed(seed, 2 + seed % 20, &Fault::HIDDEN);
            injected += under(plan, Expected::Success, seed).await;
        }
        assert!(injected > runs * 10, "{injected} faults in {runs} runs");
    }

    async fn an_error_ends_what_it_concerns_and_nothing_else() {
        warm_up().await;
        for fault in Fault::ERRORS {
            for nth in (2..40).step_by(3) {
                under(Plan::every(nth, &[fault]), Expected::AnyEnd, nth).await;
            }
            // Drawn, for whoever begins again in step with the faults would meet
            // the same one; and rarely where reading and writing fail too.
            let everywhere = [libc::ENOBUFS, libc::ENOMEM].map(Fault::Error).contains(&fault);
            for rate in if everywhere { [150, 300, 450] } else { [3, 5, 8] } {
                under(Plan::mixed(rate, rate, &[fault]), Expected::Errors, rate).await;
            }
        }
        let all: Vec<_> = Fault::HIDDEN.into_iter().chain(Fault::ERRORS).collect();
        let mut injected = 0;
        for seed in 0..100 {
            let plan = Plan::mixed(seed, 150 + 4 * seed, &all);
            injected += under(plan, Expected::Errors, seed).await;
        }
        assert!(injected > 100, "only {injected} calls failed");
    }

    async fn a_server_waits_where_its_listener_can_not_be_registered() {
        warm_up().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("it is bound");
        let mut incoming = listener.incoming();
        let installed = Plan::mixed(1, 1, &[Fault::Error(libc::ENOSPC)]).install();
        assert!(pends(pin!(incoming.next())).await, "the error has come out");
        drop(installed);
        let client = elsewhere(move || std::net::TcpStream::connect(addr));
        let (accepted, connected) = both(incoming.next(), client).await;
        accepted.expect("there is room again");
        connected.expect("somebody listens");
    }

    async fn any_one_call_may_fail() {
        warm_up().await;
        let mut injected = 0;
        for nth in 1..=300 {
            injected += under(Plan::only(nth, &Fault::ERRORS), Expected::AnyEnd, nth).await;
        }
        assert!(injected > 100, "only {injected} calls could fail");
    }
}

/// A reactor that can not be made leaves nothing behind; one that is made serves,
/// whichever of its calls fails.
#[test]
fn making_a_reactor_may_fail_at_any_call() {
    let name = "making_a_reactor_may_fail_at_any_call";
    harness::run_alone(name, Some(Backend::Poll), || async {
        for &backend in Backend::ALL {
            let mut failed = 0;
            for nth in 1..=300 {
                let before = holdings();
                let installed = Plan::only(nth, &Fault::ERRORS).install();
                match Reactor::new(backend, RuntimeId::new()) {
                    Ok(reactor) => std::thread::scope(|scope| {
                        scope.spawn(|| turn_until(&reactor, converse(Expected::AnyEnd, nth)));
                    }),
                    Err(_) => failed += 1,
                }
                drop(installed);
                // A thread of a conversation that failed may not have ended yet; what is leaked never goes.
                let end = Instant::now() + Duration::from_secs(5);
                while holdings() != before && Instant::now() < end {
                    std::thread::yield_now();
                }
                assert_eq!(holdings(), before, "left behind by call {nth} on {backend}");
            }
            assert!(failed > 0, "no call failed while the reactor was made");
        }
    });
}

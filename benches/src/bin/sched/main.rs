//! Tasks, timers and sockets on one thread and on workers, beside tokio and smol: `sched [--rounds N] [SECTION...]`.
//!
//! Hypotheses: a spawn is one allocation and a yield no lock, so both are cheaper than the peers'; a wake from another
//! thread is one swap and at most one system call, so there is little to gain; a time-out that never fires is two
//! uncontended locks; echo is nearly all kernel; requests that compute are served sooner if idle workers see the events
//! of busy ones, so sharing a reactor wins over one each; the sentinel costs less than 1 %.
//!
//! All runtimes are in one process and take turns, so that whatever the machine does meets all of them. A round measures
//! each once. Shown is the median of the rounds, and the median of the ratios within the rounds.
#![allow(missing_docs, reason = "a program")]

mod memory;
mod rows;

use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use bourn::runtime::Builder;

use bourn_bench::peers::{Bourn, Peer, Smol, Tokio, cpu_time};
use bourn_bench::random::Random;

const SECTIONS: [&str; 8] = ["one", "two", "wakes", "echo", "requests", "sentinel", "groups", "memory"];

fn main() {
    let mut rounds = 5;
    let mut chosen: Vec<String> = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--rounds" {
            rounds = arguments.next().and_then(|number| number.parse().ok()).expect("--rounds N");
        } else {
            assert!(SECTIONS.contains(&&*argument), "no section {argument}; there are {SECTIONS:?}");
            chosen.push(argument);
        }
    }
    // Memory is counted, and so has to be measured last.
    for section in SECTIONS {
        if chosen.is_empty() || chosen.iter().any(|name| name == section) {
            run(section, rounds);
        }
    }
}

fn run(section: &str, rounds: usize) {
    match section {
        "one" => {
            head("one thread");
            tasks(rounds, Bourn::current_thread(), Tokio::current_thread(), Smol::current_thread());
        }
        "two" => {
            head("two workers");
            tasks(rounds, Bourn::workers(2), Tokio::workers(2), Smol::workers(2));
        }
        "wakes" => {
            head("wake from another thread, us");
            for workers in [0, 2] {
                let (bourn, tokio, smol) = peers(workers);
                let samples = three(
                    rounds,
                    || rows::foreign_wakes(bourn),
                    || rows::foreign_wakes(tokio),
                    || rows::foreign_wakes(smol),
                );
                quantiles(&format!("wake, {}", count(workers)), &samples);
            }
        }
        "echo" => {
            head("echo of 64 bytes on 64 connections, ns for each");
            for workers in [0, 2] {
                let (bourn, tokio, smol) = peers(workers);
                let samples = three(rounds, || rows::echo(bourn), || rows::echo(tokio), || rows::echo(smol));
                row(&format!("echo, {}", count(workers)), &samples);
            }
        }
        "requests" => {
            head("requests that compute, us from when they were due to the answer");
            for workers in [2, 4] {
                let (bourn, tokio, smol) = peers(workers);
                for cpu in [200, 1_000].map(Duration::from_micros) {
                    for percent in [30, 50, 70] {
                        let load = f64::from(percent) / 100.0;
                        let samples = three(
                            rounds,
                            || rows::requests(bourn, cpu, load),
                            || rows::requests(tokio, cpu, load),
                            || rows::requests(smol, cpu, load),
                        );
                        quantiles(&format!("{cpu:?} at {percent} %, {workers} workers"), &samples);
                    }
                }
            }
        }
        "sentinel" => sentinel(rounds),
        "groups" => groups(rounds),
        "memory" => {
            memory::start();
            head("bytes on the heap for each");
            for workers in [0, 2] {
                let (bourn, tokio, smol) = peers(workers);
                let samples =
                    three(1, || rows::task_bytes(bourn), || rows::task_bytes(tokio), || rows::task_bytes(smol));
                row(&format!("task that waits, {}", count(workers)), &samples);
                let samples = three(
                    1,
                    || rows::connection_bytes(bourn),
                    || rows::connection_bytes(tokio),
                    || rows::connection_bytes(smol),
                );
                row(&format!("connection that waits, {}", count(workers)), &samples);
            }
        }
        _ => unreachable!("it was looked up"),
    }
}

/// One round: bourn's, tokio's and smol's.
type Round<T> = [T; 3];

fn peers(workers: usize) -> (Bourn, Tokio, Smol) {
    if workers == 0 {
        (Bourn::current_thread(), Tokio::current_thread(), Smol::current_thread())
    } else {
        (Bourn::workers(workers), Tokio::workers(workers), Smol::workers(workers))
    }
}

fn count(workers: usize) -> String {
    if workers == 0 { "one thread".to_owned() } else { format!("{workers} workers") }
}

fn three<T>(rounds: usize, bourn: impl Fn() -> T, tokio: impl Fn() -> T, smol: impl Fn() -> T) -> Vec<Round<T>> {
    in_turns(rounds, [&bourn, &tokio, &smol])
}

fn in_turns<T, const N: usize>(rounds: usize, measures: [&dyn Fn() -> T; N]) -> Vec<[T; N]> {
    // In another order each time: whoever follows whom is not to matter.
    let mut random = Random::new(0);
    (0..rounds)
        .map(|_round| {
            let mut results = [const { None }; N];
            for which in random.order(N) {
                results[which] = Some(measures[which]());
            }
            results.map(|result| result.expect("each had its turn"))
        })
        .collect()
}

fn tasks<B: Peer, T: Peer, S: Peer>(rounds: usize, bourn: B, tokio: T, smol: S) {
    macro_rules! rows {
        ($($name:literal $row:ident),+ $(,)?) => {
            $(row($name, &three(rounds, || rows::$row(bourn), || rows::$row(tokio), || rows::$row(smol)));)+
        };
    }
    rows!(
        "spawn and join, ns" spawn_join,
        "`yield_now` among 1,000 tasks, ns" yields,
        "ping-pong over a channel, ns" ping_pong,
        "time-out that never fires, ns" time_outs,
        "100,000 sleeps, ns of processor time for each" sleeps,
    );
}

/// The same with the sentinel at work, held, and once more held, which shows what the method resolves. All on one runtime:
/// between two runtimes without it lie up to 2 %, from where their memory happens to be.
fn sentinel(rounds: usize) {
    const SLICES: usize = 40;
    println!(
        "\nThe sentinel, two workers, {} slices of each, of some 60 ms; on/off: median and its 95 % interval.\n",
        SLICES * rounds
    );
    println!(
        "| | off, ns | time, on/off | off/off | processor time, on/off | off/off | the sentinel's own | rescues |\n\
         |---|---|---|---|---|---|---|---|"
    );
    let (call, calls) = mpsc::channel();
    // How often it was changed; odd: held.
    let held = Arc::new((Mutex::new(0_u32), Condvar::new()));
    let hold = |is_held: bool| {
        let mut changes = held.0.lock().expect("no panic");
        *changes += if (*changes % 2 == 1) == is_held { 2 } else { 1 };
        held.1.notify_all();
        *changes
    };
    let builder = Builder::new_multi_thread().worker_threads(2).on_stall({
        let held = Arc::clone(&held);
        // As long as its hook has not returned, the sentinel does nothing.
        move |_| {
            let changes = held.0.lock().expect("no panic");
            let before = *changes;
            call.send(before).expect("the main thread");
            drop(held.1.wait_while(changes, |now| *now == before && before % 2 == 1));
        }
    });
    let peer = Bourn::built(&builder, true);
    for (name, measure) in [
        ("`yield_now`", (|peer| rows::yields_of(peer, 2_000)) as fn(Bourn) -> f64),
        ("spawn and join", |peer| rows::spawn_join_of(peer, 500)),
        ("echo", |peer| rows::echo_of(peer, 200)),
    ] {
        // Time for each, processor time, that of the sentinel, and rescues.
        let slice = |is_held| {
            let changes = hold(is_held);
            // A task that blocks until the sentinel is in its hook; then the spare that stood in for it leaves.
            let (end, ended) = mpsc::channel::<()>();
            std::mem::forget(peer.spawn(async move { ended.recv().is_err() }));
            calls.iter().find(|seen| *seen == changes).expect("the hook");
            drop(end);
            std::thread::sleep(Duration::from_millis(15));
            let before = (cpu_time(), processor_time("bourn-sentinel"), peer.metrics().rescues);
            let time = measure(peer);
            let own = processor_time("bourn-sentinel").saturating_sub(before.1);
            let rescues = peer.metrics().rescues - before.2;
            let measured = [time, (cpu_time() - before.0).as_secs_f64(), own.as_secs_f64(), rescues as f64];
            hold(false);
            measured
        };
        let samples = in_turns(SLICES * rounds, [&|| slice(false), &|| slice(true), &|| slice(true)]);
        let without = median(samples.iter().map(|round| round[1][0]).collect());
        // Against both without it, which are held against each other, too.
        let on_off = |what: usize| {
            interval(samples.iter().map(|round| 2.0 * round[0][what] / (round[1][what] + round[2][what])).collect())
        };
        let off_off = |what: usize| interval(samples.iter().map(|round| round[2][what] / round[1][what]).collect());
        let [rescues, own, all] = [3, 2, 1].map(|what| samples.iter().map(|round| round[0][what]).sum::<f64>());
        println!(
            "| {name} | {without:.1} | {} | {} | {} | {} | {:.2} % | {rescues} |",
            on_off(0),
            off_off(0),
            on_off(1),
            off_off(1),
            100.0 * own / all,
        );
    }
}

/// The median, and in brackets the interval that has it with 95 % probability, by the order of the samples.
fn interval(samples: Vec<f64>) -> String {
    let mut sorted = samples;
    sorted.sort_by(f64::total_cmp);
    let (middle, reach) = (sorted.len() / 2, (0.98 * (sorted.len() as f64).sqrt()).ceil() as usize);
    let [low, high] = [middle.saturating_sub(reach), (middle + reach).min(sorted.len() - 1)];
    format!("{:.3} ({:.3} to {:.3})", sorted[middle], sorted[low], sorted[high])
}

/// What this process's threads whose names begin with `prefix` have had of the processors.
fn processor_time(prefix: &str) -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").expect("this process's threads");
    let time = |thread: std::fs::DirEntry| {
        // One may end in between.
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let stat = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        // proc(5): the time on a processor comes first, in nanoseconds.
        let nanos = stat.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0);
        if name.starts_with(prefix) { Duration::from_nanos(nanos) } else { Duration::ZERO }
    };
    threads.map(|thread| time(thread.expect("a thread"))).sum()
}

/// 1, 2 and 4 workers for each reactor, and one for all.
fn groups(rounds: usize) {
    println!("\n| workers for each reactor | 1 | 2 | 4 | all | 1/4 (spread) | 2/4 (spread) | all/4 (spread) |");
    println!("|---|---|---|---|---|---|---|---|");
    for workers in [2, 4, 8] {
        // Where a group is as large as all of them, it is the same once more: so much do the columns differ by chance.
        let peers = [1, 2, 4, workers].map(|group| {
            Bourn::built(&Builder::new_multi_thread().worker_threads(workers).workers_per_reactor(group), true)
        });
        let show = |name: &str, samples: &[[f64; 4]]| {
            let figures = [0, 1, 2, 3].map(|which| median(samples.iter().map(|round| round[which]).collect()));
            let ratios = [0, 1, 3].map(|which| spread(samples.iter().map(|round| round[which] / round[2]).collect()));
            let (figures, ratios) = (figures.map(|figure| format!("{figure:.0}")).join(" | "), ratios.join(" | "));
            println!("| {name}, {workers} workers | {figures} | {ratios} |");
        };
        let [one, two, four, all] = peers;
        let turns = |measure: &dyn Fn(Bourn) -> f64| {
            in_turns(rounds, [&|| measure(one), &|| measure(two), &|| measure(four), &|| measure(all)])
        };
        show("echo, ns", &turns(&rows::echo));
        show("ping-pong, ns", &turns(&rows::ping_pong));
        for micros in [200, 1_000] {
            let ask = |peer| rows::requests(peer, Duration::from_micros(micros), 0.5);
            let samples = in_turns(rounds, [&|| ask(one), &|| ask(two), &|| ask(four), &|| ask(all)]);
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                let samples: Vec<_> =
                    samples.iter().map(|round| round.each_ref().map(|all| quantile(all, share))).collect();
                show(&format!("{micros} us at 50 %, {name}, us"), &samples);
            }
        }
        for (group, peer) in [("1", one), ("all", all)] {
            let (mut turns, mut events) = (0, 0);
            for reactor in peer.metrics().reactors {
                (turns, events) = (turns + reactor.turns, events + reactor.events);
            }
            println!(
                "| turns, and events for each, {workers} workers, {group} for each reactor | {turns} | {:.2} | | | | | |",
                events as f64 / turns as f64
            );
        }
    }
}

fn head(what: &str) {
    println!(
        "\n| {what} | bourn | tokio | smol | bourn/tokio (spread) | bourn/smol (spread) |\n|---|---|---|---|---|---|"
    );
}

fn row(name: &str, samples: &[Round<f64>]) {
    let [bourn, tokio, smol] = [0, 1, 2].map(|which| median(samples.iter().map(|round| round[which]).collect()));
    let [first, second] = [1, 2].map(|which| spread(samples.iter().map(|round| round[0] / round[which]).collect()));
    println!("| {name} | {bourn:.1} | {tokio:.1} | {smol:.1} | {first} | {second} |");
}

fn quantiles(name: &str, samples: &[Round<Vec<f64>>]) {
    for (quantile_name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let samples: Vec<_> = samples.iter().map(|round| round.each_ref().map(|all| quantile(all, share))).collect();
        row(&format!("{name}, {quantile_name}"), &samples);
    }
}

fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

fn median(samples: Vec<f64>) -> f64 {
    quantile(&samples, 0.5)
}

/// The median, with the least and the most in brackets.
fn spread(samples: Vec<f64>) -> String {
    format!("{:.2} ({:.2} to {:.2})", quantile(&samples, 0.5), quantile(&samples, 0.0), quantile(&samples, 1.0))
}

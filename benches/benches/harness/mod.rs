//! Asks one question of every runtime, in one group.
#![allow(dead_code, reason = "each bench uses a part")]

use std::time::Duration;

use bourn_bench::peers::{Bourn, Peer, Smol, Tokio};
use criterion::measurement::WallTime;
use criterion::{BenchmarkId, Criterion};

/// Far enough away that it never comes.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How often each runtime is asked, in turns with the others: the machine's speed changes within seconds, and what is compared
/// are the answers of one round.
const ROUNDS: u32 = 5;

pub trait Question: Copy {
    /// How long it takes to do it so many times.
    fn measure<P: Peer>(self, peer: P, times: u64) -> Duration;
}

/// Has `questions` asked. Short enough that all benches together end within ten minutes.
pub fn ask(questions: impl FnOnce(&mut Criterion)) {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .nresamples(1_001)
        .warm_up_time(Duration::from_millis(500) / ROUNDS)
        .measurement_time(Duration::from_millis(1_500) / ROUNDS)
        .configure_from_args();
    questions(&mut criterion);
    criterion.final_summary();
}

/// On one thread: the caller's, for all of them.
pub fn one_thread(criterion: &mut Criterion, name: &str, question: impl Question) {
    let group = format!("{name}, one thread");
    all(criterion, &group, question, Bourn::current_thread(), Tokio::current_thread(), Smol::current_thread());
}

pub fn two_workers(criterion: &mut Criterion, name: &str, question: impl Question) {
    let group = format!("{name}, two workers");
    all(criterion, &group, question, Bourn::workers(2), Tokio::workers(2), Smol::workers(2));
}

fn all(criterion: &mut Criterion, name: &str, question: impl Question, bourn: Bourn, tokio: Tokio, smol: Smol) {
    let mut group = criterion.benchmark_group(name);
    for round in 1..=ROUNDS {
        one(&mut group, round, question, bourn);
        one(&mut group, round, question, tokio);
        one(&mut group, round, question, smol);
    }
    group.finish();
}

fn one<P: Peer>(group: &mut criterion::BenchmarkGroup<'_, WallTime>, round: u32, question: impl Question, peer: P) {
    let id = BenchmarkId::new(P::NAME, round);
    group.bench_function(id, |bencher| bencher.iter_custom(|times| question.measure(peer, times)));
}

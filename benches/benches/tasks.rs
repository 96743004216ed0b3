//! What a task costs: starting it and taking its result, and letting others go
//! first. Hypothesis: one allocation and a queue without a lock make both cheaper
//! than the peer's.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, criterion_group, criterion_main};

fn peers() -> (bourn::Runtime, tokio::runtime::Runtime) {
    let bourn = bourn::Runtime::new().expect("a runtime");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    (bourn, tokio)
}

fn spawn_join(criterion: &mut Criterion) {
    let (bourn, tokio) = peers();
    let mut group = criterion.benchmark_group("spawn+join x1000");
    group.bench_function("bourn", |bencher| {
        bencher.iter(|| {
            bourn.block_on(async {
                for number in 0..1000u64 {
                    let task = bourn::spawn(async move { number });
                    assert_eq!(task.await.expect("a result"), number);
                }
            });
        });
    });
    group.bench_function("tokio", |bencher| {
        bencher.iter(|| {
            tokio.block_on(async {
                for number in 0..1000u64 {
                    let task = tokio::spawn(async move { number });
                    assert_eq!(task.await.expect("a result"), number);
                }
            });
        });
    });
    group.finish();
}

fn yields(criterion: &mut Criterion) {
    let (bourn, tokio) = peers();
    let mut group = criterion.benchmark_group("yield_now x1000, 10 tasks");
    group.bench_function("bourn", |bencher| {
        bencher.iter(|| {
            bourn.block_on(async {
                let task = || async {
                    for _ in 0..100 {
                        bourn::task::yield_now().await;
                    }
                };
                let tasks: Vec<_> = (0..10).map(|_| bourn::spawn(task())).collect();
                for task in tasks {
                    task.await.expect("a result");
                }
            });
        });
    });
    group.bench_function("tokio", |bencher| {
        bencher.iter(|| {
            tokio.block_on(async {
                let task = || async {
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                };
                let tasks: Vec<_> = (0..10).map(|_| tokio::spawn(task())).collect();
                for task in tasks {
                    task.await.expect("a result");
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, spawn_join, yields);
criterion_main!(benches);

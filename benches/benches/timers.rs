//! Time-outs that never fire: inserted, cancelled. Hypothesis: an uncontended
//! lock and O(1) links make this cheap enough for every request to have one.
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

const LIMIT: Duration = Duration::from_secs(30);

fn insert_cancel(criterion: &mut Criterion) {
    let bourn = bourn::Runtime::new().expect("a runtime");
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = criterion.benchmark_group("timeout that never fires x1000");
    group.bench_function("bourn", |bencher| {
        bencher.iter(|| {
            bourn.block_on(async {
                for _ in 0..1000 {
                    let done = bourn::time::timeout(LIMIT, bourn::task::yield_now());
                    done.await.expect("in time");
                }
            });
        });
    });
    group.bench_function("tokio", |bencher| {
        bencher.iter(|| {
            tokio.block_on(async {
                for _ in 0..1000 {
                    let done = tokio::time::timeout(LIMIT, tokio::task::yield_now());
                    done.await.expect("in time");
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, insert_cancel);
criterion_main!(benches);

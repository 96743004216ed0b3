//! Tasks that own each other, in a chain: neither aborting the first nor dropping the
//! runtime needs a stack as long as the chain; nor does dropping outputs that hold handles.

mod harness;

use std::any::Any;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use bourn::runtime::{Builder, Runtime};
use bourn::task::{AbortHandle, JoinHandle};
use harness::{flavors, watched};

const LENGTH: usize = 100_000;
const STACK: usize = 256 * 1024;

/// On a thread with a small stack, with a runtime whose threads have small ones, too.
fn on_small_stacks(body: fn(Runtime)) {
    for (flavor, builder) in flavors() {
        let builder: Builder = builder.thread_stack_size(STACK);
        watched(&format!("a chain on {flavor}"), || {
            let body = move || body(builder.build().expect("a runtime"));
            let thread = thread::Builder::new().stack_size(STACK).spawn(body).expect("a thread");
            thread.join().expect("the test");
        });
    }
}

/// Each waits for the next, and the last for ever. Every task has a clone. The handles of
/// the first and the last.
fn waiting(runtime: &Runtime, counted: &Arc<()>) -> (JoinHandle<()>, AbortHandle) {
    let kept = counted.clone();
    let last = runtime.spawn(async move {
        let _kept = kept;
        pending().await
    });
    let abort = last.abort_handle();
    let running = Arc::new(AtomicUsize::new(1));
    let mut first = last;
    for _ in 1..LENGTH {
        let (kept, running, next) = (counted.clone(), running.clone(), first);
        first = runtime.spawn(async move {
            let _kept = kept;
            running.fetch_add(1, SeqCst);
            drop(next.await);
        });
    }
    runtime.block_on(async {
        while running.load(SeqCst) < LENGTH {
            bourn::task::yield_now().await;
        }
    });
    (first, abort)
}

#[test]
fn a_chain_of_waiting_tasks_ends_with_its_runtime() {
    on_small_stacks(|runtime| {
        let counted = Arc::new(());
        let (first, _) = waiting(&runtime, &counted);
        drop(runtime);
        assert!(futures_lite::future::block_on(first).expect_err("it never ends").is_cancelled());
        assert_eq!(Arc::strong_count(&counted), 1);
    });
}

#[test]
fn a_chain_of_waiting_tasks_ends_with_its_last() {
    on_small_stacks(|runtime| {
        let counted = Arc::new(());
        let (first, abort) = waiting(&runtime, &counted);
        abort.abort();
        runtime.block_on(first).expect("the first");
        // The last to drop its own may be behind the one that wakes the first.
        drop(runtime);
        assert_eq!(Arc::strong_count(&counted), 1);
    });
}

#[test]
fn a_chain_of_outputs_is_dropped_with_its_first() {
    on_small_stacks(|runtime| {
        let counted = Arc::new(());
        let kept = counted.clone();
        let mut first: JoinHandle<Box<dyn Any + Send>> = runtime.spawn(async move { Box::new(kept) as Box<_> });
        for _ in 1..LENGTH {
            let next = first;
            first = runtime.spawn(async move { Box::new(next) as Box<_> });
        }
        runtime.block_on(async {
            while !first.is_finished() {
                bourn::task::yield_now().await;
            }
        });
        drop(first);
        // The last outputs may be dropped by workers.
        while Arc::strong_count(&counted) > 1 {
            thread::yield_now();
        }
        drop(runtime);
    });
}

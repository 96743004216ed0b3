//! Tasks that own each other, in a chain: neither aborting the first nor dropping the
//! runtime needs a stack as long as the chain; nor does dropping outputs that hold handles.

mod harness;

use std::any::Any;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use bourn::runtime::{Builder, Handle, Runtime};
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

/// On a thread with a small stack, with two runtimes whose threads have small ones, too.
fn on_two_runtimes(body: fn([Runtime; 2])) {
    for (flavor, builder) in flavors() {
        let builder: Builder = builder.thread_stack_size(STACK);
        watched(&format!("a chain between two runtimes, {flavor}"), || {
            let body = move || body([0, 1].map(|_| builder.build().expect("a runtime")));
            let thread = thread::Builder::new().stack_size(STACK).spawn(body).expect("a thread");
            thread.join().expect("the test");
        });
    }
}

#[test]
fn a_chain_of_outputs_goes_back_and_forth_between_runtimes() {
    on_two_runtimes(|runtimes| {
        let counted = Arc::new(());
        let kept = counted.clone();
        let mut first: JoinHandle<Box<dyn Any + Send>> = runtimes[0].spawn(async move { Box::new(kept) as Box<_> });
        for number in 1..LENGTH {
            let next = first;
            first = runtimes[number % 2].spawn(async move { Box::new(next) as Box<_> });
        }
        for runtime in &runtimes {
            // Without workers each runs its own here; the tasks before this one are done when it is.
            runtime.block_on(runtime.spawn(bourn::task::yield_now())).expect("a task");
        }
        drop(first);
        drop(runtimes);
        assert_eq!(Arc::strong_count(&counted), 1);
    });
}

/// What drops it spawns a task in the other runtime, which is closed and so drops that, and so on.
struct Link {
    handles: Arc<[Handle; 2]>,
    left: usize,
    drops: Arc<AtomicUsize>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.drops.fetch_add(1, SeqCst);
        if self.left > 0 {
            let left = self.left - 1;
            let next = Self { handles: self.handles.clone(), left, drops: self.drops.clone() };
            drop(self.handles[left % 2].spawn(async move {
                let _next = next;
                pending::<()>().await;
            }));
        }
    }
}

#[test]
fn a_chain_of_destructors_goes_back_and_forth_between_closed_runtimes() {
    on_two_runtimes(|runtimes| {
        let drops = Arc::new(AtomicUsize::new(0));
        let handles = Arc::new([0, 1].map(|which: usize| runtimes[which].handle().clone()));
        let first = Link { handles, left: LENGTH, drops: drops.clone() };
        drop(runtimes[0].spawn(async move {
            let _first = first;
            pending::<()>().await;
        }));
        for runtime in runtimes {
            drop(runtime.shutdown_background());
        }
        // A worker that was stopped may have had a part of it in its hands.
        while drops.load(SeqCst) < LENGTH + 1 {
            thread::yield_now();
        }
        assert_eq!(drops.load(SeqCst), LENGTH + 1);
    });
}

//! A task is one allocation of at most 120 bytes around a small future; waking it on its own thread allocates nothing.
//!
//! One test, for the counters are the whole process's.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

use bourn_executor::yield_now;
use support::{runtime, watchdog};

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    static BYTES: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything on to the system's allocator, and counts in thread-locals that need no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        BYTES.set(BYTES.get() + layout.size());
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocated<R>(body: impl FnOnce() -> R) -> (usize, usize, R) {
    let before = (COUNT.get(), BYTES.get());
    let result = body();
    (COUNT.get() - before.0, BYTES.get() - before.1, result)
}

#[test]
fn of_a_task_and_of_its_wakes() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    runtime.block_on(async {
        // Drives from here on, with a queue and a table that have room.
        for _ in 0..3 {
            let room: Vec<_> = (0..8).map(|_| handle.spawn(yield_now())).collect();
            for task in room {
                task.await.unwrap();
            }
        }
        let numbers = [1_u64, 2];
        let future = poll_fn(move |_cx| Poll::Ready(numbers[0] + numbers[1]));
        assert_eq!(size_of_val(&future), 16);
        let (count, bytes, task) = allocated(|| handle.spawn(future));
        assert_eq!(count, 1);
        assert!(bytes <= 120, "{bytes} bytes for a task with a future of 16");
        assert_eq!(task.await.unwrap(), 3);

        let task = handle.spawn(async {
            for _ in 0..1_000 {
                yield_now().await;
            }
        });
        // The 61st step starts the thread that notices blocked ones.
        for _ in 0..100 {
            yield_now().await;
        }
        let before = COUNT.get();
        task.await.unwrap();
        assert_eq!(COUNT.get() - before, 0, "allocations by wakes");
    });
}

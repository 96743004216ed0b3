//! Blocking calls made elsewhere: results, panics and refusals reach who awaits
//! them.

mod harness;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use bourn_net::offload::{self, Job, Offload};
use futures_lite::future::block_on;

use harness::watched;

#[test]
fn a_call_runs_on_another_thread() {
    watched("a_call_runs_on_another_thread", || {
        let here = thread::current().id();
        let there = block_on(offload::run(|| thread::current().id())).expect("a thread");
        assert_ne!(here, there);
    });
}

#[test]
fn calls_that_block_do_not_keep_others_waiting() {
    watched("calls_that_block_do_not_keep_others_waiting", || {
        // Each waits for all the others, so all have to run at once.
        let barrier = Arc::new(Barrier::new(8));
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                thread::spawn(|| block_on(offload::run(move || barrier.wait().is_leader())))
            })
            .collect();
        for call in calls {
            call.join().expect("no panic").expect("a thread");
        }
    });
}

#[test]
fn more_calls_than_threads_are_all_made() {
    watched("more_calls_than_threads_are_all_made", || {
        let made = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let made = Arc::clone(&made);
                thread::spawn(move || block_on(offload::run(move || made.fetch_add(1, Ordering::Relaxed))))
            })
            .collect();
        for caller in callers {
            caller.join().expect("no panic").expect("a thread");
        }
        assert_eq!(made.load(Ordering::Relaxed), 100);
    });
}

#[test]
fn a_panic_goes_on_where_the_result_is_awaited() {
    watched("a_panic_goes_on_where_the_result_is_awaited", || {
        let call = offload::run(|| -> () { panic!("broken on purpose") });
        let panic = catch_unwind(AssertUnwindSafe(|| block_on(call))).expect_err("it panics");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"broken on purpose"));
    });
}

#[test]
fn a_call_that_has_begun_goes_on_if_nobody_awaits_it_any_more() {
    watched("a_call_that_has_begun_goes_on_if_nobody_awaits_it_any_more", || {
        struct Told(mpsc::Sender<&'static str>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send("dropped").expect("the test waits");
            }
        }
        let (go, wait) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        {
            let mut call = pin!(offload::run(move || {
                tell.send("begun").expect("the test waits");
                wait.recv().expect("the test goes on");
                Told(tell)
            }));
            assert!(block_on(harness::pends(call.as_mut())));
            assert_eq!(told.recv(), Ok("begun"));
        }
        go.send(()).expect("the call waits");
        assert_eq!(told.recv(), Ok("dropped"), "the result leaks");
    });
}

/// Hands back what does not come from a thread of its own; drops or runs the rest.
struct Hook;

impl Offload for Hook {
    fn offload(&self, job: Job) -> Result<(), Job> {
        match thread::current().name() {
            Some("runs") => {
                thread::Builder::new().name("hooked".to_owned()).spawn(|| job.run()).map(drop).ok();
                Ok(())
            }
            Some("drops") => {
                drop(job);
                Ok(())
            }
            _ => Err(job),
        }
    }
}

#[test]
fn a_hook_decides_where_calls_run() {
    watched("a_hook_decides_where_calls_run", || {
        assert!(offload::set(&Hook));
        assert!(!offload::set(&Hook), "the first one stays");
        let call_on = |name: &str| {
            let caller = thread::Builder::new()
                .name(name.to_owned())
                .spawn(|| block_on(offload::run(|| thread::current().name().map(str::to_owned))));
            caller.expect("a thread").join().expect("no panic")
        };
        assert_eq!(call_on("runs").expect("it is made").as_deref(), Some("hooked"));
        assert_eq!(call_on("other").expect("it is made").as_deref(), Some("bourn-offload"));
        let lost = call_on("drops").expect_err("it was dropped");
        assert!(lost.to_string().contains("dropped"), "{lost}");
    });
}

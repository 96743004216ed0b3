//! The end of a runtime whose blocking calls, or whose threads for them, have not
//! come to theirs.

mod harness;

use std::cell::RefCell;
use std::future::{Future, pending};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{env, io, thread};

use bourn::net::offload;
use bourn::runtime::{Builder, Runtime, UnhandledPanic};
use bourn::task;

use harness::watched;

const LONG: Duration = Duration::from_secs(40);
const CHILD: &str = "BOURN_TEST_BLOCKING_SHUTDOWN";

fn is_child() -> bool {
    env::var_os(CHILD).is_some()
}

/// Runs a test of this file as a process of its own.
fn child(test: &str, stderr: Stdio) -> Output {
    watched(test, || {
        Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, "1")
            .stderr(stderr)
            .stdout(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .unwrap()
    })
}

fn one_thread() -> Builder {
    Builder::new_current_thread().max_blocking_threads(1)
}

/// Has a call made that lasts until the pool has dropped what waits behind it, and
/// ends with `end`. Returns when it has begun.
fn outlast_the_queue(runtime: &Runtime, end: impl FnOnce() + Send + 'static) {
    let (begun, wait) = mpsc::channel();
    let (queued, dropped) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || {
        begun.send(()).unwrap();
        dropped.recv().unwrap_err();
        end();
    });
    runtime.spawn_blocking(move || queued.send(()));
    wait.recv().unwrap();
}

/// Has a call named `stuck` made that lasts until what is returned is dropped.
fn stick(runtime: &Runtime) -> mpsc::Sender<()> {
    let (begun, wait) = mpsc::channel();
    let (door, opened) = mpsc::channel::<()>();
    let _entered = runtime.enter();
    task::Builder::new().name("stuck").spawn_blocking(move || {
        begun.send(()).unwrap();
        opened.recv().unwrap_err();
    });
    wait.recv().unwrap();
    door
}

#[test]
fn the_policy_abort_holds_in_the_grace() {
    if is_child() {
        let builder = one_thread().unhandled_panic(UnhandledPanic::Abort);
        let runtime = builder.build().unwrap();
        outlast_the_queue(&runtime, || panic!("in the grace"));
        drop(runtime);
        return;
    }
    let output = child("the_policy_abort_holds_in_the_grace", Stdio::piped());
    assert_eq!(output.status.signal(), Some(6), "{output:?}");
}

#[test]
fn the_policy_ignore_holds_in_the_grace() {
    if is_child() {
        let builder = one_thread().unhandled_panic(UnhandledPanic::Ignore);
        let runtime = builder.build().unwrap();
        outlast_the_queue(&runtime, || panic!("in the grace"));
        drop(runtime);
        return;
    }
    let output = child("the_policy_ignore_holds_in_the_grace", Stdio::piped());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("in the grace"), "the hook's line: {told}");
    assert!(!told.contains("bourn: "), "{told}");
}

#[test]
fn the_policy_shutdown_ends_the_pool_too() {
    watched("the pool's end", || {
        let builder = Builder::new_current_thread().unhandled_panic(UnhandledPanic::Shutdown);
        let runtime = builder.build().unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                drop(bourn::spawn(async { panic!("in a task") }));
                pending::<()>().await;
            });
        }));
        assert!(outcome.is_err());
        let late = runtime.spawn_blocking(|| ());
        let error = futures_lite::future::block_on(late).unwrap_err();
        assert!(error.is_cancelled(), "{error}");
    });
}

#[test]
fn a_closed_stderr_is_no_panic() {
    if is_child() {
        let builder = Builder::new_current_thread().blocking_grace(Duration::ZERO);
        let runtime = builder.build().unwrap();
        let _door = stick(&runtime);
        drop(runtime);
        return;
    }
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let output = child("a_closed_stderr_is_no_panic", writer.into());
    assert!(output.status.success(), "{output:?}");
}

thread_local! {
    static LAST: RefCell<Option<Box<dyn Send>>> = const { RefCell::new(None) };
}

/// A thread whose destructors never end keeps nobody beyond the grace.
#[test]
fn the_grace_ends_before_a_destructor() {
    struct Slow {
        opened: mpsc::Receiver<()>,
        _ended: mpsc::Sender<()>,
    }
    impl Drop for Slow {
        fn drop(&mut self) {
            self.opened.recv().unwrap_err();
        }
    }
    let (door, opened) = mpsc::channel();
    let (_ended, end) = mpsc::channel();
    let slow = Slow { opened, _ended };
    watched("the grace", || {
        let grace = Duration::from_millis(100);
        let builder = Builder::new_current_thread().blocking_grace(grace);
        let runtime = builder.build().unwrap();
        let call = runtime.spawn_blocking(move || LAST.set(Some(Box::new(slow))));
        runtime.block_on(call).unwrap();
        drop(runtime);
        assert_eq!(end.try_recv(), Err(mpsc::TryRecvError::Empty));
        drop(door);
        end.recv().unwrap_err();
    });
}

/// A thread of the pool, in its destructors, drops the runtime: it does not wait
/// for itself.
#[test]
fn a_runtime_dropped_by_a_destructor_of_its_own_thread() {
    struct Keep {
        runtime: Option<Arc<Runtime>>,
        done: mpsc::Sender<bool>,
    }
    impl Drop for Keep {
        fn drop(&mut self) {
            let last = self.runtime.take().and_then(Arc::into_inner);
            let is_last = last.is_some();
            drop(last);
            self.done.send(is_last).unwrap();
        }
    }
    watched("a drop by a destructor", || {
        let builder =
            Builder::new_current_thread().thread_keep_alive(Duration::from_millis(1)).blocking_grace(Duration::MAX);
        let runtime = Arc::new(builder.build().unwrap());
        let (done, told) = mpsc::channel();
        let keep = Keep { runtime: Some(Arc::clone(&runtime)), done };
        let (go, wait) = mpsc::channel::<()>();
        runtime.spawn_blocking(move || {
            LAST.set(Some(Box::new(keep)));
            wait.recv().unwrap_err();
        });
        drop(runtime);
        drop(go);
        assert!(told.recv().unwrap(), "dropped there");
    });
}

#[test]
fn a_runtime_ended_in_its_own_call_does_not_name_that_call() {
    watched("its own call", || {
        let runtime = Arc::new(Runtime::new().unwrap());
        let (alone, wait) = mpsc::channel::<()>();
        let (done, told) = mpsc::channel();
        let kept = Arc::clone(&runtime);
        runtime.spawn_blocking(move || {
            wait.recv().unwrap_err();
            let left = Arc::into_inner(kept).unwrap().shutdown_timeout(LONG);
            done.send(left.len()).unwrap();
        });
        drop(runtime);
        drop(alone);
        assert_eq!(told.recv(), Ok(0));
    });
}

/// A socket's look-up that begins while the pool drops its calls goes elsewhere.
#[test]
fn the_pools_end_loses_no_look_up() {
    type Question = Pin<Box<dyn Future<Output = io::Result<u8>> + Send>>;
    struct Asks(mpsc::Sender<Question>);
    impl Drop for Asks {
        fn drop(&mut self) {
            let mut question: Question = Box::pin(offload::run(|| 7));
            // It may be answered already: whoever answers it is a thread of its own.
            if let Poll::Ready(answer) = question.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                question = Box::pin(async { answer });
            }
            self.0.send(question).unwrap();
        }
    }
    watched("a question", || {
        let runtime = one_thread().build().unwrap();
        let (asked, questions) = mpsc::channel();
        outlast_the_queue(&runtime, || ());
        let asks = Asks(asked);
        runtime.spawn_blocking(move || drop(asks));
        let entered = runtime.enter();
        drop(runtime);
        drop(entered);
        let answer = futures_lite::future::block_on(questions.recv().unwrap());
        assert_eq!(answer.unwrap(), 7);
    });
}

#[test]
fn shutdown_timeout_waits_and_names_what_is_left() {
    watched("shutdown_timeout", || {
        let runtime = one_thread().build().unwrap();
        outlast_the_queue(&runtime, || ());
        assert!(runtime.shutdown_timeout(LONG).is_empty(), "waited for");

        let runtime = Runtime::new().unwrap();
        let door = stick(&runtime);
        let left = runtime.shutdown_timeout(Duration::from_millis(10));
        let names: Vec<_> = left.iter().map(|call| call.name.as_deref()).collect();
        assert_eq!(names, [Some("stuck")]);
        drop(door);
    });
}

#[test]
fn shutdown_timeout_is_refused_inside_block_on() {
    let outcome = watched("inside", || {
        catch_unwind(|| bourn::block_on(async { Runtime::new().unwrap().shutdown_timeout(LONG) }))
    });
    let message = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(message.starts_with("bourn: a runtime was dropped on a thread that is inside the block_on"), "{message}");
}

#[test]
fn shutdown_background_waits_for_nothing_inside_block_on_too() {
    struct Dropped(mpsc::Sender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    watched("shutdown_background", || {
        bourn::block_on(async {
            let runtime = Runtime::new().unwrap();
            let (told, drops) = mpsc::channel();
            let dropped = Dropped(told);
            let task = runtime.spawn(async move {
                let _dropped = dropped;
                pending::<()>().await;
            });
            let door = stick(&runtime);
            let handle = runtime.handle().clone();
            let left = runtime.shutdown_background();
            assert_eq!(left.len(), 1);
            assert_eq!(left[0].name.as_deref(), Some("stuck"));
            assert!(task.await.unwrap_err().is_cancelled());
            assert_eq!(drops.try_recv(), Ok(()));
            let late = handle.spawn_blocking(|| ());
            assert!(late.await.unwrap_err().is_cancelled());
            drop(door);
        });
    });
}

#[test]
fn threads_have_the_name_and_the_stack_that_were_asked_for() {
    /// More than the two mebibytes that std gives a thread.
    const STACK: usize = 16 << 20;
    watched("threads", || {
        let builder = Builder::new_current_thread().thread_name("mine").thread_stack_size(STACK);
        let runtime = builder.build().unwrap();
        let call = runtime.spawn_blocking(|| {
            // Would end the process on a smaller stack.
            let much = std::hint::black_box([1_u8; STACK / 4]);
            assert_eq!(much[much.len() - 1], 1);
            thread::current().name().map(str::to_owned)
        });
        let name = runtime.block_on(call).unwrap();
        assert_eq!(name.as_deref(), Some("mine-0"));
    });
}

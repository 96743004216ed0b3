//! Aborting a task drops its future, once, on the runtime's thread.

mod support;

use std::future::pending;
use std::thread;

use bourn_executor::yield_now;
use support::{Door, Drops, runtime, watchdog};

#[test]
fn before_the_first_poll() {
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(), Drops::default());
    let kept = drops.value();
    let task = runtime.handle().spawn(async move {
        let _kept = kept;
        unreachable!("polled after the abort");
    });
    task.abort();
    assert_eq!(drops.count(), 0, "dropped outside the runtime");
    let error = runtime.block_on(task).map(|(): ()| ()).unwrap_err();
    assert!(error.is_cancelled() && !error.is_panic());
    assert_eq!(error.to_string(), format!("task {} was cancelled", error.id()));
    assert!(error.try_into_panic().is_err());
    assert_eq!(drops.count(), 1);
}

#[test]
fn while_it_waits() {
    let _watchdog = watchdog();
    let (runtime, drops) = (runtime(), Drops::default());
    let handle = runtime.handle();
    let kept = drops.value();
    runtime.block_on(async {
        let task = handle.spawn(async move {
            let _kept = kept;
            pending::<()>().await;
        });
        yield_now().await;
        assert_eq!(handle.task_count(), 1);
        let abort = task.abort_handle();
        assert_eq!(abort.id(), task.id());
        abort.abort();
        abort.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(abort.is_finished());
    });
    assert_eq!(drops.count(), 1);
    assert_eq!(handle.task_count(), 0);
}

#[test]
fn by_the_task_itself_ends_it_at_its_next_wait() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let (sender, receiver) = std::sync::mpsc::channel::<bourn_executor::AbortHandle>();
    let task = handle.spawn(async move {
        receiver.recv().unwrap().abort();
        yield_now().await;
        unreachable!("polled after the abort");
    });
    sender.send(task.abort_handle()).unwrap();
    assert!(runtime.block_on(task).map(|(): ()| ()).unwrap_err().is_cancelled());
}

#[test]
fn after_its_end_changes_nothing() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let task = runtime.handle().spawn(async { 5 });
    runtime.block_on(yield_now());
    assert!(task.is_finished());
    task.abort();
    assert_eq!(runtime.block_on(task).unwrap(), 5);
}

#[test]
fn from_another_thread_wakes_the_runtime() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let started = Door::new();
    let task = runtime.handle().spawn({
        let started = started.clone();
        async move {
            started.open();
            pending::<()>().await;
        }
    });
    let abort = task.abort_handle();
    let other = thread::spawn(move || {
        started.wait();
        abort.abort();
    });
    assert!(runtime.block_on(task).unwrap_err().is_cancelled());
    other.join().unwrap();
}

//! The table of live tasks: who is in it, what it says, from any thread.

mod support;

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use bourn_executor::{JoinHandle, Options, TaskState, yield_now};
use support::{runtime, watchdog};

#[test]
fn lists_tasks_that_wait() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let slot: Arc<Mutex<Option<Waker>>> = Arc::default();
    let line = line!() + 1;
    let named = handle.spawn_with(Options::new().name("listed"), {
        let slot = slot.clone();
        poll_fn(move |cx| {
            *slot.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })
    });
    let unnamed = handle.spawn(pending::<()>());
    let tasks = handle.tasks();
    assert_eq!(tasks.len(), 1, "the other was not polled yet");
    assert_eq!((tasks[0].id, tasks[0].state), (named.id(), TaskState::Queued));
    runtime.block_on(yield_now());

    let tasks = handle.tasks();
    assert_eq!(tasks.len(), 2);
    let info = tasks.iter().find(|task| task.id == named.id()).unwrap();
    assert_eq!(info.name.as_deref(), Some("listed"));
    assert_eq!((info.location.file(), info.location.line()), (file!(), line));
    assert_eq!(info.state, TaskState::Waiting);
    assert!(!info.local);
    let waker = slot.lock().unwrap().take().unwrap();
    assert!(info.is_woken_by(&waker));
    assert_eq!(info.waker_data(), waker.data() as usize);
    let other = tasks.iter().find(|task| task.id == unnamed.id()).unwrap();
    assert!(other.name.is_none() && !other.is_woken_by(&waker));

    waker.wake();
    let state = |id| handle.tasks().into_iter().find(|task| task.id == id).map(|task| task.state);
    assert_eq!(state(named.id()), Some(TaskState::Queued));
    named.abort();
    assert!(runtime.block_on(named).unwrap_err().is_cancelled());
    assert_eq!(handle.task_count(), 1);
}

#[test]
fn shows_a_task_that_runs() {
    let _watchdog = watchdog();
    let runtime = runtime();
    let handle = runtime.handle();
    let observer = handle.clone();
    let task = handle.spawn(async move {
        yield_now().await;
        observer.tasks()[0].state
    });
    assert_eq!(runtime.block_on(task).unwrap(), TaskState::Running);
}

#[test]
fn handles_go_where_their_outputs_may() {
    fn send_sync<T: Send + Sync + Unpin>(_: &T) {}
    let _watchdog = watchdog();
    let runtime = runtime();
    // The output is Send and not Sync.
    let task: JoinHandle<std::cell::Cell<u8>> = runtime.handle().spawn(async { std::cell::Cell::new(1) });
    send_sync(&task);
    send_sync(&task.abort_handle());
    send_sync(&runtime);
    send_sync(&runtime.handle());
    assert_eq!(runtime.block_on(task).unwrap().get(), 1);
}

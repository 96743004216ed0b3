//! What is said to a programmer who used the runtime in a way that cannot work: what happened, where, how to mend it.

use std::io;
use std::panic::Location;

pub(crate) fn nested_block_on(here: &Location<'_>, outer: &Location<'_>) -> String {
    format!(
        "bourn: block_on called at {here}, on a thread that is already inside the block_on called at {outer}: it would keep \
         that one's tasks from running. Make the function async and await the future there, or call block_on on a \
         thread of its own (std::thread::spawn)"
    )
}

pub(crate) fn spawn_local_outside(here: &Location<'_>) -> String {
    format!(
        "bourn: spawn_local called at {here}, on a thread that is not inside block_on of this runtime: a local task needs a \
         thread to stay on. Call it from code that block_on runs, or use spawn if the future is Send"
    )
}

pub(crate) fn forked(here: &Location<'_>) -> String {
    format!(
        "bourn: a blocking call was spawned at {here}, in a forked child of the process that made the pool: its threads are \
         the parent's. Make a new runtime in the child, or start the child with exec (std::process::Command)"
    )
}

pub(crate) fn dropped_inside(outer: &Location<'_>) -> String {
    format!(
        "bourn: a runtime was dropped on a thread that is inside the block_on called at {outer}; its tasks have been dropped. \
         Move the runtime out of the async code, and drop it where the thread may wait"
    )
}

pub(crate) fn dropped_on_worker(built: &Location<'_>) -> String {
    format!(
        "bourn: a runtime was dropped on a worker of the runtime made at {built}, which can not wait for itself; its tasks \
         are being dropped. Move the runtime out of the async code, and drop it where the thread may wait"
    )
}

pub(crate) fn nested_on_worker(here: &Location<'_>, built: &Location<'_>) -> String {
    format!(
        "bourn: block_on called at {here}, on a worker of the runtime made at {built}: it would keep that one's tasks from \
         running. Make the function async and await the future there, or call block_on on a thread of its own \
         (std::thread::spawn)"
    )
}

pub(crate) fn workers_turn_failed(built: &Location<'_>, error: &io::Error) -> String {
    format!(
        "bourn: the wait for events failed on a worker of the runtime made at {built}: {error}. Its sockets and timers may be \
         late or never served; look at the limits and the system-call filters of the process"
    )
}

pub(crate) fn turn_failed(outer: &Location<'_>, error: &io::Error) -> String {
    format!(
        "bourn: the wait for events failed inside the block_on called at {outer}: {error}. Without it no task can be woken; \
         look at the limits and the system-call filters of the process"
    )
}

pub(crate) fn shut_down_by_panic(outer: &Location<'_>, line: &str) -> String {
    format!(
        "bourn: the runtime of the block_on called at {outer} was shut down, as its policy for unhandled panics asks, for \
         this: {}. Await the task's handle, or choose another policy",
        line.strip_prefix("bourn: ").unwrap_or(line)
    )
}

//! What is said to a programmer who used the runtime in a way that cannot work: what happened, where, how to mend it.

use std::panic::Location;
use std::{fmt, io};

use crate::context::Place;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BlockOn(location) => write!(f, "on a thread that is inside the block_on called at {location}"),
            Self::Worker(location) => write!(f, "on a worker of the runtime made at {location}"),
        }
    }
}

pub(crate) fn nested_block_on(here: &Location<'_>, place: Place) -> String {
    format!(
        "bourn: block_on called at {here}, {place}: it would keep that one's tasks from running. Make the function async \
         and await the future there, or call block_on on a thread of its own (std::thread::spawn)"
    )
}

pub(crate) fn dropped_inside(place: Place) -> String {
    format!(
        "bourn: a runtime was dropped {place}; its tasks are dropped. Move the runtime out of the async \
         code, and drop it where the thread may wait"
    )
}

pub(crate) fn turn_failed(place: Place, error: &io::Error) -> String {
    format!(
        "bourn: the wait for events failed {place}: {error}. Without it sockets and timers are late or never served; look at \
         the limits and the system-call filters of the process"
    )
}

pub(crate) fn spawn_local_outside(here: &Location<'_>) -> String {
    format!(
        "bourn: spawn_local called at {here}, on a thread that is not inside block_on of this runtime: a local task needs a \
         thread to stay on. Call it from code that block_on runs, or use spawn if the future is Send"
    )
}

pub(crate) fn forked(what: &str, by: &str, here: &Location<'_>) -> String {
    format!(
        "bourn: {what} was spawned at {here}, in a forked child of the process that made the {by}: its threads are \
         the parent's. Make a new runtime in the child, or start the child with exec (std::process::Command)"
    )
}

pub(crate) fn shut_down_by_panic(outer: &Location<'_>, line: &str) -> String {
    format!(
        "bourn: the runtime of the block_on called at {outer} was shut down, as its policy for unhandled panics asks, for \
         this: {}. Await the task's handle, or choose another policy",
        line.strip_prefix("bourn: ").unwrap_or(line)
    )
}

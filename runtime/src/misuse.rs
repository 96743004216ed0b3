//! What is said to a programmer who used the runtime in a way that cannot work:
//! what happened, where, how to mend it.

use std::panic::Location;

pub(crate) fn no_runtime(what: &str, here: &Location<'_>) -> String {
    format!(
        "bourn: {what} called at {here}, on a thread that is in no runtime. Call it from async code that \
         #[bourn::main] or Runtime::block_on runs; from another thread, take a Handle there (Handle::current()) \
         and call the Handle's method here"
    )
}

pub(crate) fn no_task_local(here: &Location<'_>) -> String {
    format!(
        "bourn: a task-local was read at {here}, where it has no value. Run the future inside the key's scope; a task \
         that is spawned in a scope is outside it and needs one of its own. try_with does not panic"
    )
}

pub(crate) fn scope_refused(here: &Location<'_>) -> String {
    format!(
        "bourn: a scope of a task-local was entered at {here}, inside `with` of the same key, whose value is borrowed, or \
         in the destructor of a thread-local. Take what you need out of `with` (LocalKey::get) and enter the scope after it"
    )
}

pub(crate) fn zero_period(here: &Location<'_>) -> String {
    format!("bourn: interval called at {here} with a period of zero, which would tick without end. Use a longer one")
}

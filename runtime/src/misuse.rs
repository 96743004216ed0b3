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

pub(crate) fn zero_period(here: &Location<'_>) -> String {
    format!(
        "bourn: interval called at {here} with a period of zero, which would tick without end. Use a longer one"
    )
}

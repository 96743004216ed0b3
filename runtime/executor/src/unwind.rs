//! Panics of foreign code: caught where they would take the runtime along, and reported where nobody else sees them.

use std::any::Any;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::{fmt, mem};

pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs foreign code; a panic becomes an `Err`.
///
/// Asserting unwind safety is right for the callers here: what a panic can leave half-done is the foreign value, and
/// that is dropped or forgotten, never used again.
#[inline]
pub(crate) fn catch<R>(foreign: impl FnOnce() -> R) -> Result<R, Payload> {
    panic::catch_unwind(AssertUnwindSafe(foreign))
}

/// Drops a foreign value whose Drop may panic.
pub(crate) fn dispose<T>(value: T) {
    run(|| drop(value));
}

/// Runs foreign code; nobody is told of its panic but the panic hook.
pub(crate) fn run(foreign: impl FnOnce()) {
    if let Err(payload) = catch(foreign) {
        discard(payload);
    }
}

/// Drops the payload of a panic that is not to be seen by anyone.
///
/// A payload may panic as it goes, and the payload of that panic too; a row of them without end is leaked at its
/// eighth.
pub(crate) fn discard(payload: Payload) {
    let mut payload = payload;
    for _ in 0..8 {
        match catch(|| drop(payload)) {
            Ok(()) => return,
            Err(next) => payload = next,
        }
    }
    mem::forget(payload);
}

/// The text of a panic, where it has one.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    payload.downcast_ref::<&'static str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

/// Writes one line to stderr.
pub(crate) fn report(line: fmt::Arguments<'_>) {
    // A closed stderr is no reason to fail, and there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

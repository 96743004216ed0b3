//! loom's part of [`crate::sync`].

use std::io;

pub(crate) use loom::cell::UnsafeCell;
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};
pub(crate) use loom::thread;

/// loom's takes no `const` block.
macro_rules! loom_thread_local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const $initial:block;) => {
        loom::thread_local! { $(#[$attribute])* static $name: $type = $initial; }
    };
}
pub(crate) use loom_thread_local as thread_local;

/// loom's threads have no stack size.
pub(crate) fn start_thread(
    name: String,
    _stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(body)
}

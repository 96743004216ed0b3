//! The models' part of [`crate::sync`]: loom's, which goes through all orders that the memory model allows, or shuttle's,
//! which tries some, of larger mixes, and has every access sequentially consistent.

use std::io;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence},
    },
    thread,
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence},
    },
    thread,
};

#[cfg(loom)]
pub(crate) use loom as modeller;
#[cfg(shuttle)]
pub(crate) use shuttle as modeller;

/// Theirs take no `const` block.
macro_rules! model_thread_local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const $initial:block;) => {
        $crate::sync::modeller::thread_local! { $(#[$attribute])* static $name: $type = $initial; }
    };
}
pub(crate) use model_thread_local as thread_local;

/// Always the same.
pub(crate) fn now() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

/// What is to last less than a second is over whenever anybody looks, after all others had their turn; what is to last
/// longer never is. So a tick may end at once, which shows what it does; and one that must be rung and is not, because it
/// has seconds, hangs, which is reported.
pub(crate) fn is_over(deadline: Option<Instant>) -> bool {
    let is_short = deadline.is_some_and(|deadline| deadline < now() + Duration::from_secs(1));
    if is_short {
        thread::yield_now();
    }
    is_short
}

/// Their threads have no stack size.
pub(crate) fn start_thread(
    name: String,
    _stack_size: Option<usize>,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name).spawn(body)
}

/// std's cell with loom's methods: shuttle sees no accesses to memory, and has no cell of its own.
#[cfg(shuttle)]
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(shuttle)]
impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}

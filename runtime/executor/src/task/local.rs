//! A future that never leaves its thread, in a type that may be passed around.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::thread::{self, ThreadId};

/// Binds a future to the thread that made this: only there is it polled or dropped.
///
/// The scheduler of local tasks brings them to their thread anyway. This makes memory safety independent of it.
pub(super) struct Local<F> {
    thread: ThreadId,
    future: ManuallyDrop<F>,
}

// SAFETY: `future` is the only part that may not be used on another thread, and every access to it, dropping
// included, is behind `is_here`. What a poll returns is handed to the caller on the thread of the future.
unsafe impl<F> Send for Local<F> {}

impl<F> Local<F> {
    pub(super) fn new(future: F) -> Self {
        Self { thread: thread::current().id(), future: ManuallyDrop::new(future) }
    }

    fn is_here(&self) -> bool {
        thread::current().id() == self.thread
    }
}

impl<F: Future> Future for Local<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        assert!(self.is_here(), "a local task was polled on a thread that is not its own");
        // SAFETY: a projection; `future` is never moved out, and dropped in place.
        let future = unsafe { self.map_unchecked_mut(|local| &mut *local.future) };
        future.poll(cx)
    }
}

impl<F> Drop for Local<F> {
    fn drop(&mut self) {
        if self.is_here() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.future) };
        }
        // Elsewhere a leak is the only safe thing to do. The executor never comes here: it drops local tasks before
        // their thread leaves `block_on`.
    }
}

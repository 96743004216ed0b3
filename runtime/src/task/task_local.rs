//! Values that belong to a task: set around a future, seen by what it calls.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use pin_project_lite::pin_project;

use crate::misuse;

/// Declares [task-locals](crate::task::LocalKey), as `thread_local!` does
/// thread-locals; but they have no initial value.
///
/// # Examples
/// ```
/// bourn::task_local! {
///     /// Who asked.
///     static REQUEST: u64;
///     pub static USER: String;
/// }
///
/// # bourn::block_on(async {
/// let answer = REQUEST.scope(7, async {
///     bourn::task::yield_now().await;
///     REQUEST.get() * 6
/// });
/// assert_eq!(answer.await, 42);
/// assert!(USER.try_with(|_| ()).is_err());
/// # });
/// ```
#[macro_export]
macro_rules! task_local {
    ($($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty);* $(;)?) => {
        $($(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$type> = {
            ::std::thread_local! {
                static SLOT: ::std::cell::RefCell<::std::option::Option<$type>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }
            $crate::task::LocalKey::new(SLOT)
        };)*
    };
}

/// A task-local, made by [`task_local!`](crate::task_local).
///
/// It has a value inside a [`scope`](LocalKey::scope) and none elsewhere. The value
/// goes where the future in the scope goes, over threads too, and not into tasks
/// that the future starts.
pub struct LocalKey<T: 'static> {
    /// The value of the scope that the thread is inside.
    slot: thread::LocalKey<RefCell<Option<T>>>,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(slot: thread::LocalKey<RefCell<Option<T>>>) -> LocalKey<T> {
        LocalKey { slot }
    }

    /// Gives `future` a value, which hides one from further out. It is there
    /// whenever the future is polled, and when it is dropped; except that, dropped
    /// inside [`with`](LocalKey::with) of the same key, the future sees the value
    /// from further out, and in the destructor of a thread-local perhaps none.
    ///
    /// # Cancel safety
    /// That of the future.
    ///
    /// # Panics
    /// Polling panics inside [`with`](LocalKey::with) of the same key.
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture { key: self, value: Some(value), future: Some(future) }
    }

    /// Calls `body` with the value set.
    ///
    /// # Panics
    /// Inside [`with`](LocalKey::with) of the same key; and with the panic of
    /// `body`, after which the value from further out is back.
    #[track_caller]
    pub fn sync_scope<R>(&'static self, value: T, body: impl FnOnce() -> R) -> R {
        let mut value = Some(value);
        match Inside::enter(self, &mut value) {
            Some(_inside) => body(),
            None => panic!("{}", misuse::scope_refused(Location::caller())),
        }
    }

    /// Calls `body` with the value.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn with<R>(&'static self, body: impl FnOnce(&T) -> R) -> R {
        match self.try_with(body) {
            Ok(result) => result,
            Err(AccessError(())) => panic!("{}", misuse::no_task_local(Location::caller())),
        }
    }

    /// Calls `body` with the value, if there is one.
    ///
    /// # Errors
    /// [`AccessError`] outside every scope of the key.
    pub fn try_with<R>(&'static self, body: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let result = self.slot.try_with(|slot| slot.borrow().as_ref().map(body));
        result.ok().flatten().ok_or(AccessError(()))
    }

    /// Exchanges the thread's value. `false`: it is borrowed, or gone with the
    /// thread.
    fn swap(&'static self, value: &mut Option<T>) -> bool {
        let swap =
            |slot: &RefCell<Option<T>>| slot.try_borrow_mut().map(|mut slot| mem::swap(&mut *slot, value)).is_ok();
        self.slot.try_with(swap).unwrap_or(false)
    }
}

impl<T: Clone + 'static> LocalKey<T> {
    /// A clone of the value.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn get(&'static self) -> T {
        self.with(T::clone)
    }

    /// A clone of the value, if there is one.
    ///
    /// # Errors
    /// [`AccessError`] outside every scope of the key.
    pub fn try_get(&'static self) -> Result<T, AccessError> {
        self.try_with(T::clone)
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// The thread is inside a scope until this is dropped, in a panic too.
struct Inside<'a, T: 'static> {
    key: &'static LocalKey<T>,
    /// What was the thread's value before.
    value: &'a mut Option<T>,
}

impl<'a, T: 'static> Inside<'a, T> {
    fn enter(key: &'static LocalKey<T>, value: &'a mut Option<T>) -> Option<Inside<'a, T>> {
        key.swap(value).then_some(Inside { key, value })
    }
}

impl<T: 'static> Drop for Inside<'_, T> {
    fn drop(&mut self) {
        self.key.swap(self.value);
    }
}

pin_project! {
    /// The future of [`LocalKey::scope`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct TaskLocalFuture<T: 'static, F> {
        key: &'static LocalKey<T>,
        value: Option<T>,
        // None once it is ready: dropped while the value is set.
        #[pin]
        future: Option<F>,
    }

    impl<T: 'static, F> PinnedDrop for TaskLocalFuture<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Without the value if the thread has no locals any more: that is no
            // reason to leak the future.
            let _inside = Inside::enter(this.key, this.value);
            this.future.set(None);
        }
    }
}

impl<T: 'static, F> TaskLocalFuture<T, F> {
    /// Takes the value out, such as after the future is ready; `None` if it was
    /// taken before.
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().value.take()
    }
}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let Some(_inside) = Inside::enter(this.key, this.value) else {
            panic!("{}", misuse::scope_refused(Location::caller()));
        };
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            panic!("bourn: the future of a task-local's scope was polled after it had been ready");
        };
        let output = future.poll(cx);
        if output.is_ready() {
            this.future.set(None);
        }
        output
    }
}

impl<T: fmt::Debug + 'static, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TaskLocalFuture").field("value", &self.value).finish_non_exhaustive()
    }
}

/// A task-local has no value here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError(());

impl fmt::Display for AccessError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the task-local has no value outside its scope")
    }
}

impl Error for AccessError {}

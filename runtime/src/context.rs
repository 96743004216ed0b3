//! Which runtime the thread is in.

use std::cell::RefCell;
use std::marker::PhantomData;

use crate::runtime::Handle;

thread_local! {
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// The runtime of this thread.
pub(crate) fn current() -> Option<Handle> {
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

pub(crate) fn enter(handle: Handle) -> Entered {
    Entered {
        before: CURRENT.replace(Some(handle)),
        thread: PhantomData,
    }
}

/// Undoes [`enter`] when dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    before: Option<Handle>,
    /// Belongs to the thread whose context it changes.
    thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Dropped outside the borrow: the last handle drops what it holds.
        let left = CURRENT.try_with(|current| current.replace(self.before.take()));
        drop(left);
    }
}

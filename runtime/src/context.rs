//! Which runtime the thread is in.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use crate::runtime::Handle;

type Entries = Vec<(u64, Option<Rc<Handle>>)>;

thread_local! {
    /// Every runtime that the thread is in, the last entered at the end; by
    /// number, for guards may be dropped in any order. None: that of the `block_on`
    /// that it is inside, of which nobody has asked for a handle yet.
    static ENTERED: RefCell<Entries> = const { RefCell::new(Vec::new()) };
    static ENTRIES: Cell<u64> = const { Cell::new(0) };
}

/// The runtime of this thread: of those that it is in, the last entered.
/// Shared within the thread: a spawn writes no count of references that other threads write.
pub(crate) fn current() -> Option<Rc<Handle>> {
    let last = |entered: &RefCell<Entries>| {
        let mut entered = entered.borrow_mut();
        let (_, handle) = entered.last_mut()?;
        *handle = handle.take().or_else(|| Handle::of_block_on().map(Rc::new));
        handle.clone()
    };
    ENTERED.try_with(last).ok().flatten()
}

/// Without a handle: for a call of `block_on`.
pub(crate) fn enter(handle: Option<Handle>) -> Entered {
    let number = ENTRIES.get();
    ENTRIES.set(number + 1);
    // A thread whose locals are gone has no context to enter: a runtime may be dropped on it.
    let _gone = ENTERED.try_with(|entered| entered.borrow_mut().push((number, handle.map(Rc::new))));
    Entered { number, thread: PhantomData }
}

/// Undoes [`enter`] when dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    number: u64,
    /// Belongs to the thread whose context it changes.
    thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Dropped outside the borrow: the last handle drops what it holds.
        let left = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            let place = entered.iter().rposition(|(number, _)| *number == self.number);
            place.map(|place| entered.remove(place))
        });
        drop(left);
    }
}

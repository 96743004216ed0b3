//! Which runtime the thread is in.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use crate::runtime::Handle;

thread_local! {
    /// Every runtime that the thread is in, the last entered at the end; by
    /// number, for guards may be dropped in any order.
    static ENTERED: RefCell<Vec<(u64, Rc<Handle>)>> = const { RefCell::new(Vec::new()) };
    static ENTRIES: Cell<u64> = const { Cell::new(0) };
}

/// The runtime of this thread: of those that it is in, the last entered.
/// Shared within the thread: a spawn writes no count of references that other threads write.
pub(crate) fn current() -> Option<Rc<Handle>> {
    ENTERED.try_with(|entered| entered.borrow().last().map(|(_, handle)| Rc::clone(handle))).ok().flatten()
}

pub(crate) fn enter(handle: Handle) -> Entered {
    let number = ENTRIES.get();
    ENTRIES.set(number + 1);
    // A thread whose locals are gone has no context to enter: a runtime may be dropped on it.
    let _gone = ENTERED.try_with(|entered| entered.borrow_mut().push((number, Rc::new(handle))));
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

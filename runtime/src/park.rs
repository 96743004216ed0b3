//! Where the executor and the reactor meet: the one implementation of the
//! executor's [`Park`] over a reactor.

use std::io::{self, Write};
use std::sync::Arc;

use bourn_executor::{BlockingPool, Park, Turn, Wait};
use bourn_reactor::{Reactor, Turned, budget};

/// What the threads of a runtime sleep in.
#[derive(Debug)]
pub(crate) struct ReactorPark {
    pub(crate) reactor: Arc<Reactor>,
    /// Closed with the runtime, whoever shuts it down.
    pub(crate) blocking: BlockingPool,
}

/// The thread's sockets and timers register at the runtime's reactor, until this
/// is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    _reactor: bourn_reactor::Entered,
    /// Entered from outside any task; a guard inside one leaves its budget alone.
    outside: bool,
}

impl Park for ReactorPark {
    type Entered = Entered;

    fn enter(self: &Arc<Self>) -> Entered {
        Entered { _reactor: self.reactor.enter(), outside: budget::is_unlimited() }
    }

    fn turn(&self, wait: Wait) -> Turn {
        self.turn_then(wait, || {})
    }

    fn turn_then(&self, wait: Wait, awake: impl FnOnce()) -> Turn {
        let wait = match wait {
            Wait::No => bourn_reactor::Wait::No,
            Wait::Until(moment) => bourn_reactor::Wait::Until(moment),
            Wait::Forever => bourn_reactor::Wait::Forever,
        };
        match self.reactor.turn_then(wait, awake) {
            Ok(Turned::Done) => Turn::Done,
            Ok(Turned::Busy) => Turn::Busy,
            Err(error) => Turn::Failed(error),
        }
    }

    fn unpark(&self) {
        if let Err(error) = self.reactor.unpark() {
            // The kernel refuses such a write only if somebody else has closed
            // the notifier. There is no caller who could mend it, and a waker does
            // not panic because stderr is closed.
            let _ = writeln!(io::stderr().lock(), "bourn: the runtime can not be woken: {error}");
        }
    }

    fn close(&self) {
        self.reactor.close();
        self.blocking.close();
    }

    #[inline]
    fn before_poll(&self) {
        budget::reset();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Whatever runs on this thread next is not of this runtime.
        if self.outside {
            budget::lift();
        }
    }
}

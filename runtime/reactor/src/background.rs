//! The reactor of sockets and timers that are used where no runtime is: under
//! another executor, or on a plain thread. Started when first needed, with a
//! thread of its own, and never ended.

use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use crate::Backend;
use crate::poller::Wait;
use crate::reactor::{Reactor, RuntimeId};
use crate::registered::SourceInfo;

static REACTOR: OnceLock<Arc<Reactor>> = OnceLock::new();

/// The background reactor, started by the first call.
///
/// # Errors
/// Those of making a poller over the backend that `BOURN_BACKEND` names, and of
/// starting a thread; the next call tries again.
pub(crate) fn reactor() -> io::Result<&'static Arc<Reactor>> {
    static STARTING: Mutex<()> = Mutex::new(());

    if let Some(reactor) = REACTOR.get() {
        return Ok(reactor);
    }
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(reactor) = REACTOR.get() {
        return Ok(reactor);
    }
    let reactor = Reactor::new(Backend::from_env()?, RuntimeId::new())?;
    let turned = Arc::clone(&reactor);
    thread::Builder::new().name("bourn-reactor".to_owned()).spawn(move || run(&turned))?;
    Ok(REACTOR.get_or_init(|| reactor))
}

/// What is registered at the background reactor, which this does not start.
pub fn background_sources() -> Vec<SourceInfo> {
    REACTOR.get().map_or_else(Vec::new, |reactor| reactor.sources())
}

/// Turns `reactor` until its kernel wait fails, which then becomes the error of
/// every operation that would wait there.
fn run(reactor: &Arc<Reactor>) {
    loop {
        if let Err(error) = reactor.turn(Wait::Forever) {
            reactor.fail(error);
            return;
        }
    }
}

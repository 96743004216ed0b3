//! The accept loops: one for each listening socket.

use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bourn_net::AcceptErrorKind;
use bourn_net::vacancy::Watch;
use bourn_reactor::{Sleep, budget};

use crate::bell::when;
use crate::connection::{Connection, Place};
use crate::limits::WhenFull;
use crate::listener::{Addr, Listener, Stream};
use crate::server::{Outcome, Plan};
use crate::shared::{Phase, Shared};
use crate::table::Life;

/// After a call that found no descriptor, the next one is not made earlier than this:
/// other parts of the process may open and close sockets as fast as they like.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);
/// And not later than this, for what frees descriptors need not be a socket of ours: so that
/// service resumes within 100 ms, also on a busy machine, and ten loops make fewer than 200
/// calls a second.
const EXHAUSTED_LIMIT: Duration = Duration::from_millis(60);

/// A descriptor that is given up so that a connection can be accepted, and closed, while
/// there is none; taken only if that is the policy. Whoever accepts locks it for reading, so
/// that no other loop is faster when it is given up.
#[derive(Debug, Default)]
pub(crate) struct Reserve(RwLock<Option<File>>);

impl Reserve {
    /// Takes a descriptor, if it has none and there is one.
    fn fill(&self) {
        let mut reserve = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *reserve = reserve.take().or_else(|| File::open("/dev/null").ok());
    }

    /// Accepts a connection and resets it. False if that was not possible.
    fn shed(&self, listener: &Listener) -> bool {
        let mut reserve = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(descriptor) = reserve.take() else { return false };
        drop(descriptor);
        let shed = listener.try_accept().map(|(stream, _)| stream.reset_on_close()).is_ok();
        // If a handler was faster, it is taken back before the next call of accept(2) that finds one.
        *reserve = File::open("/dev/null").ok();
        shed
    }
}

/// An accept loop, or the hand-over, that has not ended; its name, and whose queue is lost with it.
pub(crate) struct Turn<'a>(pub(crate) &'a Shared, pub(crate) String, pub(crate) Option<Addr>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let Turn(shared, name, addr) = self;
        if std::thread::panicking() {
            shared.notices.say("accept", format_args!("{name} has panicked: nobody does its work"));
            shared.lost.lock().unwrap_or_else(PoisonError::into_inner).extend(addr.take());
        }
        shared.loops.fetch_sub(1, Ordering::AcqRel);
        shared.phase_changed.ring();
        shared.table.changed.ring();
    }
}

/// Accepts connections from `listener` and starts a handler for each, until the server
/// drains and the kernel's queue is empty.
pub(crate) async fn accept(plan: Arc<Plan>, listener: Arc<Listener>, number: usize) {
    let shared = &plan.shared;
    let _turn = Turn(shared, format!("accept loop {number}"), listener.alone.then(|| listener.addr.clone()));
    // Closed before the loop is counted as ended.
    let socket = listener;
    let mut exhaustion = None;
    while let Some(accepted) = next(&plan, &socket).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                failed(&plan, &socket, &error, &mut exhaustion).await;
                continue;
            }
        };
        exhaustion = None;
        shared.counters.accepted.count();
        if let Some(counters) = shared.by_listener.get() {
            counters[number].count();
        }
        let stream = Arc::new(stream);
        let Some(life) = enter(shared, &stream, peer).await else {
            shared.counters.shed_full.count();
            shared.notices.say("full", "as many connections as there may be: one was shed");
            stream.reset_on_close();
            continue;
        };
        // Whoever stopped the server may have cancelled everybody before this one came.
        if shared.phase() == Phase::Stopped && !shared.handed_over.load(Ordering::SeqCst) {
            life.cancel();
        }
        let place = Place { life: Arc::clone(&life), shared: Arc::clone(shared) };
        (plan.start)(Running { plan: Arc::clone(&plan), life, polling: false }, Connection { stream, place });
    }
}

/// The next connection or error; `None` when the loop is to end.
async fn next(plan: &Plan, listener: &Listener) -> Option<io::Result<(Stream, Addr)>> {
    let shared = &plan.shared;
    if shared.limits.when_full == WhenFull::Shed {
        plan.reserve.fill();
    } else if let Some(most) = shared.limits.connections {
        // In the kernel's queue a connection costs nothing of ours.
        shared.until(|_| when(shared.table.has_room(most) || shared.phase() == Phase::Stopped)).await;
    }
    let accept = |cx: &mut Context<'_>| {
        // Wakers are cloned meanwhile, which calls nothing that sheds.
        let _nobody_sheds = plan.reserve.0.read();
        match shared.phase() {
            Phase::Stopped => Poll::Ready(None),
            Phase::Emptying => {
                ready!(budget::poll_left(cx));
                budget::spend();
                Poll::Ready(Some(listener.try_accept()))
            }
            _ => listener.poll_accept(cx).map(Some),
        }
    };
    let accepted = shared.phase_changed.until(accept).await?;
    // An empty queue is no error of one connection: it says `WouldBlock`, or, of a Unix socket whose door is closed,
    // that it is of no use any more.
    let is_end = |error| AcceptErrorKind::of(error) == AcceptErrorKind::Fatal && shared.phase() >= Phase::Closing;
    if accepted.as_ref().is_err_and(is_end) { None } else { Some(accepted) }
}

/// Enters a connection into the table, waiting for room if that is the policy: several
/// loops may have seen the same one.
async fn enter(shared: &Shared, stream: &Arc<Stream>, peer: Addr) -> Option<Arc<Life>> {
    let enter = || {
        // What was accepted here is nobody else's, and there will be no more.
        let handed_over = shared.handed_over.load(Ordering::SeqCst);
        let most = shared.limits.connections.filter(|_| !handed_over);
        shared.table.enter(stream, peer.clone(), shared.tick(), most)
    };
    let waits = shared.limits.when_full == WhenFull::Wait;
    let wait = |_: &mut Context<'_>| match enter() {
        None if waits && shared.phase() != Phase::Stopped => Poll::Pending,
        entered => Poll::Ready(entered),
    };
    shared.until(wait).await
}

/// Does what an error of accept(2) asks for before the next try.
async fn failed(plan: &Plan, listener: &Listener, error: &io::Error, exhaustion: &mut Option<Watch>) {
    let Shared { counters, notices, .. } = &*plan.shared;
    let addr = &listener.addr;
    match AcceptErrorKind::of(error) {
        AcceptErrorKind::Connection => return counters.aborted.count(),
        AcceptErrorKind::Fatal => {
            counters.accept_errors.count();
            notices.say("accept", format_args!("accept at {addr}: {error}"));
            return Sleep::after(EXHAUSTED_LIMIT).await;
        }
        AcceptErrorKind::Exhausted => counters.exhausted.count(),
    }
    let shed = plan.reserve.shed(listener);
    let done = if shed { "one was shed" } else { "they wait" };
    notices.say("exhaustion", format_args!("no room for connections at {addr}: {error}; {done}"));
    if shed {
        return counters.shed_exhausted.count();
    }
    let first = exhaustion.is_none();
    let watch = exhaustion.get_or_insert_with(Watch::new);
    Sleep::after(EXHAUSTED_PAUSE).await;
    if !first {
        // The first time it is tried at once, for the last vacancy may just have been before the watch.
        let mut limit = Sleep::after(EXHAUSTED_LIMIT - EXHAUSTED_PAUSE);
        let over = |cx: &mut Context<'_>| {
            let over = watch.poll_vacancy(cx).is_ready() | Pin::new(&mut limit).poll(cx).is_ready();
            when(over || plan.shared.phase() == Phase::Stopped)
        };
        plan.shared.phase_changed.until(over).await;
    }
}

/// A handler that runs: notes its end, whatever that is.
pub(crate) struct Running {
    plan: Arc<Plan>,
    pub(crate) life: Arc<Life>,
    /// Inside a poll of the handler: dropped then, it has panicked.
    polling: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let shared = &self.plan.shared;
        shared.counters.finished.count();
        if self.polling {
            shared.counters.panicked.count();
            shared.notices.say("panic", format_args!("the handler of {} has panicked", self.life.task_name()));
        }
        shared.table.end(&self.life);
    }
}

/// Runs the handler, until it ends or is cancelled.
pub(crate) async fn attend<F, R>(mut running: Running, handler: Arc<F>, connection: Connection)
where
    F: Fn(Connection) -> R + Send + Sync + 'static,
    R: Future<Output: Outcome> + Send + 'static,
{
    let plan = Arc::clone(&running.plan);
    let mut work = pin!(async {
        let connection = admit(&plan, connection).await?;
        Some(handler(connection).await.is_ok())
    });
    let ended = poll_fn(|cx| {
        if running.life.poll_cancelled(cx).is_ready() {
            return Poll::Ready(Err(()));
        }
        running.polling = true;
        let ended = work.as_mut().poll(cx);
        running.polling = false;
        ended.map(Ok)
    })
    .await;
    match ended {
        Err(()) => plan.shared.counters.cancelled.count(),
        Ok(Some(false)) => plan.shared.counters.failed.count(),
        Ok(_) => {}
    }
}

/// What stands before the handler: the proxy's header, and the limit per address.
async fn admit(plan: &Plan, connection: Connection) -> Option<Connection> {
    let shared = &plan.shared;
    let Some(direct) = connection.direct_peer().tcp() else { return Some(connection) };
    let through_proxy = plan.trusted.contains(direct.ip());
    #[cfg(feature = "proxy")]
    if through_proxy && let Err(error) = crate::proxy::read(&connection).await {
        shared.counters.bad_header.count();
        shared.notices.say("proxy", format_args!("no PROXY header from {direct}, which is to send one: {error}"));
        connection.reset();
        return None;
    }
    if let Some(most) = shared.limits.per_address {
        // A proxy that speaks for itself, as in its health checks, is no crowd.
        let counted = if through_proxy { connection.place.life.marks.real_peer.get().copied() } else { Some(direct) };
        if let Some(peer) = counted
            && !shared.table.settle(&connection.place.life, peer.ip(), most)
        {
            shared.counters.shed_address.count();
            shared.notices.say("full", format_args!("too many connections of {}: one was shed", peer.ip()));
            connection.reset();
            return None;
        }
    }
    Some(connection)
}

//! What watches over a server while it serves, and drains it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bourn_reactor::Sleep;

use crate::accept;
use crate::host::{Host, Signals};
use crate::listener::Listener;
use crate::report::Report;
use crate::server::{Plan, Server};
use crate::shared::{Cause, Drain, Phase, Shared};
use crate::stats::Counter;
use crate::sweep;

/// How long cancelled handlers have to be dropped.
const CANCEL_GRACE: Duration = Duration::from_millis(100);

pub(crate) async fn serve<H: Host>(server: Server<H>, plan: Arc<Plan>) -> io::Result<Report> {
    let Server { host, listeners, drain, signals, offer, .. } = server;
    let shared = Arc::clone(&plan.shared);
    let signals = if signals { Some(host.signals()?) } else { None };
    let listeners: Vec<_> = listeners.into_iter().map(Arc::new).collect();
    // One server, one call of this: nobody else fills it.
    let _ = shared.by_listener.set(listeners.iter().map(|_| Counter::default()).collect());
    shared.loops.store(listeners.len() + usize::from(offer.is_some()), Ordering::Release);
    let _end = End(&shared);
    for (number, listener) in listeners.iter().enumerate() {
        let accept = accept::accept(Arc::clone(&plan), Arc::clone(listener), number);
        host.spawn_on(number, format!("accept {number} at {}", listener.addr), accept);
    }
    if let Some(period) = shared.limits.period() {
        host.spawn("server limits".to_owned(), sweep::sweep(Arc::clone(&shared), period));
    }
    if let Some(offer) = offer {
        let offer = offer.stand(Arc::clone(&shared), listeners.iter().map(Arc::downgrade).collect());
        host.spawn("server hand-over".to_owned(), offer);
    }
    drop(plan);
    let mut watch = Watch { shared: &shared, signals, signalled: false };
    let cause = watch.cause().await;
    Ok(watch.drain(cause, &drain, listeners).await)
}

/// Whatever ends `serve`, nothing goes on behind it.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.advance(Phase::Stopped);
        self.0.table.cancel_all();
        self.0.table.changed.ring();
    }
}

struct Watch<'a, S> {
    shared: &'a Shared,
    signals: Option<S>,
    /// A signal has come.
    signalled: bool,
}

impl<S: Signals> Watch<'_, S> {
    async fn cause(&mut self) -> Cause {
        let Watch { shared, signals, signalled } = self;
        let check = |cx: &mut Context<'_>| {
            if let Some(Poll::Ready(number)) = signals.as_mut().map(|signals| signals.poll_signal(cx)) {
                *signalled = true;
                shared.drain(Cause::Signal(number));
            }
            shared.cause().map_or(Poll::Pending, Poll::Ready)
        };
        shared.phase_changed.until(check).await
    }

    async fn drain(mut self, cause: Cause, drain: &Drain, listeners: Vec<Arc<Listener>>) -> Report {
        let shared = self.shared;
        let start = Instant::now();
        shared.advance(Phase::Announced);
        // A hand-over stops at once, whenever it comes: the queues are somebody else's.
        self.until(start + drain.announce, || shared.phase() == Phase::Stopped).await;
        shared.advance(Phase::Closing);
        let closing = Instant::now();
        let deadline = closing + drain.deadline;
        // Read after the phase is written. While another process has the sockets as well, its end must not be that of
        // the queues: they are emptied by whoever is the owner then. If that is the other one, the doors are its own.
        let out = || shared.sockets_out.load(Ordering::SeqCst);
        self.until(deadline, || !out() || shared.phase() == Phase::Stopped).await;
        for listener in listeners.iter().filter(|one| one.alone && !out()) {
            if let Err(error) = listener.close_door() {
                shared.notices.say("drain", format_args!("the door at {} stays open: {error}", listener.addr));
            }
        }
        let no_loop = || shared.loops.load(Ordering::Acquire) == 0;
        self.until((Instant::now() + drain.handshakes).min(deadline), no_loop).await;
        shared.advance(Phase::Emptying);
        // Each is closed by its loop, when its queue is empty.
        let left: Vec<_> = listeners.iter().filter(|one| one.alone).map(Arc::downgrade).collect();
        drop(listeners);
        self.until(deadline, || no_loop() && shared.table.is_empty()).await;
        let lost = std::mem::take(&mut *shared.lost.lock().unwrap_or_else(PoisonError::into_inner));
        let left = left.iter().filter_map(Weak::upgrade).map(|listener| listener.addr.clone());
        let unemptied: Vec<_> = left.chain(lost).filter(|_| !out()).collect();
        shared.advance(Phase::Stopped);
        let unfinished = shared.table.list();
        if !unfinished.is_empty() {
            shared.table.cancel_all();
            self.until(Instant::now() + CANCEL_GRACE, || shared.table.is_empty()).await;
        }
        let report = Report { cause, took: start.elapsed(), unfinished, unemptied, stats: shared.stats() };
        if !report.is_clean() {
            shared.notices.say("report", &report);
        }
        report
    }

    /// Waits for `done`, at most until `deadline`. A second signal ends the process, and the first one does not:
    /// whoever sends it asks for the drain that somebody else has begun.
    async fn until(&mut self, deadline: Instant, done: impl Fn() -> bool) {
        let Watch { shared, signals, signalled } = self;
        let mut sleep = Sleep::until(deadline);
        let check = |cx: &mut Context<'_>| {
            while let Some(Poll::Ready(number)) = signals.as_mut().map(|signals| signals.poll_signal(cx)) {
                if std::mem::replace(signalled, true) {
                    at_once(shared, number);
                }
                shared.notices.say("drain", format_args!("signal {number} while draining: another one ends it"));
            }
            if done() { Poll::Ready(()) } else { Pin::new(&mut sleep).poll(cx) }
        };
        shared.until(check).await;
    }
}

/// Ends the process, as a signal does that nobody handles.
fn at_once(shared: &Shared, signal: i32) -> ! {
    let left = shared.table.list();
    shared.notices.say("end", format_args!("a second signal: {} connections are dropped", left.len()));
    std::process::exit(128 + signal)
}

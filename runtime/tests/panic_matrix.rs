//! A panic from any place of foreign code, whatever becomes of its task: every value
//! is dropped once, and the runtime goes on.

mod harness;

use std::future::{Future, pending, poll_fn};
use std::panic::{self, AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bourn::runtime::{Builder, Runtime};
use bourn::task::{AbortHandle, JoinError, JoinHandle, yield_now};
use bourn::time::sleep;
use harness::{flavors, watched};

#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Poll,
    FutureDrop,
    OutputDrop,
    /// Of whoever awaits the task, and of a timer.
    Waker,
    /// [`Builder::on_stall`].
    Hook,
    /// The payload's drop panics once more.
    Payload,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Awaited,
    Detached,
    Aborted,
    RuntimeDropped,
}

/// How many values there were, and how many drops.
#[derive(Default)]
struct Ledger {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

struct Value {
    ledger: Arc<Ledger>,
    bomb: bool,
}

impl Value {
    fn new(ledger: &Arc<Ledger>, bomb: bool) -> Value {
        ledger.made.fetch_add(1, SeqCst);
        Value { ledger: ledger.clone(), bomb }
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.ledger.dropped.fetch_add(1, SeqCst);
        if self.bomb {
            panic!("in a drop, on purpose");
        }
    }
}

struct WakeBomb;

impl Wake for WakeBomb {
    fn wake(self: Arc<Self>) {
        panic!("in a waker, on purpose");
    }
}

fn wake_bomb() -> Waker {
    Waker::from(Arc::new(WakeBomb))
}

/// What the subject waits for before it does its worst.
#[derive(Default)]
struct Gate {
    open: Mutex<(bool, Option<Waker>)>,
}

impl Gate {
    fn open(&self) {
        let waker = {
            let mut open = self.open.lock().expect("the gate");
            open.0 = true;
            open.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn pass(&self) {
        poll_fn(|cx| {
            let mut open = self.open.lock().expect("the gate");
            if open.0 {
                return Poll::Ready(());
            }
            open.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Whose drop may panic when it is ready, after its output is made.
struct Subject<F> {
    body: F,
    _kept: Value,
}

impl<F: Future + Unpin> Future for Subject<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.body).poll(cx)
    }
}

struct Case {
    from: From,
    fate: Fate,
    ledger: Arc<Ledger>,
    gate: Arc<Gate>,
    own: Arc<OnceLock<AbortHandle>>,
}

impl Case {
    fn subject(&self) -> impl Future<Output = Value> + Send + 'static {
        let Case { from, fate, ledger, gate, own } = self;
        let (from, fate, ledger, gate, own) = (*from, *fate, ledger.clone(), gate.clone(), own.clone());
        let kept = Value::new(&ledger, from == From::FutureDrop);
        let body = async move {
            // Its waker is foreign, and is called in a turn.
            let mut timer = pin!(sleep(Duration::from_millis(1)));
            if from == From::Waker {
                assert!(timer.as_mut().poll(&mut Context::from_waker(&wake_bomb())).is_pending());
            }
            gate.pass().await;
            if fate == Fate::Aborted {
                own.wait().abort();
                if from == From::FutureDrop {
                    pending::<()>().await;
                }
            }
            match from {
                From::Poll => panic!("in a poll, on purpose"),
                From::Payload => panic_any(Value::new(&ledger, true)),
                From::Hook => thread::sleep(Duration::from_millis(30)),
                From::Waker => {
                    // Time for the timer. It wakes the bomb, so this must not wait for it.
                    let end = Instant::now() + Duration::from_millis(3);
                    while Instant::now() < end {
                        yield_now().await;
                    }
                }
                From::FutureDrop | From::OutputDrop => {}
            }
            Value::new(&ledger, from == From::OutputDrop)
        };
        Subject { body: Box::pin(body), _kept: kept }
    }

    fn check(&self, result: Result<Value, JoinError>) {
        let Case { from, fate, .. } = self;
        match (from, fate, &result) {
            // Which of the two comes first is open.
            (_, Fate::RuntimeDropped, _) => {}
            (From::Poll | From::Payload, _, Err(error)) => assert!(error.is_panic(), "{error}"),
            (From::FutureDrop, _, Err(error)) => assert!(error.is_panic(), "{error}"),
            (_, Fate::Aborted, Ok(_)) => {}
            (_, Fate::Aborted, Err(error)) => assert!(error.is_cancelled(), "{error}"),
            (From::OutputDrop | From::Waker | From::Hook, _, Ok(_)) => {}
            (.., result) => panic!("{:?}", result.as_ref().map(drop)),
        }
        // The test's own: what a user does with it is foreign, too.
        let _panic = catch_unwind(AssertUnwindSafe(|| drop(result)));
    }

    /// Until every value that was made has been dropped; then a little longer, for a second drop.
    fn settled(&self) {
        let start = Instant::now();
        while self.ledger.dropped.load(SeqCst) < self.ledger.made.load(SeqCst) {
            assert!(start.elapsed() < Duration::from_secs(10), "a value was not dropped");
            thread::yield_now();
        }
        assert_eq!(self.ledger.dropped.load(SeqCst), self.ledger.made.load(SeqCst));
    }
}

/// As `block_on` of somebody else's executor, whose wakers are bombs until the task is done.
fn poll_with_bomb(handle: &mut JoinHandle<Value>) {
    let first = Pin::new(handle).poll(&mut Context::from_waker(&wake_bomb()));
    assert!(first.is_pending());
}

async fn goes_on() {
    let others: Vec<_> = (0..4).map(|number| bourn::spawn(async move { number })).collect();
    for (number, other) in others.into_iter().enumerate() {
        assert_eq!(other.await.expect("another task"), number);
    }
    sleep(Duration::from_micros(100)).await;
}

fn run(runtime: Runtime, from: From, fate: Fate) {
    let case = Case { from, fate, ledger: Arc::default(), gate: Arc::default(), own: Arc::default() };
    let mut handle = runtime.spawn(case.subject());
    assert!(case.own.set(handle.abort_handle()).is_ok());
    if from == From::Waker {
        poll_with_bomb(&mut handle);
    }
    match fate {
        Fate::Awaited | Fate::Aborted => {
            let result = runtime.block_on(async {
                goes_on().await;
                case.gate.open();
                if from == From::Waker && fate == Fate::Awaited {
                    // As long as the bomb is its waker.
                    while !handle.is_finished() {
                        yield_now().await;
                    }
                }
                handle.await
            });
            case.check(result);
        }
        Fate::Detached => {
            drop(handle);
            runtime.block_on(async {
                goes_on().await;
                case.gate.open();
                while !case.own.get().expect("its handle").is_finished() {
                    yield_now().await;
                }
            });
        }
        Fate::RuntimeDropped => {
            runtime.block_on(goes_on());
            case.gate.open();
            let others =
                runtime.spawn(Subject { body: Box::pin(pending::<()>()), _kept: Value::new(&case.ledger, false) });
            drop(runtime);
            case.check(futures_lite::future::block_on(handle));
            assert!(futures_lite::future::block_on(others).expect_err("its runtime is gone").is_cancelled());
            case.settled();
            return;
        }
    }
    runtime.block_on(goes_on());
    case.settled();
    drop(runtime);
    case.settled();
}

fn with_hook(builder: Builder) -> Builder {
    // Panics that nobody awaits are not this test's question.
    builder.on_stall(|_| panic!("in a hook, on purpose")).unhandled_panic(bourn::runtime::UnhandledPanic::Ignore)
}

#[test]
fn every_panic_and_every_fate() {
    let standard = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let is_ours = payload.downcast_ref::<&str>().is_some_and(|text| text.ends_with("on purpose"));
        if !is_ours && !payload.is::<Value>() {
            standard(info);
        }
    }));
    for (flavor, builder) in flavors() {
        for from in [From::Poll, From::FutureDrop, From::OutputDrop, From::Waker, From::Hook, From::Payload] {
            for fate in [Fate::Awaited, Fate::Detached, Fate::Aborted, Fate::RuntimeDropped] {
                let rounds = if fate == Fate::RuntimeDropped && from != From::Hook { 10 } else { 1 };
                for _ in 0..rounds {
                    let what = format!("{from:?}, {fate:?}, {flavor}");
                    watched(&what, || {
                        let runtime = with_hook(builder.clone()).build().expect("a runtime");
                        let done = catch_unwind(AssertUnwindSafe(|| run(runtime, from, fate)));
                        assert!(done.is_ok(), "{what}");
                    });
                }
            }
        }
    }
}

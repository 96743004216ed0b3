//! Beside a task that is always ready and two that wake each other without end,
//! everything else has its turn after little more than 61 polls at most.

mod harness;

use std::collections::HashMap;
use std::future::poll_fn;
use std::io::Write;
use std::net;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bourn::net::{TcpListener, TcpStream};
use bourn::runtime::Runtime;
use bourn::task::yield_now;
use bourn::time::sleep_until;
use harness::{flavors, watched};

const ROUNDS: usize = 200;
/// The look around comes after 61 polls; what it finds goes behind the task that is being
/// polled, and behind two more of those that the LIFO slot lets through in a row.
const POLLS: usize = 61 + 3;
const TIME: Duration = Duration::from_millis(10);
/// A thread that comes to none of the polls that are counted for so long is not let run.
const AWAY: Duration = Duration::from_millis(1);

/// How many polls, and how long threads had been away.
type Before = (usize, Duration);

/// How many polls there were of tasks that are in the way, and whether they are to go on.
#[derive(Default)]
struct Crowd {
    /// The longest that anything may wait: so much of a processor, of which several workers may have to share each.
    time: Duration,
    polls: AtomicUsize,
    over: AtomicBool,
    /// When each thread was last seen.
    seen: Mutex<HashMap<ThreadId, Instant>>,
    /// How long threads were away in all: each polls these tasks all the time that the kernel lets it.
    away: Mutex<Duration>,
    /// Of a timer, and what there had been when it was over.
    deadline: Mutex<Option<(Instant, Option<Before>)>>,
}

impl Crowd {
    /// Counts a poll. Returns whether there are to be more.
    fn poll(&self) -> bool {
        let away = self.appear();
        let polls = self.polls.fetch_add(1, SeqCst) + 1;
        if let Some((at, then @ None)) = &mut *self.deadline.lock().expect("the deadline")
            && Instant::now() >= *at
        {
            *then = Some((polls, away));
        }
        !self.over.load(SeqCst)
    }

    /// Notes how long the kernel had taken this thread away, if it had, and returns that of all.
    fn appear(&self) -> Duration {
        let now = Instant::now();
        let before = self.seen.lock().expect("the threads").insert(thread::current().id(), now);
        let mut away = self.away.lock().expect("the time away");
        *away += before.map(|before| now - before).filter(|gap| *gap > AWAY).unwrap_or_default();
        *away
    }

    fn since(self: &Arc<Self>) -> Since {
        Since { crowd: self.clone(), polls: self.polls.load(SeqCst), at: Instant::now(), away: self.appear() }
    }
}

/// The moment from which something could have been done.
struct Since {
    crowd: Arc<Crowd>,
    polls: usize,
    at: Instant,
    away: Duration,
}

impl Since {
    /// It is being done.
    fn check(&self, what: &str) {
        let (polls, time) = (self.crowd.polls.load(SeqCst) - self.polls, self.at.elapsed());
        // Tasks of a thread that is away wait for it, for there is no sentinel, while the others' polls are counted on.
        let bound = self.crowd.time + (self.crowd.appear() - self.away);
        assert!(polls <= POLLS || time <= bound, "{what} waited for {polls} polls, {time:?} of {bound:?}");
    }
}

/// Two tasks that wake each other: each wake goes into the LIFO slot.
#[derive(Default)]
struct Pair {
    state: Mutex<(bool, Option<Waker>)>,
}

impl Pair {
    async fn play(&self, side: bool, crowd: &Crowd) {
        poll_fn(|cx| {
            let goes_on = crowd.poll();
            let mut state = self.state.lock().expect("the pair");
            let other = state.1.replace(cx.waker().clone());
            state.0 = side;
            drop(state);
            if let Some(other) = other {
                other.wake();
            }
            if goes_on { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }
}

async fn victims(crowd: &Arc<Crowd>, workers: usize) {
    // For each worker, so that none has nothing else to do.
    for _ in 0..workers.max(1) {
        let pair = Arc::new(Pair::default());
        for side in [false, true] {
            let (pair, crowd) = (pair.clone(), crowd.clone());
            drop(bourn::spawn(async move { pair.play(side, &crowd).await }));
        }
        let crowd = crowd.clone();
        drop(bourn::spawn(async move {
            while crowd.poll() {
                yield_now().await;
            }
        }));
    }
    // A task that has just been spawned.
    let task = {
        let crowd = crowd.clone();
        bourn::spawn(async move {
            for _ in 0..ROUNDS {
                let since = crowd.since();
                bourn::spawn(async move { since.check("a task") }).await.expect("a task in time");
            }
        })
    };
    let timer = {
        let crowd = crowd.clone();
        bourn::spawn(async move {
            for _ in 0..ROUNDS {
                let deadline = Instant::now() + Duration::from_micros(200);
                *crowd.deadline.lock().expect("the deadline") = Some((deadline, None));
                sleep_until(deadline).await;
                let polls = crowd.deadline.lock().expect("the deadline").take().and_then(|(_, polls)| polls);
                if let Some((polls, away)) = polls {
                    Since { crowd: crowd.clone(), polls, at: deadline, away }.check("a timer");
                }
            }
        })
    };
    let socket = {
        let crowd = crowd.clone();
        bourn::spawn(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
            let addr = listener.local_addr().expect("its address");
            let client = net::TcpStream::connect(addr).expect("a connection");
            client.set_nodelay(true).expect("an option");
            let (stream, _) = listener.accept().await.expect("a connection");
            ready_sockets(&crowd, client, stream).await;
        })
    };
    task.await.expect("tasks in time");
    timer.await.expect("timers in time");
    socket.await.expect("sockets in time");
    crowd.over.store(true, SeqCst);
}

/// Another task writes while this one waits, and says when.
async fn ready_sockets(crowd: &Arc<Crowd>, mut client: net::TcpStream, stream: TcpStream) {
    let asked: Arc<Mutex<Option<Since>>> = Arc::default();
    for _ in 0..ROUNDS {
        let (crowd, asked_there) = (crowd.clone(), asked.clone());
        let mut writer = client.try_clone().expect("a second end");
        let write = bourn::spawn(async move {
            yield_now().await;
            // On loopback it has arrived when the call returns.
            writer.write_all(b"x").expect("a byte");
            asked_there.lock().expect("the moment").get_or_insert(crowd.since());
        });
        stream.read_exact(&mut [0; 1]).await.expect("the byte");
        if let Some(since) = asked.lock().expect("the moment").take() {
            since.check("a socket");
        }
        write.await.expect("the writer");
        *asked.lock().expect("the moment") = None;
    }
    client.write_all(b"x").expect("the end");
}

fn on(runtime: &Runtime, workers: usize) -> Result<(), bourn::task::JoinError> {
    let processors = thread::available_parallelism().map_or(1, |count| count.get());
    let share = u32::try_from(workers.div_ceil(processors).max(1)).expect("a few");
    let crowd = Arc::new(Crowd { time: TIME * share, ..Crowd::default() });
    let test = runtime.spawn({
        let crowd = crowd.clone();
        async move { victims(&crowd, workers).await }
    });
    let result = if workers == 0 { runtime.block_on(test) } else { futures_lite::future::block_on(test) };
    assert!(crowd.polls.load(SeqCst) > ROUNDS);
    result
}

#[test]
fn nobody_waits_for_more_than_61_polls() {
    for (flavor, builder) in flavors() {
        let workers = flavor.split_once(':').map_or(0, |(_, workers)| workers.parse().expect("a number"));
        // The rule alone: without the sentinel, which sees to it that it holds in time.
        let runtime = builder.rescue(false).build().expect("a runtime");
        watched(&flavor, || {
            // What the kernel does to a thread may last longer.
            let results: Vec<_> = (0..3).map(|_| on(&runtime, workers)).collect();
            assert!(results.iter().any(Result::is_ok), "{flavor}: {results:?}");
        });
    }
}

//! Blocking calls run elsewhere, so that the calling task can await them.
//!
//! Some calls have no non-blocking form; looking up a name is the one that this
//! crate needs. They go to threads of this module, started when needed and ended
//! when idle, until somebody who has a better place for them [sets](set) a hook.
//!
//! The hook is one for the process, not one per thread: it is called on the
//! thread that wants the work done and can see for itself where it is, so a
//! runtime sets it once and hands back the jobs of threads that are not its own.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

/// Runs [jobs](Job) on threads that may block.
pub trait Offload: Send + Sync {
    /// Takes a job over, or gives it back if this thread's jobs are not for this
    /// offload; then a thread of this crate runs it. Must not run it here.
    ///
    /// # Errors
    /// The job itself, untouched.
    fn offload(&self, job: Job) -> Result<(), Job>;
}

/// A blocking call that somebody awaits. Dropped without being run, it ends the
/// wait with an error.
pub struct Job(Box<dyn FnOnce() + Send>);

impl Job {
    /// Makes the call, on this thread, and wakes who awaits it. Never unwinds: a
    /// panic of the call goes to who awaits it.
    pub fn run(self) {
        // What is left to panic is the waker, or the result's destructor if
        // nobody awaits it any more: reported by the panic hook, and then done
        // with. So is a payload whose destructor panics; that one's is leaked.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(self.0))
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
        {
            std::mem::forget(payload);
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Job").finish_non_exhaustive()
    }
}

static HOOK: OnceLock<&'static dyn Offload> = OnceLock::new();

/// Lets `hook` decide where blocking calls of this process run. False if another
/// hook was set before; that one stays.
#[must_use = "a hook that was set earlier stays"]
pub fn set(hook: &'static dyn Offload) -> bool {
    HOOK.set(hook).is_ok()
}

/// Makes a blocking call elsewhere and awaits its result.
///
/// # Errors
/// What the kernel says when a thread is needed and can not be started, or that
/// the offload dropped the call without making it.
///
/// # Panics
/// If `work` does: its panic goes on here.
///
/// # Cancel safety
/// The call is made even if this future is dropped, once it has been polled; its
/// result is then dropped on the thread that made it.
pub async fn run<T, W>(work: W) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    call(work, Abandoned::Made).await
}

/// Like [`run`], for a call that only its result is worth: if the future is
/// dropped before a thread has come to it, it is not made, so that it keeps no
/// other one waiting.
pub(crate) async fn ask<T, W>(work: W) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    call(work, Abandoned::LeftOut).await
}

/// What becomes of a call that nobody awaits any more when a thread comes to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Abandoned {
    Made,
    LeftOut,
}

async fn call<T, W>(work: W, abandoned: Abandoned) -> io::Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let ours = Arc::new(Handover::default());
    let giver = Giver(Arc::clone(&ours));
    let job = Job(Box::new(move || {
        if abandoned == Abandoned::LeftOut && giver.is_alone() {
            return;
        }
        // The panic goes on at the other side, which thus sees no broken state
        // but what `work` has shared otherwise.
        let result = catch_unwind(AssertUnwindSafe(work));
        giver.give(result);
    }));
    let refused = match HOOK.get() {
        Some(hook) => hook.offload(job).err(),
        None => Some(job),
    };
    if let Some(job) = refused {
        start(job)?;
    }
    poll_fn(|cx| ours.poll_taken(cx.waker())).await
}

/// Where one result passes from the thread that made the call to the task.
struct Handover<T>(Mutex<Stage<T>>);

enum Stage<T> {
    Waiting(Option<Waker>),
    Given(Result<T, Box<dyn Any + Send>>),
    Lost,
}

impl<T> Default for Handover<T> {
    fn default() -> Self {
        Handover(Mutex::new(Stage::Waiting(None)))
    }
}

impl<T> Handover<T> {
    fn stage(&self) -> MutexGuard<'_, Stage<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll_taken(&self, waker: &Waker) -> Poll<io::Result<T>> {
        // Cloned and dropped outside the lock: that is foreign code.
        let next = Stage::Waiting(Some(waker.clone()));
        let before = {
            let mut stage = self.stage();
            match &*stage {
                Stage::Waiting(_) => std::mem::replace(&mut *stage, next),
                Stage::Given(_) | Stage::Lost => std::mem::replace(&mut *stage, Stage::Lost),
            }
        };
        match before {
            Stage::Waiting(_) => Poll::Pending,
            Stage::Given(Ok(value)) => Poll::Ready(Ok(value)),
            Stage::Given(Err(panic)) => resume_unwind(panic),
            Stage::Lost => Poll::Ready(Err(io::Error::other("the blocking call was dropped before it was made"))),
        }
    }

    fn put(&self, stage: Stage<T>) {
        let before = std::mem::replace(&mut *self.stage(), stage);
        if let Stage::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// The end that gives the result, or else says that none will come.
struct Giver<T>(Arc<Handover<T>>);

impl<T> Giver<T> {
    /// Whether the future is gone. (A future that goes right after this answer
    /// costs one call in vain.)
    fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn give(self, result: Result<T, Box<dyn Any + Send>>) {
        self.0.put(Stage::Given(result));
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let waits = matches!(*self.0.stage(), Stage::Waiting(_));
        if waits {
            self.0.put(Stage::Lost);
        }
    }
}

/// Most threads that make blocking calls at a time; further calls queue up.
const MOST_THREADS: usize = 16;
/// How long a thread waits for another call before it ends.
const IDLE: Duration = Duration::from_secs(5);

static CREW: Mutex<Crew> = Mutex::new(Crew { queue: VecDeque::new(), threads: 0, idle: 0 });
static CALL: Condvar = Condvar::new();

/// The threads of this module and what they have to do.
struct Crew {
    queue: VecDeque<Job>,
    threads: usize,
    /// Threads that wait, each for one call.
    idle: usize,
}

fn crew() -> MutexGuard<'static, Crew> {
    CREW.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start(job: Job) -> io::Result<()> {
    let mut crew = crew();
    crew.queue.push_back(job);
    if crew.queue.len() <= crew.idle {
        CALL.notify_one();
        return Ok(());
    }
    if crew.threads == MOST_THREADS {
        return Ok(());
    }
    crew.threads += 1;
    let started = thread::Builder::new().name("bourn-offload".to_owned()).spawn(serve);
    if let Err(error) = started {
        crew.threads -= 1;
        // Those who are there will come to it.
        if crew.threads == 0 {
            let job = crew.queue.pop_back();
            drop(crew);
            drop(job);
            return Err(error);
        }
    }
    Ok(())
}

fn serve() {
    let mut ours = crew();
    loop {
        while let Some(job) = ours.queue.pop_front() {
            drop(ours);
            job.run();
            ours = crew();
        }
        ours.idle += 1;
        let (back, waited) = CALL.wait_timeout(ours, IDLE).unwrap_or_else(PoisonError::into_inner);
        ours = back;
        ours.idle -= 1;
        if waited.timed_out() && ours.queue.is_empty() {
            ours.threads -= 1;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::Context;

    use super::*;

    /// While every thread is busy, more questions are put and abandoned: none of
    /// them is asked, and one that is awaited is.
    #[test]
    fn abandoned_questions_keep_nobody_waiting() {
        let mut cx = Context::from_waker(Waker::noop());
        let (begun, busy) = mpsc::channel();
        let (release, blocked) = mpsc::channel::<()>();
        let blocked = Arc::new(Mutex::new(blocked));
        let mut blockers: Vec<_> = (0..MOST_THREADS)
            .map(|_| {
                let begun = begun.clone();
                let blocked = Arc::clone(&blocked);
                Box::pin(ask(move || {
                    begun.send(()).unwrap();
                    // Until the sender is gone.
                    let _ended = blocked.lock().unwrap().recv();
                }))
            })
            .collect();
        for blocker in &mut blockers {
            assert!(blocker.as_mut().poll(&mut cx).is_pending());
        }
        for _ in 0..MOST_THREADS {
            busy.recv().unwrap();
        }
        let asked = Arc::new(Mutex::new(0));
        for _ in 0..50 {
            let asked = Arc::clone(&asked);
            let mut question = pin!(ask(move || *asked.lock().unwrap() += 1));
            assert!(question.as_mut().poll(&mut cx).is_pending());
        }
        drop(release);
        assert_eq!(futures_lite::future::block_on(ask(|| 7)).unwrap(), 7);
        assert_eq!(*asked.lock().unwrap(), 0);
    }
}

//! Blocking calls run elsewhere, so that the calling task can await them.
//!
//! Some calls have no non-blocking form; looking up a name is the one that this
//! crate needs. They go to threads of this module, 16 at a time, each of which ends
//! when nothing is left to do, until somebody who has a better place for them
//! [sets](set) a hook.
//!
//! The hook is one for the process, not one per thread: it is called on the
//! thread that wants the work done and can see for itself where it is, so a
//! runtime sets it once and hands back the jobs of threads that are not its own.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

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
/// A call that has begun goes on if this future is dropped, and its result is
/// dropped on the thread that made it. One that no thread has come to yet is not
/// made, so that it keeps no other one waiting.
pub async fn run<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(work: W) -> io::Result<T> {
    let ours = Arc::new(Mutex::new(Handover { result: None, waker: None, over: false }));
    let giver = Giver(Arc::clone(&ours));
    let job = Job(Box::new(move || {
        // A future that goes right after this answer costs one call in vain.
        if Arc::strong_count(&giver.0) > 1 {
            // The panic goes on at the other side, which thus sees no broken
            // state but what `work` has shared otherwise.
            let result = catch_unwind(AssertUnwindSafe(work));
            lock(&giver.0).result = Some(result);
        }
    }));
    match HOOK.get() {
        Some(hook) => hook.offload(job).or_else(start)?,
        None => start(job)?,
    }
    poll_fn(|cx| {
        // Cloned and dropped outside the lock: that is foreign code.
        let waker = cx.waker().clone();
        let mut handover = lock(&ours);
        if let Some(result) = handover.result.take() {
            drop(handover);
            return Poll::Ready(Ok(result.unwrap_or_else(|panic| resume_unwind(panic))));
        }
        if handover.over {
            return Poll::Ready(Err(io::Error::other("the blocking call was dropped before it was made")));
        }
        let before = handover.waker.replace(waker);
        drop(handover);
        drop(before);
        Poll::Pending
    })
    .await
}

/// Where one result passes from the thread that made the call to the task.
struct Handover<T> {
    result: Option<thread::Result<T>>,
    waker: Option<Waker>,
    /// No result will come but what is here.
    over: bool,
}

/// The end that gives the result; wakes who awaits it, with or without one.
struct Giver<T>(Arc<Mutex<Handover<T>>>);

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        let mut handover = lock(&self.0);
        handover.over = true;
        let waker = handover.waker.take();
        drop(handover);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// No foreign code runs under these locks, so a panic breaks nothing there.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most threads that make blocking calls at a time; further calls queue up.
const MOST_THREADS: usize = 16;

static CREW: Mutex<Crew> = Mutex::new(Crew { queue: VecDeque::new(), threads: 0 });

/// The threads of this module, each of which ends when nothing is left to do.
struct Crew {
    queue: VecDeque<Job>,
    threads: usize,
}

fn start(job: Job) -> io::Result<()> {
    let mut crew = lock(&CREW);
    crew.queue.push_back(job);
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
    let mut crew = lock(&CREW);
    while let Some(job) = crew.queue.pop_front() {
        drop(crew);
        job.run();
        crew = lock(&CREW);
    }
    crew.threads -= 1;
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
                Box::pin(run(move || {
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
            let mut question = pin!(run(move || *asked.lock().unwrap() += 1));
            assert!(question.as_mut().poll(&mut cx).is_pending());
        }
        drop(release);
        assert_eq!(futures_lite::future::block_on(run(|| 7)).unwrap(), 7);
        assert_eq!(*asked.lock().unwrap(), 0);
    }
}

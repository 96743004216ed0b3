//! Tasks that are awaited in the order in which they end.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};

use bourn_reactor::budget;

use crate::runtime::Handle;
use crate::task::{AbortHandle, Id, JoinError, JoinHandle};

/// A set of tasks, awaited in the order in which they end.
///
/// Dropping the set aborts its tasks; [`detach_all`](JoinSet::detach_all) lets
/// them go on. A task that ends costs the same however many there are: it leaves
/// its number, and only tasks that left theirs are looked at.
///
/// # Examples
/// ```
/// use bourn::task::JoinSet;
///
/// # bourn::block_on(async {
/// let mut set = JoinSet::new();
/// for number in 0..10 {
///     set.spawn(async move { number * number });
/// }
/// let mut sum = 0;
/// while let Some(square) = set.join_next().await {
///     sum += square.unwrap();
/// }
/// assert_eq!(sum, 285);
/// # });
/// ```
pub struct JoinSet<T> {
    members: HashMap<Id, Member<T>>,
    ended: Arc<Ended>,
}

struct Member<T> {
    handle: JoinHandle<T>,
    /// Leaves the task's number when it ends.
    waker: Waker,
}

impl<T> JoinSet<T> {
    /// Makes an empty set.
    #[must_use]
    pub fn new() -> JoinSet<T> {
        JoinSet { members: HashMap::new(), ended: Arc::default() }
    }

    /// How many tasks have not been joined yet, ended or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether every task has been joined.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Asks for all tasks to be dropped. They stay in the set, and are joined with
    /// a cancelled error, unless they end before that.
    pub fn abort_all(&mut self) {
        self.members.values().for_each(|member| member.handle.abort());
    }

    /// Takes all tasks out of the set, and lets them go on.
    pub fn detach_all(&mut self) {
        // What numbers they leave from now on go with the last of them; who waits
        // for the set still waits for those that are yet to come.
        let waker = self.ended.notes().waker.take();
        self.ended = Arc::default();
        self.ended.notes().waker = waker;
        self.members.clear();
    }
}

impl<T: Send + 'static> JoinSet<T> {
    /// Starts a task as [`spawn`](crate::spawn) does.
    ///
    /// # Panics
    /// If the thread is in no runtime.
    #[track_caller]
    pub fn spawn(&mut self, future: impl Future<Output = T> + Send + 'static) -> AbortHandle {
        self.spawn_on(future, &Handle::current_for("JoinSet::spawn"))
    }

    /// Starts a task in that runtime.
    #[track_caller]
    pub fn spawn_on(&mut self, future: impl Future<Output = T> + Send + 'static, handle: &Handle) -> AbortHandle {
        self.insert(handle.spawn(future))
    }

    /// Has `work` called as [`spawn_blocking`](crate::task::spawn_blocking) does.
    ///
    /// # Panics
    /// If the thread is in no runtime.
    #[track_caller]
    pub fn spawn_blocking(&mut self, work: impl FnOnce() -> T + Send + 'static) -> AbortHandle {
        self.spawn_blocking_on(work, &Handle::current_for("JoinSet::spawn_blocking"))
    }

    /// Has `work` called on the blocking pool of that runtime.
    #[track_caller]
    pub fn spawn_blocking_on(&mut self, work: impl FnOnce() -> T + Send + 'static, handle: &Handle) -> AbortHandle {
        self.insert(handle.spawn_blocking(work))
    }
}

impl<T: 'static> JoinSet<T> {
    /// Starts a task as [`spawn_local`](crate::spawn_local) does.
    ///
    /// # Panics
    /// If this thread is neither inside `block_on` nor a worker.
    #[track_caller]
    pub fn spawn_local(&mut self, future: impl Future<Output = T> + 'static) -> AbortHandle {
        self.insert(Handle::current_for("JoinSet::spawn_local").spawn_local(future))
    }

    /// Takes in a task that was started elsewhere, with a name for example.
    pub fn insert(&mut self, handle: JoinHandle<T>) -> AbortHandle {
        let abort = handle.abort_handle();
        let id = handle.id();
        let waker = Waker::from(Arc::new(Note { id, ended: Arc::clone(&self.ended) }));
        // The first look at the handle leaves the waker there. It comes when the
        // set is awaited, as if the task had ended.
        waker.wake_by_ref();
        self.members.insert(id, Member { handle, waker });
        abort
    }

    /// Waits for the next task to end; `None` if the set is empty.
    ///
    /// # Errors
    /// That of the task: it panicked, or it was aborted.
    ///
    /// # Cancel safety
    /// Nothing is lost: a task leaves the set only as its result is returned.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// As [`join_next`](JoinSet::join_next), with the number of the task. That of
    /// one that failed is in the error.
    ///
    /// # Errors
    /// As `join_next`.
    ///
    /// # Cancel safety
    /// As `join_next`.
    pub async fn join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        poll_fn(|cx| self.poll_join_next_with_id(cx)).await
    }

    /// The result of a task that has ended and was not joined yet, if there is one.
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        let result = self.try_join_next_with_id()?;
        Some(result.map(|(_, output)| output))
    }

    /// As [`try_join_next`](JoinSet::try_join_next), with the number of the task.
    pub fn try_join_next_with_id(&mut self) -> Option<Result<(Id, T), JoinError>> {
        while let Some(id) = self.ended.pop() {
            if let Some(result) = self.take_ended(id) {
                return Some(result);
            }
        }
        None
    }

    /// [`join_next`](JoinSet::join_next) for those who poll by hand: the last
    /// waker is woken when a task ends.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        let result = ready!(self.poll_join_next_with_id(cx));
        Poll::Ready(result.map(|result| result.map(|(_, output)| output)))
    }

    /// As [`poll_join_next`](JoinSet::poll_join_next), with the number of the task.
    pub fn poll_join_next_with_id(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(Id, T), JoinError>>> {
        if self.members.is_empty() {
            return Poll::Ready(None);
        }
        // Before the first look: who ends after it finds this waker.
        self.ended.watch(cx.waker());
        loop {
            ready!(budget::poll_left(cx));
            let Some(id) = self.ended.pop() else {
                return Poll::Pending;
            };
            budget::spend();
            if let Some(result) = self.take_ended(id) {
                return Poll::Ready(Some(result));
            }
        }
    }

    /// Aborts all tasks and waits until they are gone; their results are dropped.
    ///
    /// # Cancel safety
    /// The tasks stay aborted; those that were not waited for are still in the set.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }

    /// Waits for all tasks. The outputs are in the order in which the tasks ended.
    ///
    /// # Cancel safety
    /// The tasks are aborted, and the outputs are lost.
    ///
    /// # Panics
    /// With the panic of the first task that panics, and if one was aborted; the
    /// others are aborted then.
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(result) = self.join_next().await {
            match result.map_err(JoinError::try_into_panic) {
                Ok(output) => outputs.push(output),
                Err(Ok(payload)) => resume_unwind(payload),
                Err(Err(error)) => {
                    panic!("bourn: JoinSet::join_all: {error}; use join_next to go on without it")
                }
            }
        }
        outputs
    }

    /// The result of a task that left its number, unless it only wants to be
    /// looked at for the first time, or is not a member any more.
    fn take_ended(&mut self, id: Id) -> Option<Result<(Id, T), JoinError>> {
        let member = self.members.get_mut(&id)?;
        let mut cx = Context::from_waker(&member.waker);
        let Poll::Ready(result) = Pin::new(&mut member.handle).poll(&mut cx) else {
            return None;
        };
        self.members.remove(&id);
        Some(result.map(|output| (id, output)))
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> Default for JoinSet<T> {
    fn default() -> Self {
        JoinSet::new()
    }
}

/// Starts all of them, as [`JoinSet::spawn`].
impl<T: Send + 'static, F: Future<Output = T> + Send + 'static> FromIterator<F> for JoinSet<T> {
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> Self {
        let mut set = JoinSet::new();
        for future in futures {
            set.spawn(future);
        }
        set
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JoinSet").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Who has ended, and who wants to know.
#[derive(Default)]
struct Ended(Mutex<Notes>);

#[derive(Default)]
struct Notes {
    ids: VecDeque<Id>,
    waker: Option<Waker>,
}

impl Ended {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Id> {
        self.notes().ids.pop_front()
    }

    fn watch(&self, waker: &Waker) {
        // Cloned and dropped outside the lock: that is foreign code.
        let waker = waker.clone();
        let before = self.notes().waker.replace(waker);
        drop(before);
    }
}

/// The waker that a task of the set has.
struct Note {
    id: Id,
    ended: Arc<Ended>,
}

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut notes = self.ended.notes();
        notes.ids.push_back(self.id);
        let waker = notes.waker.take();
        drop(notes);
        waker.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::yield_now;

    /// Neither those that end before they are detached leave a number, nor those
    /// that end after it.
    #[test]
    fn detached_tasks_leave_nothing() {
        crate::block_on(async {
            let mut set = JoinSet::new();
            set.spawn(async {});
            yield_now().await;
            set.spawn(async {});
            let before = Arc::downgrade(&set.ended);
            set.detach_all();
            assert_eq!(set.ended.notes().ids.len(), 0);
            while before.strong_count() > 0 {
                yield_now().await;
            }
            assert_eq!(set.ended.notes().ids.len(), 0);
        });
    }

    /// Who waits for the set is still woken for a task that comes later.
    #[test]
    fn detaching_keeps_the_waiter() {
        struct Told(Mutex<bool>);
        impl Wake for Told {
            fn wake(self: Arc<Self>) {
                *self.0.lock().unwrap() = true;
            }
        }
        crate::block_on(async {
            let mut set = JoinSet::new();
            set.spawn(std::future::pending::<()>());
            let told = Arc::new(Told(Mutex::new(false)));
            let waker = Waker::from(Arc::clone(&told));
            let mut cx = Context::from_waker(&waker);
            assert!(set.poll_join_next(&mut cx).is_pending());
            set.detach_all();
            set.spawn(async {});
            assert!(*told.0.lock().unwrap());
        });
    }
}

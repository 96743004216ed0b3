//! The blocking pool of a runtime: its threads are inside the runtime, and it makes
//! the blocking calls of the sockets too.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use bourn_executor::{BlockingPool, Options, PoolHost, TaskInfo};
use bourn_net::offload::{self, Job, Offload};

use crate::context;
use crate::runtime::Handle;

/// How long a runtime that is dropped waits for blocking calls, if nothing else
/// was asked for.
pub(crate) const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// A runtime's hold on its pool: dropping it ends the pool.
#[derive(Debug)]
pub(crate) struct Blocking {
    pool: BlockingPool,
    _host: Arc<Host>,
    /// None: it was ended by hand.
    grace: Option<Duration>,
    _listed: crate::inspect::Listed,
}

impl Blocking {
    /// The pool is that of `handle`.
    pub(crate) fn new(handle: &Handle, pool: BlockingPool, grace: Duration) -> Blocking {
        let host = host(handle);
        pool.set_host(&host);
        // One that was set before stays: the program's own, or that of an earlier runtime, which is the same.
        let _ours = offload::set(&PoolOffload);
        Blocking { pool, _host: host, grace: Some(grace), _listed: crate::inspect::Listed::new(handle) }
    }

    /// Ends the pool, and returns what still runs when `grace` is over.
    pub(crate) fn shutdown(mut self, grace: Duration) -> Vec<TaskInfo> {
        self.grace = None;
        self.pool.shutdown(grace)
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        let Some(grace) = self.grace else { return };
        // A thread that panics has no time to wait, and may be one whose tasks the
        // calls wait for: so it is with a runtime dropped in async code.
        let grace = if thread::panicking() { Duration::ZERO } else { grace };
        for task in self.pool.shutdown(grace) {
            let name = task.name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
            // A stderr that is closed is no reason to panic in a destructor.
            let _ = writeln!(
                io::stderr().lock(),
                "bourn: a runtime was dropped, and {grace:?} later a blocking call still runs: task {}{name} (spawned at {}). \
                 Its thread goes on by itself",
                task.id,
                task.location
            );
        }
    }
}

/// What the threads of a runtime's own, workers or for blocking calls, are inside.
pub(crate) fn host(handle: &Handle) -> Arc<Host> {
    Arc::new(Host(handle.clone()))
}

/// What the pool asks of its runtime.
#[derive(Debug)]
pub(crate) struct Host(Handle);

impl PoolHost for Host {
    fn around(&self, serve: &mut dyn FnMut()) {
        let _entered = self.0.enter();
        serve();
    }

    fn unhandled_panic(&self, line: &str) {
        self.0.executor.unhandled_panic(line);
    }
}

/// Has the blocking calls of sockets made by the pool of the runtime that the
/// thread is in.
struct PoolOffload;

impl Offload for PoolOffload {
    fn offload(&self, job: Job) -> Result<(), Job> {
        let Some(handle) = context::current().filter(|handle| handle.blocking.is_open()) else {
            return Err(job);
        };
        let ours = Arc::new(Mutex::new(Some(job)));
        let theirs = Arc::clone(&ours);
        let take = |job: &Mutex<Option<Job>>| job.lock().unwrap_or_else(PoisonError::into_inner).take();
        let call = handle.blocking.spawn_with(Options::new().name("offload"), move || {
            if let Some(job) = take(&theirs) {
                job.run();
            }
        });
        // A pool that has no thread and gets none is done with the call already,
        // and has not made it. One that was closed meanwhile may yet have to drop
        // it: what no thread has taken by now, none will.
        if (call.is_finished() || !handle.blocking.is_open())
            && let Some(job) = take(&ours)
        {
            return Err(job);
        }
        Ok(())
    }
}

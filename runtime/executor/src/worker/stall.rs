//! Reports of polls that take too long.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::{Duration, Instant};
use std::{fmt, fs, io};

use super::shared::Shared;
use crate::park::Park;
use crate::sync::start_thread;
use crate::task::Id;
use crate::unwind;

/// A poll that takes too long, as it was when it was looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// The task, or `None` for the future of a `block_on` and for a waker that is no task's.
    pub task: Option<Id>,
    /// The task's name, if it has one.
    pub name: Option<Arc<str>>,
    /// Where the task was spawned, or where `block_on` was called.
    pub location: Option<&'static Location<'static>>,
    /// The number of the core: first the workers', then those for threads inside `block_on`, then the spares'.
    pub core: usize,
    /// How long it has lasted, at least.
    pub lasted: Duration,
    /// What the thread was doing.
    pub cause: StallCause,
}

/// What a thread that does not get on is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StallCause {
    /// It waits in the kernel: a blocking call, a lock.
    Blocked,
    /// It computes.
    Computing,
    /// The system does not tell.
    Unknown,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.task, &self.name) {
            (Some(id), Some(name)) => write!(f, "task {id} \"{name}\"")?,
            (Some(id), None) => write!(f, "task {id}")?,
            (None, _) if self.location.is_some() => f.write_str("the future of a block_on")?,
            (None, _) => f.write_str("a waker")?,
        }
        if let Some(location) = self.location {
            let verb = if self.task.is_some() { "spawned" } else { "called" };
            write!(f, " ({verb} at {location})")?;
        }
        let doing = match self.cause {
            StallCause::Blocked => "has blocked",
            StallCause::Computing => "has been computing on",
            StallCause::Unknown => "has kept",
        };
        write!(f, " {doing} core {} for {} ms", self.core, self.lasted.as_millis())
    }
}

/// How long a thread has run, and how long it could have but was not let by the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    ran: Duration,
    queued: Duration,
    at: Instant,
}

impl Clocks {
    /// Those of a thread of this process, by its number.
    pub(super) fn of(thread: u64) -> Self {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok();
        // proc(5): the time on a processor, the time in a run queue, the number of slices; in nanoseconds.
        let mut fields =
            stat.iter().flat_map(|stat| stat.split_whitespace()).map(|field| field.parse().map(Duration::from_nanos));
        let mut next = || fields.next().and_then(Result::ok).unwrap_or_default();
        Self { ran: next(), queued: next(), at: Instant::now() }
    }

    /// What the thread has mostly done from then to now; `None`: it was not let run.
    fn cause(self, thread: u64) -> Option<StallCause> {
        let now = Self::of(thread);
        // The descriptors may have run out, then or now.
        if self.ran.is_zero() || now.ran.is_zero() {
            return Some(StallCause::Unknown);
        }
        let half = now.at.saturating_duration_since(self.at) / 2;
        if now.queued.saturating_sub(self.queued) > half {
            None
        } else if now.ran.saturating_sub(self.ran) > half {
            Some(StallCause::Computing)
        } else {
            // proc(5): the state follows the name, which is in parentheses and may have some itself. The time in a run
            // queue is added up only when it ends, so a thread that has been there all the while shows by this alone.
            let Ok(stat) = fs::read_to_string(format!("/proc/self/task/{thread}/stat")) else {
                return Some(StallCause::Unknown);
            };
            let runnable = stat.rsplit(')').next().is_some_and(|after| after.trim_start().starts_with('R'));
            (!runnable).then_some(StallCause::Blocked)
        }
    }
}

/// Lines on stderr in one second; a hook hears of every report.
const LINES_PER_SECOND: u32 = 10;

/// How long the end of a runtime waits for its last reports to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

pub(super) struct Reporter {
    second: Instant,
    lines: u32,
    /// Reports that were not written since the last one that was.
    left_out: u32,
    writer: Option<Writer>,
    /// Why nobody stood in for a stuck thread, when that was last said.
    pub(super) complaint: Option<String>,
}

/// A thread that writes to stderr, which may be a pipe that nobody reads: the sentinel must not wait for it.
struct Writer {
    lines: SyncSender<String>,
    /// Disconnected when the thread has written all.
    ended: Receiver<()>,
}

impl Writer {
    fn start() -> io::Result<Self> {
        let (lines, queue) = mpsc::sync_channel::<String>(LINES_PER_SECOND as usize);
        let (alive, ended) = mpsc::sync_channel(0);
        start_thread("bourn-reports".to_owned(), None, move || {
            queue.iter().for_each(|line| unwind::report(format_args!("{line}")));
            drop(alive);
        })?;
        Ok(Self { lines, ended })
    }
}

impl Reporter {
    pub(super) fn new() -> Self {
        Self { second: Instant::now(), lines: 0, left_out: 0, writer: None, complaint: None }
    }

    /// Has a line written, unless there were too many in this second, or those before it are not written yet; `false`:
    /// it is left out. Waits for nothing.
    pub(super) fn write(&mut self, mut line: String) -> bool {
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.lines) = (Instant::now(), 0);
        }
        if self.left_out > 0 {
            line += &format!(" ({} reports before this one were left out)", self.left_out);
        }
        if self.writer.is_none() {
            self.writer = Writer::start().ok();
        }
        let is_sent = self.lines < LINES_PER_SECOND
            && self.writer.as_ref().is_some_and(|writer| writer.lines.try_send(line).is_ok());
        self.lines += u32::from(is_sent);
        self.left_out = if is_sent { 0 } else { self.left_out + 1 };
        is_sent
    }

    /// Reports that the thread of core `index` is in the step `step` still. `false`: it is not to blame, or has gone on.
    pub(super) fn report<P: Park>(
        &mut self,
        shared: &Shared<P>,
        index: usize,
        step: usize,
        lasted: Duration,
        before: Clocks,
    ) -> bool {
        let core = &shared.cores[index];
        let (Some(cause), Some(doing)) = (before.cause(core.watch.thread()), core.watch.doing(step)) else {
            return false;
        };
        shared.sentinel.stalls.fetch_add(1, Relaxed);
        let name = doing.task.and_then(|id| shared.live.name_of(id));
        let stall = Stall { task: doing.task, name, location: doing.location, core: index, lasted, cause };
        match &shared.options.on_stall {
            Some(hook) => unwind::run(|| hook(&stall)),
            None => {
                let others = if shared.options.private {
                    "The thread's other tasks wait"
                } else {
                    "Other tasks go on elsewhere"
                };
                self.write(format!("bourn: {stall}. {others}; move what blocks to spawn_blocking, or let it yield"));
            }
        }
        true
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if let Some(Writer { lines, ended }) = self.writer.take() {
            drop(lines);
            let _disconnected = ended.recv_timeout(LAST_LINES);
        }
    }
}

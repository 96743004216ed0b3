//! The scheduler: one for all flavours.
//!
//! ```text
//!     spawn, wake on a core's thread              spawn, wake elsewhere
//!                 |                                       |
//!            [LIFO slot]                             [injector]
//!                 | displaced                             |
//!              [ring] ---- stolen, half of it ---> any other core
//! ```
//!
//! A *core* ([`core`]) is what a thread needs to run tasks: a ring, a LIFO slot, and the words by which others know how
//! the thread fares. There are cores for the workers, for callers inside `block_on`, and for spares, the threads that
//! stand in for stuck ones ([`sentinel`]). Workers are in *groups* that share one [`Park`](crate::Park): of a group, one
//! thread at a time waits in it, the others nap ([`sleeper`]). How a push finds somebody to run the task, and why it is
//! never forgotten, is argued in [`idle`].
//!
//! The flavours differ in numbers alone. With workers that share, there are N cores for them, four for callers and some
//! for spares. Without workers there is one core, for callers. Where nothing is shared, each worker is a runtime of its
//! own, a *shard*, with one core; a handle knows all shards, and they share the sentinel. In the last two flavours the
//! core is *private*: nobody steals, so its tasks are in the thread's own queue instead of ring and slot.
//!
//! No lock is global on the way of a task: spawning and waking push to a ring or to the injector, which is lock-free,
//! and the live table is in parts, of which each core has its own.
//!
//! # A caller's core
//!
//! A thread inside `block_on` takes a core for callers by one swap, and gives it back when it leaves: what is in it goes
//! to the injector, the post is handed on ([`Shared::attend`](shared::Shared::attend)), and the core is marked free. If it
//! was *wanted*, whoever rests without one is called, under the lock under which he has marked it so, and joined the list,
//! before he rested: either he finds it free, or he is found.
//!
//! # Shutdown
//!
//! Whoever ends the runtime raises `closed`, closes the live table, fences, and unparks everybody. From then on:
//!
//! * a push to the injector fences and then sees `closed` (the fence is the one in `notify`), or is swept by whoever
//!   sweeps after the fence of the shutdown;
//! * a thread that is about to rest has its fence in `Idle::publish`: it sees `closed`, or is in the set and unparked;
//! * a task that returns `Pending` for the first time is refused by the table, and dropped by its runner;
//! * each thread of the runtime's own leaves: it drops its local tasks, gives its core up, and sweeps. The last one closes
//!   the parks, also if whoever ended the runtime has long gone. If there is none, the one who ends it does both;
//! * a caller does the same between two polls, and goes on with its future, without tasks.
//!
//! A sweep takes what it finds in rings, slots, injector and table and cancels it, which claims the future by the task's
//! own state word: so each is dropped once, whoever sweeps at the same time.

#[allow(unsafe_code)]
mod core;
mod counters;
mod driver;
pub(crate) mod enter;
mod executor;
mod idle;
mod metrics;
mod options;
mod seat;
mod sentinel;
mod shared;
mod sleeper;
mod spare;
mod stall;
#[allow(unsafe_code)]
mod watch;

#[cfg(all(test, shuttle))]
mod mix;
#[cfg(all(test, loom))]
mod model;

pub use self::executor::{Executor, LocalExecutor};
pub use self::metrics::{Metrics, WorkerMetrics};
pub use self::options::ExecutorOptions;
pub(crate) use self::seat::Sitting;
pub(crate) use self::shared::Shared;
pub use self::stall::{Stall, StallCause};

//! What is going on: every socket of the process, joined with the tasks that wait
//! for it.
//!
//! Nothing is kept for this while sockets work: a look asks the kernel about each
//! descriptor, and the reactors and executors about those who wait. It may be taken
//! from any thread, also while all workers are stuck.
//!
//! # Examples
//! ```
//! use bourn::net::TcpState;
//!
//! # bourn::block_on(async {
//! let listener = bourn::net::TcpListener::bind("127.0.0.1:0").await?;
//! let connections = bourn::inspect::connections()?;
//! let own = connections.iter().find(|connection| connection.socket.state == Some(TcpState::Listen)).unwrap();
//! assert_eq!(own.socket.local, listener.local_addr()?.to_string());
//! println!("{connections}");
//! # std::io::Result::Ok(()) }).unwrap();
//! ```

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bourn_net::TcpState;
use bourn_reactor::{SourceInfo, WakerId};

use crate::runtime::Handle;
use crate::task::TaskInfo;

pub use bourn_net::inspect::{SocketInfo, Stats, stats};

/// Every runtime that lives.
static RUNTIMES: Mutex<Vec<Handle>> = Mutex::new(Vec::new());

fn runtimes() -> MutexGuard<'static, Vec<Handle>> {
    RUNTIMES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A runtime is found by [`connections`] until this is dropped.
#[derive(Debug)]
pub(crate) struct Listed(Handle);

impl Listed {
    pub(crate) fn new(handle: &Handle) -> Listed {
        runtimes().push(handle.clone());
        Listed(handle.clone())
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let is_ours = |handle: &mut Handle| std::ptr::eq(handle.executor.park(), self.0.executor.park());
        // Dropped outside the lock: it may be the last.
        let _ours: Vec<Handle> = runtimes().extract_if(.., is_ours).collect();
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Bytes, a datagram or the end of the stream.
    Read,
    /// Room.
    Write,
    /// A connection of a listener.
    Accept,
    /// The end of a connect that is under way.
    Connect,
}

/// Somebody who waits for a socket.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Waiter {
    /// For what.
    pub operation: Operation,
    /// Which task; none where it is no task of a runtime of ours: the future of a
    /// `block_on`, another executor's task, or a combinator with wakers of its own.
    pub task: Option<TaskInfo>,
}

/// A socket, and who waits for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connection {
    /// What the kernel knows.
    pub socket: SocketInfo,
    /// How long ago it became a socket of bourn; none of one that is no such, or that
    /// has never had to wait.
    pub age: Option<Duration>,
    /// Who waits for it now.
    pub waiters: Vec<Waiter>,
}

/// The table of [`connections`]; its [`Display`](fmt::Display) is one line for each.
#[derive(Clone, Debug)]
pub struct Connections(Vec<Connection>);

/// Every socket of this process as it is now, in the order of descriptors.
///
/// What is closed meanwhile is left out. The kernel and the runtimes are asked one
/// after the other, so a line may join two moments.
///
/// # Errors
/// Those of [`stats`].
pub fn connections() -> io::Result<Connections> {
    let runtimes = runtimes().clone();
    let tasks: HashMap<usize, TaskInfo> =
        runtimes.iter().flat_map(Handle::tasks).map(|task| (task.waker_data(), task)).collect();
    let sources: HashMap<_, SourceInfo> = runtimes
        .iter()
        .flat_map(Handle::sources)
        .chain(bourn_reactor::background_sources())
        .map(|source| (source.fd, source))
        .collect();
    let join = |socket: SocketInfo| {
        let source = sources.get(&socket.fd);
        let (read, write) = match socket.state {
            Some(TcpState::Listen) => (Operation::Accept, Operation::Write),
            Some(TcpState::SynSent) => (Operation::Read, Operation::Connect),
            _ => (Operation::Read, Operation::Write),
        };
        let waiter = |operation, waker: &WakerId| Waiter { operation, task: tasks.get(&waker.data).cloned() };
        let readers = source.iter().flat_map(|source| &source.readers).map(|waker| waiter(read, waker));
        let writers = source.iter().flat_map(|source| &source.writers).map(|waker| waiter(write, waker));
        let waiters = readers.chain(writers).collect();
        Connection { age: source.map(|source| Instant::now().duration_since(source.born)), waiters, socket }
    };
    Ok(Connections(bourn_net::inspect::sockets()?.into_iter().map(join).collect()))
}

impl Deref for Connections {
    type Target = [Connection];

    fn deref(&self) -> &[Connection] {
        &self.0
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "fd    protocol    state       recv-q  send-q  age       local -> peer; who waits")?;
        self.iter().try_for_each(|connection| writeln!(formatter, "{connection}"))
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn or_dash<T: ToString>(value: Option<T>) -> String {
            value.map_or_else(|| "-".to_owned(), |value| value.to_string())
        }
        let SocketInfo { fd, protocol, local, peer, state, received, unsent, .. } = &self.socket;
        let (state, received, unsent) =
            (or_dash(state.map(|state| format!("{state:?}"))), or_dash(*received), or_dash(*unsent));
        let age = or_dash(self.age.map(|age| format!("{:.1}s", age.as_secs_f64())));
        write!(formatter, "{fd:<5} {protocol:<11} {state:<11} {received:<7} {unsent:<7} {age:<9} ")?;
        write!(formatter, "{local} -> {peer}")?;
        self.waiters.iter().try_for_each(|Waiter { operation, task }| match task {
            Some(TaskInfo { id, name, location, .. }) => {
                let name = name.as_deref().unwrap_or("unnamed");
                write!(formatter, "; {operation:?}: task {id} \"{name}\" of {location}")
            }
            None => write!(formatter, "; {operation:?}: no task"),
        })
    }
}

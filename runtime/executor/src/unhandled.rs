//! What a runtime does about a panic that nobody will see.

use std::process;
use std::sync::OnceLock;

use crate::unwind;

/// What becomes of a panic in a task whose [`JoinHandle`](crate::JoinHandle) nobody holds, or is dropped unasked.
///
/// A panic that a handle yields is the business of whoever awaits it. In a program built with `panic = "abort"` there is
/// nothing to choose: the first panic ends the process, handle or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnhandledPanic {
    /// One line on stderr names the task and where it was spawned; the other tasks go on.
    #[default]
    Report,
    /// Nothing is said beyond what the panic hook has said.
    Ignore,
    /// The line is written, the runtime is shut down, and every `block_on` of it panics with the line once its future
    /// waits. (What shuts down with it is the business of its [`Park::close`](crate::Park::close).)
    Shutdown,
    /// The line is written, and the process is aborted.
    Abort,
}

/// A runtime's policy, and how it came to its end by it.
#[derive(Debug)]
pub(crate) struct Unhandled {
    policy: UnhandledPanic,
    fatal: OnceLock<Box<str>>,
}

impl Unhandled {
    pub(crate) fn new(policy: UnhandledPanic) -> Self {
        Self { policy, fatal: OnceLock::new() }
    }

    /// Does what the policy says about the panic that `line` describes. `true`: the runtime has to be shut down.
    #[must_use]
    pub(crate) fn meet(&self, line: &str) -> bool {
        if self.policy != UnhandledPanic::Ignore {
            unwind::report(format_args!("{line}"));
        }
        match self.policy {
            UnhandledPanic::Ignore | UnhandledPanic::Report => return false,
            // Several may panic at once; the first one is to blame.
            UnhandledPanic::Shutdown => drop(self.fatal.set(line.into())),
            UnhandledPanic::Abort => process::abort(),
        }
        true
    }

    /// The panic that the runtime was shut down for.
    pub(crate) fn fatal(&self) -> Option<&str> {
        self.fatal.get().map(|line| &**line)
    }
}

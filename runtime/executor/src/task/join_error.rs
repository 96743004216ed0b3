//! Why a task has no output.

use std::{
    any::Any,
    error::Error,
    fmt, io,
    sync::{Mutex, PoisonError},
};

use super::info::Id;
use crate::unwind::{self, Payload};

/// How a task failed, as its cell keeps it.
pub(super) enum Failure {
    Cancelled,
    Panicked(Payload),
}

/// A task ended without an output: it panicked, or it was cancelled.
pub struct JoinError {
    id: Id,
    reason: Reason,
}

enum Reason {
    Cancelled,
    /// The mutex only makes the payload `Sync`, which a panic's payload need not be.
    Panicked(Mutex<Payload>),
}

impl JoinError {
    pub(super) fn new(id: Id, failure: Failure) -> Self {
        let reason = match failure {
            Failure::Cancelled => Reason::Cancelled,
            Failure::Panicked(payload) => Reason::Panicked(Mutex::new(payload)),
        };
        Self { id, reason }
    }

    /// The task that failed.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The task was aborted, or its runtime was shut down.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.reason, Reason::Cancelled)
    }

    /// The task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.reason, Reason::Panicked(_))
    }

    /// The payload of the panic, as `std::panic::resume_unwind` takes it.
    ///
    /// # Panics
    ///
    /// If the task did not panic but was cancelled; [`try_into_panic`](Self::try_into_panic) does not.
    #[must_use]
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => {
                panic!("into_panic on an error that is no panic: {error}; ask is_panic first")
            }
        }
    }

    /// The payload of the panic, if it was one.
    ///
    /// # Errors
    ///
    /// The error itself, if the task was cancelled.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, Self> {
        match self.reason {
            Reason::Panicked(payload) => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            Reason::Cancelled => Err(self),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Cancelled => write!(f, "task {} was cancelled", self.id),
            Reason::Panicked(payload) => {
                // Copied out: the formatter is foreign code, which runs under no lock.
                let message = {
                    let payload = payload.lock().unwrap_or_else(PoisonError::into_inner);
                    unwind::message(&**payload).map(str::to_owned)
                };
                match message {
                    Some(message) => write!(f, "task {} panicked: {message}", self.id),
                    None => write!(f, "task {} panicked", self.id),
                }
            }
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl Error for JoinError {}

impl From<JoinError> for io::Error {
    /// An error of the kind `Other` that keeps the `JoinError` as its payload.
    fn from(error: JoinError) -> Self {
        Self::other(error)
    }
}

//! Why a task has no output.

use std::any::Any;
use std::error::Error;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, io};

use super::info::Id;
use crate::unwind::{self, Payload};

/// How a task failed.
pub(super) enum Failure {
    Cancelled,
    /// The mutex only makes the payload `Sync`, which a panic's payload need not be.
    Panicked(Mutex<Payload>),
    /// Several tasks may be refused for one reason.
    Refused(Arc<io::Error>),
}

impl Failure {
    pub(super) fn panicked(payload: Payload) -> Self {
        Self::Panicked(Mutex::new(payload))
    }

    pub(super) fn into_panic(self) -> Result<Payload, Self> {
        match self {
            Self::Panicked(payload) => Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner)),
            Self::Cancelled | Self::Refused(_) => Err(self),
        }
    }
}

/// A task ended without an output: it panicked, it was cancelled, or there was no thread for it.
pub struct JoinError {
    pub(super) id: Id,
    pub(super) failure: Failure,
}

impl JoinError {
    /// The task that failed.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// The task was aborted, or its runtime was shut down.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.failure, Failure::Cancelled)
    }

    /// The task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.failure, Failure::Panicked(_))
    }

    /// The task was a blocking call, and the system had no thread for it; the error's `source` is what the system said.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.failure, Failure::Refused(_))
    }

    /// The payload of the panic, as `std::panic::resume_unwind` takes it.
    ///
    /// # Panics
    ///
    /// If the task did not panic; [`try_into_panic`](Self::try_into_panic) does not.
    #[must_use]
    #[track_caller]
    pub fn into_panic(self) -> Box<dyn Any + Send + 'static> {
        match self.try_into_panic() {
            Ok(payload) => payload,
            Err(error) => panic!("into_panic on an error that is no panic: {error}; ask is_panic first"),
        }
    }

    /// The payload of the panic, if it was one.
    ///
    /// # Errors
    ///
    /// The error itself, if the task did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send + 'static>, Self> {
        let id = self.id;
        self.failure.into_panic().map_err(|failure| Self { id, failure })
    }
}

// What a panic could leave half-done is behind the error, and is only read.
impl UnwindSafe for JoinError {}
impl RefUnwindSafe for JoinError {}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Failure::Cancelled => write!(f, "task {} was cancelled", self.id),
            Failure::Refused(error) => write!(f, "no thread could be started for task {}: {error}", self.id),
            Failure::Panicked(payload) => {
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

impl Error for JoinError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.failure {
            Failure::Refused(error) => Some(&**error),
            Failure::Cancelled | Failure::Panicked(_) => None,
        }
    }
}

impl From<JoinError> for io::Error {
    /// An error that keeps the `JoinError` as its payload, of the kind `Other`, or of the kind of the system's refusal.
    fn from(error: JoinError) -> Self {
        let kind = match &error.failure {
            Failure::Refused(refusal) => refusal.kind(),
            Failure::Cancelled | Failure::Panicked(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

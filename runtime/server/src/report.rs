//! How a server ended.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use crate::listener::Addr;
use crate::shared::Cause;
use crate::stats::Stats;
use crate::table::Unfinished;

/// How a drain went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Why the server drained.
    pub cause: Cause,
    /// How long that took.
    pub took: Duration,
    /// Who had not ended at the deadline.
    pub unfinished: Vec<Unfinished>,
    /// Whose queues were closed at the deadline before they were empty: connections there, if there were any, were
    /// reset.
    pub unemptied: Vec<Addr>,
    /// What the server did in its life.
    pub stats: Stats,
}

impl Report {
    /// Success if everybody has ended in time and every queue was emptied, else failure.
    pub fn exit_code(&self) -> ExitCode {
        if self.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.unfinished.is_empty() && self.unemptied.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { took, stats: Stats { accepted, finished, .. }, .. } = self;
        write!(formatter, "drained in {took:.1?}: {accepted} connections accepted, {finished} handlers ended")?;
        for one in &self.unfinished {
            let why = if one.outlived {
                "its connection is still open, though its handler has ended"
            } else {
                "did not finish"
            };
            write!(formatter, "\n  {} (peer {}, {:.1?} old): {why}", one.task, one.peer, one.age)?;
        }
        for addr in &self.unemptied {
            write!(formatter, "\n  the queue at {addr} was not emptied")?;
        }
        Ok(())
    }
}

//! How a server ended.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

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
    /// What the server did in its life.
    pub stats: Stats,
}

impl Report {
    /// Success if everybody has ended in time, else failure.
    pub fn exit_code(&self) -> ExitCode {
        if self.unfinished.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
        Ok(())
    }
}

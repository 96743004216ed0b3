//! What a server has to say to whoever runs it.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line about one thing comes no oftener than this.
const PAUSE: Duration = Duration::from_secs(1);

type Hook = Arc<dyn Fn(&str) + Send + Sync>;
/// When each topic came last, and how many lines were left out since.
type Said = HashMap<&'static str, (Option<Instant>, u64)>;

/// One line at a time, on stderr or to a hook; at most one a second on each topic,
/// which then says how many were left out.
#[derive(Clone, Default)]
pub(crate) struct Notices {
    hook: Option<Hook>,
    said: Arc<Mutex<Said>>,
}

impl Notices {
    pub(crate) fn with_hook(hook: impl Fn(&str) + Send + Sync + 'static) -> Notices {
        Notices { hook: Some(Arc::new(hook)), ..Notices::default() }
    }

    pub(crate) fn say(&self, topic: &'static str, text: impl fmt::Display) {
        let left_out = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            let (last, left_out) = said.entry(topic).or_default();
            if last.is_some_and(|last| last.elapsed() < PAUSE) {
                *left_out += 1;
                return;
            }
            *last = Some(Instant::now());
            std::mem::take(left_out)
        };
        let more =
            if left_out == 0 { String::new() } else { format!(" ({left_out} more like it since the last line)") };
        let line = format!("bourn: {text}{more}");
        match &self.hook {
            // Foreign code, called by loops that must not end for it. The panic's own message is on stderr.
            Some(hook) => drop(catch_unwind(AssertUnwindSafe(|| hook(&line)))),
            // A server does not end because stderr is closed.
            None => drop(writeln!(io::stderr().lock(), "{line}")),
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Notices").finish_non_exhaustive()
    }
}

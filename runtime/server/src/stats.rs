//! What a server counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Only grows; read for reports.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn count(&self) {
        // Relaxed: nothing hangs on it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        /// What a server has done so far, by reason.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Connections that are open.
            pub open: usize,
            /// Of these, the ones whose handler has ended: it gave them to another task, or
            /// leaked them.
            pub outlived: usize,
            /// Accepted connections by listener, in the order in which they were bound; the
            /// shards of an address follow each other.
            pub by_listener: Vec<u64>,
        }

        impl Counters {
            pub(crate) fn stats(&self) -> Stats {
                Stats { $($name: self.$name.get(),)* ..Stats::default() }
            }
        }
    };
}

counters! {
    /// Connections that were accepted, also those that were shed.
    accepted,
    /// Handlers that ended, however.
    finished,
    /// Of these, the ones that returned an error.
    failed,
    /// Of these, the ones that panicked.
    panicked,
    /// Of these, the ones that were cancelled at the end of a drain.
    cancelled,
    /// Connections that were gone before they were accepted.
    aborted,
    /// How often no descriptor or memory was left to accept with.
    exhausted,
    /// Other errors of accept(2), which will come again.
    accept_errors,
    /// Connections that were shed because no descriptor was left.
    shed_exhausted,
    /// Connections that were shed because of [`Limits::connections`](crate::Limits::connections).
    shed_full,
    /// Connections that were shed because of [`Limits::per_address`](crate::Limits::per_address).
    shed_address,
    /// Connections that were refused for their PROXY header.
    bad_header,
    /// Connections that were cut by [`Limits::first_byte`](crate::Limits::first_byte).
    cut_first_byte,
    /// Connections that were cut by [`Limits::idle`](crate::Limits::idle).
    cut_idle,
    /// Connections that were cut by [`Limits::write_stall`](crate::Limits::write_stall).
    cut_write_stall,
    /// Connections that were cut by [`Limits::min_rate`](crate::Limits::min_rate).
    cut_min_rate,
}

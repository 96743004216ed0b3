//! The one place where this crate reads the clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// As far ahead as a saturated deadline lies: 136 years.
pub(crate) const FAR: Duration = Duration::from_secs(u32::MAX as u64);

/// The present moment.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// When it was first asked for.
pub(crate) static EPOCH: LazyLock<Instant> = LazyLock::new(now);

/// `from + duration`, or a moment that never comes if that overflows.
pub(crate) fn after(from: Instant, duration: Duration) -> Instant {
    from.checked_add(duration.min(FAR)).unwrap_or(from)
}

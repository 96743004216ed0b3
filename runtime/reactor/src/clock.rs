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
static EPOCH: LazyLock<Instant> = LazyLock::new(now);

/// Nanoseconds since the epoch; 584 years are more than there will be.
pub(crate) fn nanos(moment: Instant) -> u64 {
    u64::try_from(moment.saturating_duration_since(*EPOCH).as_nanos()).unwrap_or(u64::MAX)
}

/// The moment that is so many nanoseconds after the epoch.
pub(crate) fn moment(nanos: u64) -> Instant {
    after(*EPOCH, Duration::from_nanos(nanos))
}

/// `from + duration`, or a moment that never comes if that overflows.
pub(crate) fn after(from: Instant, duration: Duration) -> Instant {
    from.checked_add(duration.min(FAR)).unwrap_or(from)
}

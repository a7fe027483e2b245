//! The only file of the control plane that asks what time it is.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// When this process first asked.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The clocks: the system's, or those that a test moves by hand.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's clocks.
    System,
    /// A wall clock that stands still until somebody stores another number of milliseconds since
    /// 1970 UTC.
    Manual(Arc<AtomicI64>),
    /// All clocks stand still until somebody moves them.
    Simulated {
        /// Milliseconds since 1970 UTC.
        wall_ms: Arc<AtomicI64>,
        /// Milliseconds since any moment, never fewer than before.
        monotonic_ms: Arc<AtomicU64>,
    },
}

impl Clock {
    /// Milliseconds since 1970 UTC.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match self {
            Self::Manual(at) | Self::Simulated { wall_ms: at, .. } => at.load(Ordering::Relaxed),
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .ok()
                .and_then(|since| i64::try_from(since.as_millis()).ok())
                .unwrap_or(0),
        }
    }

    /// Milliseconds of a clock that never goes back.
    #[must_use]
    pub fn monotonic_ms(&self) -> u64 {
        match self {
            Self::Simulated { monotonic_ms, .. } => monotonic_ms.load(Ordering::Relaxed),
            Self::System | Self::Manual(_) => {
                u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX)
            }
        }
    }
}

/// A point in time as RFC 3339 in UTC, with as many digits after the second as it needs.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_rfc_3339_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(i64::MAX), "1970-01-01T00:00:00Z");
    }
}

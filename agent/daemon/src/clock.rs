//! The only file that asks what time it is.
//!
//! Three clocks: *boot* (CLOCK_BOOTTIME, goes on in suspend), *wall* (CLOCK_REALTIME), and the
//! *high-water mark*, the largest wall time that was ever trusted, which the store keeps. Facts
//! are ordered by their numbers, never by any of these.

use std::path::{Path, PathBuf};

use openclaw_protocol::time::{ClockTrust, Stamp};
use rustix::time::{ClockId, clock_gettime};

/// No wall time before this is true: 2026-11-01T00:00:00Z, shortly before this version was made.
const RELEASED_WALL_MS: i64 = 1_793_491_200_000;
/// A wall clock may be set back by this much without being called wrong, milliseconds.
const MARK_SLACK_MS: i64 = 60_000;
/// How long an answer of the system about its synchronisation is believed, milliseconds.
const SYNC_CHECK_MS: u64 = 10_000;

/// Gives stamps. The system's clock, or a test's.
pub trait Clock: Send {
    /// Now.
    fn now(&mut self) -> Stamp;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    boot: u32,
    high_water_wall_ms: i64,
    synced_file: PathBuf,
    synced: bool,
    synced_checked_boot_ms: Option<u64>,
}

impl SystemClock {
    /// A clock for the `boot`-th boot that knows the highest trusted wall time so far.
    #[must_use]
    pub fn new(boot: u32, high_water_wall_ms: i64, synced_file: &Path) -> Self {
        Self {
            boot,
            high_water_wall_ms,
            synced_file: synced_file.to_owned(),
            synced: false,
            synced_checked_boot_ms: None,
        }
    }
}

impl Clock for SystemClock {
    fn now(&mut self) -> Stamp {
        let boot_ms = boot_ms();
        let stale =
            self.synced_checked_boot_ms.is_none_or(|at| boot_ms.saturating_sub(at) > SYNC_CHECK_MS);
        if stale {
            self.synced = self.synced_file.exists();
            self.synced_checked_boot_ms = Some(boot_ms);
        }
        let wall_ms = wall_ms();
        let trust = trust_of(wall_ms, self.high_water_wall_ms, self.synced);
        if trust == ClockTrust::Synced {
            self.high_water_wall_ms = self.high_water_wall_ms.max(wall_ms);
        }
        Stamp { boot: self.boot, boot_ms, wall_ms, trust }
    }
}

/// Milliseconds since this boot, suspend included.
#[must_use]
pub fn boot_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000
        + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// The wall clock, milliseconds since 1970 UTC.
#[must_use]
pub fn wall_ms() -> i64 {
    let time = clock_gettime(ClockId::Realtime);
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}

/// The kernel's random name of this boot; a fixed text where there is none, so that every start
/// then counts as the same boot.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

/// What must not wait for a good clock, such as whether a certificate holds yet, goes by the
/// latest of all times that are known to have passed. A clock that the system vouches for stands
/// alone: a mark that was once too high would otherwise end every certificate.
#[must_use]
pub fn plausible_wall_ms(wall_ms: i64, high_water_wall_ms: i64, synced: bool) -> i64 {
    match trust_of(wall_ms, high_water_wall_ms, synced) {
        ClockTrust::Synced => wall_ms,
        ClockTrust::Unset | ClockTrust::Estimated => {
            wall_ms.max(RELEASED_WALL_MS).max(high_water_wall_ms)
        }
    }
}

fn trust_of(wall_ms: i64, high_water_wall_ms: i64, synced: bool) -> ClockTrust {
    let floor = RELEASED_WALL_MS.max(high_water_wall_ms - MARK_SLACK_MS);
    if synced && wall_ms >= RELEASED_WALL_MS {
        // The system vouches for it: an old mark that was too high must not stand against it.
        ClockTrust::Synced
    } else if wall_ms < floor {
        ClockTrust::Unset
    } else {
        ClockTrust::Estimated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_needs_a_plausible_time() {
        let good = RELEASED_WALL_MS + 1_000_000;
        assert_eq!(trust_of(0, 0, false), ClockTrust::Unset);
        assert_eq!(trust_of(0, 0, true), ClockTrust::Unset);
        assert_eq!(trust_of(good, 0, false), ClockTrust::Estimated);
        assert_eq!(trust_of(good, good + 10 * MARK_SLACK_MS, false), ClockTrust::Unset);
        assert_eq!(trust_of(good, good + 10 * MARK_SLACK_MS, true), ClockTrust::Synced);
    }

    #[test]
    fn a_clock_that_was_never_set_is_not_taken_at_its_word() {
        let late = RELEASED_WALL_MS + 1_000_000;
        assert_eq!(plausible_wall_ms(0, 0, false), RELEASED_WALL_MS);
        assert_eq!(plausible_wall_ms(0, 0, true), RELEASED_WALL_MS);
        assert_eq!(plausible_wall_ms(0, late, false), late);
        assert_eq!(plausible_wall_ms(late + 1, late, false), late + 1);
        assert_eq!(plausible_wall_ms(late - 1, late, true), late - 1);
    }

    #[test]
    fn boot_time_does_not_run_backwards() {
        let mut clock = SystemClock::new(3, 0, Path::new("/nowhere"));
        let (a, b) = (clock.now(), clock.now());
        assert!(b.boot_ms >= a.boot_ms);
        assert_eq!(a.boot, 3);
    }
}

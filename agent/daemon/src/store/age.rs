//! The device's age: how much time has certainly passed while this database was in use.
//!
//! Whatever may go after a while goes by this, never by what a wall clock shows: a board without a
//! battery begins in 1970 and finds itself months later when the network tells it the time. Within
//! a boot the boot clock counts. From one boot to another nothing counts, unless the wall clock was
//! synchronised in both: then the time between is known. So the age is never ahead of the truth,
//! and what goes by it goes late rather than early.

use openclaw_protocol::time::{ClockTrust, Stamp};
use serde::{Deserialize, Serialize};

use super::Store;

/// The age as of the last commit. Kept with every commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Age {
    /// Milliseconds since the database was made, at least.
    pub(super) ms: u64,
    /// When that was.
    pub(super) at: Stamp,
    /// The last time at which the wall clock could be believed.
    synced: Option<Synced>,
}

/// What a synchronised clock said at which age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Synced {
    boot: u32,
    wall_ms: i64,
    age_ms: u64,
}

impl Age {
    /// Of a database that is new or does not know.
    pub(super) fn unknown() -> Self {
        let never = Stamp { boot: 0, boot_ms: 0, wall_ms: 0, trust: ClockTrust::Unset };
        Self { ms: 0, at: never, synced: None }
    }

    /// Moves on to `now`. Stamps that go back add nothing.
    pub(super) fn advance(&mut self, now: Stamp) {
        if now.boot == self.at.boot {
            self.ms = self.ms.saturating_add(now.boot_ms.saturating_sub(self.at.boot_ms));
        }
        self.at = now;
        if now.trust != ClockTrust::Synced {
            return;
        }
        if let Some(known) = self.synced.filter(|known| known.boot != now.boot) {
            let between = now.wall_ms.saturating_sub(known.wall_ms);
            let between_ms = u64::try_from(between).unwrap_or(0);
            self.at_least(known.age_ms.saturating_add(between_ms));
        }
        self.synced = Some(Synced { boot: now.boot, wall_ms: now.wall_ms, age_ms: self.ms });
    }

    /// Something was kept that was written at this age.
    pub(super) fn at_least(&mut self, age_ms: u64) {
        self.ms = self.ms.max(age_ms);
    }
}

impl Store {
    /// The age now.
    pub(crate) fn age_ms(&self, now: Stamp) -> u64 {
        let mut age = self.age.clone();
        age.advance(now);
        age.ms
    }

    /// Whether the age that is written down is no older than so many milliseconds of this boot.
    pub(crate) fn is_aged(&self, now: Stamp, within_ms: u64) -> bool {
        let at = self.age.at;
        at.boot == now.boot && now.boot_ms.saturating_sub(at.boot_ms) < within_ms
    }

    /// The age at which the first command came that waits for what the device shall run.
    pub(crate) fn early_since_ms(&self) -> Option<u64> {
        self.early_since_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    fn stamp(boot: u32, hours: u64, wall_hours: i64, trust: ClockTrust) -> Stamp {
        let wall_ms = wall_hours * HOUR.cast_signed();
        Stamp { boot, boot_ms: hours * HOUR, wall_ms, trust }
    }

    /// The age in hours after each of these.
    fn ages(stamps: &[Stamp]) -> Vec<u64> {
        let mut age = Age::unknown();
        let after = |now: &Stamp| {
            age.advance(*now);
            age.ms / HOUR
        };
        stamps.iter().map(after).collect()
    }

    #[test]
    fn within_a_boot_only_the_boot_clock_counts() {
        use ClockTrust::{Estimated, Synced, Unset};
        let stamps = [
            stamp(1, 5, 0, Unset),
            stamp(1, 6, 490_000, Synced),
            stamp(1, 7, 999_000, Synced),
            stamp(1, 9, 3, Estimated),
            stamp(1, 8, 4, Estimated),
            stamp(1, 10, 4, Estimated),
        ];
        assert_eq!(ages(&stamps), [0, 1, 2, 4, 4, 6]);
    }

    #[test]
    fn between_boots_only_a_clock_that_is_synchronised_before_and_after_counts() {
        use ClockTrust::{Estimated, Synced, Unset};
        let downtime_of = |before, after| {
            let stamps = [stamp(1, 5, 1_000, before), stamp(2, 1, 1_100, after)];
            ages(&stamps)[1]
        };
        for before in [Unset, Estimated, Synced] {
            for after in [Unset, Estimated, Synced] {
                let known = if (before, after) == (Synced, Synced) { 100 } else { 0 };
                assert_eq!(downtime_of(before, after), known, "{before:?} → {after:?}");
            }
        }
        // It becomes known later, also over a boot that never knew the time; and a boot may have
        // begun on another machine, long before this one had the database.
        let stamps = [
            stamp(1, 5, 1_000, Synced),
            stamp(1, 6, 1_001, Estimated),
            stamp(2, 900, 3, Unset),
            stamp(2, 902, 5, Unset),
            stamp(3, 1, 1_200, Estimated),
            stamp(3, 2, 1_201, Synced),
            stamp(3, 3, 1_202, Synced),
        ];
        assert_eq!(ages(&stamps), [0, 1, 1, 3, 3, 201, 202]);
        let back = [stamp(1, 1, 1_000, Synced), stamp(1, 3, 1_002, Synced), stamp(2, 1, 5, Synced)];
        assert_eq!(ages(&back), [0, 2, 2], "it never goes back");
    }
}

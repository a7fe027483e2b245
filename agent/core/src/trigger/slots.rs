//! Slots of the wall clock: those of a cron schedule, and the beats of an interval that is aligned
//! to it. Each fires at most once: the last one is kept, and none at or before it fires again.

use openclaw_protocol::definition::{CatchUp, Cron};
use openclaw_protocol::time::{ClockTrust, Stamp};

use super::Jitter;
use crate::effect::TriggerMark;
use crate::limits::{CRON_AHEAD_MS, CRON_LATE_MS};

/// Where the search for the latest slot begins, in milliseconds before now: one hour, one day, a
/// month, a year, and the longest that cron knows (29 February).
const WINDOWS_MS: [i64; 5] =
    [3_600_000, 86_400_000, 32 * 86_400_000, 366 * 86_400_000, 9 * 366 * 86_400_000];

/// A schedule, and what becomes of slots that are late.
#[derive(Clone, Copy)]
pub(super) struct CronSlots<'c> {
    pub(super) cron: &'c Cron,
    pub(super) catch_up: CatchUp,
    /// Of `CatchUp::All`.
    pub(super) most: usize,
    pub(super) jitter: Jitter,
}

/// A slot that has not fired.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextSlot {
    /// As it is written.
    at: i64,
    /// With its jitter.
    pub(super) comes: i64,
}

impl CronSlots<'_> {
    /// The slot after an instant.
    fn next_after(&self, from: i64) -> Option<NextSlot> {
        let at = self.cron.next_after(from)?;
        let next = if self.jitter.most_ms == 0 { None } else { self.cron.next_after(at) };
        Some(NextSlot { at, comes: self.jitter.late(at, next) })
    }
}

/// The slots that fire now, and the new mark. `None`: nothing has changed.
pub(super) fn cron_slots(
    slots: CronSlots<'_>,
    next: &mut Option<(i64, Option<NextSlot>)>,
    mark: Option<&TriggerMark>,
    now: Stamp,
) -> Option<(Vec<i64>, i64)> {
    if now.trust == ClockTrust::Unset {
        return None;
    }
    let Some(last) = believed(mark, now) else {
        // Seen for the first time, or only by a wrong clock: slots count from here on.
        *next = Some((now.wall_ms, slots.next_after(now.wall_ms)));
        return Some((Vec::new(), now.wall_ms));
    };
    if next.is_none_or(|(from, _)| from != last) {
        *next = Some((last, slots.next_after(last)));
    }
    let slot = next.and_then(|(_, slot)| slot).filter(|slot| slot.comes <= now.wall_ms)?;
    let latest = latest_slots(slots, slot, now.wall_ms);
    let newest = latest.last().copied().unwrap_or(slot);
    *next = Some((newest.at, slots.next_after(newest.at)));
    let firing = match slots.catch_up {
        CatchUp::All => latest.iter().map(|slot| slot.at).collect(),
        CatchUp::Latest => vec![newest.at],
        CatchUp::Skip if now.wall_ms - newest.comes <= CRON_LATE_MS => vec![newest.at],
        CatchUp::Skip => Vec::new(),
    };
    Some((firing, newest.at))
}

/// Whether an interval that is aligned to the wall clock fires now, and the new mark. `None`:
/// nothing has changed. Beats that were missed are not made up for.
pub(super) fn clock_beat(
    every_ms: u64,
    last: &mut Option<i64>,
    mark: Option<&TriggerMark>,
    jitter: Jitter,
    now: Stamp,
) -> Option<(bool, i64)> {
    if now.trust == ClockTrust::Unset {
        return None;
    }
    let every = signed(every_ms);
    let beat = now.wall_ms.div_euclid(every).saturating_mul(every);
    let Some(fired) = believed(mark, now) else {
        *last = Some(beat);
        return Some((false, beat));
    };
    // No jitter is longer than the period, so that the beat before has come for certain.
    let beat =
        if jitter.late(beat, None) <= now.wall_ms { beat } else { beat.saturating_sub(every) };
    *last = Some(beat.max(fired));
    let is_late = now.wall_ms.saturating_sub(jitter.late(beat, None)) > CRON_LATE_MS;
    (beat > fired && !is_late).then_some((true, beat))
}

/// Milliseconds as the wall clock counts them.
pub(super) fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// How far the trigger has fired, unless only a wrong clock could say so.
fn believed(mark: Option<&TriggerMark>, now: Stamp) -> Option<i64> {
    let wrong =
        |at: i64| now.trust == ClockTrust::Synced && at.saturating_sub(now.wall_ms) > CRON_AHEAD_MS;
    mark.map(|mark| mark.at).filter(|at| !wrong(*at))
}

/// The latest slots from `first` (which has come) to `now`, oldest first, a few at most. It ends
/// before the first one that is still held back by its jitter: that is no longer than the shortest
/// of the windows, so all that are before a window have come.
fn latest_slots(slots: CronSlots<'_>, first: NextSlot, now_ms: i64) -> Vec<NextSlot> {
    for window in WINDOWS_MS {
        let from = now_ms.saturating_sub(window);
        let whole = from < first.at;
        let mut found: Vec<NextSlot> = Vec::new();
        let mut slot = if whole { Some(first) } else { slots.next_after(from) };
        while let Some(one) = slot.filter(|slot| slot.comes <= now_ms) {
            if found.len() == slots.most {
                found.remove(0);
            }
            found.push(one);
            slot = slots.next_after(one.at);
        }
        if whole || found.len() == slots.most {
            return found;
        }
    }
    vec![first]
}

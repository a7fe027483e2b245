//! Triggers: what fires when, as a function of time.
//!
//! An interval counts boot time and keeps its beat. A startup trigger fires once in each boot. A
//! cron slot fires at most once: the last one is kept, and a slot at or before it never fires
//! again, however the wall clock steps. Nothing is looked up on the wall clock while it is
//! certainly wrong.

use openclaw_protocol::definition::{CatchUp, Cron, Trigger, TriggerKind};
use openclaw_protocol::expr::{Timestamp, Value};
use openclaw_protocol::id::{TriggerId, WorkflowName};
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::time::{ClockTrust, Stamp};

use crate::effect::TriggerMark;
use crate::limits::{CATCH_UP_RUNS, CRON_AHEAD_MS, CRON_LATE_MS};
use crate::names;

/// How often a cron trigger is looked at even if nothing is due: a step of the wall clock is
/// noticed no later.
const LOOK_MS: u64 = 60_000;

/// Where the search for the latest slot begins, in milliseconds before now: one hour, one day, a
/// month, a year, and the longest that cron knows (29 February).
const WINDOWS_MS: [i64; 5] =
    [3_600_000, 86_400_000, 32 * 86_400_000, 366 * 86_400_000, 9 * 366 * 86_400_000];

/// Whose trigger, and which.
pub(crate) type TriggerKey = (WorkflowName, TriggerId);

/// How far each trigger has fired.
pub(crate) type Marks = VecMap<TriggerKey, TriggerMark>;

/// A trigger that can fire by itself.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(crate) id: TriggerId,
    rhythm: Rhythm,
}

#[derive(Debug)]
enum Rhythm {
    Interval {
        every_ms: u64,
        /// The next firing, in milliseconds of that boot.
        due: Option<(u32, u64)>,
    },
    Cron {
        cron: Box<Cron>,
        catch_up: CatchUp,
        /// The mark that `next` was computed from, and the next slot.
        next: Option<(i64, Option<i64>)>,
    },
    Startup,
}

/// What a trigger's firing gives to expressions as `trigger`.
#[derive(Debug, PartialEq)]
pub(crate) struct Firing {
    pub(crate) trigger: TriggerId,
    pub(crate) data: Value,
}

impl Armed {
    /// Makes a trigger ready. `None`: it never fires by itself.
    pub(crate) fn new(trigger: &Trigger) -> Option<Self> {
        if !trigger.enabled {
            return None;
        }
        let rhythm = match &trigger.kind {
            TriggerKind::Interval { every_ms } => {
                Rhythm::Interval { every_ms: (*every_ms).max(1), due: None }
            }
            TriggerKind::Cron { schedule, catch_up } => {
                Rhythm::Cron { cron: schedule.clone(), catch_up: *catch_up, next: None }
            }
            TriggerKind::Startup => Rhythm::Startup,
            // These are set off by what is said, not by time.
            TriggerKind::Manual
            | TriggerKind::Mqtt { .. }
            | TriggerKind::Event { .. }
            | TriggerKind::Workflow { .. } => return None,
        };
        Some(Self { id: trigger.id.clone(), rhythm })
    }

    /// Goes on in the beat of the trigger of that name before, if it is the same.
    pub(crate) fn keep_beat(&mut self, before: &Self) {
        if let (
            Rhythm::Interval { every_ms, due },
            Rhythm::Interval { every_ms: every_before, due: due_before },
        ) = (&mut self.rhythm, &before.rhythm)
            && every_ms == every_before
        {
            *due = *due_before;
        }
    }

    /// Looks whether the trigger fires now, and notes that it did.
    pub(crate) fn look(
        &mut self,
        workflow: &WorkflowName,
        marks: &mut Marks,
        now: Stamp,
        unclean: bool,
    ) -> (Vec<Firing>, Option<TriggerMark>) {
        let key = (workflow.clone(), self.id.clone());
        let mark = marks.get(&key).cloned();
        let id = self.id.clone();
        let firing = |data| Firing { trigger: id.clone(), data };
        let (firings, at) = match &mut self.rhythm {
            Rhythm::Startup => {
                if mark.is_some_and(|mark| mark.boot == now.boot) {
                    return (Vec::new(), None);
                }
                let data = names::object([
                    ("id", Value::from(self.id.as_str())),
                    ("kind", Value::from("startup")),
                    ("unclean", Value::Bool(unclean)),
                ]);
                (vec![firing(data)], i64::from(now.boot))
            }
            Rhythm::Interval { every_ms, due } => {
                if !beat(*every_ms, due, mark.as_ref(), now) {
                    return (Vec::new(), None);
                }
                let data = names::object([
                    ("id", Value::from(self.id.as_str())),
                    ("kind", Value::from("interval")),
                ]);
                (vec![firing(data)], i64::try_from(now.boot_ms).unwrap_or(i64::MAX))
            }
            Rhythm::Cron { cron, catch_up, next } => {
                let Some((slots, at)) = cron_slots(cron, *catch_up, next, mark.as_ref(), now)
                else {
                    return (Vec::new(), None);
                };
                let firings = slots.into_iter().map(|slot| {
                    let instant =
                        Timestamp::from_millis(slot).map_or(Value::Null, Value::Timestamp);
                    firing(names::object([
                        ("id", Value::from(self.id.as_str())),
                        ("kind", Value::from("cron")),
                        ("slot", instant),
                    ]))
                });
                (firings.collect(), at)
            }
        };
        let mark = TriggerMark {
            workflow: workflow.clone(),
            trigger: self.id.clone(),
            at,
            boot: now.boot,
        };
        marks.insert(key, mark.clone());
        (firings, Some(mark))
    }

    /// When to look again, in milliseconds of this boot.
    pub(crate) fn deadline(&self, now: Stamp) -> Option<u64> {
        match &self.rhythm {
            Rhythm::Startup => None,
            Rhythm::Interval { due, .. } => due.map(|(_, due_ms)| due_ms),
            Rhythm::Cron { next, .. } => {
                let slot = next.and_then(|(_, slot)| slot);
                let wait = match slot {
                    Some(slot) if now.trust != ClockTrust::Unset => {
                        u64::try_from(slot.saturating_sub(now.wall_ms)).unwrap_or(0)
                    }
                    Some(_) | None => LOOK_MS,
                };
                Some(now.boot_ms.saturating_add(wait.min(LOOK_MS)))
            }
        }
    }
}

/// Whether an interval fires now. Beats that were missed are not made up for.
fn beat(
    every_ms: u64,
    due: &mut Option<(u32, u64)>,
    mark: Option<&TriggerMark>,
    now: Stamp,
) -> bool {
    let here = due.filter(|(boot, _)| *boot == now.boot).map(|(_, due_ms)| due_ms);
    let due_ms = here.unwrap_or_else(|| {
        // The agent was restarted: the beat goes on if this is the boot it was counted in.
        let last = mark.filter(|mark| mark.boot == now.boot).map(|mark| mark.at);
        let last = last.and_then(|at| u64::try_from(at).ok()).filter(|at| *at <= now.boot_ms);
        last.unwrap_or(now.boot_ms).saturating_add(every_ms)
    });
    if now.boot_ms < due_ms {
        *due = Some((now.boot, due_ms));
        return false;
    }
    let missed = (now.boot_ms - due_ms) / every_ms;
    *due = Some((now.boot, due_ms.saturating_add((missed + 1).saturating_mul(every_ms))));
    true
}

/// The slots that fire now, and the new mark. `None`: nothing has changed.
fn cron_slots(
    cron: &Cron,
    catch_up: CatchUp,
    next: &mut Option<(i64, Option<i64>)>,
    mark: Option<&TriggerMark>,
    now: Stamp,
) -> Option<(Vec<i64>, i64)> {
    if now.trust == ClockTrust::Unset {
        return None;
    }
    let wrong = |mark: &TriggerMark| {
        now.trust == ClockTrust::Synced && mark.at.saturating_sub(now.wall_ms) > CRON_AHEAD_MS
    };
    let Some(last) = mark.filter(|mark| !wrong(mark)).map(|mark| mark.at) else {
        // Seen for the first time, or only by a wrong clock: slots count from here on.
        *next = Some((now.wall_ms, cron.next_after(now.wall_ms)));
        return Some((Vec::new(), now.wall_ms));
    };
    if next.is_none_or(|(from, _)| from != last) {
        *next = Some((last, cron.next_after(last)));
    }
    let slot = next.and_then(|(_, slot)| slot).filter(|slot| *slot <= now.wall_ms)?;
    let latest = latest_slots(cron, slot, now.wall_ms);
    let newest = latest.last().copied().unwrap_or(slot);
    *next = Some((newest, cron.next_after(newest)));
    let firing = match catch_up {
        CatchUp::All => latest,
        CatchUp::Latest => vec![newest],
        CatchUp::Skip if now.wall_ms - newest <= CRON_LATE_MS => vec![newest],
        CatchUp::Skip => Vec::new(),
    };
    Some((firing, newest))
}

/// The latest slots from `first` (which is one) to `now`, oldest first, a few at most.
fn latest_slots(cron: &Cron, first: i64, now_ms: i64) -> Vec<i64> {
    for window in WINDOWS_MS {
        let from = now_ms.saturating_sub(window);
        let whole = from < first;
        let mut slots: Vec<i64> = Vec::new();
        let mut slot = if whole { Some(first) } else { cron.next_after(from) };
        while let Some(at) = slot.filter(|at| *at <= now_ms) {
            if slots.len() == CATCH_UP_RUNS {
                slots.remove(0);
            }
            slots.push(at);
            slot = cron.next_after(at);
        }
        if whole || slots.len() == CATCH_UP_RUNS {
            return slots;
        }
    }
    vec![first]
}

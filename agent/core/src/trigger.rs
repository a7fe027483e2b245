//! Triggers: what fires when, as a function of time.
//!
//! An interval counts boot time and keeps its beat, or the wall clock's. A startup trigger fires once in each boot. A
//! cron slot fires at most once: the last one is kept, and a slot at or before it never fires
//! again, however the wall clock steps. Nothing is looked up on the wall clock while it is
//! certainly wrong.

mod slots;

use openclaw_protocol::definition::{Align, CatchUp, Cron, Trigger, TriggerKind};
use openclaw_protocol::expr::{Timestamp, Value};
use openclaw_protocol::id::{TriggerId, WorkflowName};
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::time::{ClockTrust, Stamp};

use crate::effect::TriggerMark;
use crate::names;

use slots::{CronSlots, NextSlot, clock_beat, cron_slots};

/// How often a cron trigger is looked at even if nothing is due: a step of the wall clock is
/// noticed no later.
const LOOK_MS: u64 = 60_000;

/// Whose trigger, and which.
pub(crate) type TriggerKey = (WorkflowName, TriggerId);

/// How far each trigger has fired.
pub(crate) type Marks = VecMap<TriggerKey, TriggerMark>;

/// A trigger that can fire by itself.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(crate) id: TriggerId,
    rhythm: Rhythm,
    jitter: Jitter,
}

/// How much later than written a trigger's slots come on this device: the same each time it is
/// asked for the same slot, and different on other devices. No slot comes as late as the next one,
/// so that none is taken for one that was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Jitter {
    most_ms: u64,
    salt: [u8; 32],
}

impl Jitter {
    fn new(most_ms: u64, device: &str, workflow: &WorkflowName, trigger: &TriggerId) -> Self {
        let salt = blake3::hash(format!("{device}\0{workflow}\0{trigger}").as_bytes());
        Self { most_ms, salt: *salt.as_bytes() }
    }

    /// Of a slot or beat, where the next one is so far away, in milliseconds.
    fn of(&self, slot: i64, next_ms: u64) -> u64 {
        let most_ms = self.most_ms.min(room(next_ms));
        if most_ms == 0 {
            return 0;
        }
        let drawn = blake3::keyed_hash(&self.salt, &slot.to_le_bytes());
        let drawn = drawn.as_bytes().first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(drawn) % (most_ms + 1)
    }

    /// When a beat of the boot clock comes, in milliseconds of that boot.
    fn beat(&self, due_ms: u64) -> u64 {
        due_ms.saturating_add(self.of(i64::try_from(due_ms).unwrap_or(i64::MAX), u64::MAX))
    }

    /// When a slot of the wall clock comes, in milliseconds since 1970 UTC.
    fn late(&self, slot: i64, next: Option<i64>) -> i64 {
        let next_ms = next
            .map_or(u64::MAX, |next| u64::try_from(next.saturating_sub(slot)).unwrap_or_default());
        slot.saturating_add(i64::try_from(self.of(slot, next_ms)).unwrap_or(0))
    }
}

/// How much later a slot may come where the next one is so far away, in milliseconds: a device that
/// is busy for a moment must still see the two one after the other.
fn room(next_ms: u64) -> u64 {
    next_ms - (next_ms / 4).min(1_000)
}

#[derive(Debug)]
enum Rhythm {
    Interval {
        every_ms: u64,
        /// The next firing, in milliseconds of that boot.
        due: Option<(u32, u64)>,
    },
    /// Beats of the wall clock.
    Clock {
        every_ms: u64,
        /// The latest beat that needs no look any more.
        last: Option<i64>,
    },
    Cron {
        cron: Box<Cron>,
        catch_up: CatchUp,
        max_catch_up: usize,
        /// The mark that `next` was computed from, and the next slot.
        next: Option<(i64, Option<NextSlot>)>,
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
    /// Makes a trigger ready, on the device of that id. `None`: it never fires by itself.
    pub(crate) fn new(trigger: &Trigger, workflow: &WorkflowName, device: &str) -> Option<Self> {
        if !trigger.enabled {
            return None;
        }
        let (rhythm, most_ms) = match &trigger.kind {
            TriggerKind::Interval { every_ms, align, jitter_ms } => {
                let every_ms = (*every_ms).max(1);
                let rhythm = match align {
                    Align::Boot => Rhythm::Interval { every_ms, due: None },
                    Align::Clock => Rhythm::Clock { every_ms, last: None },
                };
                // No beat comes as late as the next one.
                (rhythm, (*jitter_ms).min(room(every_ms)))
            }
            TriggerKind::Cron { schedule, catch_up, max_catch_up, jitter_ms } => {
                let rhythm = Rhythm::Cron {
                    cron: schedule.clone(),
                    catch_up: *catch_up,
                    max_catch_up: (*max_catch_up).max(1) as usize,
                    next: None,
                };
                (rhythm, *jitter_ms)
            }
            TriggerKind::Startup => (Rhythm::Startup, 0),
            // These are set off by what is said, not by time.
            TriggerKind::Manual
            | TriggerKind::Mqtt { .. }
            | TriggerKind::Event { .. }
            | TriggerKind::Webhook { .. }
            | TriggerKind::File { .. }
            | TriggerKind::Workflow { .. } => return None,
        };
        let jitter = Jitter::new(most_ms, device, workflow, &trigger.id);
        Some(Self { id: trigger.id.clone(), rhythm, jitter })
    }

    /// Goes on in the beat of the trigger of that name before, if it is the same.
    pub(crate) fn keep_beat(&mut self, before: &Self) {
        if let (
            Rhythm::Interval { every_ms, due },
            Rhythm::Interval { every_ms: every_before, due: due_before },
        ) = (&mut self.rhythm, &before.rhythm)
            && every_ms == every_before
            && self.jitter == before.jitter
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
        let jitter = self.jitter;
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
                let Some(beat_ms) = beat(*every_ms, due, mark.as_ref(), jitter, now) else {
                    return (Vec::new(), None);
                };
                let at = i64::try_from(beat_ms).unwrap_or(i64::MAX);
                (vec![firing(interval(&self.id))], at)
            }
            Rhythm::Clock { every_ms, last } => {
                let Some((fires, at)) = clock_beat(*every_ms, last, mark.as_ref(), jitter, now)
                else {
                    return (Vec::new(), None);
                };
                (if fires { vec![firing(interval(&self.id))] } else { Vec::new() }, at)
            }
            Rhythm::Cron { cron, catch_up, max_catch_up, next } => {
                let cron = CronSlots { cron, catch_up: *catch_up, most: *max_catch_up, jitter };
                let Some((slots, at)) = cron_slots(cron, next, mark.as_ref(), now) else {
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
            Rhythm::Interval { due, .. } => due.map(|(_, due_ms)| self.jitter.beat(due_ms)),
            Rhythm::Clock { every_ms, last } => {
                let slot = last.map(|last| last.saturating_add(slots::signed(*every_ms)));
                Some(look_at(slot.map(|slot| self.jitter.late(slot, None)), now))
            }
            Rhythm::Cron { next, .. } => {
                let slot = next.as_ref().and_then(|(_, slot)| slot.as_ref());
                Some(look_at(slot.map(|slot| slot.comes), now))
            }
        }
    }
}

/// When to look for a slot that comes then on the wall clock, in milliseconds of this boot.
fn look_at(comes: Option<i64>, now: Stamp) -> u64 {
    let wait = match comes {
        Some(comes) if now.trust != ClockTrust::Unset => {
            u64::try_from(comes.saturating_sub(now.wall_ms)).unwrap_or(0)
        }
        Some(_) | None => LOOK_MS,
    };
    now.boot_ms.saturating_add(wait.min(LOOK_MS))
}

/// What the firing of an interval gives.
fn interval(id: &TriggerId) -> Value {
    names::object([("id", Value::from(id.as_str())), ("kind", Value::from("interval"))])
}

/// The beat with which an interval fires now, if it does. Beats that were missed are not made up
/// for.
fn beat(
    every_ms: u64,
    due: &mut Option<(u32, u64)>,
    mark: Option<&TriggerMark>,
    jitter: Jitter,
    now: Stamp,
) -> Option<u64> {
    let here = due.filter(|(boot, _)| *boot == now.boot).map(|(_, due_ms)| due_ms);
    let due_ms = here.unwrap_or_else(|| {
        // The agent was restarted: the beat goes on if this is the boot it was counted in.
        let last = mark.filter(|mark| mark.boot == now.boot).map(|mark| mark.at);
        let last = last.and_then(|at| u64::try_from(at).ok()).filter(|at| *at <= now.boot_ms);
        last.unwrap_or(now.boot_ms).saturating_add(every_ms)
    });
    if now.boot_ms < jitter.beat(due_ms) {
        *due = Some((now.boot, due_ms));
        return None;
    }
    let missed = (now.boot_ms - due_ms) / every_ms;
    let newest_ms = due_ms.saturating_add(missed.saturating_mul(every_ms));
    // The newest may be held back by its jitter; the one before is not, for that is no longer than
    // the period.
    let is_held = jitter.beat(newest_ms) > now.boot_ms && newest_ms > due_ms;
    let beat_ms = if is_held { newest_ms - every_ms } else { newest_ms };
    *due = Some((now.boot, beat_ms.saturating_add(every_ms)));
    Some(beat_ms)
}

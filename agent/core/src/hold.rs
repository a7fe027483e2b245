//! `for`: how long the `when` of a trigger has been true without a break.
//!
//! It counts for each topic of the trigger by itself. What has been counted is kept over
//! restarts, but only time in which the agent was there to hear the opposite: after a restart the
//! hold stands still until a fresh message says that the condition is true, and then goes on; where
//! none comes for as long as the hold lasts, it begins anew with the next one. A firing for which
//! `when` is false, or fails, ends the hold. Having fired, it fires again only after that.
//!
//! A trigger has so many places. Where they are all taken, the one that has fired and has not been
//! heard of for the longest time goes; should its topic come again, it begins anew.

use std::collections::BTreeMap;

use openclaw_protocol::definition::{Trigger, TriggerKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::id::{TriggerId, WorkflowName};
use openclaw_protocol::limits::HOLDS;
use openclaw_protocol::time::Stamp;

use crate::effect::{Decision, Hold, HoldChange};
use crate::engine::Engine;
use crate::limits::{HOLD_ANEW_MS, HOLD_DATA_BYTES};

/// Whose trigger, which, and the topic that it counts for.
pub(crate) type HoldKey = (WorkflowName, TriggerId, String);

/// The holds of all triggers.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    all: BTreeMap<HoldKey, Held>,
    /// Bytes of what the counting ones would fire with.
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    hold: Hold,
    /// What it would fire with, and its size in bytes. `None`: nobody has said since the agent was
    /// started that the condition is true.
    said: Option<(Value, usize)>,
    /// When it fires, or where nobody has said anything, when it begins anew; where it has fired,
    /// when it was last heard of. In milliseconds of that boot.
    due: (u32, u64),
}

/// What a firing means for its hold.
pub(crate) enum Counted {
    /// It counts, or has fired already.
    Counts,
    /// There are too many.
    Full,
}

impl Holds {
    /// When the first of them is due, in milliseconds of the boot at hand.
    pub(crate) fn deadline(&self, now: Stamp) -> Option<u64> {
        let due = self.all.values().filter(|held| !held.hold.fired && held.due.0 == now.boot);
        due.map(|held| held.due.1).min()
    }

    /// Those that have held long enough; those that nobody has confirmed in time go.
    fn take_due(&mut self, now: Stamp, decision: &mut Decision) -> Vec<(HoldKey, Value)> {
        let is_due =
            |held: &Held| !held.hold.fired && held.due.0 == now.boot && held.due.1 <= now.boot_ms;
        let due = self.all.iter().filter(|(_, held)| is_due(held));
        let due: Vec<HoldKey> = due.map(|(key, _)| key.clone()).collect();
        let mut fired = Vec::new();
        for key in due {
            let Some(held) = self.all.get_mut(&key) else { continue };
            if let Some((data, bytes)) = held.said.take() {
                self.bytes -= bytes;
                held.hold.fired = true;
                held.due = (now.boot, now.boot_ms);
                decision.holds.push(change(&key, Some(held.hold)));
                fired.push((key, data));
            } else {
                self.end(&key, decision);
            }
        }
        fired
    }

    /// The condition is true.
    fn confirm(
        &mut self,
        key: HoldKey,
        (hold_ms, check): (u64, u32),
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) -> Counted {
        let bytes = data.to_json_as_is().map_or(0, |json| json.to_string().len());
        let room = self.bytes + bytes <= HOLD_DATA_BYTES;
        if let Some(held) = self.all.get_mut(&key) {
            if held.hold.fired {
                held.due = (now.boot, now.boot_ms);
                return Counted::Counts;
            }
            if let Some((said, before)) = &mut held.said {
                // Without room, what was said first is as true.
                if room {
                    self.bytes = self.bytes + bytes - *before;
                    (*said, *before) = (data.clone(), bytes);
                }
                return Counted::Counts;
            }
        }
        if !room || (!self.all.contains_key(&key) && !self.make_room(&key, decision)) {
            return Counted::Full;
        }
        let counted_ms = self.all.get(&key).map_or(0, |held| held.hold.counted_ms);
        let hold = Hold { since: now, counted_ms, confirmed: true, fired: false, check };
        let due_ms = now.boot_ms.saturating_add(hold_ms.saturating_sub(counted_ms));
        decision.holds.push(change(&key, Some(hold)));
        self.bytes += bytes;
        self.all
            .insert(key, Held { hold, said: Some((data.clone(), bytes)), due: (now.boot, due_ms) });
        Counted::Counts
    }

    /// Sees that one more may count for a trigger. Whether it may.
    fn make_room(&mut self, (workflow, trigger, _): &HoldKey, decision: &mut Decision) -> bool {
        let from = (workflow.clone(), trigger.clone(), String::new());
        let of_trigger = || {
            let all = self.all.range(from.clone()..);
            all.take_while(|((of, which, _), _)| of == workflow && which == trigger)
        };
        if of_trigger().count() < HOLDS {
            return true;
        }
        let fired = of_trigger().filter(|(_, held)| held.hold.fired);
        let Some(oldest) = fired.min_by_key(|(_, held)| held.due).map(|(key, _)| key.clone())
        else {
            return false;
        };
        self.end(&oldest, decision);
        true
    }

    /// The condition is not true, or it is not known any more.
    fn end(&mut self, key: &HoldKey, decision: &mut Decision) {
        if let Some(held) = self.all.remove(key) {
            self.bytes -= held.said.map_or(0, |(_, bytes)| bytes);
            decision.holds.push(change(key, None));
            // What is counted next must not be added to what was before.
            decision.needs_commit = true;
        }
    }
}

impl Engine {
    /// Takes back the holds of triggers; of two changes of one hold the later counts.
    pub fn restore_holds(&mut self, holds: impl IntoIterator<Item = HoldChange>) {
        for one in holds {
            let key = (one.workflow, one.trigger, one.source);
            match one.hold {
                Some(hold) => {
                    self.holds.all.insert(key, Held { hold, said: None, due: (0, 0) });
                }
                None => {
                    self.holds.all.remove(&key);
                }
            }
        }
    }

    /// A trigger with a `for` has fired.
    pub(crate) fn count_hold(
        &mut self,
        workflow: &WorkflowName,
        written: &Trigger,
        data: &Value,
        is_true: bool,
        now: Stamp,
        decision: &mut Decision,
    ) -> Counted {
        let key = (workflow.clone(), written.id.clone(), source(written, data));
        if !is_true {
            self.holds.end(&key, decision);
            return Counted::Counts;
        }
        let rule = (written.hold_ms.unwrap_or_default(), check(written));
        self.holds.confirm(key, rule, data, now, decision)
    }

    /// One that has fired, and for whose run there was no room, is counted anew, and for a minute at
    /// least: it may go on so for as long as there is no room.
    pub(crate) fn hold_anew(
        &mut self,
        workflow: &WorkflowName,
        written: &Trigger,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) {
        let key = (workflow.clone(), written.id.clone(), source(written, data));
        if self.holds.all.get(&key).is_some_and(|held| held.hold.fired) {
            self.holds.end(&key, decision);
            let hold_ms = written.hold_ms.unwrap_or_default().max(HOLD_ANEW_MS);
            self.holds.confirm(key, (hold_ms, check(written)), data, now, decision);
        }
    }

    /// The firings whose condition has held long enough.
    pub(crate) fn held_long_enough(
        &mut self,
        now: Stamp,
        decision: &mut Decision,
    ) -> Vec<(HoldKey, Value)> {
        self.holds.take_due(now, decision)
    }

    /// Holds of triggers that are not in force any more, or were meant otherwise, begin anew.
    pub(crate) fn drop_stale_holds(&mut self, decision: &mut Decision) {
        let stale: Vec<HoldKey> = self
            .holds
            .all
            .iter()
            .filter(|(key, held)| {
                self.rule_of(key).is_none_or(|(_, check)| check != held.hold.check)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in stale {
            self.holds.end(&key, decision);
        }
    }

    /// The agent was started: what nobody has said yet is not known to be true any more.
    pub(crate) fn doubt_holds(&mut self, now: Stamp, decision: &mut Decision) {
        let keys: Vec<HoldKey> = self.holds.all.keys().cloned().collect();
        self.doubt(keys, self.last_alive, now, decision);
    }

    /// The site's broker is lost: what is said there is not heard.
    pub(crate) fn doubt_heard(&mut self, now: Stamp, decision: &mut Decision) {
        let is_heard = |(workflow, trigger, _): &&HoldKey| {
            let deployment = self.deployed.get(workflow);
            let mut triggers = deployment.into_iter().flat_map(|one| &one.plan.workflow.triggers);
            let written = triggers.find(|one| one.id == *trigger);
            written.is_some_and(|one| matches!(one.kind, TriggerKind::Mqtt { .. }))
        };
        let keys: Vec<HoldKey> = self.holds.all.keys().filter(is_heard).cloned().collect();
        self.doubt(keys, Some(now), now, decision);
    }

    /// What these have counted up to then stays; from now on they stand still until somebody says
    /// that it is true.
    fn doubt(
        &mut self,
        keys: Vec<HoldKey>,
        alive: Option<Stamp>,
        now: Stamp,
        decision: &mut Decision,
    ) {
        for key in keys {
            let hold_ms = self.rule_of(&key).map_or(0, |(hold_ms, _)| hold_ms);
            let Some(held) = self.holds.all.get_mut(&key) else { continue };
            let wait_ms = if held.hold.fired { 0 } else { hold_ms };
            held.due = (now.boot, now.boot_ms.saturating_add(wait_ms));
            self.holds.bytes -= held.said.take().map_or(0, |(_, bytes)| bytes);
            let hold = &mut held.hold;
            if hold.fired || !hold.confirmed {
                continue;
            }
            let seen_ms = alive.filter(|alive| alive.boot == hold.since.boot);
            let seen_ms = seen_ms.map_or(0, |alive| hold.since.elapsed_ms(alive));
            hold.counted_ms = hold.counted_ms.saturating_add(seen_ms);
            hold.confirmed = false;
            decision.holds.push(change(&key, Some(*hold)));
        }
    }

    /// How long the condition of a trigger in force must hold, and which condition.
    fn rule_of(&self, (workflow, trigger, _): &HoldKey) -> Option<(u64, u32)> {
        let deployment = self.deployed.get(workflow).filter(|one| one.triggers_enabled)?;
        let mut triggers = deployment.plan.workflow.triggers.iter();
        let written = triggers.find(|one| one.id == *trigger && one.enabled)?;
        Some((written.hold_ms?, check(written)))
    }
}

fn change((workflow, trigger, source): &HoldKey, hold: Option<Hold>) -> HoldChange {
    HoldChange {
        workflow: workflow.clone(),
        trigger: trigger.clone(),
        source: source.clone(),
        hold,
    }
}

/// What a trigger counts for by itself: each topic, each file.
fn source(written: &Trigger, data: &Value) -> String {
    let name = match written.kind {
        TriggerKind::Mqtt { .. } => "topic",
        TriggerKind::File { .. } => "path",
        TriggerKind::Interval { .. }
        | TriggerKind::Cron { .. }
        | TriggerKind::Startup
        | TriggerKind::Manual
        | TriggerKind::Event { .. }
        | TriggerKind::Webhook { .. }
        | TriggerKind::Workflow { .. } => return String::new(),
    };
    let source = data.as_map().and_then(|map| map.field(name));
    source.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Tells one condition from another.
fn check(written: &Trigger) -> u32 {
    let when = written.when.as_ref().map_or("", |when| when.source());
    let heard = match &written.kind {
        TriggerKind::Mqtt { topic, .. } => topic.as_str(),
        TriggerKind::Event { name, .. } => name.as_str(),
        TriggerKind::File { path, .. } => path.as_str(),
        TriggerKind::Interval { .. }
        | TriggerKind::Cron { .. }
        | TriggerKind::Startup
        | TriggerKind::Manual
        | TriggerKind::Webhook { .. }
        | TriggerKind::Workflow { .. } => "",
    };
    let text = format!("{} {heard} {when}", written.hold_ms.unwrap_or_default());
    let hash = blake3::hash(text.as_bytes());
    u32::from_le_bytes(hash.as_bytes().first_chunk().copied().unwrap_or_default())
}

//! What holds a trigger back: its `when`, `for`, `dedupe`, `throttle` and `debounce`, in this order.

use std::collections::VecDeque;
use std::sync::Arc;

use openclaw_protocol::definition::{Trigger, Workflow};
use openclaw_protocol::expr::Value;
use openclaw_protocol::id::{RunId, TriggerId, WorkflowName};
use openclaw_protocol::limits::DEDUPE_KEYS;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::time::Stamp;

use crate::admission::{Refused, trigger_names};
use crate::effect::{Decision, SeenKey, Told};
use crate::engine::Engine;
use crate::hold::Counted;
use crate::trigger::TriggerKey;

/// What the triggers remember of their firings.
#[derive(Debug, Default)]
pub(crate) struct Gates(VecMap<TriggerKey, Gate>);

#[derive(Debug, Default)]
struct Gate {
    /// When it last let one through.
    last: Option<Stamp>,
    /// The latest one that is held back, its key where it has one, and when it is let go, in
    /// milliseconds of that boot.
    held: Option<(Value, Option<Key>, u32, u64)>,
    /// Keys of firings of which a run came, oldest first.
    seen: VecDeque<(Key, Stamp)>,
}

/// Hash of what makes firings the same.
type Key = [u8; 16];

/// What a gate says.
enum Verdict {
    /// It may start a run, of which this key is to be remembered.
    Pass(Option<Key>),
    /// Not now; perhaps later.
    Hold,
    /// Never: it is not what the trigger is for.
    Other,
    /// Never, for this reason.
    Drop(&'static str),
}

/// What came of a firing.
pub(crate) enum Fired {
    /// A run.
    Run(RunId),
    /// Perhaps one later: it waits for `for` or `debounce`.
    Later,
    /// Nothing, for it is not what the trigger is for: its `when` is false.
    Other,
    /// Nothing, although it is.
    Dropped(Refused),
}

impl Gates {
    /// When something that is held back is let go, in milliseconds of the boot at hand.
    pub(crate) fn deadline(&self, now: Stamp) -> Option<u64> {
        let held = self.0.values().filter_map(|gate| gate.held.as_ref());
        held.filter(|(_, _, boot, _)| *boot == now.boot).map(|(.., due_ms)| *due_ms).min()
    }

    fn due(&self, now: Stamp) -> Vec<TriggerKey> {
        let is_due = |gate: &Gate| {
            gate.held
                .as_ref()
                .is_some_and(|(_, _, boot, due_ms)| *boot == now.boot && *due_ms <= now.boot_ms)
        };
        self.0.iter().filter(|(_, gate)| is_due(gate)).map(|(key, _)| key.clone()).collect()
    }
}

impl Engine {
    /// Takes back the keys of firings that must not start anything again, oldest first.
    pub fn restore_seen(&mut self, seen: impl IntoIterator<Item = SeenKey>) {
        for one in seen {
            let gate = self.gates.0.entry((one.workflow, one.trigger)).or_default();
            gate.seen.push_back((one.key, one.at));
            while gate.seen.len() > DEDUPE_KEYS {
                gate.seen.pop_front();
            }
        }
    }

    /// A trigger has fired: a run starts, unless something holds it back.
    pub(crate) fn fire_gated(
        &mut self,
        workflow: &WorkflowName,
        trigger: &TriggerId,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) -> Fired {
        let Some(written) = self.written(workflow, trigger) else { return Fired::Other };
        let verdict = self.gate(workflow, &written, data, now, decision);
        self.follow(verdict, workflow, trigger, data, now, decision)
    }

    /// Lets go what has been held back long enough.
    pub(crate) fn fire_held_back(&mut self, now: Stamp, decision: &mut Decision) {
        for ((workflow, trigger, _), data) in self.held_long_enough(now, decision) {
            let Some(written) = self.written(&workflow, &trigger) else { continue };
            let verdict = self.sift(&workflow, &written, &data, now);
            self.follow_held((workflow, trigger), verdict, &data, now, decision);
        }
        for key in self.gates.due(now) {
            let held = self.gates.0.get_mut(&key).and_then(|gate| gate.held.take());
            if let Some((data, same, ..)) = held {
                self.follow_held(key, Verdict::Pass(same), &data, now, decision);
            }
        }
    }

    /// As [`Self::follow`], of what was held back. A `for` for whose run there was no room has not
    /// fired.
    fn follow_held(
        &mut self,
        (workflow, trigger): TriggerKey,
        verdict: Verdict,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) {
        let fired = self.follow(verdict, &workflow, &trigger, data, now, decision);
        if let Fired::Dropped(refused) = fired
            && refused.is_for_room()
            && let Some(written) = self.written(&workflow, &trigger)
        {
            self.hold_anew(&workflow, &written, data, now, decision);
        }
    }

    fn written(&self, workflow: &WorkflowName, trigger: &TriggerId) -> Option<Written> {
        let plan = &self.deployed.get(workflow)?.plan;
        let at = plan.workflow.triggers.iter().position(|one| one.id == *trigger)?;
        Some(Written { workflow: Arc::clone(&plan.workflow), at })
    }

    fn follow(
        &mut self,
        verdict: Verdict,
        workflow: &WorkflowName,
        trigger: &TriggerId,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) -> Fired {
        let refused = match verdict {
            Verdict::Pass(key) => match self.fire(workflow, trigger, data, now, decision) {
                Ok(run) => {
                    self.let_through((workflow.clone(), trigger.clone()), key, now, decision);
                    return Fired::Run(run);
                }
                // Nothing came of it, so the same may come again, and at once.
                Err(refused) => refused,
            },
            Verdict::Hold => return Fired::Later,
            Verdict::Other => return Fired::Other,
            Verdict::Drop(code) => {
                Refused { code, message: format!("trigger `{trigger}` starts nothing now: {code}") }
            }
        };
        decision.told.push(Told::Dropped { workflow: workflow.clone(), reason: refused.code });
        Fired::Dropped(refused)
    }

    /// A run has come of a firing.
    fn let_through(
        &mut self,
        of: TriggerKey,
        key: Option<Key>,
        now: Stamp,
        decision: &mut Decision,
    ) {
        let gate = self.gates.0.entry(of.clone()).or_default();
        gate.last = Some(now);
        let Some(key) = key else { return };
        gate.seen.push_back((key, now));
        if gate.seen.len() > DEDUPE_KEYS {
            gate.seen.pop_front();
        }
        let (workflow, trigger) = of;
        decision.seen.push(SeenKey { workflow, trigger, key, at: now });
    }

    fn gate(
        &mut self,
        workflow: &WorkflowName,
        written: &Trigger,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) -> Verdict {
        let Some(when) = &written.when else {
            return self.sift(workflow, written, data, now);
        };
        let truth = when.eval(&trigger_names(data)).map(|value| value.as_bool());
        let counted = written.hold_ms.map(|_| {
            let is_true = matches!(truth, Ok(Some(true)));
            self.count_hold(workflow, written, data, is_true, now, decision)
        });
        match (truth, counted) {
            (Ok(None) | Err(_), _) => Verdict::Drop("when.error"),
            (Ok(Some(false)), _) => Verdict::Other,
            (Ok(Some(true)), Some(Counted::Full)) => Verdict::Drop("hold.full"),
            (Ok(Some(true)), Some(Counted::Counts)) => Verdict::Hold,
            (Ok(Some(true)), None) => self.sift(workflow, written, data, now),
        }
    }

    /// What is looked at once the condition holds.
    fn sift(
        &mut self,
        workflow: &WorkflowName,
        written: &Trigger,
        data: &Value,
        now: Stamp,
    ) -> Verdict {
        if is_free(written) {
            return Verdict::Pass(None);
        }
        let mut same = None;
        let gate = self.gates.0.entry((workflow.clone(), written.id.clone())).or_default();
        if let Some(dedupe) = &written.dedupe {
            let json = dedupe.key.eval(&trigger_names(data)).ok();
            let json = json.and_then(|value| value.to_json().ok());
            let Some(json) = json else { return Verdict::Drop("dedupe.error") };
            let hash = blake3::hash(json.to_string().as_bytes());
            let mut key = [0; 16];
            key.copy_from_slice(&hash.as_bytes()[..16]);
            gate.seen.retain(|(_, at)| at.elapsed_ms(now) < dedupe.window_ms);
            if gate.seen.iter().any(|(known, _)| *known == key) {
                return Verdict::Drop("duplicate");
            }
            same = Some(key);
        }
        if let Some(throttle_ms) = written.throttle_ms
            && gate.last.is_some_and(|last| last.elapsed_ms(now) < throttle_ms)
        {
            return Verdict::Drop("throttled");
        }
        if let Some(debounce_ms) = written.debounce_ms {
            let due_ms = now.boot_ms.saturating_add(debounce_ms);
            gate.held = Some((data.clone(), same, now.boot, due_ms));
            return Verdict::Hold;
        }
        Verdict::Pass(same)
    }
}

/// A trigger as it is written, without a borrow of the engine.
struct Written {
    workflow: Arc<Workflow>,
    at: usize,
}

impl std::ops::Deref for Written {
    type Target = Trigger;

    fn deref(&self) -> &Trigger {
        &self.workflow.triggers[self.at]
    }
}

/// Nothing holds the trigger back, but perhaps its condition.
fn is_free(trigger: &Trigger) -> bool {
    trigger.dedupe.is_none() && trigger.throttle_ms.is_none() && trigger.debounce_ms.is_none()
}

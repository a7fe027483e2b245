//! What holds a trigger back: its `when`, `dedupe`, `throttle` and `debounce`, in this order.

use std::collections::VecDeque;

use openclaw_protocol::definition::Trigger;
use openclaw_protocol::expr::Value;
use openclaw_protocol::id::{TriggerId, WorkflowName};
use openclaw_protocol::limits::DEDUPE_KEYS;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::time::Stamp;

use crate::admission::trigger_names;
use crate::effect::{Decision, SeenKey, Told};
use crate::engine::Engine;
use crate::trigger::TriggerKey;

/// What the triggers remember of their firings.
#[derive(Debug, Default)]
pub(crate) struct Gates(VecMap<TriggerKey, Gate>);

#[derive(Debug, Default)]
struct Gate {
    /// When it last let one through.
    last: Option<Stamp>,
    /// The latest one that is held back, and when it is let go, in milliseconds of that boot.
    held: Option<(Value, u32, u64)>,
    /// Keys of firings, oldest first.
    seen: VecDeque<([u8; 16], Stamp)>,
}

/// What a gate says.
enum Verdict {
    Pass,
    /// Not now; perhaps later.
    Hold,
    /// Never, for this reason.
    Drop(&'static str),
}

impl Gates {
    /// When something that is held back is let go, in milliseconds of the boot at hand.
    pub(crate) fn deadline(&self, now: Stamp) -> Option<u64> {
        let held = self.0.values().filter_map(|gate| gate.held.as_ref());
        held.filter(|(_, boot, _)| *boot == now.boot).map(|(_, _, due_ms)| *due_ms).min()
    }

    fn due(&self, now: Stamp) -> Vec<TriggerKey> {
        let is_due = |gate: &Gate| {
            gate.held
                .as_ref()
                .is_some_and(|(_, boot, due_ms)| *boot == now.boot && *due_ms <= now.boot_ms)
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
    ) {
        let reason = match self.gate(workflow, trigger, data, now, decision) {
            Verdict::Pass => return self.let_through(workflow, trigger, data, now, decision),
            Verdict::Hold | Verdict::Drop("when") => return,
            Verdict::Drop(reason) => reason,
        };
        decision.told.push(Told::Dropped { workflow: workflow.clone(), reason });
    }

    /// Lets go what has been held back long enough.
    pub(crate) fn fire_held_back(&mut self, now: Stamp, decision: &mut Decision) {
        for key in self.gates.due(now) {
            let held = self.gates.0.get_mut(&key).and_then(|gate| gate.held.take());
            if let Some((data, ..)) = held {
                self.let_through(&key.0, &key.1, &data, now, decision);
            }
        }
    }

    fn let_through(
        &mut self,
        workflow: &WorkflowName,
        trigger: &TriggerId,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) {
        let key = (workflow.clone(), trigger.clone());
        self.gates.0.entry(key).or_default().last = Some(now);
        if let Err(refused) = self.fire(workflow, trigger, data, now, decision) {
            decision.told.push(Told::Dropped { workflow: workflow.clone(), reason: refused.code });
        }
    }

    fn gate(
        &mut self,
        workflow: &WorkflowName,
        trigger: &TriggerId,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) -> Verdict {
        let plan = self.deployed.get(workflow).map(|one| std::sync::Arc::clone(&one.plan));
        let known = plan
            .as_ref()
            .and_then(|plan| plan.workflow.triggers.iter().find(|one| one.id == *trigger));
        let Some(written) = known else { return Verdict::Drop("when") };
        if is_free(written) {
            return Verdict::Pass;
        }
        let names = trigger_names(data);
        if let Some(when) = &written.when {
            match when.eval(&names).map(|value| value.as_bool()) {
                Ok(Some(true)) => {}
                Ok(Some(false)) => return Verdict::Drop("when"),
                Ok(None) | Err(_) => return Verdict::Drop("when.error"),
            }
        }
        let gate = self.gates.0.entry((workflow.clone(), trigger.clone())).or_default();
        if let Some(dedupe) = &written.dedupe {
            let json = dedupe.key.eval(&names).ok().and_then(|value| value.to_json().ok());
            let Some(json) = json else { return Verdict::Drop("dedupe.error") };
            let hash = blake3::hash(json.to_string().as_bytes());
            let mut key = [0; 16];
            key.copy_from_slice(&hash.as_bytes()[..16]);
            gate.seen.retain(|(_, at)| at.elapsed_ms(now) < dedupe.window_ms);
            if gate.seen.iter().any(|(known, _)| *known == key) {
                return Verdict::Drop("duplicate");
            }
            gate.seen.push_back((key, now));
            if gate.seen.len() > DEDUPE_KEYS {
                gate.seen.pop_front();
            }
            let (workflow, trigger) = (workflow.clone(), trigger.clone());
            decision.seen.push(SeenKey { workflow, trigger, key, at: now });
        }
        if let Some(throttle_ms) = written.throttle_ms
            && gate.last.is_some_and(|last| last.elapsed_ms(now) < throttle_ms)
        {
            return Verdict::Drop("throttled");
        }
        if let Some(debounce_ms) = written.debounce_ms {
            let due_ms = now.boot_ms.saturating_add(debounce_ms);
            gate.held = Some((data.clone(), now.boot, due_ms));
            return Verdict::Hold;
        }
        Verdict::Pass
    }
}

/// Nothing holds the trigger back.
fn is_free(trigger: &Trigger) -> bool {
    trigger.when.is_none()
        && trigger.dedupe.is_none()
        && trigger.throttle_ms.is_none()
        && trigger.debounce_ms.is_none()
}

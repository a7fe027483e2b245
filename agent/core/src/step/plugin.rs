//! `plugin`: a call that a worker makes. It waits for a slot, runs, and its end is a fact.

use std::sync::Arc;

use openclaw_protocol::definition::{Effects, OnInterrupt, PluginCall};
use openclaw_protocol::expr::Value;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use openclaw_protocol::run::{RunError, RunEvent, StepPath};

use super::Work;
use crate::effect::{AttemptId, PluginTask, StopReason};
use crate::fact::{AttemptOutcome, TimerKind};
use crate::limits::{CRASHES_IN_ONE_BOOT, CRASHES_OF_MACHINE, KEY_BYTES, PLUGIN_VARS_BYTES};
use crate::plan::refers_to;
use crate::run::{Run, StepRef, Turn};
use crate::scope::{Ending, Stage};
use crate::timer::TimerKey;
use crate::{fault, key};

/// A call as every attempt of the step instance makes it. The input is evaluated once, so that
/// one idempotency key never goes with two inputs.
#[derive(Debug)]
pub(crate) struct Call {
    /// Place of the plugin's version among those that the run is pinned to.
    pub(crate) pin: usize,
    pub(crate) export: String,
    pub(crate) input: JsonText,
    /// What the receiver knows it by.
    pub(crate) key: String,
}

impl Turn<'_> {
    /// An attempt is ready for a worker slot.
    pub(super) fn queue_call(&mut self, at: &StepRef, call: &PluginCall) {
        if matches!(self.work_mut(at), Some(Work::None)) {
            match self.prepare(at, call) {
                Ok(prepared) => {
                    self.out.prepared = true;
                    self.set_work(at, Work::Plugin(Box::new(prepared)), Stage::Ready);
                }
                Err(error) => {
                    let path = self.run.path(at);
                    return self.fail_unbegun(at, &path, error);
                }
            }
        }
        self.make_ready(at);
    }

    fn make_ready(&mut self, at: &StepRef) {
        let priority = self.plan.step(at.ix).priority.unwrap_or(self.run.head.priority);
        let step = self.run.path(at);
        let Some(state) = self.step_state(at) else { return };
        state.stage = Stage::Ready;
        let Some(active) = &mut state.active else { return };
        active.started = None;
        let attempt = active.attempt;
        self.tell(RunEvent::StepQueued { step, attempt });
        self.out.slots.push((at.clone(), Some(priority)));
    }

    fn prepare(&self, at: &StepRef, call: &PluginCall) -> Result<Call, RunError> {
        let pins = &self.run.head.pins;
        let exact = call.reference();
        let found = pins
            .iter()
            .position(|(reference, _)| *reference == exact)
            .or_else(|| pins.iter().position(|(reference, _)| refers_to(reference, call)));
        let Some(place) = found else {
            let name = &call.plugin;
            let message =
                format!("no version of plugin `{name}` is pinned here; deploy the workflow again");
            return Err(fault::fault("plugin.missing", message));
        };
        let pin = &pins[place].1;
        let Some((_, export)) = pin.actions.iter().find(|(action, _)| *action == call.action)
        else {
            let message =
                format!("plugin `{}` {} has no action `{}`", pin.name, pin.version, call.action);
            return Err(fault::fault("plugin.missing", message));
        };
        let path = self.run.path(at);
        let names = self.run.names(at, &path.0, self.at);
        let input = call.with.eval_text(&names);
        let input = input.map_err(|failure| fault::template("with", &failure))?;
        if input.len() > limits::VALUE_BYTES {
            return Err(fault::payload("the plugin's input", input.len(), limits::VALUE_BYTES));
        }
        let key = match &self.plan.step(at.ix).idempotency_key {
            None => key::idempotency_key(&self.run.head.id, &path.0),
            Some(expr) => own_key(&names.value("idempotency_key", expr)?)?,
        };
        Ok(Call { pin: place, export: export.clone(), input, key })
    }

    /// A worker has the attempt.
    pub(crate) fn attempt_started(&mut self, path: &StepPath, attempt: u32) {
        let Some(at) = self.run.find(path) else { return };
        if !self.run.is_ready(&at, attempt) {
            return;
        }
        let now = self.at;
        let Some(state) = self.step_state(&at) else { return };
        state.stage = Stage::Running;
        let Some(active) = &mut state.active else { return };
        active.started = Some(now);
        let interrupted = active.interrupted;
        let bound = attempt_bound_ms(self.plan.step(at.ix).timeout_ms);
        self.arm(TimerKey::step(&at, TimerKind::AttemptTimeout), bound);
        let kind = self.plan.step(at.ix).kind.key().to_owned();
        self.tell(RunEvent::StepStarted { step: path.clone(), kind, attempt, interrupted });
    }

    /// A worker's attempt has ended. What does not match the attempt at hand is late or repeated.
    /// Its output is here where it has been read already.
    pub(crate) fn attempt_settled(
        &mut self,
        path: &StepPath,
        attempt: u32,
        outcome: &AttemptOutcome,
        read: Option<Value>,
    ) {
        let Some(at) = self.run.find(path) else { return };
        if !self.run.expects(&at, attempt) {
            return;
        }
        if self.run.stage(&at) == Some(Stage::Publishing) {
            let result = match outcome {
                AttemptOutcome::Succeeded { .. } => Ok(()),
                AttemptOutcome::Failed { error } => Err(error.clone()),
            };
            return self.published(&at, result);
        }
        match outcome {
            AttemptOutcome::Succeeded { output, vars } => {
                if let Some(vars) = vars {
                    self.run.plugin_vars = Some(vars.clone());
                }
                // What cannot be read was never accepted: only corruption can do that.
                let read = read.or_else(|| Value::read(output.as_str()).ok());
                self.attempt_ended(&at, Ok(read.unwrap_or(Value::Null)));
            }
            AttemptOutcome::Failed { error } => self.attempt_ended(&at, Err(error.clone())),
        }
    }

    /// Tells a running call to stop and gives it its grace.
    pub(crate) fn stop_attempt(&mut self, at: &StepRef, reason: StopReason) {
        let Some(active) = self.run.active(at) else { return };
        let attempt = self.run.attempt_id(at, active.attempt);
        self.out.stops.push((attempt, reason));
        self.arm(TimerKey::step(at, TimerKind::Grace), limits::CANCEL_GRACE_MS);
    }

    /// The agent was interrupted while the call was under way.
    pub(crate) fn interrupt(&mut self, at: &StepRef, unclean: bool) {
        let (boot, plan) = (self.at.boot, self.plan);
        let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) else {
            return;
        };
        if active.closing.is_some() {
            // It was to stop, and nothing of it is left.
            return self.attempt_ended(at, Err(interrupted("the agent was restarted")));
        }
        if unclean {
            if active.started.is_some_and(|started| started.boot == boot) {
                // Deaths under a boot that is over say nothing of this one.
                if active.died_in != boot {
                    active.deaths.0 = 0;
                    active.died_in = boot;
                }
                active.deaths.0 = active.deaths.0.saturating_add(1);
            } else {
                active.deaths.1 = active.deaths.1.saturating_add(1);
            }
        }
        let deaths = active.deaths;
        if deaths.0 >= CRASHES_IN_ONE_BOOT {
            active.is_final = true;
            let message = "crash_loop: the agent died each time this call was under way";
            return self.attempt_ended(at, Err(fault::fault("plugin.trap", message)));
        }
        if deaths.1 >= CRASHES_OF_MACHINE {
            active.is_final = true;
            let message = "the device went down each time this call was under way";
            return self.attempt_ended(at, Err(interrupted(message)));
        }
        active.interrupted = true;
        let step = plan.step(at.ix);
        match (step.effects, step.on_interrupt) {
            (Effects::Pure | Effects::Idempotent, _) => active.durable_start = true,
            (Effects::AtMostOnce, OnInterrupt::Retry) => {
                active.attempt = active.attempt.saturating_add(1);
            }
            (Effects::AtMostOnce, OnInterrupt::Fail) => {
                active.is_final = true;
                let message = "the agent was interrupted during the call, which must not be \
                               repeated; whether it took effect is unknown";
                return self.attempt_ended(at, Err(interrupted(message)));
            }
        }
        self.run.timers.remove(&TimerKey::step(at, TimerKind::AttemptTimeout));
        self.make_ready(at);
    }

    /// The agent was interrupted while the attempt waited for a slot, or so the journal says: the
    /// start of an attempt that may be repeated is written lazily. From now on it is not, so that
    /// a call that kills the agent gets counted.
    pub(crate) fn requeue(&mut self, at: &StepRef, unclean: bool) {
        let priority = self.plan.step(at.ix).priority.unwrap_or(self.run.head.priority);
        if let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) {
            active.durable_start |= unclean;
        }
        self.out.slots.push((at.clone(), Some(priority)));
    }

    /// A call's time is up, or its grace is.
    pub(crate) fn give_up(&mut self, at: &StepRef) {
        let closing = self.run.active(at).and_then(|active| active.closing.clone());
        let error = match closing {
            Some(Ending::Failed(error)) => error,
            Some(Ending::Cancelled) | None => fault::cancelled(),
        };
        self.attempt_ended(at, Err(error));
    }
}

impl Run {
    pub(crate) fn is_ready(&self, at: &StepRef, attempt: u32) -> bool {
        self.stage(at) == Some(Stage::Ready)
            && self.active(at).is_some_and(|active| active.attempt == attempt)
    }

    /// Whether the step waits for its run to be there, or to end.
    pub(crate) fn is_calling(&self, at: &StepRef, attempt: u32) -> bool {
        self.stage(at) == Some(Stage::Calling)
            && self.active(at).is_some_and(|active| active.attempt == attempt)
    }

    /// Whether this attempt is with a worker, the broker or another run.
    pub(crate) fn expects(&self, at: &StepRef, attempt: u32) -> bool {
        matches!(self.stage(at), Some(Stage::Running | Stage::Calling | Stage::Publishing))
            && self.active(at).is_some_and(|active| active.attempt == attempt)
    }

    pub(crate) fn attempt_id(&self, at: &StepRef, attempt: u32) -> AttemptId {
        AttemptId { run: self.head.id.clone(), step: self.path(at), attempt }
    }

    /// The call to make for an attempt that has just started.
    pub(crate) fn plugin_task(&self, at: &StepRef) -> Option<PluginTask> {
        let active = self.active(at)?;
        let Work::Plugin(call) = &active.work else { return None };
        let step = self.plan.step(at.ix);
        let attempt = self.attempt_id(at, active.attempt);
        Some(PluginTask {
            idempotency_key: call.key.clone(),
            attempt,
            workflow: self.plan.workflow.name.clone(),
            pin: Arc::clone(&self.head.pins.get(call.pin)?.1),
            export: call.export.clone(),
            input: call.input.clone(),
            vars: self.plugin_vars.clone(),
            interrupted: active.interrupted,
            effects: step.effects,
            traced: step.trace.is_some(),
            priority: step.priority.unwrap_or(self.head.priority),
            timeout_ms: attempt_bound_ms(step.timeout_ms),
        })
    }
}

/// Cuts an outcome to what a run may keep, before it is written down. Reads its output.
pub(crate) fn bounded(outcome: AttemptOutcome) -> (AttemptOutcome, Option<Value>) {
    match outcome {
        AttemptOutcome::Succeeded { output, vars } => {
            let vars_bytes = vars.as_ref().map_or(0, Vec::len);
            let error = if output.len() > limits::VALUE_BYTES {
                fault::payload("the plugin's output", output.len(), limits::VALUE_BYTES)
            } else if vars_bytes > PLUGIN_VARS_BYTES {
                fault::payload("the plugin's variables", vars_bytes, PLUGIN_VARS_BYTES)
            } else if let Ok(value) = Value::read(output.as_str()) {
                return (AttemptOutcome::Succeeded { output, vars }, Some(value));
            } else {
                // Where the value is used, a text that does not read would pass for `null`.
                fault::fault("plugin.output", "the output is not JSON, or nested too deeply")
            };
            (AttemptOutcome::Failed { error }, None)
        }
        AttemptOutcome::Failed { mut error } => {
            error.message = fault::cut(error.message);
            error.code = fault::cut(error.code);
            (AttemptOutcome::Failed { error }, None)
        }
    }
}

/// An idempotency key as the author gives it.
fn own_key(value: &Value) -> Result<String, RunError> {
    let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= KEY_BYTES);
    let plain = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    plain.map(str::to_owned).ok_or_else(|| {
        let message = format!(
            "idempotency_key: it must be a text of 1 to {KEY_BYTES} visible ASCII characters"
        );
        fault::fault("expr.type", message)
    })
}

fn interrupted(message: &str) -> RunError {
    fault::fault("interrupted", message)
}

/// The reader gives every call a bound; a definition without one gets the usual.
fn attempt_bound_ms(timeout_ms: Option<u64>) -> u64 {
    timeout_ms.unwrap_or(limits::ATTEMPT_TIMEOUT_MS)
}

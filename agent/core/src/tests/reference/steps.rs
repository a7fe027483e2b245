//! Steps: attempts and their ends.

use std::ops::Range;

use openclaw_protocol::definition::{DelayFor, Retry, Step, StepKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::StepStatus;
use serde_json::Value as Json;

use super::values::is_for;
use super::{Done, End, Fault, Mistake, Reader, Seen, Undo, Way, join};

impl Reader<'_> {
    pub(super) fn step(&mut self, step: &Step, prefix: &str, seen: &mut Seen) -> Done {
        let path = join(prefix, step);
        let start = self.reading.ended.len();
        let (done, attempts) = self.attempts(step, &path, seen);
        let inner = start..self.reading.ended.len();
        let (status, output, fault) = match &done {
            Done::Bypassed => (StepStatus::Bypassed, Value::Null, None),
            Done::Ran(_, End::Well(output)) => (StepStatus::Succeeded, output.clone(), None),
            Done::Ran(_, End::Failed(fault)) => (StepStatus::Failed, Value::Null, Some(fault)),
            Done::Ran(_, End::Over(_)) if matches!(step.kind, StepKind::Succeed { .. }) => {
                (StepStatus::Succeeded, Value::Null, None)
            }
            Done::Ran(_, End::Over(_)) => (StepStatus::Cancelled, Value::Null, None),
        };
        self.ended(step, &path, status, attempts, &output, fault, seen);
        let own = inner.end..inner.end + 1;
        self.reading.before.push((inner.clone(), own));
        if let (Some(steps), StepStatus::Succeeded) = (step.compensate, status) {
            let undo = Undo { steps, prefix: format!("{path}[undo]"), output, at: inner.end };
            self.sagas.last_mut().unwrap().push(undo);
        }
        done
    }

    pub(super) fn attempts(&mut self, step: &Step, path: &str, seen: &mut Seen) -> (Done, u32) {
        match step.condition.as_ref().map(|condition| self.truth(condition, seen)) {
            Some(Err(fault)) => return (Done::Ran(Way::Only, End::Failed(fault)), 1),
            Some(Ok(false)) => return (Done::Bypassed, 0),
            Some(Ok(true)) | None => {}
        }
        // The input is the same for all attempts, and one that has no value is not tried again.
        let with = if let StepKind::Plugin(call) = &step.kind {
            Some(&call.with)
        } else if let StepKind::Call(call) = &step.kind {
            Some(&call.with)
        } else {
            None
        };
        let input = with.map_or(Ok(Json::Null), |with| self.outer(with, seen, None));
        let input = match input {
            Ok(input) => input,
            Err(fault) => return (Done::Ran(Way::Only, End::Failed(fault)), 1),
        };
        let mut used = vec![0; step.retry.len()];
        let mut attempt = 1;
        let mut earlier: Option<Range<usize>> = None;
        loop {
            let start = self.reading.ended.len();
            let names = seen.names.len();
            let end = self.attempt(step, path, attempt, &input, seen);
            seen.names.truncate(names);
            let way = std::mem::replace(&mut self.way, Way::Only);
            let range = start..self.reading.ended.len();
            if let Some(earlier) = earlier.replace(range.clone()) {
                self.reading.before.push((earlier, range));
            }
            let end = match end {
                End::Well(output) => self.reshape(step, output, seen),
                End::Failed(_) | End::Over(_) => end,
            };
            let End::Failed(fault) = &end else { return (Done::Ran(way, end), attempt) };
            let Some(at) = self.policy(&step.retry, fault) else {
                return (Done::Ran(way, end), attempt);
            };
            let more = u32::from(self.mistake == Some(Mistake::OneRetryMore));
            if used[at] == step.retry[at].max_retries + more {
                return (Done::Ran(way, end), attempt);
            }
            used[at] += 1;
            attempt += 1;
        }
    }

    /// The first policy that is for this error.
    pub(super) fn policy(&self, policies: &[Retry], fault: &Fault) -> Option<usize> {
        if self.mistake == Some(Mistake::FirstPolicy) && !policies.is_empty() {
            return Some(0);
        }
        policies.iter().position(|policy| {
            let never = policy.not_errors.iter().any(|pattern| is_for(pattern, &fault.code));
            let wanted = if policy.errors.is_empty() {
                fault.retryable && is_for("*", &fault.code)
            } else {
                policy.errors.iter().any(|pattern| is_for(pattern, &fault.code))
            };
            wanted && !never
        })
    }

    /// `output` and `export`.
    pub(super) fn reshape(&mut self, step: &Step, output: Value, seen: &mut Seen) -> End {
        let reshaped = match &step.output {
            Some(template) => self.typed(template, seen, Some(&output)),
            None => Ok(output),
        };
        let reshaped = match reshaped {
            Ok(output) => output,
            Err(fault) => return End::Failed(fault),
        };
        let mut values = Vec::new();
        for (name, template) in &step.export {
            match self.typed(template, seen, Some(&reshaped)) {
                Ok(value) => values.push((name.clone(), value)),
                Err(fault) => return End::Failed(fault),
            }
        }
        seen.vars.extend(values.iter().cloned());
        seen.exported.extend(values);
        End::Well(reshaped)
    }

    pub(super) fn attempt(
        &mut self,
        step: &Step,
        path: &str,
        attempt: u32,
        input: &Json,
        seen: &mut Seen,
    ) -> End {
        let inner = if attempt == 1 { path.to_owned() } else { format!("{path}~{attempt}") };
        let end = match &step.kind {
            StepKind::Plugin(call) => Ok(self.plugin(&call.action, path, attempt, input)),
            StepKind::Call(call) => Ok(self.call(call.workflow.as_str(), input)),
            StepKind::Condition { expr, then, otherwise, .. } => {
                self.condition(expr, [*then, *otherwise], &inner, seen)
            }
            StepKind::Switch { subject, cases, default, has_default } => {
                let default = has_default.then_some(*default);
                self.switch(subject.as_ref(), cases, default, &inner, seen)
            }
            StepKind::Set(values) => self.set(values, seen),
            StepKind::Delay(delay) => match &delay.length {
                DelayFor::Fixed(_) => Ok(End::Well(Value::Null)),
                DelayFor::Computed(expr) | DelayFor::Until { at: expr, .. } => {
                    self.value(expr, seen).map(|_| End::Well(Value::Null))
                }
            },
            StepKind::Log { message, .. } => self.typed(message, seen, None).map(|message| {
                let message = message.as_str().unwrap_or_default().to_owned();
                self.reading.logs.push((path.to_owned(), message));
                End::Well(Value::Null)
            }),
            StepKind::Emit { data, .. } => {
                self.typed(data, seen, None).map(|_| End::Well(Value::Null))
            }
            StepKind::Parallel { mode, branches, named, concurrency } => {
                let in_turn = *concurrency == Some(1) || branches.len() == 1;
                Ok(self.parallel(*mode, branches, *named, in_turn, &inner, seen))
            }
            StepKind::Loop { test, max_iterations, collect, body, .. } => {
                self.looping(test, *max_iterations, collect.as_ref(), *body, &inner, seen)
            }
            StepKind::Foreach(foreach) => self.foreach(foreach, &inner, seen),
            StepKind::Try { body, catches, finally, .. } => {
                Ok(self.try_catch(*body, catches, *finally, &inner, seen))
            }
            StepKind::Sequence { body, compensation } => match compensation {
                Some(when) => Ok(self.saga(*body, when.on_failed, &inner, seen)),
                None => Ok(self.scope(*body, &inner, seen)),
            },
            StepKind::Succeed { outputs } => match outputs {
                Some(outputs) => self.outer(outputs, seen, None).map(|map| End::Over(Some(map))),
                None => Ok(End::Over(None)),
            },
            StepKind::Fail { code, .. } => self
                .typed(code, seen, None)
                .map(|code| End::Failed(Fault::new(code.as_str().unwrap_or_default()))),
            StepKind::Wait(_) | StepKind::Publish(_) | StepKind::Approval(_) => {
                unreachable!("what waits for the world is not read here")
            }
        };
        end.unwrap_or_else(End::Failed)
    }
}

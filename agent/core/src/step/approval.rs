//! `approval`: a decision of people. The first valid answer counts.

use openclaw_protocol::definition::{Approval, StepKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{RunEvent, StepPath};
use serde_json::json;

use super::{Begun, Work};
use crate::fact::TimerKind;
use crate::fault;
use crate::names;
use crate::run::{Run, StepRef, Turn};
use crate::scope::Stage;
use crate::timer::TimerKey;

/// What people have been asked.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) details: JsonText,
}

impl Turn<'_> {
    pub(super) fn ask_people(
        &mut self,
        at: &StepRef,
        path: &StepPath,
        approval: &Approval,
    ) -> Begun {
        let prompt = match self.run.names(at, &path.0, self.at).text("prompt", &approval.prompt) {
            Ok(prompt) => fault::cut(prompt),
            Err(error) => return Begun::Done(Err(error)),
        };
        let form: serde_json::Map<String, serde_json::Value> =
            approval.form.iter().map(|(name, spec)| (name.clone(), spec.schema.clone())).collect();
        let details = JsonText::of(&json!({
            "prompt": prompt,
            "roles": approval.roles,
            "choices": approval.choices,
            "form": form,
        }));
        let asked = Asked { details: details.clone() };
        self.set_work(at, Work::Approval(Box::new(asked)), Stage::Listening);
        self.tell_waiting(path, "approval", Some(details));
        self.remind_later(at, approval);
        Begun::Waits
    }

    fn remind_later(&mut self, at: &StepRef, approval: &Approval) {
        if let Some(remind_ms) = approval.remind_ms {
            self.arm(TimerKey::step(at, TimerKind::Remind), remind_ms);
        }
    }

    /// People are told once more.
    pub(crate) fn remind(&mut self, at: &StepRef) {
        let plan = self.plan;
        let StepKind::Approval(approval) = &plan.step(at.ix).kind else { return };
        let Some(Work::Approval(asked)) = self.work_mut(at) else { return };
        let (details, step) = (Some(asked.details.clone()), self.run.path(at));
        self.tell(RunEvent::StepWaiting { step, reason: "approval".to_owned(), details });
        self.remind_later(at, approval);
    }

    /// Somebody has answered.
    pub(crate) fn decided(&mut self, path: &StepPath, choice: &str, by: &str, form: &JsonText) {
        let Some(at) = self.run.find(path) else { return };
        if !self.run.is_asking(&at) {
            return;
        }
        let form = Value::from_json(&form.value());
        let result = answer(choice, Value::from(by), names::instant(self.at.wall_ms), form);
        self.attempt_ended(&at, Ok(result));
    }
}

impl Run {
    /// Whether a step instance waits for people's answer.
    pub(crate) fn is_asking(&self, at: &StepRef) -> bool {
        self.stage(at) == Some(Stage::Listening)
            && self.active(at).is_some_and(|active| matches!(active.work, Work::Approval(_)))
    }
}

/// What a choice looks like that nobody made.
pub(super) fn by_nobody(choice: &str) -> Value {
    answer(choice, Value::Null, Value::Null, Value::Null)
}

fn answer(choice: &str, by: Value, at: Value, form: Value) -> Value {
    names::object([("choice", Value::from(choice)), ("by", by), ("at", at), ("form", form)])
}

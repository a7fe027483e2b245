//! `call`: a run of another workflow, with a journal of its own.

use openclaw_protocol::definition::{Call, StepKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::id::RunId;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use openclaw_protocol::run::{RunError, StepPath};

use super::{Begun, Work};
use crate::fault;
use crate::names;
use crate::run::{ChildWish, StepRef, Turn};
use crate::scope::{Ending, Stage};

impl Turn<'_> {
    pub(super) fn call(&mut self, at: &StepRef, path: &StepPath, call: &Call) -> Begun {
        match self.call_inputs(at, path, call) {
            Ok(inputs) => {
                self.set_work(at, Work::Call(None), Stage::Calling);
                let attempt = self.run.active(at).map_or(1, |active| active.attempt);
                self.out.calls.push(ChildWish {
                    at: at.clone(),
                    attempt,
                    workflow: call.workflow.clone(),
                    inputs,
                    detached: call.detach,
                });
                Begun::Waits
            }
            Err(error) => Begun::Done(Err(error)),
        }
    }

    fn call_inputs(
        &self,
        at: &StepRef,
        path: &StepPath,
        call: &Call,
    ) -> Result<JsonText, RunError> {
        if u32::from(self.run.head.depth()) >= limits::CALL_DEPTH {
            let message = format!("runs call one another deeper than {}", limits::CALL_DEPTH);
            return Err(fault::fault("limit.depth", message));
        }
        let names = self.run.names(at, &path.0, self.at);
        let with = call.with.eval_typed(&names).map_err(|error| fault::template("with", &error))?;
        let inputs = JsonText::of(&with);
        if inputs.len() > limits::VALUE_BYTES {
            return Err(fault::payload("the inputs", inputs.len(), limits::VALUE_BYTES));
        }
        Ok(inputs)
    }

    /// The called run is there.
    pub(crate) fn child_started(&mut self, path: &StepPath, attempt: u32, child: &RunId) {
        let Some(at) = self.run.find(path) else { return };
        if !self.run.is_calling(&at, attempt) {
            return;
        }
        let StepKind::Call(call) = &self.plan.step(at.ix).kind else { return };
        if call.detach {
            let result = names::object([("run", Value::from(child.as_str()))]);
            return self.attempt_ended(&at, Ok(result));
        }
        self.set_work(&at, Work::Call(Some(child.clone())), Stage::Calling);
        let details = JsonText::of(&serde_json::json!({ "run": child.as_str() }));
        self.tell_waiting(path, "call", Some(details));
    }

    /// Ends a step that waits for its run: the run is told to end, and the step waits for that,
    /// unless it is to be left alone.
    pub(crate) fn close_call(&mut self, at: &StepRef, ending: Ending) {
        let StepKind::Call(call) = &self.plan.step(at.ix).kind else { return };
        let child = match self.work_mut(at) {
            Some(Work::Call(child)) => child.clone(),
            _ => None,
        };
        let error = ending.error();
        if !self.set_closing(at, ending) {
            return;
        }
        match child.filter(|_| !call.abandon) {
            Some(child) => self.out.cancels.push(child),
            None => self.attempt_ended(at, Err(error)),
        }
    }
}

//! The run as a whole: how it begins, how it is ended, and what it leaves.

use openclaw_protocol::expr::Value;
use openclaw_protocol::limits as shared;
use openclaw_protocol::run::{RunError, RunEvent, RunStatus};

use crate::run::{Final, MAIN_VIEW, Phase, StepRef, Turn, outer};
use crate::scope::{Ending, ScopeKey, Stage};
use crate::step::{Inside, Work, with_finally};
use crate::timer::TimerKey;
use crate::{fault, names, view};

impl Turn<'_> {
    pub(crate) fn began(&mut self) {
        if self.run.phase != Phase::Pending {
            return;
        }
        self.run.phase = Phase::Main;
        self.run.began = Some(self.at);
        self.tell(RunEvent::Began);
        if let Some(bound) = self.plan.workflow.timeout_ms {
            self.arm(TimerKey::run(), bound);
        }
        self.open_scope(self.plan.workflow.root, ScopeKey::from(""), None, MAIN_VIEW);
    }

    pub(crate) fn cancel(&mut self, force: bool) {
        self.tell(RunEvent::CancelRequested { force });
        self.run.cancelled = Some(force || self.run.cancelled == Some(true));
        if self.run.phase == Phase::Pending {
            self.settle_run(RunStatus::Cancelled, Value::Null, None);
            return;
        }
        if self.run.phase != Phase::Finally {
            self.close_scope(ScopeKey::from(""), Ending::Cancelled);
        }
        if force {
            self.break_shields();
            self.abandon_stopping();
        }
    }

    /// Ends what an ordinary cancellation leaves alone: `finally` blocks and compensations.
    fn break_shields(&mut self) {
        let own = if self.run.phase == Phase::Finally {
            Some(ScopeKey::from(""))
        } else {
            self.run.undoing.as_ref().and_then(|undoing| undoing.scope())
        };
        let shielded = self.run.live().filter_map(|(at, _)| match self.run.active(&at)?.inside() {
            Inside::Shielded(keys) => Some(keys),
            Inside::Nothing | Inside::Scopes(_) => None,
        });
        let keys: Vec<ScopeKey> = shielded.flatten().chain(own).collect();
        for key in keys {
            self.close_scope(key, Ending::Cancelled);
        }
    }

    /// There was no room for the run, and its workflow wants to see that.
    pub(crate) fn refused(&mut self, message: &str) {
        if self.run.phase == Phase::Pending {
            let error = fault::fault("limit.runs", message);
            self.settle_run(RunStatus::Failed, Value::Null, Some(error));
        }
    }

    /// Gives up on attempts that have been told to stop, without waiting for them.
    fn abandon_stopping(&mut self) {
        let live: Vec<(StepRef, Stage)> = self.run.live().collect();
        for (at, stage) in live {
            let Some(active) = self.run.active(&at).filter(|active| active.closing.is_some())
            else {
                continue;
            };
            match (stage, &active.work) {
                (Stage::Running, _) => self.attempt_ended(&at, Err(fault::cancelled())),
                // The run it waits for is told once more, and urgently.
                (Stage::Calling, Work::Call(Some(child))) => self.out.cancels.push(child.clone()),
                (_, _) => {}
            }
        }
    }

    pub(crate) fn hard_stop(&mut self) {
        self.run.hard_stop = true;
        let error = fault::fault(
            "limit.history",
            format!(
                "the run has settled {} steps, which is the most; split it into several runs",
                shared::SETTLED_STEPS
            ),
        );
        self.close_scope(ScopeKey::from(""), Ending::Failed(Box::new(error)));
    }

    /// The scope without an owner has ended: the root, or the workflow's `finally` or `on_failure`.
    /// One that was cancelled itself is told from one in which something else was, and failed.
    pub(crate) fn root_done(&mut self, outcome: Result<Value, RunError>, was_cancelled: bool) {
        match self.run.phase {
            Phase::OnFailure => {
                let error = self.run.error.as_deref().cloned();
                self.settle_run(RunStatus::Failed, Value::Null, error);
            }
            Phase::Compensating => {
                if let Some(undoing) = self.run.undoing.take() {
                    self.undone(None, undoing, outcome.is_ok());
                }
            }
            // A `succeed` ends it early, and that is no error; nor is that it was left out by force.
            Phase::Finally if was_cancelled => self.finally_done(Ok(Value::Null)),
            Phase::Finally => self.finally_done(outcome),
            Phase::Pending | Phase::Main | Phase::Settled(_) => self.main_done(outcome),
        }
    }

    /// The root scope has ended: `finally` follows, if there is one that may run.
    fn main_done(&mut self, outcome: Result<Value, RunError>) {
        let forced = self.run.hard_stop || self.run.cancelled == Some(true);
        let Some(scope) = self.plan.workflow.finally.filter(|_| !forced) else {
            return self.tidied(outcome);
        };
        let ends_well = self.run.succeeding.is_some();
        self.run.error = outcome.err().filter(|_| !ends_well).map(Box::new);
        // The run's own bound was for what may fail, not for tidying up after it.
        self.run.timers.remove(&TimerKey::run());
        self.arm(TimerKey::run_finally(), self.plan.workflow.finally_timeout_ms);
        self.run.phase = Phase::Finally;
        self.open_scope(scope, ScopeKey::from(""), None, MAIN_VIEW);
    }

    fn finally_done(&mut self, outcome: Result<Value, RunError>) {
        self.run.timers.remove(&TimerKey::run_finally());
        let before = self.run.error.take().map_or(Ok(Value::Null), |error| Err(*error));
        let mut outcome = with_finally(before, outcome);
        if outcome.is_ok() && self.run.cancelled.is_some() && self.run.succeeding.is_none() {
            outcome = Err(fault::cancelled());
        } else if outcome.is_err() {
            self.run.succeeding = None;
        }
        self.tidied(outcome);
    }

    /// The root scope and `finally` have ended.
    fn tidied(&mut self, outcome: Result<Value, RunError>) {
        let outcome = match self.run.succeeding.take() {
            Some(Some(outputs)) => bounded_outputs(outputs),
            Some(None) => self.outputs(),
            None => outcome.and_then(|_| self.outputs()),
        };
        let ending = match outcome {
            Ok(outputs) => return self.settle_run(RunStatus::Completed, outputs, None),
            Err(_) if self.run.cancelled.is_some() => Ending::Cancelled,
            Err(error) => Ending::Failed(Box::new(error)),
        };
        self.run.timers.remove(&TimerKey::run());
        self.run.phase = Phase::Compensating;
        if !self.compensate(None, self.plan.workflow.compensation, ending.clone()) {
            self.left_main(ending);
        }
    }

    /// The root scope has failed or was cancelled, and what could be undone is.
    pub(crate) fn left_main(&mut self, ending: Ending) {
        let error = match ending {
            Ending::Cancelled => return self.settle_run(RunStatus::Cancelled, Value::Null, None),
            Ending::Failed(error) => *error,
        };
        self.run.error = Some(Box::new(error.clone()));
        match self.plan.workflow.on_failure {
            Some(scope) if !self.run.hard_stop && self.run.cancelled.is_none() => {
                self.run.phase = Phase::OnFailure;
                self.open_scope(scope, ScopeKey::from(""), None, MAIN_VIEW);
            }
            Some(_) | None => self.settle_run(RunStatus::Failed, Value::Null, Some(error)),
        }
    }

    fn outputs(&self) -> Result<Value, RunError> {
        let names = self.run.names_in(MAIN_VIEW, None, "", self.at);
        let mut entries = Vec::new();
        for (name, template) in &self.plan.workflow.outputs {
            let value = names.fill(&format!("output `{name}`"), template).map_err(|error| {
                fault::fault("outputs.invalid", format!("{} ({})", error.message, error.code))
            })?;
            entries.push((name.as_str(), value));
        }
        bounded_outputs(names::object(entries))
    }

    fn settle_run(&mut self, status: RunStatus, outputs: Value, error: Option<RunError>) {
        let outputs = if outputs == Value::Null { names::object([]) } else { outputs };
        let outputs = outer(&outputs);
        self.run.phase = Phase::Settled(status);
        self.run.timers.clear();
        self.run.agenda.clear();
        self.run.scopes.clear();
        self.run.listening.clear();
        self.tell(RunEvent::Settled { status, outputs: outputs.clone(), error: error.clone() });
        self.out.settled = Some(Final { status, outputs, error });
    }
}

fn bounded_outputs(outputs: Value) -> Result<Value, RunError> {
    let bytes = view::size(&outputs)?;
    if bytes > shared::VALUE_BYTES {
        return Err(fault::payload("the run's outputs", bytes, shared::VALUE_BYTES));
    }
    Ok(outputs)
}

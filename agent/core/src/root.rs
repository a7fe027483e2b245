//! The run as a whole: how it begins, how it is ended, and what it leaves.

use openclaw_protocol::expr::Value;
use openclaw_protocol::limits as shared;
use openclaw_protocol::run::{RunError, RunEvent, RunStatus};

use crate::run::{Final, MAIN_VIEW, Phase, StepRef, Turn, outer};
use crate::scope::{Ending, ScopeKey, Stage};
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
        self.close_scope(ScopeKey::from(""), Ending::Cancelled);
        if force {
            self.abandon_stopping();
        }
    }

    /// Gives up on attempts that have been told to stop, without waiting for them.
    fn abandon_stopping(&mut self) {
        let running: Vec<StepRef> = self
            .run
            .live()
            .filter(|(_, stage)| *stage == Stage::Running)
            .map(|(at, _)| at)
            .collect();
        for at in running {
            if self.run.active(&at).is_some_and(|active| active.closing.is_some()) {
                self.attempt_ended(&at, Err(fault::cancelled()));
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
        self.close_scope(ScopeKey::from(""), Ending::Failed(error));
    }

    /// The scope without an owner has ended: the root, or the workflow's `on_failure`.
    pub(crate) fn root_done(&mut self, outcome: Result<Value, RunError>) {
        if self.run.phase == Phase::OnFailure {
            let error = self.run.error.as_deref().cloned();
            return self.settle_run(RunStatus::Failed, Value::Null, error);
        }
        let Err(error) = outcome else {
            return match self.outputs() {
                Ok(outputs) => self.settle_run(RunStatus::Completed, outputs, None),
                Err(error) => self.settle_run(RunStatus::Failed, Value::Null, Some(error)),
            };
        };
        if self.run.cancelled.is_some() {
            return self.settle_run(RunStatus::Cancelled, Value::Null, None);
        }
        self.run.error = Some(Box::new(error.clone()));
        match self.plan.workflow.on_failure {
            Some(scope) if !self.run.hard_stop => {
                self.run.phase = Phase::OnFailure;
                self.run.timers.remove(&TimerKey::run());
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
        let outputs = names::object(entries);
        let bytes = view::size(&outputs)?;
        if bytes > shared::VALUE_BYTES {
            return Err(fault::payload("the run's outputs", bytes, shared::VALUE_BYTES));
        }
        Ok(outputs)
    }

    fn settle_run(&mut self, status: RunStatus, outputs: Value, error: Option<RunError>) {
        let outputs = if outputs == Value::Null { names::object([]) } else { outputs };
        let outputs = outer(&outputs);
        self.run.phase = Phase::Settled(status);
        self.run.timers.clear();
        self.run.agenda.clear();
        self.run.scopes.clear();
        self.tell(RunEvent::Settled { status, outputs: outputs.clone(), error: error.clone() });
        self.out.settled = Some(Final { status, outputs, error });
    }
}

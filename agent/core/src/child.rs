//! Runs that runs call: how they begin, and how their ends come home.

use std::sync::Arc;

use openclaw_protocol::id::RunId;
use openclaw_protocol::run::{RunError, RunStatus};
use serde_json::json;

use crate::admission::Wanted;
use crate::effect::Decision;
use crate::engine::Engine;
use crate::fact::{AttemptOutcome, Fact, Parent};
use crate::fault;
use crate::run::{ChildWish, Final};

/// The origin of runs that a `call` made.
const CALL: &str = "call";

impl Engine {
    /// Starts the run that a `call` step wants, with the definition that was in force when the
    /// caller was accepted.
    pub(crate) fn start_child(&mut self, number: u64, wish: ChildWish, decision: &mut Decision) {
        let now = self.now;
        let Some(run) = self.runs.get(&number).map(|held| &held.run) else { return };
        let step = run.path(&wish.at);
        let parent = Parent {
            run: run.head.id.clone(),
            step: step.clone(),
            attempt: wish.attempt,
            depth: run.head.depth().saturating_add(1),
            detached: wish.detached,
        };
        let pinned = run.head.callees.iter().find(|one| one.workflow == wish.workflow);
        let pinned = pinned.map(|one| (Arc::clone(&one.plan), Arc::clone(&one.pins)));
        let data = json!({ "id": CALL, "kind": CALL, "run": parent.run, "step": step });
        let wanted = Wanted {
            priority: Some(run.head.priority),
            parent: Some(parent),
            pinned,
            ..Wanted::new(wish.workflow, CALL, &data, wish.inputs)
        };
        let attempt = wish.attempt;
        let fact = match self.accept(wanted, now, decision) {
            Ok(child) => Fact::ChildStarted { step, attempt, child },
            Err(refused) => {
                let code = match refused.code {
                    "queue_full" | "single" => "limit.runs",
                    other => other,
                };
                let error = fault::fault(code, refused.message);
                let outcome = AttemptOutcome::Failed { error };
                Fact::AttemptSettled { step, attempt, outcome }
            }
        };
        self.commit(number, fact, now, decision);
    }

    /// A `call` step is being ended, and the run it waits for with it.
    pub(crate) fn cancel_child(&mut self, number: u64, child: &RunId, decision: &mut Decision) {
        let now = self.now;
        let force = self.runs.get(&number).is_some_and(|held| held.run.cancelled == Some(true));
        let Some(child) = self.number_of(child) else { return };
        self.commit(child, Fact::CancelRequested { force }, now, decision);
    }

    /// A called run has ended: that is the end of the attempt that waits for it.
    pub(crate) fn child_ended(
        &mut self,
        parent: &Parent,
        outcome: AttemptOutcome,
        decision: &mut Decision,
    ) {
        let now = self.now;
        let Some(number) = self.number_of(&parent.run) else { return };
        let run = &self.runs[&number].run;
        let waits = run.find(&parent.step).is_some_and(|at| run.expects(&at, parent.attempt));
        if waits {
            let (step, attempt) = (parent.step.clone(), parent.attempt);
            self.commit(number, Fact::AttemptSettled { step, attempt, outcome }, now, decision);
        }
    }

    /// Whether a workflow is that of the caller, or of one further up.
    pub(crate) fn is_above(
        &self,
        parent: &Parent,
        workflow: &openclaw_protocol::id::WorkflowName,
    ) -> bool {
        let mut here = Some(parent);
        while let Some(parent) = here {
            let Some(number) = self.number_of(&parent.run) else { return false };
            let run = &self.runs[&number].run;
            if run.plan.workflow.name == *workflow {
                return true;
            }
            here = run.head.parent.as_deref();
        }
        false
    }
}

/// How a called run's end looks to the step that waits for it.
pub(crate) fn child_outcome(ended: &Final) -> AttemptOutcome {
    if ended.status == RunStatus::Completed {
        return AttemptOutcome::Succeeded { output: ended.outputs.clone(), vars: None };
    }
    let error = match &ended.error {
        // The step in it is one of the called run, and means nothing here.
        Some(error) => RunError { step: None, attempt: 0, ..error.clone() },
        None => fault::cancelled(),
    };
    AttemptOutcome::Failed { error }
}

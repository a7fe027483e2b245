//! Runs that cannot go on after a restart, because what was kept of them is damaged: each ends as
//! failed, with a last event and a result that say so, once.

use openclaw_agent_core::{Fact, FactRecord};
use openclaw_protocol::definition::{self, DefinitionHash, Priority};
use openclaw_protocol::id::WorkflowName;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::Report;
use openclaw_protocol::run::{RunError, RunEvent, RunEventRecord, RunResult, RunStatus};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use super::Brain;
use crate::store::{OpenRun, StoreError};

/// What stands for a workflow whose name is damaged as well.
const UNKNOWN: &str = "unknown";

impl Brain {
    /// Ends a run as failed. Its last fact, its last event and its result share the next commit, so
    /// that none is without the others.
    pub(super) fn end_broken(&mut self, open: &OpenRun, reason: &str) -> Result<(), StoreError> {
        let message = format!("run {} was ended, for it is damaged: {reason}", open.run);
        tracing::error!("{message}");
        let why = format!("what the device kept of the run is damaged: {reason}");
        let error = RunError::new("store.damaged", why);
        if let Some(result) = self.result_of_broken(open, error)? {
            let event = RunEventRecord {
                run: open.run.clone(),
                seq: self.views.end_seq(&open.run),
                at: self.now,
                event: RunEvent::Settled {
                    status: result.status,
                    outputs: result.outputs.clone(),
                    error: result.error.clone(),
                },
            };
            let packed = wire::pack(Kind::RunEvent, &event);
            self.tell_event(&event, packed);
            let body = wire::pack(Kind::RunResult, &result);
            self.pending.batch.records.push((Lane::Results, body));
            if let Some(view) = self.views.settle(&result) {
                self.pending.batch.views.push((result.run.clone(), view));
            }
        }
        let fact = Fact::Settled { status: RunStatus::Failed };
        self.pending
            .batch
            .facts
            .push((open.run.clone(), FactRecord { at: self.now, check: 0, fact }));
        self.report(Report::Security { code: "store.damaged".to_owned(), message });
        self.pending.needs_commit = true;
        Ok(())
    }

    /// What is left of the run tells who it was: its first fact, or else its definition.
    fn result_of_broken(
        &self,
        open: &OpenRun,
        error: RunError,
    ) -> Result<Option<RunResult>, StoreError> {
        let text = match self.store.definition(&open.definition) {
            Ok(text) => text,
            Err(e) => e.damage().map(|_| None)?,
        };
        let workflow = text.and_then(|text| definition::parse(&text).ok());
        let known = workflow.as_ref().map(|workflow| workflow.name.clone());
        let Some(name) = known.or_else(|| WorkflowName::parse(UNKNOWN).ok()) else {
            return Ok(None);
        };
        let mut result = RunResult {
            run: open.run.clone(),
            workflow: name,
            version: workflow.map(|workflow| workflow.version.clone()).unwrap_or_default(),
            definition: DefinitionHash::clone(&open.definition),
            trigger: UNKNOWN.to_owned(),
            request: None,
            priority: Priority::Normal,
            status: RunStatus::Failed,
            accepted: self.now,
            settled: self.now,
            inputs: JsonText::of(&serde_json::json!({})),
            outputs: JsonText::of(&serde_json::json!({})),
            error: Some(error),
            steps: 0,
        };
        if let Some(FactRecord { at, fact, .. }) = open.facts.first()
            && let Fact::Accepted { workflow, trigger, inputs, priority, request, .. } = fact
        {
            result.workflow = workflow.clone();
            result.trigger.clone_from(trigger);
            result.inputs = inputs.clone();
            result.priority = *priority;
            result.request.clone_from(request);
            result.accepted = *at;
        }
        Ok(Some(result))
    }
}

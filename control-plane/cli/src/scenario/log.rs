//! What the runs of a scenario told, folded for the trace and for the expectations.

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_protocol::definition::{LogLevel, Workflow};
use openclaw_protocol::id::RunId;
use openclaw_protocol::run::{RunError, RunEvent, RunEventRecord, RunStatus, StepStatus};
use serde_json::{Map as Object, Value as Json, json};

use crate::output::name_of;

/// A run, as far as it was told of.
#[derive(Debug)]
pub(crate) struct RunLog {
    /// Which.
    pub(crate) id: RunId,
    /// Of which workflow.
    pub(crate) workflow: Arc<Workflow>,
    /// When it was accepted, in milliseconds since the device was made.
    pub(crate) accepted_ms: u64,
    /// How it ended, and when.
    pub(crate) end: Option<End>,
    /// The last status that was told.
    pub(crate) status: RunStatus,
    /// Step instances in the order in which they settled.
    pub(crate) steps: Vec<StepLog>,
    /// What steps that are under way wait for.
    pub(crate) waiting: BTreeMap<String, String>,
    /// What `log` steps said.
    pub(crate) said: Vec<Said>,
    /// Scopes whose compensations were run, and whether all of them succeeded.
    pub(crate) compensated: Vec<(String, bool)>,
    /// Kind and first start of step instances that are under way.
    open: BTreeMap<String, (String, u64)>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// Its outputs.
    pub(crate) outputs: Json,
    /// Its error.
    pub(crate) error: Option<RunError>,
    /// When, in milliseconds since the device was made.
    pub(crate) at_ms: u64,
}

/// A step instance that has settled.
#[derive(Debug, Clone)]
pub(crate) struct StepLog {
    /// Which.
    pub(crate) path: String,
    /// The step kind's key.
    pub(crate) kind: String,
    /// How it ended.
    pub(crate) status: StepStatus,
    /// Attempts made.
    pub(crate) attempts: u32,
    /// Its first start, in milliseconds since the device was made; never started where absent.
    pub(crate) started_ms: Option<u64>,
    /// When it settled.
    pub(crate) settled_ms: u64,
    /// Its output, where it succeeded.
    pub(crate) output: Option<Json>,
    /// Its error, where it failed.
    pub(crate) error: Option<RunError>,
}

/// What a `log` step said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// How important.
    pub(crate) level: LogLevel,
    /// The text.
    pub(crate) message: String,
    /// What goes with it.
    pub(crate) fields: Json,
}

impl RunLog {
    /// A run that has just been accepted.
    #[must_use]
    pub(crate) fn new(id: RunId, workflow: Arc<Workflow>, accepted_ms: u64) -> Self {
        Self {
            id,
            workflow,
            accepted_ms,
            end: None,
            status: RunStatus::Pending,
            steps: Vec::new(),
            waiting: BTreeMap::new(),
            said: Vec::new(),
            compensated: Vec::new(),
            open: BTreeMap::new(),
        }
    }

    /// Takes in what the run told at a moment, in milliseconds since the device was made.
    pub(crate) fn take(&mut self, record: &RunEventRecord, at_ms: u64) {
        match &record.event {
            RunEvent::Began => self.status = RunStatus::Running,
            RunEvent::StepStarted { step, kind, .. } => {
                self.waiting.remove(&step.0);
                self.open.entry(step.0.clone()).or_insert_with(|| (kind.clone(), at_ms));
            }
            RunEvent::StepWaiting { step, reason, .. } => {
                self.waiting.insert(step.0.clone(), reason.clone());
            }
            RunEvent::StepSettled { step, status, attempts, output, error } => {
                self.waiting.remove(&step.0);
                let open = self.open.remove(&step.0);
                let (kind, started_ms) = match open {
                    Some((kind, at_ms)) => (kind, Some(at_ms)),
                    None => (self.kind_of(&step.0), None),
                };
                self.steps.push(StepLog {
                    path: step.0.clone(),
                    kind,
                    status: *status,
                    attempts: *attempts,
                    started_ms,
                    settled_ms: at_ms,
                    output: output.as_ref().map(|output| output.value()),
                    error: error.clone(),
                });
            }
            RunEvent::Logged { level, message, fields, .. } => self.said.push(Said {
                level: *level,
                message: message.clone(),
                fields: fields.value(),
            }),
            RunEvent::Compensated { step, complete } => {
                self.compensated.push((step.0.clone(), *complete));
            }
            RunEvent::Settled { status, outputs, error } => {
                self.status = *status;
                let (outputs, error) = (outputs.value(), error.clone());
                self.end = Some(End { outputs, error, at_ms });
            }
            RunEvent::Accepted { .. }
            | RunEvent::StepQueued { .. }
            | RunEvent::StepDelayed { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::Migrated { .. }
            | RunEvent::Stayed { .. } => {}
        }
    }

    /// The step instance that a path or the id of a step names: the last one that settled.
    #[must_use]
    pub(crate) fn step(&self, name: &str) -> Option<&StepLog> {
        let mut latest = self.steps.iter().rev();
        let exact = latest.clone().find(|step| step.path == name);
        exact.or_else(|| latest.find(|step| step.is(name)))
    }

    /// The lines of the trace for its steps, as objects.
    pub(crate) fn trace(&self) -> impl Iterator<Item = Json> {
        self.steps.iter().map(|step| step.line(self.accepted_ms))
    }

    /// The last line of the trace.
    #[must_use]
    pub(crate) fn trace_end(&self) -> Json {
        let mut run = Object::new();
        run.insert("status".to_owned(), json!(name_of(&self.status)));
        if let Some(end) = &self.end {
            run.insert("outputs".to_owned(), end.outputs.clone());
            if let Some(error) = &end.error {
                run.insert("error".to_owned(), error_json(error));
            }
            run.insert("ms".to_owned(), json!(end.at_ms.saturating_sub(self.accepted_ms)));
        }
        json!({ "run": run })
    }

    fn kind_of(&self, path: &str) -> String {
        let step = self.workflow.step_named(super::last_id(path));
        step.map_or_else(String::new, |step| step.kind.key().to_owned())
    }
}

impl StepLog {
    /// Whether a path or the id of a step names this instance.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.path == name || super::last_id(&self.path) == name
    }

    fn line(&self, zero_ms: u64) -> Json {
        let since = |at_ms: u64| at_ms.saturating_sub(zero_ms);
        let mut line = Object::new();
        line.insert("path".to_owned(), json!(self.path));
        line.insert("kind".to_owned(), json!(self.kind));
        line.insert("status".to_owned(), json!(name_of(&self.status)));
        line.insert("attempts".to_owned(), json!(self.attempts));
        line.insert("started_ms".to_owned(), json!(self.started_ms.map(since)));
        line.insert("settled_ms".to_owned(), json!(since(self.settled_ms)));
        if let Some(output) = &self.output {
            line.insert("output".to_owned(), output.clone());
        }
        if let Some(error) = &self.error {
            line.insert("error".to_owned(), error_json(error));
        }
        Json::Object(line)
    }
}

/// An error as the trace shows it.
#[must_use]
pub(crate) fn error_json(error: &RunError) -> Json {
    let mut shown = Object::new();
    shown.insert("code".to_owned(), json!(error.code));
    shown.insert("message".to_owned(), json!(error.message));
    if let Some(step) = &error.step {
        shown.insert("step".to_owned(), json!(step.0));
        shown.insert("attempt".to_owned(), json!(error.attempt));
    }
    shown.insert("retryable".to_owned(), json!(error.retryable));
    if let Some(details) = &error.details {
        shown.insert("details".to_owned(), details.value());
    }
    if !error.causes.is_empty() {
        shown.insert("causes".to_owned(), json!(error.causes));
    }
    Json::Object(shown)
}

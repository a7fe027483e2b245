//! The fold of a run's events into what is shown.

use serde_json::Value;

use super::tally::{self, Tally};
use super::{
    Run, RunError, RunEvent, RunEventRecord, RunStatus, StayedView, StepPath, StepStatus, StepView,
    UNHEARD, WaitView,
};
use crate::definition::Priority;
use crate::id::RunId;

impl Run {
    /// A run of which nothing has been heard.
    #[must_use]
    pub fn new(id: RunId) -> Self {
        Self {
            id,
            workflow: String::new(),
            version: String::new(),
            definition: String::new(),
            trigger: String::new(),
            request: None,
            priority: Priority::default(),
            status: RunStatus::Pending,
            inputs: Value::Object(serde_json::Map::new()),
            outputs: None,
            error: None,
            steps: Vec::new(),
            outputs_dropped: 0,
            steps_dropped: 0,
            last_seq: 0,
            accepted_wall_ms: None,
            settled_wall_ms: None,
            resumed: 0,
            stayed: None,
            tally: Tally::default(),
        }
    }

    /// Folds events, in the order of their numbers, into the run that the first one is of. `None`
    /// where there are none.
    #[must_use]
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a RunEventRecord>) -> Option<Self> {
        let mut events = events.into_iter().peekable();
        let mut run = Self::new(events.peek()?.run.clone());
        for record in events {
            run.apply(record);
        }
        Some(run)
    }

    /// Takes one more event in. Says whether it was news: an event with a number that is not above
    /// [`Run::last_seq`], or of another run, changes nothing, so that events may come again. Gaps
    /// are passed over; what they held stays unknown until a later event tells of it.
    ///
    /// What it costs does not grow with the number of steps, for a long run has many thousand.
    pub fn apply(&mut self, record: &RunEventRecord) -> bool {
        if record.run != self.id || record.seq <= self.last_seq {
            return false;
        }
        self.last_seq = record.seq;
        if self.status.is_settled() {
            return true;
        }
        let at = record.at.wall_ms;
        match &record.event {
            RunEvent::Accepted { .. } => {
                self.accepted(record);
                self.measure_head();
            }
            RunEvent::Began => self.status = RunStatus::Running,
            RunEvent::CancelRequested { .. }
            | RunEvent::Logged { .. }
            | RunEvent::Compensated { .. } => {}
            RunEvent::Resumed { .. } => self.resumed += 1,
            RunEvent::Migrated { version, definition } => {
                self.version.clone_from(version);
                self.definition.clone_from(&definition.0);
                self.stayed = None;
                self.measure_head();
            }
            RunEvent::Stayed { version, definition, reason } => {
                let (version, definition) = (version.clone(), definition.0.clone());
                self.stayed = Some(StayedView { version, definition, reason: reason.clone() });
                self.measure_head();
            }
            RunEvent::Settled { status, outputs, error } => {
                self.status = *status;
                self.outputs = Some(outputs.value());
                self.error.clone_from(error);
                self.settled_wall_ms = Some(at);
                self.measure_head();
                self.close_steps(Some(at));
            }
            RunEvent::StepQueued { step, .. }
            | RunEvent::StepStarted { step, .. }
            | RunEvent::StepDelayed { step, .. }
            | RunEvent::StepWaiting { step, .. }
            | RunEvent::StepSettled { step, .. } => {
                if self.status == RunStatus::Pending {
                    self.status = RunStatus::Running;
                }
                self.apply_to_step(step, &record.event, at);
            }
        }
        self.tell_delayed();
        self.keep_bounded();
        true
    }

    /// The run is over, as an event or somebody else has said: steps whose end was never told are
    /// shown as cancelled, with an error that says so ([`UNHEARD`]) unless they have one already.
    /// Nothing is at work in a run that is over; how far such a step came is not known.
    pub fn close_steps(&mut self, at_wall_ms: Option<i64>) {
        self.count_where_stale();
        for position in self.tally.open_positions() {
            let Some(view) = self.steps.get_mut(position) else { continue };
            view.close(at_wall_ms);
            self.tally.changed(position, view);
        }
        self.keep_bounded();
    }

    fn count_where_stale(&mut self) {
        if self.tally.is_stale(&self.steps) {
            self.tally.count_anew(&self.steps);
            self.measure_head();
        }
    }

    fn apply_to_step(&mut self, path: &StepPath, event: &RunEvent, at: i64) {
        self.count_where_stale();
        let position = self.tally.position(path).unwrap_or_else(|| {
            self.steps.push(StepView::new(path.clone()));
            self.tally.added(path);
            self.steps.len() - 1
        });
        if let Some(view) = self.steps.get_mut(position) {
            view.fold(event, at);
            self.tally.changed(position, view);
        }
    }

    /// What of the view is not steps changes twice in a run's life.
    fn measure_head(&mut self) {
        let steps = std::mem::take(&mut self.steps);
        let bytes = tally::json_bytes(&self);
        self.steps = steps;
        self.tally.set_head(bytes);
    }

    fn accepted(&mut self, record: &RunEventRecord) {
        let RunEvent::Accepted {
            workflow,
            version,
            definition,
            trigger,
            inputs,
            priority,
            request,
        } = &record.event
        else {
            return;
        };
        workflow.as_str().clone_into(&mut self.workflow);
        self.version.clone_from(version);
        self.definition.clone_from(&definition.0);
        self.trigger.clone_from(trigger);
        self.inputs = inputs.value();
        self.priority = *priority;
        self.request = request.as_ref().map(ToString::to_string);
        self.accepted_wall_ms = Some(record.at.wall_ms);
    }

    /// A run is delayed while steps wait for points in time and none is queued or under way. A
    /// composite step that has steps inside it under way or waiting does not count by itself.
    fn tell_delayed(&mut self) {
        if !matches!(self.status, RunStatus::Running | RunStatus::Delayed) {
            return;
        }
        let delayed = self.tally.is_delayed();
        self.status = if delayed { RunStatus::Delayed } else { RunStatus::Running };
    }

    /// Leaves out what is oldest and settled where the view would grow over its bounds. Where even
    /// that is not enough, for more steps are open than can be shown, the oldest of all go.
    fn keep_bounded(&mut self) {
        let Self { tally, steps, outputs_dropped, steps_dropped, .. } = self;
        if !tally.is_over(steps.len()) {
            return;
        }
        *outputs_dropped += tally.drop_outputs(steps);
        if tally.is_over(steps.len()) {
            let (outputs, gone) = tally.drop_steps(steps);
            *outputs_dropped += outputs;
            *steps_dropped += gone;
        }
    }
}

impl StepPath {
    /// Whether this instance is inside the composite instance `other`.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        let rest = self.0.strip_prefix(other.0.as_str());
        rest.is_some_and(|rest| rest.starts_with(tally::BELOW))
    }
}

impl StepView {
    fn new(path: StepPath) -> Self {
        Self {
            path,
            kind: String::new(),
            status: StepStatus::Queued,
            attempts: 0,
            output: None,
            error: None,
            started_wall_ms: None,
            settled_wall_ms: None,
            waiting: None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(
            self.status,
            StepStatus::Queued | StepStatus::Running | StepStatus::Delayed | StepStatus::Waiting
        )
    }

    fn fold(&mut self, event: &RunEvent, at: i64) {
        self.waiting = None;
        match event {
            RunEvent::StepQueued { .. } => self.status = StepStatus::Queued,
            RunEvent::StepStarted { kind, attempt, .. } => {
                self.kind.clone_from(kind);
                self.status = StepStatus::Running;
                self.attempts = self.attempts.max(*attempt);
                self.started_wall_ms.get_or_insert(at);
            }
            RunEvent::StepDelayed { attempt, error, .. } => {
                self.status = StepStatus::Delayed;
                self.attempts = self.attempts.max(*attempt);
                self.note(error.as_ref());
            }
            RunEvent::StepSettled { status, attempts, output, error, .. } => {
                self.status = *status;
                self.attempts = self.attempts.max(*attempts);
                self.output = output.as_ref().map(crate::json::JsonText::value);
                self.error = None;
                self.note(error.as_ref());
                self.settled_wall_ms = Some(at);
            }
            RunEvent::StepWaiting { reason, details, .. } => {
                self.status = StepStatus::Waiting;
                let details = details.as_ref().map(crate::json::JsonText::value);
                self.waiting = Some(WaitView { reason: reason.clone(), details });
            }
            RunEvent::Accepted { .. }
            | RunEvent::Began
            | RunEvent::CancelRequested { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::Logged { .. }
            | RunEvent::Compensated { .. }
            | RunEvent::Migrated { .. }
            | RunEvent::Stayed { .. }
            | RunEvent::Settled { .. } => {}
        }
    }

    /// The run ended without a word of this step's own end.
    fn close(&mut self, at_wall_ms: Option<i64>) {
        self.status = StepStatus::Cancelled;
        self.settled_wall_ms = at_wall_ms;
        self.waiting = None;
        self.error.get_or_insert_with(|| RunError {
            step: Some(self.path.clone()),
            attempt: self.attempts,
            ..RunError::new(UNHEARD, "the run is over, and how this step ended was never told")
        });
    }

    fn note(&mut self, error: Option<&RunError>) {
        if let Some(error) = error {
            self.error = Some(error.clone());
        }
    }
}

#[cfg(test)]
mod tests;

//! The fold of a run's events into what is shown.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Run, RunError, RunEvent, RunEventRecord, RunStatus, StepPath, StepStatus, StepView};
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
            last_seq: 0,
            accepted_wall_ms: None,
            settled_wall_ms: None,
            resumed: 0,
        }
    }

    /// Folds events, in the order of their numbers, into the run that the first one is of. `None`
    /// where there are none.
    #[must_use]
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a RunEventRecord>) -> Option<Self> {
        let mut events = events.into_iter().peekable();
        let mut run = Self::new(events.peek()?.run.clone());
        // A long run has many thousand steps: an index finds them and the status waits for the end.
        let mut index: BTreeMap<StepPath, usize> = BTreeMap::new();
        for record in events {
            let known = run.steps.len();
            run.fold(record, |_, path| index.get(path).copied());
            if let Some(step) = run.steps.get(known) {
                index.insert(step.path.clone(), known);
            }
        }
        run.tell_delayed();
        Some(run)
    }

    /// Takes one more event in. Says whether it was news: an event with a number that is not above
    /// [`Run::last_seq`], or of another run, changes nothing, so that events may come again. Gaps
    /// are passed over; what they held stays unknown until a later event tells of it.
    pub fn apply(&mut self, record: &RunEventRecord) -> bool {
        let is_new = self.fold(record, |steps, path| steps.iter().rposition(|s| s.path == *path));
        if is_new {
            self.tell_delayed();
        }
        is_new
    }

    /// Folds an event in, but for the difference between running and delayed.
    fn fold(
        &mut self,
        record: &RunEventRecord,
        find: impl FnOnce(&[StepView], &StepPath) -> Option<usize>,
    ) -> bool {
        if record.run != self.id || record.seq <= self.last_seq {
            return false;
        }
        self.last_seq = record.seq;
        if self.status.is_settled() {
            return true;
        }
        let at = record.at.wall_ms;
        match &record.event {
            RunEvent::Accepted { .. } => self.accepted(record),
            RunEvent::Began => self.status = RunStatus::Running,
            RunEvent::CancelRequested { .. } => {}
            RunEvent::Resumed { .. } => self.resumed += 1,
            RunEvent::Settled { status, outputs, error } => {
                self.status = *status;
                self.outputs = Some(outputs.value());
                self.error.clone_from(error);
                self.settled_wall_ms = Some(at);
            }
            RunEvent::StepQueued { step, .. }
            | RunEvent::StepStarted { step, .. }
            | RunEvent::StepDelayed { step, .. }
            | RunEvent::StepSettled { step, .. } => {
                if self.status == RunStatus::Pending {
                    self.status = RunStatus::Running;
                }
                let position = find(&self.steps, step).unwrap_or_else(|| {
                    self.steps.push(StepView::new(step.clone()));
                    self.steps.len() - 1
                });
                if let Some(view) = self.steps.get_mut(position) {
                    view.fold(&record.event, at);
                }
            }
        }
        true
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
        let open: Vec<&StepView> = self.steps.iter().filter(|step| step.is_open()).collect();
        let is_delayed = |step: &&StepView| step.status == StepStatus::Delayed;
        let holds_others =
            |step: &StepView| open.iter().any(|other| other.path.is_below(&step.path));
        let is_at_work =
            |step: &&StepView| step.status != StepStatus::Delayed && !holds_others(step);
        let delayed = open.iter().any(is_delayed) && !open.iter().any(is_at_work);
        self.status = if delayed { RunStatus::Delayed } else { RunStatus::Running };
    }
}

impl StepPath {
    /// Whether this instance is inside the composite instance `other`.
    #[must_use]
    pub fn is_below(&self, other: &Self) -> bool {
        let rest = self.0.strip_prefix(other.0.as_str());
        rest.is_some_and(|rest| rest.starts_with(['/', '[', '#']))
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
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.status, StepStatus::Queued | StepStatus::Running | StepStatus::Delayed)
    }

    fn fold(&mut self, event: &RunEvent, at: i64) {
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
            RunEvent::Accepted { .. }
            | RunEvent::Began
            | RunEvent::CancelRequested { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::Settled { .. } => {}
        }
    }

    fn note(&mut self, error: Option<&RunError>) {
        if let Some(error) = error {
            self.error = Some(error.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::DefinitionHash;
    use crate::id::WorkflowName;
    use crate::json::JsonText;
    use crate::time::{ClockTrust, Stamp};

    fn run_id() -> RunId {
        RunId::parse("0123456789ab-1").unwrap()
    }

    /// Numbers events from 1, a second apart.
    fn told(events: Vec<RunEvent>) -> Vec<RunEventRecord> {
        let record = |(n, event): (usize, RunEvent)| {
            let seq = u32::try_from(n + 1).unwrap();
            let ms = u64::from(seq) * 1000;
            let wall_ms = i64::from(seq) * 1000;
            let at = Stamp { boot: 1, boot_ms: ms, wall_ms, trust: ClockTrust::Synced };
            RunEventRecord { run: run_id(), seq, at, event }
        };
        events.into_iter().enumerate().map(record).collect()
    }

    fn accepted() -> RunEvent {
        RunEvent::Accepted {
            workflow: WorkflowName::parse("pump").unwrap(),
            version: "3".into(),
            definition: DefinitionHash("ab".into()),
            trigger: "tick".into(),
            inputs: JsonText::parse("{\"temp\":81.0}").unwrap(),
            priority: Priority::High,
            request: None,
        }
    }

    fn path(text: &str) -> StepPath {
        StepPath(text.into())
    }

    fn queued(step: &str, attempt: u32) -> RunEvent {
        RunEvent::StepQueued { step: path(step), attempt }
    }

    fn started(step: &str, kind: &str, attempt: u32, interrupted: bool) -> RunEvent {
        RunEvent::StepStarted { step: path(step), kind: kind.into(), attempt, interrupted }
    }

    fn delayed(step: &str, attempt: u32, error: Option<RunError>) -> RunEvent {
        RunEvent::StepDelayed { step: path(step), attempt, wait_ms: 60_000, error }
    }

    fn step_settled(step: &str, status: StepStatus, attempts: u32) -> RunEvent {
        let output = (status == StepStatus::Succeeded).then(|| JsonText::parse("21").unwrap());
        RunEvent::StepSettled { step: path(step), status, attempts, output, error: None }
    }

    fn settled(status: RunStatus) -> RunEvent {
        RunEvent::Settled { status, outputs: JsonText::parse("{}").unwrap(), error: None }
    }

    fn fault(code: &str) -> RunError {
        let (message, step) = ("no".into(), None);
        RunError { code: code.into(), message, step, attempt: 1, retryable: true }
    }

    /// A run with a retry, an interruption and a nested delay.
    fn eventful() -> Vec<RunEventRecord> {
        told(vec![
            accepted(),
            RunEvent::Began,
            queued("read", 1),
            started("read", "plugin", 1, false),
            delayed("read", 1, Some(fault("timeout"))),
            queued("read", 2),
            started("read", "plugin", 2, false),
            RunEvent::Resumed { unclean: true },
            started("read", "plugin", 2, true),
            step_settled("read", StepStatus::Succeeded, 2),
            started("cool", "loop", 1, false),
            delayed("cool#0/wait", 0, None),
            step_settled("cool#0/wait", StepStatus::Succeeded, 0),
            step_settled("cool", StepStatus::Succeeded, 1),
            settled(RunStatus::Completed),
        ])
    }

    #[test]
    fn a_retry_an_interruption_and_a_nested_delay() {
        let mut run = Run::new(run_id());
        let statuses: Vec<RunStatus> = eventful()
            .iter()
            .map(|record| {
                assert!(run.apply(record));
                run.status
            })
            .collect();
        use RunStatus::{Completed, Delayed, Pending, Running};
        let expected = [
            Pending, Running, Running, Running, Delayed, Running, Running, Running, Running,
            Running, Running, Delayed, Running, Running, Completed,
        ];
        assert_eq!(statuses, expected);
        assert_eq!((run.workflow.as_str(), run.priority, run.resumed), ("pump", Priority::High, 1));
        assert_eq!(run.inputs, serde_json::json!({"temp": 81.0}));
        assert_eq!((run.accepted_wall_ms, run.settled_wall_ms), (Some(1_000), Some(15_000)));
        let read = &run.steps[0];
        assert_eq!(
            (read.path.0.as_str(), read.kind.as_str(), read.attempts),
            ("read", "plugin", 2)
        );
        assert_eq!((read.started_wall_ms, read.settled_wall_ms), (Some(4_000), Some(10_000)));
        assert_eq!((&read.output, &read.error), (&Some(serde_json::json!(21)), &None));
    }

    #[test]
    fn both_ways_to_fold_agree_and_repeats_change_nothing() {
        let events = eventful();
        for length in 1..=events.len() {
            let part = &events[..length];
            let whole = Run::from_events(part).unwrap();
            let mut run = Run::new(run_id());
            for record in part {
                run.apply(record);
                for again in part.iter().filter(|again| again.seq <= record.seq) {
                    assert!(!run.apply(again), "{}", again.seq);
                }
            }
            assert_eq!(run, whole);
        }
        assert_eq!(Run::from_events(&[]), None);
    }

    #[test]
    fn gaps_are_passed_over() {
        let events = eventful();
        for missing in 0..events.len() {
            let mut part = events.clone();
            part.remove(missing);
            let run = Run::from_events(&part).unwrap();
            let last = missing == events.len() - 1;
            assert_eq!(run.status.is_settled(), !last, "without {}", missing + 1);
            assert_eq!(run.steps.len(), 3, "without {}", missing + 1);
        }
        let mut late = Run::from_events(&events[5..]).unwrap();
        assert!(!late.apply(&events[0]), "too late");
        assert_eq!((late.workflow.as_str(), late.status), ("", RunStatus::Completed));
    }

    #[test]
    fn a_failed_attempt_shows_its_error_until_the_step_is_settled() {
        let mut run = Run::from_events(&eventful()[..7]).unwrap();
        assert_eq!(run.steps[0].error.as_ref().map(|e| e.code.as_str()), Some("timeout"));
        let error = Some(fault("plugin.error"));
        let failed = RunEvent::StepSettled {
            step: path("read"),
            status: StepStatus::Failed,
            attempts: 2,
            output: None,
            error,
        };
        let events = told([vec![RunEvent::Began; 7], vec![failed]].concat());
        run.apply(&events[7]);
        assert_eq!(run.steps[0].error.as_ref().map(|e| e.code.as_str()), Some("plugin.error"));
        assert_eq!(run.steps[0].status, StepStatus::Failed);
    }

    #[test]
    fn a_cancelled_run_stays_cancelled() {
        let events = told(vec![
            accepted(),
            RunEvent::Began,
            started("a", "plugin", 1, false),
            RunEvent::CancelRequested { force: false },
            step_settled("a", StepStatus::Cancelled, 1),
            settled(RunStatus::Cancelled),
            started("a", "plugin", 2, false),
        ]);
        let run = Run::from_events(&events).unwrap();
        assert_eq!(run.status, RunStatus::Cancelled);
        assert_eq!((run.steps[0].status, run.steps[0].attempts), (StepStatus::Cancelled, 1));
        assert_eq!((run.last_seq, run.settled_wall_ms), (7, Some(6_000)));
    }

    #[test]
    fn a_run_is_delayed_only_if_nothing_else_is_at_work() {
        let mut events = vec![
            RunEvent::Began,
            started("both", "parallel", 1, false),
            delayed("both[one]/wait", 0, None),
            queued("both[two]/call", 1),
        ];
        assert_eq!(Run::from_events(&told(events.clone())).unwrap().status, RunStatus::Running);
        events.push(delayed("both[two]/call", 1, None));
        assert_eq!(Run::from_events(&told(events.clone())).unwrap().status, RunStatus::Delayed);
        // `bother` is no part of `both`.
        events.push(started("bother", "plugin", 1, false));
        assert_eq!(Run::from_events(&told(events)).unwrap().status, RunStatus::Running);
    }

    #[test]
    fn events_of_another_run_are_ignored() {
        let mut run = Run::new(RunId::parse("0123456789ab-2").unwrap());
        assert!(!run.apply(&eventful()[0]));
        assert_eq!(run, Run::new(RunId::parse("0123456789ab-2").unwrap()));
    }
}

//! How an attempt ends: another one, or the step settles and its edges with it.

use openclaw_protocol::definition::{EdgeKind, StepIx, StepKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use openclaw_protocol::run::{RunError, RunEvent, StepStatus};

use crate::fact::TimerKind;
use crate::run::{StepRef, Task, Turn, has_result, outer};
use crate::scope::{Ending, Leaving, Stage};
use crate::timer::TimerKey;
use crate::{key, retry, view};

/// What a settled step means for its scope.
pub(crate) enum Follows {
    /// Nothing: its ways are dead, or the scope is ending.
    Nothing,
    /// These of its edges are taken, and these are not.
    Edges(Vec<(StepIx, bool)>),
    /// The scope fails with this.
    Failure(RunError),
}

impl Turn<'_> {
    /// An attempt of a step, or a composite's run through its scopes, is over. If the step was
    /// being ended from outside, that decides; only a plugin's success that came in time counts
    /// all the same, because what it did has been done.
    pub(crate) fn attempt_ended(&mut self, at: &StepRef, result: Result<Value, RunError>) {
        self.disarm(at, Some(TimerKind::TotalTimeout));
        self.run.listening.remove(at);
        let is_plugin = matches!(self.plan.step(at.ix).kind, StepKind::Plugin(_));
        let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) else {
            return;
        };
        let result = match (active.closing.take(), result) {
            (None, result) => result,
            (Some(_), Ok(value)) if is_plugin => Ok(value),
            (Some(Ending::Failed(error)), _) => Err(*error),
            (Some(Ending::Cancelled), _) => {
                let attempts = active.attempts_made();
                return self.settle(at, StepStatus::Cancelled, attempts, None, Follows::Nothing);
            }
        };
        match result {
            Ok(value) => {
                if is_from_outside(&self.plan.step(at.ix).kind) {
                    self.out.results.push((self.run.path(at), value.clone()));
                }
                self.succeed(at, value);
            }
            Err(error) => self.fail(at, error),
        }
    }

    fn succeed(&mut self, at: &StepRef, raw: Value) {
        let Some(active) = self.run.active(at) else { return };
        let (attempts, choice) = (active.attempt, active.choice());
        let kept = self.keep_result(at, raw, attempts).and_then(|text| {
            self.register_undo(at)?;
            Ok((text, self.edges_of(at, Leaving::Well(choice))?))
        });
        match kept {
            Ok((text, edges)) => {
                let follows = Follows::Edges(edges);
                self.settle_as(at, StepStatus::Succeeded, attempts, None, text, follows);
            }
            Err(error) => self.fail(at, error),
        }
    }

    /// Keeps the result, reshaped as the step wants it, and the variables it exports. Gives its text
    /// where it is at hand.
    fn keep_result(
        &mut self,
        at: &StepRef,
        raw: Value,
        attempts: u32,
    ) -> Result<Option<JsonText>, RunError> {
        let step = self.plan.step(at.ix);
        let status = StepStatus::Succeeded;
        let view_id = self.run.view_of(at);
        let mut text =
            self.view_mut(view_id, |view| view.record(at.ix, status, raw, None, attempts))?;
        if let Some(template) = &step.output {
            let path = self.run.path(at);
            let raw = self.output_of(at);
            let mut names = self.run.names(at, &path.0, self.at);
            names.output = raw.as_ref();
            let output = names.fill("output", template)?;
            text =
                self.view_mut(view_id, |view| view.record(at.ix, status, output, None, attempts))?;
        }
        if step.export.is_empty() {
            return Ok(text);
        }
        let (path, output) = (self.run.path(at), self.output_of(at));
        let mut names = self.run.names(at, &path.0, self.at);
        names.output = output.as_ref();
        let mut values = Vec::with_capacity(step.export.len());
        for (name, template) in &step.export {
            values.push((name.clone(), names.fill(&format!("export `{name}`"), template)?));
        }
        self.view_mut(view_id, |view| view.assign(values, true))?;
        Ok(text)
    }

    fn view_mut<T>(&mut self, id: u32, change: impl FnOnce(&mut view::View) -> T) -> T {
        change(self.run.views.entry(id).or_default())
    }

    /// An attempt has failed: wait and try again, or fail for good.
    pub(crate) fn fail(&mut self, at: &StepRef, mut error: RunError) {
        let (plan, now) = (self.plan, self.at);
        let step = plan.step(at.ix);
        let path = self.run.path(at);
        let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) else {
            return;
        };
        if error.step.is_none() {
            error.step = Some(path.clone());
            error.attempt = active.attempt;
        }
        let attempt = active.attempt;
        let again = if active.is_final { None } else { active.again(&step.retry, &error, now) };
        let ending = self.run.scopes.get(&at.scope).is_some_and(|scope| scope.ending.is_some());
        if let Some((policy, retries)) = again.filter(|_| !ending) {
            let (seed, id) = (self.run.head.seed, &self.run.head.id);
            let draw = |bound| key::jitter(seed, id, &path.0, retries, bound);
            let wait_ms = retry::wait_ms(policy, retries, draw);
            self.set_stage(at, Stage::Retrying);
            self.arm(TimerKey::step(at, TimerKind::Retry), wait_ms);
            let event = RunEvent::StepDelayed { step: path, attempt, wait_ms, error: Some(error) };
            return self.tell(event);
        }
        self.fail_for_good(at, error, attempt);
    }

    fn fail_for_good(&mut self, at: &StepRef, error: RunError, attempts: u32) {
        let step = self.plan.step(at.ix);
        let leaving = if step.continue_on_error {
            Some(Leaving::Forgiven)
        } else if step.edges.iter().any(|edge| matches!(edge.kind, EdgeKind::OnFailure)) {
            Some(Leaving::Caught)
        } else {
            None
        };
        self.record(at, StepStatus::Failed, Some(error.clone()), attempts);
        let edges = leaving.map(|leaving| self.edges_of(at, leaving));
        match edges {
            Some(Ok(edges)) => {
                let follows = Follows::Edges(edges);
                self.settle(at, StepStatus::Failed, attempts, Some(error), follows);
            }
            Some(Err(worse)) => {
                let follows = Follows::Failure(worse.clone());
                self.settle(at, StepStatus::Failed, attempts, Some(worse), follows);
            }
            None => {
                let follows = Follows::Failure(error.clone());
                self.settle(at, StepStatus::Failed, attempts, Some(error), follows);
            }
        }
    }

    /// Settles a step; what follows from it happens in the scope.
    pub(crate) fn settle(
        &mut self,
        at: &StepRef,
        status: StepStatus,
        attempts: u32,
        error: Option<RunError>,
        follows: Follows,
    ) {
        self.settle_as(at, status, attempts, error, None, follows);
    }

    /// As [`Self::settle`], where the text of the output is at hand.
    fn settle_as(
        &mut self,
        at: &StepRef,
        status: StepStatus,
        attempts: u32,
        error: Option<RunError>,
        text: Option<JsonText>,
        follows: Follows,
    ) {
        self.disarm(at, None);
        if status != StepStatus::Succeeded {
            self.record(at, status, error.clone(), attempts);
        }
        let output = self.output_of(at).filter(|_| status == StepStatus::Succeeded);
        // A bare `set` has no result, which is not the same as the result `null`.
        let step = self.plan.step(at.ix);
        let is_set = matches!(step.kind, StepKind::Set(_)) && step.output.is_none();
        if let Some(state) = self.step_state(at) {
            state.stage = Stage::Settled;
            state.active = None;
        }
        let mut marking = false;
        if let Some(scope) = self.run.scopes.get_mut(&at.scope) {
            marking = scope.ending.is_none();
            if let Some(output) = &output
                && has_result(status)
                && !is_set
            {
                scope.result = output.clone();
            }
        }
        let step = self.run.path(at);
        let output = output.as_ref().filter(|_| !is_set);
        let output = output.map(|output| text.unwrap_or_else(|| outer(output)));
        self.tell(RunEvent::StepSettled { step, status, attempts, output, error });
        self.run.settled_steps = self.run.settled_steps.saturating_add(1);
        self.count_history();
        match follows {
            Follows::Edges(edges) if marking => self.mark_edges(&at.scope, edges),
            Follows::Failure(error) => {
                self.close_scope(at.scope.clone(), Ending::Failed(Box::new(error)));
            }
            Follows::Edges(_) | Follows::Nothing => {}
        }
        // Last, so that the scope is not done before its ending is noted.
        self.count_down(&at.scope);
    }

    /// Settles a step that never was under way: skipped, or cancelled before its turn.
    pub(crate) fn settle_idle(&mut self, at: &StepRef, status: StepStatus) {
        self.settle(at, status, 0, None, Follows::Nothing);
    }

    /// Counts what a run may have only so many of: settled steps and iterations.
    pub(crate) fn count_history(&mut self) {
        self.run.history = self.run.history.saturating_add(1);
        if self.run.history == limits::SETTLED_STEPS {
            self.run.agenda.push_front(Task::HardStop);
        }
    }

    pub(crate) fn set_stage(&mut self, at: &StepRef, stage: Stage) {
        if let Some(state) = self.step_state(at) {
            state.stage = stage;
        }
    }

    pub(crate) fn record(
        &mut self,
        at: &StepRef,
        status: StepStatus,
        error: Option<RunError>,
        attempts: u32,
    ) {
        let view = self.run.view_of(at);
        // `null` is smaller than any bound, so it is always kept.
        let kept =
            self.view_mut(view, |view| view.record(at.ix, status, Value::Null, error, attempts));
        debug_assert!(kept.is_ok(), "null is always kept");
    }

    pub(crate) fn output_of(&self, at: &StepRef) -> Option<Value> {
        let view = self.run.view_of(at);
        self.run.views.get(&view)?.result(at.ix).map(|result| result.output.clone())
    }
}

/// Whether only the world outside, or time, can give the result of such a step.
fn is_from_outside(kind: &StepKind) -> bool {
    match kind {
        StepKind::Plugin(_)
        | StepKind::Delay(_)
        | StepKind::Wait(_)
        | StepKind::Call(_)
        | StepKind::Publish(_)
        | StepKind::Approval(_) => true,
        StepKind::Condition { .. }
        | StepKind::Set(_)
        | StepKind::Switch { .. }
        | StepKind::Parallel { .. }
        | StepKind::Loop { .. }
        | StepKind::Foreach(_)
        | StepKind::Emit { .. }
        | StepKind::Try { .. }
        | StepKind::Sequence { .. }
        | StepKind::Log { .. }
        | StepKind::Succeed { .. }
        | StepKind::Fail { .. } => false,
    }
}

//! Steps under way: how one is launched, and the table of step kinds.
//!
//! One file per kind. A kind has a variant of [`Work`] if it keeps something while it is under way,
//! and a line in [`Turn::begin_attempt`].

mod approval;
mod call;
mod condition;
mod delay;
mod end;
mod foreach;
mod looping;
mod parallel;
mod plugin;
mod publish;
mod say;
mod sequence;
mod set;
mod switch;
mod try_catch;
mod wait;

use openclaw_protocol::definition::{Retry, StepKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::id::RunId;
use openclaw_protocol::run::{RunError, RunEvent, StepPath, StepStatus};
use openclaw_protocol::time::Stamp;

use crate::fact::TimerKind;
use crate::names::LoopAt;
use crate::retry;
use crate::run::{StepRef, Turn};
use crate::scope::{Choice, Ending, Leaving, ScopeKey, ScopeState, Stage};
use crate::settle::Follows;
use crate::timer::TimerKey;

pub(crate) use approval::Asked;
pub(crate) use foreach::Each;
pub(crate) use looping::Looping;
pub(crate) use parallel::{Ended, Parallel};
pub(crate) use plugin::{Call, bounded};
pub(crate) use sequence::{Saga, UNDO, Undo, Undoing};
pub(crate) use try_catch::{Part, Trying, with_finally};
pub(crate) use wait::{Source, Waiting};

/// A step instance between its launch and its settlement.
#[derive(Debug)]
pub(crate) struct Active {
    /// Of the attempt at hand, from 1.
    pub(crate) attempt: u32,
    /// How many retries each policy has granted, by its place. Not the same as the attempt's number
    /// less one: interruptions make attempts too, but bad power must not use up the retries.
    pub(crate) retries: Vec<u32>,
    /// When the step was launched.
    pub(crate) since: Stamp,
    /// No further attempt, whatever the policy says.
    pub(crate) is_final: bool,
    /// Why it is being ended from outside.
    pub(crate) closing: Option<Ending>,
    /// The attempt was under way when the agent was interrupted.
    pub(crate) interrupted: bool,
    /// The start of the attempt must be durable before the call.
    pub(crate) durable_start: bool,
    /// Interruptions of this attempt: deaths of the process under one boot, and of the machine.
    pub(crate) deaths: (u8, u8),
    /// The boot under which the process died.
    pub(crate) died_in: u32,
    /// When the attempt was handed out.
    pub(crate) started: Option<Stamp>,
    pub(crate) work: Work,
}

/// What a kind keeps while one of its steps is under way.
#[derive(Debug)]
pub(crate) enum Work {
    /// Nothing yet, or nothing at all.
    None,
    /// A call.
    Plugin(Box<Call>),
    /// The choice of a `condition` or `switch`, its result, and the inline scope it led to.
    Choice(Choice, Value, Option<ScopeKey>),
    /// The length of the wait, where it is known.
    Delay(Option<u64>),
    /// Branches.
    Parallel(Box<Parallel>),
    /// Iterations.
    Loop(Box<Looping>),
    /// Iterations over items.
    Foreach(Box<Each>),
    /// Steps, and what follows them.
    Try(Box<Trying>),
    /// Steps, and what undoes them.
    Sequence(Box<Saga>),
    /// What has been heard.
    Wait(Box<Waiting>),
    /// What may be answered.
    Approval(Box<Asked>),
    /// The run that was called, once it is there.
    Call(Option<RunId>),
}

/// What is inside a composite that is under way.
pub(crate) enum Inside {
    /// Nothing; it waits by itself.
    Nothing,
    /// These scopes.
    Scopes(Vec<ScopeKey>),
    /// These scopes, which a cancellation leaves alone.
    Shielded(Vec<ScopeKey>),
}

impl Active {
    fn new(since: Stamp) -> Self {
        Self {
            attempt: 1,
            retries: Vec::new(),
            since,
            is_final: false,
            closing: None,
            interrupted: false,
            durable_start: false,
            deaths: (0, 0),
            died_in: 0,
            started: None,
            work: Work::None,
        }
    }

    /// Attempts that have been handed out.
    pub(crate) fn attempts_made(&self) -> u32 {
        if self.started.is_some() { self.attempt } else { self.attempt.saturating_sub(1) }
    }

    /// Whether a policy grants another attempt after this error: which one, and the number of the
    /// retry, from 1, over all policies.
    pub(crate) fn again<'p>(
        &mut self,
        policies: &'p [Retry],
        error: &RunError,
        now: Stamp,
    ) -> Option<(&'p Retry, u32)> {
        let place = retry::policy_for(policies, error)?;
        let policy = &policies[place];
        if self.retries.len() < policies.len() {
            self.retries.resize(policies.len(), 0);
        }
        let late = policy.max_elapsed_ms.is_some_and(|most| self.since.elapsed_ms(now) >= most);
        if self.retries[place] >= policy.max_retries || late {
            return None;
        }
        self.retries[place] += 1;
        Some((policy, self.retries[place]))
    }

    /// What is inside the step.
    pub(crate) fn inside(&self) -> Inside {
        let keys: Vec<ScopeKey> = match &self.work {
            Work::Choice(_, _, child) => child.iter().cloned().collect(),
            Work::Parallel(parallel) => parallel.children(),
            Work::Loop(looping) => looping.child.iter().cloned().collect(),
            Work::Foreach(each) => each.children(),
            Work::Try(trying) if trying.is_shielded() => {
                return Inside::Shielded(vec![trying.child.clone()]);
            }
            Work::Try(trying) => vec![trying.child.clone()],
            Work::Sequence(saga) => match &saga.undoing {
                Some(undoing) => return Inside::Shielded(undoing.child.iter().cloned().collect()),
                None => vec![saga.child.clone()],
            },
            Work::None
            | Work::Plugin(_)
            | Work::Delay(_)
            | Work::Wait(_)
            | Work::Approval(_)
            | Work::Call(_) => Vec::new(),
        };
        if keys.is_empty() { Inside::Nothing } else { Inside::Scopes(keys) }
    }

    /// Where the step stands, if it is a loop.
    pub(crate) fn loop_at(&self) -> Option<LoopAt> {
        if let Work::Loop(looping) = &self.work { Some(looping.at()) } else { None }
    }

    /// What it chose, if it is a step that chooses.
    pub(crate) fn choice(&self) -> Option<Choice> {
        if let Work::Choice(choice, ..) = self.work { Some(choice) } else { None }
    }
}

/// What beginning an attempt led to.
pub(crate) enum Begun {
    /// It is over already.
    Done(Result<Value, RunError>),
    /// It goes on.
    Waits,
}

impl Turn<'_> {
    /// A step's turn has come.
    pub(crate) fn launch(&mut self, at: &StepRef) {
        let plan = self.plan;
        let step = plan.step(at.ix);
        if self.run.stage(at) != Some(Stage::Due) {
            return;
        }
        if let Some(condition) = &step.condition {
            let path = self.run.path(at);
            match self.run.names(at, &path.0, self.at).truth("if", condition) {
                Ok(true) => {}
                Ok(false) => return self.bypass(at),
                Err(error) => return self.fail_unbegun(at, &path, error),
            }
        }
        self.activate(at);
        if let Some(bound) = step.total_timeout_ms {
            self.arm(TimerKey::step(at, TimerKind::TotalTimeout), bound);
        }
        self.begin_attempt(at);
    }

    /// Switched off by its own `if`: the normal edges are taken.
    fn bypass(&mut self, at: &StepRef) {
        match self.edges_of(at, Leaving::Well(None)) {
            Ok(edges) => {
                self.settle(at, StepStatus::Bypassed, 0, None, Follows::Edges(edges));
            }
            Err(error) => {
                let path = self.run.path(at);
                self.fail_unbegun(at, &path, error);
            }
        }
    }

    /// The step cannot even begin. Another attempt would meet the same.
    fn fail_unbegun(&mut self, at: &StepRef, path: &StepPath, error: RunError) {
        self.activate(at);
        let kind = self.plan.step(at.ix).kind.key().to_owned();
        let step = path.clone();
        self.tell(RunEvent::StepStarted { step, kind, attempt: 1, interrupted: false });
        let now = self.at;
        if let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) {
            active.is_final = true;
            active.started = Some(now);
        }
        self.fail(at, error);
    }

    fn activate(&mut self, at: &StepRef) {
        let now = self.at;
        if let Some(state) = self.step_state(at) {
            state.active = Some(Box::new(Active::new(now)));
        }
    }

    /// Begins the attempt that the step's state names: the first, or a retry's.
    pub(crate) fn begin_attempt(&mut self, at: &StepRef) {
        let plan = self.plan;
        let step = plan.step(at.ix);
        if self.take_given(at) {
            return;
        }
        if let StepKind::Plugin(call) = &step.kind {
            // A worker slot begins it; its start is a fact of its own.
            return self.queue_call(at, call);
        }
        let now = self.at;
        let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) else {
            return;
        };
        active.started = Some(now);
        let attempt = active.attempt;
        let path = self.run.path(at);
        let kind = step.kind.key().to_owned();
        self.tell(RunEvent::StepStarted { step: path.clone(), kind, attempt, interrupted: false });
        if let Some(bound) = step.timeout_ms {
            self.arm(TimerKey::step(at, TimerKind::AttemptTimeout), bound);
        }
        let begun = match &step.kind {
            StepKind::Plugin(_) => Begun::Waits,
            StepKind::Set(entries) => Begun::Done(self.set(at, &path, entries)),
            StepKind::Condition { expr, then, otherwise, .. } => {
                self.ask(at, &path, expr, *then, *otherwise)
            }
            StepKind::Switch { .. } => self.choose(at, &path, &step.kind),
            StepKind::Delay(delay) => self.delay(at, &path, delay),
            StepKind::Parallel { branches, named, concurrency, .. } => {
                self.fork(at, branches, *named, *concurrency)
            }
            kind @ StepKind::Loop { .. } => match looping::Shape::of(kind) {
                Some(shape) => self.begin_loop(at, &path, &shape),
                None => Begun::Waits,
            },
            StepKind::Foreach(foreach) => self.begin_each(at, &path, foreach),
            StepKind::Wait(wait) => self.listen(at, &path, wait),
            StepKind::Call(call) => self.call(at, &path, call),
            StepKind::Publish(publish) => self.publish(at, &path, publish),
            StepKind::Emit { event, data } => Begun::Done(self.emit(at, &path, event, data)),
            StepKind::Approval(approval) => self.ask_people(at, &path, approval),
            StepKind::Try { body, .. } => self.begin_try(at, *body),
            StepKind::Sequence { body, .. } => self.begin_sequence(at, *body),
            StepKind::Log { level, message, fields } => {
                Begun::Done(self.log(at, &path, *level, message, fields))
            }
            StepKind::Succeed { outputs } => {
                return self.end_well(at, &path, outputs.as_ref());
            }
            StepKind::Fail { code, message, details } => {
                Begun::Done(Err(self.failure(at, &path, code, message, details.as_ref())))
            }
        };
        if let Begun::Done(result) = begun {
            self.attempt_ended(at, result);
        }
    }

    /// Whether the step has its result from the run that this one goes on from. It is then over.
    fn take_given(&mut self, at: &StepRef) -> bool {
        if self.run.head.given.is_empty() {
            return false;
        }
        let step = self.run.path(at);
        let Some(result) = self.run.head.given.get(&step) else { return false };
        let result = Value::from_json_typed(&result.value());
        let now = self.at;
        let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) else {
            return false;
        };
        active.started = Some(now);
        let attempt = active.attempt;
        let kind = self.plan.step(at.ix).kind.key().to_owned();
        self.tell(RunEvent::StepStarted { step, kind, attempt, interrupted: false });
        self.attempt_ended(at, Ok(result));
        true
    }

    /// A scope that belongs to a step has ended.
    pub(crate) fn child_done(
        &mut self,
        owner: &StepRef,
        key: &ScopeKey,
        scope: &ScopeState,
        outcome: Result<Value, RunError>,
    ) {
        let plan = self.plan;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "which kinds have scopes is said by `StepKind::scopes`, and checked against it"
        )]
        match &plan.step(owner.ix).kind {
            StepKind::Condition { .. } | StepKind::Switch { .. } => self.answered(owner, outcome),
            StepKind::Parallel { mode, branches, named, concurrency } => {
                let shape = parallel::Shape {
                    mode: *mode,
                    branches,
                    named: *named,
                    concurrency: *concurrency,
                };
                self.branch_done(owner, key, scope, outcome, &shape);
            }
            kind @ StepKind::Loop { .. } => {
                if let Some(shape) = looping::Shape::of(kind) {
                    self.iteration_done(owner, outcome, &shape);
                }
            }
            StepKind::Foreach(foreach) => self.item_done(owner, key, scope, outcome, foreach),
            StepKind::Try { catches, finally, finally_timeout_ms, .. } => {
                let shape = try_catch::Shape {
                    catches,
                    finally: *finally,
                    finally_timeout_ms: *finally_timeout_ms,
                };
                self.tried(owner, outcome, &shape);
            }
            StepKind::Sequence { compensation, .. } => {
                self.sequence_done(owner, outcome, *compensation);
            }
            leaf => debug_assert!(leaf.scopes().next().is_none(), "{} has scopes", leaf.key()),
        }
    }

    /// The key of a scope that belongs to a step: its path, which repetition of the step as a
    /// whole it is (from the second on), and which branch or iteration.
    pub(crate) fn child_key(&self, at: &StepRef, part: &str) -> ScopeKey {
        let path = self.run.path(at);
        let attempt = self.run.active(at).map_or(1, |active| active.attempt);
        if attempt > 1 {
            return ScopeKey::from(format!("{path}~{attempt}{part}"));
        }
        ScopeKey::from(format!("{path}{part}"))
    }

    pub(crate) fn set_work(&mut self, at: &StepRef, work: Work, stage: Stage) {
        if let Some(state) = self.step_state(at) {
            state.stage = stage;
            if let Some(active) = &mut state.active {
                active.work = work;
            }
        }
    }

    pub(crate) fn work_mut(&mut self, at: &StepRef) -> Option<&mut Work> {
        self.step_state(at)?.active.as_mut().map(|active| &mut active.work)
    }
}

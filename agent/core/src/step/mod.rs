//! Steps under way: how one is launched, and the table of step kinds.
//!
//! One file per kind. A kind that is not here yet gets a file of its own, a variant of [`Work`]
//! if it keeps something while it is under way, and a line in [`Turn::begin_attempt`].

mod condition;
mod delay;
mod looping;
mod parallel;
mod plugin;
mod set;

use openclaw_protocol::definition::StepKind;
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::{RunError, RunEvent, StepPath, StepStatus};
use openclaw_protocol::time::Stamp;

use crate::fact::TimerKind;
use crate::names::LoopAt;
use crate::run::{StepRef, Turn};
use crate::scope::{Ending, Leaving, ScopeKey, ScopeState, Stage};
use crate::settle::Follows;
use crate::timer::TimerKey;

pub(crate) use looping::Looping;
pub(crate) use parallel::Parallel;
pub(crate) use plugin::{Call, bounded};

/// A step instance between its launch and its settlement.
#[derive(Debug)]
pub(crate) struct Active {
    /// Of the attempt at hand, from 1.
    pub(crate) attempt: u32,
    /// How many retries the policy has granted. Not the same as the attempt's number less one:
    /// interruptions make attempts too, but bad power must not use up the retries.
    pub(crate) retries: u32,
    /// No further attempt, whatever the policy says.
    pub(crate) is_final: bool,
    /// Why it is being ended from outside.
    pub(crate) closing: Option<Ending>,
    /// The attempt was under way when the agent was interrupted.
    pub(crate) interrupted: bool,
    /// The start of the attempt must be durable before the call.
    pub(crate) durable_start: bool,
    /// Interruptions of this attempt: deaths of the process, and of the machine.
    pub(crate) deaths: (u8, u8),
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
    /// The answer, and the inline scope it led to.
    Condition(bool, Option<ScopeKey>),
    /// The length of the wait.
    Delay(u64),
    /// Branches.
    Parallel(Box<Parallel>),
    /// Iterations.
    Loop(Box<Looping>),
}

impl Active {
    fn new() -> Self {
        Self {
            attempt: 1,
            retries: 0,
            is_final: false,
            closing: None,
            interrupted: false,
            durable_start: false,
            deaths: (0, 0),
            started: None,
            work: Work::None,
        }
    }

    /// Attempts that have been handed out.
    pub(crate) fn attempts_made(&self) -> u32 {
        if self.started.is_some() { self.attempt } else { self.attempt - 1 }
    }

    /// The scopes that belong to the step.
    pub(crate) fn children(&self) -> Vec<ScopeKey> {
        match &self.work {
            Work::Condition(_, child) => child.iter().cloned().collect(),
            Work::Parallel(parallel) => parallel.children(),
            Work::Loop(looping) => looping.child.iter().cloned().collect(),
            Work::None | Work::Plugin(_) | Work::Delay(_) => Vec::new(),
        }
    }

    /// Where the step stands, if it is a loop.
    pub(crate) fn loop_at(&self) -> Option<LoopAt> {
        if let Work::Loop(looping) = &self.work { Some(looping.at()) } else { None }
    }

    /// The answer, if it is a condition.
    pub(crate) fn answer(&self) -> Option<bool> {
        if let Work::Condition(answer, _) = self.work { Some(answer) } else { None }
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
        let path = self.run.path(at);
        if let Some(condition) = &step.condition {
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
        if let Some(state) = self.step_state(at) {
            state.active = Some(Box::new(Active::new()));
        }
    }

    /// Begins the attempt that the step's state names: the first, or a retry's.
    pub(crate) fn begin_attempt(&mut self, at: &StepRef) {
        let plan = self.plan;
        let step = plan.step(at.ix);
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
            StepKind::Delay(length) => self.delay(at, &path, length),
            StepKind::Parallel { branches, named, concurrency, .. } => {
                self.fork(at, branches, *named, *concurrency)
            }
            StepKind::Loop { test, max_iterations, body, .. } => {
                self.begin_loop(at, &path, test, *max_iterations, *body)
            }
        };
        if let Begun::Done(result) = begun {
            self.attempt_ended(at, result);
        }
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
        match &plan.step(owner.ix).kind {
            StepKind::Condition { .. } => self.answered(owner, outcome),
            StepKind::Parallel { mode, branches, named, concurrency } => {
                let shape = parallel::Shape {
                    mode: *mode,
                    branches,
                    named: *named,
                    concurrency: *concurrency,
                };
                self.branch_done(owner, key, scope, outcome, &shape);
            }
            StepKind::Loop { test, max_iterations, collect, body } => {
                let shape = looping::Shape {
                    test,
                    max_iterations: *max_iterations,
                    collect: collect.as_ref(),
                    body: *body,
                };
                self.iteration_done(owner, outcome, &shape);
            }
            StepKind::Plugin(_) | StepKind::Set(_) | StepKind::Delay(_) => {}
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

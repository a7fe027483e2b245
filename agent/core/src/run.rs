//! One run: its state, and how a fact changes it.
//!
//! The state is a function of the definition, the seed and the facts so far, and of nothing else.
//! [`Run::apply`] is the only way to change it, in life and after a restart, so what was folded
//! from the journal is what was there before.

use std::collections::VecDeque;
use std::sync::Arc;

use openclaw_protocol::definition::{DefinitionHash, Priority, StepIx};
use openclaw_protocol::expr::Value;
use openclaw_protocol::id::{RequestId, RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::run::{RunError, RunEvent, RunEventRecord, RunStatus, StepPath, StepStatus};
use openclaw_protocol::time::Stamp;
use openclaw_protocol::wire::{self, Kind};

use crate::digest::Digest;
use crate::effect::{AttemptId, Publication, StopReason};
use crate::fact::{Fact, FactRecord, Parent};
use crate::limits;
use crate::names::{LoopAt, Names};
use crate::plan::{Pins, Plan};
use crate::scope::{ScopeKey, ScopeState, Stage, StepState};
use crate::step::{Active, Undo, Undoing};
use crate::timer::{Timer, TimerKey};
use crate::view::View;

/// The view of the root scope and of everything that has none of its own.
pub(crate) const MAIN_VIEW: u32 = 0;

/// Which step instance, within one run. Ordered by scope, then by place in the document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StepRef {
    pub(crate) scope: ScopeKey,
    pub(crate) ix: StepIx,
}

/// What a run was accepted with, or goes on with under another definition.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) id: RunId,
    pub(crate) seed: u64,
    /// Shared by all runs of one deployment.
    pub(crate) pins: Pins,
    pub(crate) trigger: String,
    pub(crate) trigger_data: Value,
    pub(crate) agent: Value,
    pub(crate) inputs: Value,
    pub(crate) priority: Priority,
    pub(crate) request: Option<RequestId>,
    pub(crate) parent: Option<Box<Parent>>,
    pub(crate) callees: Vec<Pinned>,
    /// Results that steps are given instead of being run.
    pub(crate) given: VecMap<StepPath, JsonText>,
    pub(crate) accepted: Stamp,
}

/// A workflow that the run may call, as it was when the run was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Pinned {
    pub(crate) workflow: WorkflowName,
    pub(crate) plan: Arc<Plan>,
    pub(crate) pins: Pins,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Accepted, waiting for its turn.
    Pending,
    /// The root scope is under way.
    Main,
    /// The root scope has ended, however it has, and the workflow's `finally` is under way.
    Finally,
    /// The root scope has failed or was cancelled, and what was done is being undone.
    Compensating,
    /// The root scope has failed and the workflow's `on_failure` is under way.
    OnFailure,
    /// Over.
    Settled(RunStatus),
}

/// What is left to do because of the facts so far, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Task {
    /// The step may run now.
    Launch(StepRef),
    /// All steps of the scope have settled.
    ScopeDone(ScopeKey),
    /// The run has used up its bounds.
    HardStop,
}

/// A run and where it stands.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) head: Head,
    pub(crate) plan: Arc<Plan>,
    pub(crate) phase: Phase,
    pub(crate) began: Option<Stamp>,
    /// Scopes that are not settled.
    pub(crate) scopes: VecMap<ScopeKey, Box<ScopeState>>,
    pub(crate) views: VecMap<u32, Box<View>>,
    pub(crate) next_view: u32,
    pub(crate) timers: VecMap<TimerKey, Timer>,
    pub(crate) agenda: VecDeque<Task>,
    /// Shared by all plugin calls of the run; the engine only carries them.
    pub(crate) plugin_vars: Option<Vec<u8>>,
    /// Why the root scope failed.
    pub(crate) error: Option<Box<RunError>>,
    /// Somebody asked for the end, and whether without grace.
    pub(crate) cancelled: Option<bool>,
    /// The bounds are used up: no `on_failure` steps.
    pub(crate) hard_stop: bool,
    /// A `succeed` step has ended the run: its outputs, or `None` for the declared ones.
    pub(crate) succeeding: Option<Option<Value>>,
    /// What would undo the steps that have succeeded, by the scope it counts for.
    pub(crate) undo: VecMap<Option<StepRef>, Vec<Undo>>,
    pub(crate) undo_bytes: usize,
    /// The run's own compensations under way.
    pub(crate) undoing: Option<Box<Undoing>>,
    /// Signals that no `wait` has taken yet, oldest first.
    pub(crate) signals: VecDeque<(String, Value)>,
    /// Step instances that wait for something to be said or to become true.
    pub(crate) listening: VecSet<StepRef>,
    pub(crate) settled_steps: u32,
    /// What counts against the bound of a run's history: settled steps and iterations.
    pub(crate) history: u32,
    pub(crate) told: u32,
    /// Of all that was told.
    pub(crate) digest: Digest,
    /// When the last fact was written.
    pub(crate) last: Stamp,
    /// The latest [`Fact::Migrated`], if it goes on with another definition than at first.
    pub(crate) migrated: Option<Box<FactRecord>>,
    /// The latest definition that it could not go on with.
    pub(crate) stayed: Option<DefinitionHash>,
}

/// What a fact brought about, for the shell and the queue. Thrown away when folding a journal.
#[derive(Debug, Default)]
pub(crate) struct Out {
    /// What is told, each also packed.
    pub(crate) events: Vec<(RunEventRecord, Vec<u8>)>,
    /// Attempts that wait for a worker slot from now on, with their priority, and those that do
    /// not any more, in this order.
    pub(crate) slots: Vec<(StepRef, Option<Priority>)>,
    /// A call's input was made, perhaps of the moment at hand.
    pub(crate) prepared: bool,
    pub(crate) stops: Vec<(AttemptId, StopReason)>,
    /// What steps gave that only the world outside could, before it was reshaped.
    pub(crate) results: Vec<(StepPath, Value)>,
    pub(crate) publications: Vec<Publication>,
    /// Names and data of events for the device's own bus.
    pub(crate) emitted: Vec<(String, JsonText)>,
    /// Runs that `call` steps want.
    pub(crate) calls: Vec<ChildWish>,
    /// Runs of `call` steps that are to end.
    pub(crate) cancels: Vec<RunId>,
    pub(crate) settled: Option<Final>,
}

/// A run that a `call` step wants.
#[derive(Debug)]
pub(crate) struct ChildWish {
    pub(crate) at: StepRef,
    pub(crate) attempt: u32,
    pub(crate) workflow: WorkflowName,
    pub(crate) inputs: JsonText,
    pub(crate) detached: bool,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Final {
    pub(crate) status: RunStatus,
    pub(crate) outputs: JsonText,
    pub(crate) error: Option<RunError>,
}

/// A run while a fact is worked off.
pub(crate) struct Turn<'a> {
    pub(crate) run: &'a mut Run,
    pub(crate) plan: &'a Plan,
    pub(crate) at: Stamp,
    pub(crate) out: &'a mut Out,
}

impl Head {
    /// How many runs are above.
    pub(crate) fn depth(&self) -> u8 {
        self.parent.as_ref().map_or(0, |parent| parent.depth)
    }
}

impl Run {
    /// A run that has just been accepted.
    pub(crate) fn new(head: Head, plan: Arc<Plan>) -> (Self, Out) {
        let mut run = Self {
            phase: Phase::Pending,
            began: None,
            scopes: VecMap::new(),
            views: VecMap::from([(MAIN_VIEW, Box::new(plan.view.clone()))]),
            next_view: MAIN_VIEW + 1,
            timers: VecMap::new(),
            agenda: VecDeque::new(),
            plugin_vars: None,
            error: None,
            cancelled: None,
            hard_stop: false,
            succeeding: None,
            undo: VecMap::new(),
            undo_bytes: 0,
            undoing: None,
            signals: VecDeque::new(),
            listening: VecSet::new(),
            settled_steps: 0,
            history: 0,
            told: 0,
            digest: Digest::default(),
            last: head.accepted,
            migrated: None,
            stayed: None,
            head,
            plan: Arc::clone(&plan),
        };
        let mut out = Out::default();
        let at = run.last;
        let mut turn = Turn { run: &mut run, plan: &plan, at, out: &mut out };
        turn.tell(RunEvent::Accepted {
            workflow: plan.workflow.name.clone(),
            version: plan.workflow.version.clone(),
            definition: plan.workflow.hash.clone(),
            trigger: turn.run.head.trigger.clone(),
            inputs: outer(&turn.run.head.inputs),
            priority: turn.run.head.priority,
            request: turn.run.head.request.clone(),
        });
        (run, out)
    }

    /// The one way in which a fact changes a run. Facts that do not fit the state change nothing.
    pub(crate) fn apply(&mut self, record: &FactRecord) -> Out {
        self.apply_read(record, None)
    }

    /// As [`Self::apply`], where the output of an attempt has been read already.
    pub(crate) fn apply_read(&mut self, record: &FactRecord, output: Option<Value>) -> Out {
        let mut out = Out::default();
        if self.is_settled() {
            return out;
        }
        let plan = Arc::clone(&self.plan);
        let mut turn = Turn { run: self, plan: &plan, at: record.at, out: &mut out };
        match &record.fact {
            Fact::Began => turn.began(),
            Fact::AttemptStarted { step, attempt } => turn.attempt_started(step, *attempt),
            Fact::AttemptSettled { step, attempt, outcome } => {
                turn.attempt_settled(step, *attempt, outcome, output);
            }
            Fact::TimerFired { step, what } => turn.timer_fired(step, *what),
            Fact::CancelRequested { force } => turn.cancel(*force),
            Fact::Restarted { unclean } => turn.restarted(*unclean),
            Fact::Signalled { name, data } => turn.signalled(name, data),
            Fact::Message { step, message } => turn.message(step, message),
            Fact::Decided { step, choice, by, form } => turn.decided(step, choice, by, form),
            Fact::ChildStarted { step, attempt, child } => {
                turn.child_started(step, *attempt, child);
            }
            Fact::Refused { message } => turn.refused(message),
            Fact::Stayed { definition, version, reason } => {
                turn.stayed(definition, version, reason);
            }
            // The one takes more than the fact: see `migrate`.
            Fact::Migrated { .. }
            | Fact::Accepted { .. }
            | Fact::Settled { .. }
            | Fact::Continued
            | Fact::Alive => {}
        }
        turn.drain();
        turn.look_again();
        if self.agenda.is_empty() {
            // A run may wait for long now, and nothing of this.
            self.agenda = VecDeque::new();
        }
        self.last = record.at;
        out
    }

    /// What the next fact's record is checked by.
    pub(crate) fn check(&self) -> u32 {
        self.digest.check()
    }

    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Settled(_))
    }

    /// Work was left over because one fact may only cause so much.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.agenda.is_empty()
    }

    /// The step instance of that path, if its scope is under way.
    pub(crate) fn find(&self, path: &StepPath) -> Option<StepRef> {
        let (scope, id) = path.0.rsplit_once('/').unwrap_or(("", &path.0));
        let ix = self.plan.find(id)?;
        let (key, state) = self.scopes.get_key_value(scope)?;
        (self.plan.step(ix).scope == state.ix).then(|| StepRef { scope: Arc::clone(key), ix })
    }

    /// The path of a step instance.
    pub(crate) fn path(&self, at: &StepRef) -> StepPath {
        let id = self.plan.step(at.ix).id.as_str();
        if at.scope.is_empty() {
            return StepPath(id.to_owned());
        }
        StepPath(format!("{}/{id}", at.scope))
    }

    pub(crate) fn stage(&self, at: &StepRef) -> Option<Stage> {
        self.state(at).map(|state| state.stage)
    }

    pub(crate) fn active(&self, at: &StepRef) -> Option<&Active> {
        self.state(at)?.active.as_deref()
    }

    /// The state of a step instance. The root, the workflow's `finally` and its `on_failure` have one
    /// key, one after the other, so a step that was of the one is not to be found in the other.
    fn state(&self, at: &StepRef) -> Option<&StepState> {
        let scope = self.scopes.get(&at.scope)?;
        let is_of_it = self.plan.step(at.ix).scope == scope.ix;
        scope.steps.get(self.plan.position(at.ix)).filter(|_| is_of_it)
    }

    /// All step instances that are under way, by scope and place in the document.
    pub(crate) fn live(&self) -> impl Iterator<Item = (StepRef, Stage)> {
        self.scopes.iter().flat_map(|(key, scope)| {
            let steps = &self.plan.scope(scope.ix).steps;
            steps
                .iter()
                .zip(&scope.steps)
                .filter(|(_, state)| state.active.is_some())
                .map(|(ix, state)| (StepRef { scope: Arc::clone(key), ix: *ix }, state.stage))
        })
    }

    /// The view that a step sees and writes.
    pub(crate) fn view_of(&self, at: &StepRef) -> u32 {
        self.scopes.get(&at.scope).map_or(MAIN_VIEW, |scope| scope.view)
    }

    /// Names for expressions of a step.
    pub(crate) fn names<'a>(&'a self, at: &'a StepRef, path: &'a str, now: Stamp) -> Names<'a> {
        let view = self.view_of(at);
        let mut names = self.names_in(view, self.loop_around(&at.scope), path, now);
        names.bound = self.scopes.get(&at.scope).and_then(|scope| scope.bound.as_deref());
        names
    }

    /// Names for expressions in a view.
    pub(crate) fn names_in<'a>(
        &'a self,
        view: u32,
        around: Option<LoopAt>,
        path: &'a str,
        now: Stamp,
    ) -> Names<'a> {
        // A scope's view exists as long as the scope; the main one as long as the run.
        let view = self.views.get(&view).unwrap_or(&self.views[&MAIN_VIEW]);
        Names {
            head: &self.head,
            plan: &self.plan,
            view,
            at: now,
            began: self.began,
            around,
            bound: None,
            output: None,
            message: None,
            error: self.error.as_deref(),
            path,
        }
    }

    /// The innermost loop that a scope is in.
    fn loop_around(&self, scope: &ScopeKey) -> Option<LoopAt> {
        let mut owner = self.scopes.get(scope)?.owner.as_ref();
        while let Some(at) = owner {
            if let Some(found) = self.active(at).and_then(Active::loop_at) {
                return Some(found);
            }
            owner = self.scopes.get(&at.scope)?.owner.as_ref();
        }
        None
    }
}

impl Turn<'_> {
    /// Counts an event and keeps it for those who listen.
    pub(crate) fn tell(&mut self, event: RunEvent) {
        self.run.told = self.run.told.saturating_add(1);
        let (run, seq, at) = (self.run.head.id.clone(), self.run.told, self.at);
        let record = RunEventRecord { run, seq, at, event };
        let packed = wire::pack(Kind::RunEvent, &record);
        self.run.digest.add(&packed);
        self.out.events.push((record, packed));
    }

    /// Works off the agenda, as far as one fact may.
    pub(crate) fn drain(&mut self) {
        for _ in 0..limits::TASKS_PER_FACT {
            let Some(task) = self.run.agenda.pop_front() else { return };
            match task {
                Task::Launch(at) => self.launch(&at),
                Task::ScopeDone(key) => self.scope_done(&key),
                Task::HardStop => self.hard_stop(),
            }
        }
    }
}

/// A value as it is told: in the outer JSON form.
pub(crate) fn outer(value: &Value) -> JsonText {
    value.to_json_text().unwrap_or_else(|_| JsonText::null())
}

/// Whether a step of that status has a result that counts as its scope's.
pub(crate) fn has_result(status: StepStatus) -> bool {
    status == StepStatus::Succeeded
}

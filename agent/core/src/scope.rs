//! Scopes under way: edges, joins, and how a scope ends.
//!
//! When a step settles, each edge that leaves it becomes *taken* or *dead*; a step all of whose
//! incoming edges are dead is skipped, and its own edges are dead in turn. So on a graph without
//! cycles every step settles exactly once, and a join never waits for what cannot come.

use std::collections::VecDeque;
use std::sync::Arc;

use openclaw_protocol::definition::{EdgeKind, Join, ScopeIx, Step, StepIx, StepKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::ordered::{sort, sort_by};
use openclaw_protocol::run::{RunError, StepStatus};

use crate::effect::StopReason;
use crate::fault;
use crate::names::Bound;
use crate::run::{StepRef, Task, Turn};
use crate::step::{Active, Inside};

/// Names a scope under way: the path of its owner with branch or iteration, `""` for the root.
/// The same text never names two scopes at a time.
pub(crate) type ScopeKey = Arc<str>;

/// Why something ends before it is done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    /// Somebody, or something around it, wants it to end.
    Cancelled,
    /// It fails with this. Apart, for most things under way are not being ended.
    Failed(Box<RunError>),
}

impl Ending {
    /// As what is under way sees it.
    pub(crate) fn error(&self) -> RunError {
        match self {
            Self::Cancelled => fault::cancelled(),
            Self::Failed(error) => RunError::clone(error),
        }
    }
}

/// A scope under way.
#[derive(Debug)]
pub(crate) struct ScopeState {
    pub(crate) ix: ScopeIx,
    /// The composite step it belongs to.
    pub(crate) owner: Option<StepRef>,
    pub(crate) view: u32,
    /// Names that constructs around it give.
    pub(crate) bound: Option<Arc<Bound>>,
    /// By place in the scope.
    pub(crate) steps: Vec<StepState>,
    /// How many are not settled.
    pub(crate) open: usize,
    pub(crate) ending: Option<Ending>,
    /// The output of the step that succeeded last.
    pub(crate) result: Value,
}

/// One step instance.
#[derive(Debug, Default)]
pub(crate) struct StepState {
    pub(crate) stage: Stage,
    pub(crate) taken: u16,
    pub(crate) dead: u16,
    /// Only while it is under way.
    pub(crate) active: Option<Box<Active>>,
}

/// How far a step instance is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// For its incoming edges.
    #[default]
    Waiting,
    /// Its launch is on the agenda.
    Due,
    /// An attempt waits for a worker slot.
    Ready,
    /// An attempt is with a worker.
    Running,
    /// For the end of its delay.
    Delayed,
    /// For the end of a retry's wait.
    Retrying,
    /// A composite with scopes under way.
    Open,
    /// For something to be said, decided or to become true.
    Listening,
    /// For the end of another run.
    Calling,
    /// For the broker's acknowledgement.
    Publishing,
    /// Over.
    Settled,
}

/// What a step chose, where it is one that chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A `condition` was true, or not.
    Truth(bool),
    /// A `switch` took the case of that number, or its default.
    Case(Option<u16>),
}

/// How a step ended, as far as its edges are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Well; with what it chose.
    Well(Option<Choice>),
    /// Failed, and goes on as if it had not.
    Forgiven,
    /// Failed, and `on_failure` takes over.
    Caught,
}

/// What an arriving edge means for its target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Wait,
    Run,
    Skip,
}

impl StepState {
    fn arrive(&mut self, taken: bool, step: &Step) -> Verdict {
        if self.stage != Stage::Waiting {
            return Verdict::Wait;
        }
        if taken {
            self.taken = self.taken.saturating_add(1);
        } else {
            self.dead = self.dead.saturating_add(1);
        }
        self.verdict(step)
    }

    /// Whether it runs, given the edges that have arrived.
    pub(crate) fn verdict(&self, step: &Step) -> Verdict {
        let (taken, resolved) = (self.taken, self.taken.saturating_add(self.dead) >= step.incoming);
        match step.join {
            Join::All if !resolved => Verdict::Wait,
            Join::All if taken > 0 => Verdict::Run,
            Join::Every if self.dead == 0 && resolved => Verdict::Run,
            Join::Every if self.dead == 0 => Verdict::Wait,
            Join::Any if taken > 0 => Verdict::Run,
            Join::Any if !resolved => Verdict::Wait,
            Join::AtLeast(n) if taken >= n => Verdict::Run,
            // Even if all that is missing were taken, it would not do.
            Join::AtLeast(n) if step.incoming.saturating_sub(self.dead) >= n => Verdict::Wait,
            Join::All | Join::Every | Join::Any | Join::AtLeast(_) => Verdict::Skip,
        }
    }
}

impl Turn<'_> {
    /// Enters a scope: its entry steps are due. It sees the names that its owner sees.
    pub(crate) fn open_scope(
        &mut self,
        ix: ScopeIx,
        key: ScopeKey,
        owner: Option<StepRef>,
        view: u32,
    ) {
        let around = owner.as_ref().and_then(|owner| self.bound_around(owner));
        self.open_bound(ix, key, owner, view, around);
    }

    /// The names that constructs around a step give it.
    pub(crate) fn bound_around(&self, at: &StepRef) -> Option<Arc<Bound>> {
        self.run.scopes.get(&at.scope)?.bound.clone()
    }

    /// As [`Self::open_scope`], with these names.
    pub(crate) fn open_bound(
        &mut self,
        ix: ScopeIx,
        key: ScopeKey,
        owner: Option<StepRef>,
        view: u32,
        bound: Option<Arc<Bound>>,
    ) {
        let plan = self.plan;
        let scope = plan.scope(ix);
        let mut steps: Vec<StepState> = Vec::with_capacity(scope.steps.len());
        steps.resize_with(scope.steps.len(), StepState::default);
        for entry in &scope.entries {
            steps[plan.position(*entry)].stage = Stage::Due;
            let at = StepRef { scope: Arc::clone(&key), ix: *entry };
            self.run.agenda.push_back(Task::Launch(at));
        }
        let open = steps.len();
        let (ending, result) = (None, Value::Null);
        let state = ScopeState { ix, owner, view, bound, steps, open, ending, result };
        if open == 0 {
            self.run.agenda.push_back(Task::ScopeDone(Arc::clone(&key)));
        }
        self.run.scopes.insert(key, Box::new(state));
    }

    pub(crate) fn step_state(&mut self, at: &StepRef) -> Option<&mut StepState> {
        let scope = self.run.scopes.get_mut(&at.scope)?;
        let is_of_it = self.plan.step(at.ix).scope == scope.ix;
        scope.steps.get_mut(self.plan.position(at.ix)).filter(|_| is_of_it)
    }

    /// Which edges of a step are taken, by target id.
    ///
    /// # Errors
    /// A `when` that gives no truth value.
    pub(crate) fn edges_of(
        &self,
        at: &StepRef,
        leaving: Leaving,
    ) -> Result<Vec<(StepIx, bool)>, RunError> {
        let step = self.plan.step(at.ix);
        let gate_closed = matches!(step.kind, StepKind::Condition { gate: true, .. })
            && leaving == Leaving::Well(Some(Choice::Truth(false)));
        let mut edges = Vec::with_capacity(step.edges.len());
        for edge in &step.edges {
            let taken = match (&edge.kind, leaving) {
                (EdgeKind::Next(_), Leaving::Caught) => false,
                (EdgeKind::Next(_), Leaving::Well(_)) if gate_closed => false,
                (EdgeKind::Next(None), _) => true,
                (EdgeKind::Next(Some(when)), _) => {
                    let path = self.run.path(at);
                    self.run.names(at, &path.0, self.at).truth("when", when)?
                }
                // A condition that is switched off counts as true.
                (EdgeKind::Then, Leaving::Well(choice)) => choice != Some(Choice::Truth(false)),
                (EdgeKind::Else, Leaving::Well(choice)) => choice == Some(Choice::Truth(false)),
                // A switch that is switched off chooses nothing.
                (EdgeKind::Case(case), Leaving::Well(choice)) => {
                    choice == Some(Choice::Case(*case))
                }
                (EdgeKind::OnFailure, Leaving::Caught) => true,
                (EdgeKind::Then | EdgeKind::Else | EdgeKind::Case(_) | EdgeKind::OnFailure, _) => {
                    false
                }
            };
            edges.push((edge.to, taken));
        }
        let key = |(to, taken): &(StepIx, bool)| (self.plan.step(*to).id.as_str(), *taken);
        sort_by(&mut edges, &|a, b| key(a).cmp(&key(b)));
        Ok(edges)
    }

    /// Marks edges in the order given, skips what has become unreachable, and puts what may run
    /// on the agenda in document order.
    pub(crate) fn mark_edges(&mut self, scope: &ScopeKey, edges: Vec<(StepIx, bool)>) {
        let mut waiting = VecDeque::from(edges);
        let mut launches = Vec::new();
        while let Some((to, taken)) = waiting.pop_front() {
            let at = StepRef { scope: Arc::clone(scope), ix: to };
            let plan = self.plan;
            let Some(state) = self.step_state(&at) else { continue };
            match state.arrive(taken, plan.step(to)) {
                Verdict::Wait => {}
                Verdict::Run => {
                    state.stage = Stage::Due;
                    launches.push(to);
                }
                Verdict::Skip => {
                    self.settle_idle(&at, StepStatus::Skipped);
                    let mut dead: Vec<StepIx> =
                        plan.step(to).edges.iter().map(|edge| edge.to).collect();
                    let id = |to: &StepIx| plan.step(*to).id.as_str();
                    sort_by(&mut dead, &|a, b| id(a).cmp(id(b)));
                    waiting.extend(dead.into_iter().map(|to| (to, false)));
                }
            }
        }
        sort(&mut launches);
        for ix in launches {
            self.run.agenda.push_back(Task::Launch(StepRef { scope: Arc::clone(scope), ix }));
        }
    }

    /// One more step of the scope has settled.
    pub(crate) fn count_down(&mut self, key: &ScopeKey) {
        let Some(scope) = self.run.scopes.get_mut(key) else { return };
        scope.open = scope.open.saturating_sub(1);
        if scope.open == 0 {
            self.run.agenda.push_back(Task::ScopeDone(Arc::clone(key)));
        }
    }

    /// Ends a scope and everything in it, from the outside in. What runs is told to stop; the
    /// scope is done when all its steps have settled. A scope that is ending already goes on so.
    pub(crate) fn close_scope(&mut self, key: ScopeKey, ending: Ending) {
        let mut closing = vec![(key, ending)];
        while let Some((key, ending)) = closing.pop() {
            let Some(scope) = self.run.scopes.get_mut(&key) else { continue };
            if scope.ending.is_some() || scope.open == 0 {
                continue;
            }
            scope.ending = Some(ending);
            let steps = &self.plan.scope(scope.ix).steps;
            for ix in steps {
                let at = StepRef { scope: Arc::clone(&key), ix: *ix };
                let inner = self.close_step(&at, Ending::Cancelled, StopReason::Cancelled);
                closing.extend(inner.into_iter().map(|key| (key, Ending::Cancelled)));
            }
        }
    }

    /// Ends a step from outside; gives the scopes in it that have to be closed as well.
    pub(crate) fn close_step(
        &mut self,
        at: &StepRef,
        ending: Ending,
        reason: StopReason,
    ) -> Vec<ScopeKey> {
        let Some(stage) = self.run.stage(at) else { return Vec::new() };
        match stage {
            Stage::Settled => {}
            Stage::Waiting | Stage::Due => self.settle_idle(at, StepStatus::Cancelled),
            Stage::Ready
            | Stage::Delayed
            | Stage::Retrying
            | Stage::Listening
            | Stage::Publishing => {
                if stage == Stage::Ready {
                    self.out.slots.push((at.clone(), None));
                }
                if stage == Stage::Publishing {
                    // Nobody waits for it any more: it is not to be sent later all the same.
                    let attempt = self.run.active(at).map_or(1, |active| active.attempt);
                    self.out.stops.push((self.run.attempt_id(at, attempt), reason));
                }
                let error = ending.error();
                self.set_closing(at, ending);
                self.attempt_ended(at, Err(error));
            }
            Stage::Running => {
                if self.set_closing(at, ending) {
                    self.stop_attempt(at, reason);
                }
            }
            Stage::Calling => self.close_call(at, ending),
            Stage::Open => {
                let error = ending.error();
                self.set_closing(at, ending);
                match self.run.active(at).map(Active::inside) {
                    Some(Inside::Scopes(keys)) => return keys,
                    Some(Inside::Nothing) => self.attempt_ended(at, Err(error)),
                    Some(Inside::Shielded(_)) | None => {}
                }
            }
        }
        Vec::new()
    }

    /// Notes why a step is being ended; the first reason stays.
    pub(crate) fn set_closing(&mut self, at: &StepRef, ending: Ending) -> bool {
        let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut()) else {
            return false;
        };
        let first = active.closing.is_none();
        if first {
            active.closing = Some(ending);
        }
        first
    }

    /// All steps of a scope have settled: its owner goes on.
    pub(crate) fn scope_done(&mut self, key: &ScopeKey) {
        let Some(mut scope) = self.run.scopes.remove(key) else { return };
        let was_cancelled = scope.ending == Some(Ending::Cancelled);
        let outcome = match scope.ending.take() {
            None => Ok(std::mem::replace(&mut scope.result, Value::Null)),
            Some(Ending::Failed(error)) => Err(*error),
            Some(Ending::Cancelled) => Err(fault::cancelled()),
        };
        match scope.owner.take() {
            None => self.root_done(outcome, was_cancelled),
            Some(owner) => self.child_done(&owner, key, &scope, outcome),
        }
    }
}

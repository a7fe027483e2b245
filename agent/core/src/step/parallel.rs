//! `parallel`: branches at the same time, each with its own view of the variables.

use std::sync::Arc;

use openclaw_protocol::definition::{ParallelMode, ScopeIx, StepIx};
use openclaw_protocol::expr::Value;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::RunError;

use super::{Begun, Work};
use crate::names;
use crate::plan::Plan;
use crate::run::{MAIN_VIEW, StepRef, Turn};
use crate::scope::{Ending, ScopeKey, ScopeState, Stage};
use crate::view::View;

/// Branches under way.
#[derive(Debug)]
pub(crate) struct Parallel {
    /// What every branch sees at first, also one that begins later.
    pub(crate) snapshot: View,
    pub(crate) running: VecMap<usize, ScopeKey>,
    /// The first branch that has not begun.
    pub(crate) next: usize,
    pub(crate) ended: VecMap<usize, Ended>,
    /// How the step will end, once that is certain.
    pub(crate) verdict: Option<Result<(), RunError>>,
    /// In the order of the journal.
    pub(crate) first_error: Option<RunError>,
}

#[derive(Debug)]
pub(crate) struct Ended {
    /// `None`: failed or cancelled.
    pub(crate) output: Option<Value>,
    pub(crate) view: View,
    pub(crate) scope: ScopeIx,
}

/// The step as written.
pub(super) struct Shape<'a> {
    pub(super) mode: ParallelMode,
    pub(super) branches: &'a [(String, ScopeIx)],
    pub(super) named: bool,
    pub(super) concurrency: Option<u16>,
}

impl Parallel {
    pub(super) fn children(&self) -> Vec<ScopeKey> {
        self.running.values().cloned().collect()
    }

    /// How the step must end, if what has ended so far decides it.
    fn decide(&self, mode: ParallelMode, branches: usize) -> Option<Result<(), RunError>> {
        let well = self.ended.values().filter(|branch| branch.output.is_some()).count();
        let badly = self.ended.len() - well;
        let failure = || Err(self.first_error.clone().unwrap_or_else(crate::fault::cancelled));
        let need = match mode {
            ParallelMode::FailFast if badly > 0 => return Some(failure()),
            ParallelMode::FailFast | ParallelMode::WaitAll => {
                let all = self.ended.len() == branches;
                return all.then(|| if badly > 0 { failure() } else { Ok(()) });
            }
            ParallelMode::Race => 1,
            ParallelMode::Need(need) => usize::from(need),
        };
        if well >= need {
            return Some(Ok(()));
        }
        (branches.saturating_sub(badly) < need).then(failure)
    }
}

impl Turn<'_> {
    pub(super) fn fork(
        &mut self,
        at: &StepRef,
        branches: &[(String, ScopeIx)],
        named: bool,
        concurrency: Option<u16>,
    ) -> Begun {
        if branches.is_empty() {
            let nothing = if named { names::object([]) } else { Value::from(Vec::new()) };
            return Begun::Done(Ok(nothing));
        }
        let view = self.run.view_of(at);
        let snapshot = self.run.views.get(&view).map(|view| view.fork()).unwrap_or_default();
        let parallel = Parallel {
            snapshot,
            running: VecMap::new(),
            next: 0,
            ended: VecMap::new(),
            verdict: None,
            first_error: None,
        };
        self.set_work(at, Work::Parallel(Box::new(parallel)), Stage::Open);
        self.begin_branches(at, branches, concurrency);
        Begun::Waits
    }

    fn begin_branches(
        &mut self,
        at: &StepRef,
        branches: &[(String, ScopeIx)],
        concurrency: Option<u16>,
    ) {
        let most = concurrency.map_or(branches.len(), |most| usize::from(most.max(1)));
        loop {
            let Some(Work::Parallel(parallel)) = self.work_mut(at) else { return };
            if parallel.running.len() >= most {
                return;
            }
            let number = parallel.next;
            let Some((name, scope)) = branches.get(number) else { return };
            parallel.next += 1;
            let view = parallel.snapshot.clone();
            let key = self.child_key(at, &format!("[{name}]"));
            if let Some(Work::Parallel(parallel)) = self.work_mut(at) {
                parallel.running.insert(number, Arc::clone(&key));
            }
            let view_id = self.run.next_view;
            self.run.next_view = view_id.wrapping_add(1).max(MAIN_VIEW + 1);
            self.run.views.insert(view_id, Box::new(view));
            self.open_scope(*scope, key, Some(at.clone()), view_id);
        }
    }

    pub(super) fn branch_done(
        &mut self,
        at: &StepRef,
        key: &ScopeKey,
        scope: &ScopeState,
        outcome: Result<Value, RunError>,
        shape: &Shape<'_>,
    ) {
        let view = *self.run.views.remove(&scope.view).unwrap_or_default();
        let closing = self.run.active(at).is_none_or(|active| active.closing.is_some());
        let Some(Work::Parallel(parallel)) = self.work_mut(at) else { return };
        let Some(number) =
            parallel.running.iter().find(|(_, running)| *running == key).map(|(number, _)| *number)
        else {
            return;
        };
        parallel.running.remove(&number);
        let output = match outcome {
            Ok(output) => Some(output),
            Err(error) => {
                parallel.first_error.get_or_insert(error);
                None
            }
        };
        parallel.ended.insert(number, Ended { output, view, scope: scope.ix });
        let mut stopping = closing || parallel.verdict.is_some();
        if !stopping && let Some(verdict) = parallel.decide(shape.mode, shape.branches.len()) {
            parallel.verdict = Some(verdict);
            stopping = true;
            for child in parallel.children() {
                self.close_scope(child, Ending::Cancelled);
            }
        }
        if !stopping {
            self.begin_branches(at, shape.branches, shape.concurrency);
        }
        self.join(at, shape);
    }

    /// Ends the step if no branch is under way any more.
    fn join(&mut self, at: &StepRef, shape: &Shape<'_>) {
        let view = self.run.view_of(at);
        let Some(Work::Parallel(parallel)) = self.work_mut(at) else { return };
        if !parallel.running.is_empty() {
            return;
        }
        let verdict = parallel.verdict.take().unwrap_or_else(|| Err(crate::fault::cancelled()));
        let ended = std::mem::take(&mut parallel.ended);
        let mut outputs = Vec::with_capacity(shape.branches.len());
        let plan = self.plan;
        for (number, branch) in ended {
            let ended_well = branch.output.is_some();
            outputs.push((number, branch.output));
            let within = |ix: StepIx| is_within(plan, ix, branch.scope);
            self.run.views.entry(view).or_default().absorb(branch.view, within, ended_well);
        }
        self.attempt_ended(at, verdict.map(|()| result(shape, &outputs)));
    }
}

/// A map from branch to output, or a list where the branches have no names. A branch that lost a
/// race is not in the map, and `null` in the list.
fn result(shape: &Shape<'_>, outputs: &[(usize, Option<Value>)]) -> Value {
    let output_of = |wanted: usize| {
        outputs.iter().find(|(number, _)| *number == wanted).and_then(|(_, output)| output.clone())
    };
    if !shape.named {
        let list: Vec<Value> = (0..shape.branches.len())
            .map(|number| output_of(number).unwrap_or(Value::Null))
            .collect();
        return Value::from(list);
    }
    names::object(
        shape.branches.iter().enumerate().filter_map(|(number, (name, _))| {
            output_of(number).map(|output| (name.as_str(), output))
        }),
    )
}

/// Whether a step is in a scope, at whatever depth.
fn is_within(plan: &Plan, ix: StepIx, scope: ScopeIx) -> bool {
    let mut here = plan.step(ix).scope;
    loop {
        if here == scope {
            return true;
        }
        let Some(owner) = plan.scope(here).owner else { return false };
        here = plan.step(owner).scope;
    }
}

//! `sequence`: a scope of its own, and where compensations count: what undoes the steps that have
//! succeeded, when a failure or cancellation leaves the scope.

use std::sync::Arc;

use openclaw_protocol::definition::{Compensation, ScopeIx, StepKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::limits as shared;
use openclaw_protocol::run::{RunError, RunEvent, StepPath};

use super::{Begun, Work};
use crate::limits::COMPENSATIONS;
use crate::names::Bound;
use crate::run::{Phase, StepRef, Turn};
use crate::scope::{Ending, ScopeKey, Stage};
use crate::{fault, view};

/// The code of an error that says: something was not undone.
const INCOMPLETE: &str = "compensation.incomplete";

/// What follows the path of a step in the paths of the steps that undo it.
pub(crate) const UNDO: &str = "[undo]";

/// A `sequence` under way.
#[derive(Debug)]
pub(crate) struct Saga {
    pub(crate) child: ScopeKey,
    /// What was done is being undone.
    pub(crate) undoing: Option<Box<Undoing>>,
}

/// What undoes one step instance that has succeeded.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) scope: ScopeIx,
    pub(crate) path: StepPath,
    pub(crate) output: Value,
    pub(crate) bytes: usize,
    pub(crate) bound: Option<Arc<Bound>>,
}

/// Compensations under way, one at a time, the latest step's first.
#[derive(Debug)]
pub(crate) struct Undoing {
    pub(crate) left: Vec<Undo>,
    pub(crate) child: Option<ScopeKey>,
    pub(crate) is_complete: bool,
    /// Why the scope is being left.
    pub(crate) ending: Ending,
}

impl Undoing {
    /// The scope of the compensation under way.
    pub(crate) fn scope(&self) -> Option<ScopeKey> {
        self.child.clone()
    }

    /// How the scope ends, now that it is undone as far as could be.
    fn ending(self) -> Ending {
        if self.is_complete {
            return self.ending;
        }
        let message = "not everything that was done could be undone; see the failed compensations";
        let incomplete = fault::fault(INCOMPLETE, message);
        match self.ending {
            Ending::Cancelled => Ending::Failed(Box::new(incomplete)),
            Ending::Failed(mut error) => {
                fault::attach(&mut error, &incomplete);
                Ending::Failed(error)
            }
        }
    }
}

impl Turn<'_> {
    pub(super) fn begin_sequence(&mut self, at: &StepRef, body: ScopeIx) -> Begun {
        let view = self.run.view_of(at);
        let key = self.child_key(at, "");
        let saga = Saga { child: Arc::clone(&key), undoing: None };
        self.set_work(at, Work::Sequence(Box::new(saga)), Stage::Open);
        self.open_scope(body, key, Some(at.clone()), view);
        Begun::Waits
    }

    /// The steps have ended, or one of the compensations.
    pub(super) fn sequence_done(
        &mut self,
        at: &StepRef,
        outcome: Result<Value, RunError>,
        compensation: Option<Compensation>,
    ) {
        let closing = self.run.active(at).and_then(|active| active.closing.clone());
        let Some(Work::Sequence(saga)) = self.work_mut(at) else { return };
        if let Some(undoing) = saga.undoing.take() {
            return self.undone(Some(at.clone()), undoing, outcome.is_ok());
        }
        let ending = match (&outcome, closing) {
            (_, Some(ending)) => Some(ending),
            (Err(error), None) => Some(Ending::Failed(Box::new(error.clone()))),
            (Ok(_), None) => None,
        };
        let owner = Some(at.clone());
        match (ending, compensation) {
            (Some(ending), Some(when)) => {
                if !self.compensate(owner, when, ending) {
                    self.attempt_ended(at, outcome);
                }
            }
            (_, when) => {
                // What has come to a good end is not undone by what fails outside of it.
                if when.is_some() {
                    self.forget_undo(owner.as_ref());
                }
                self.attempt_ended(at, outcome);
            }
        }
    }

    /// Keeps what undoes a step that has just succeeded.
    ///
    /// # Errors
    /// `limit.payload`: there is too much to keep.
    pub(crate) fn register_undo(&mut self, at: &StepRef) -> Result<(), RunError> {
        let Some(scope) = self.plan.step(at.ix).compensate else { return Ok(()) };
        let owner = self.saga_around(at);
        let running = match &owner {
            None => matches!(self.run.phase, Phase::Main | Phase::Finally),
            Some(owner) => matches!(
                self.work_mut(owner),
                Some(Work::Sequence(saga)) if saga.undoing.is_none()
            ),
        };
        if !running {
            return Ok(());
        }
        let output = self.output_of(at).unwrap_or(Value::Null);
        let bytes = view::size(&output)?;
        let kept = self.run.undo.get(&owner).map_or(0, Vec::len);
        let total = self.run.undo_bytes + bytes;
        if kept >= COMPENSATIONS || total > shared::RUN_STATE_BYTES {
            let message = format!(
                "too much to undo: at most {COMPENSATIONS} compensations and {} bytes of outputs",
                shared::RUN_STATE_BYTES
            );
            return Err(fault::fault("limit.payload", message));
        }
        self.run.undo_bytes = total;
        let (path, bound) = (self.run.path(at), self.bound_around(at));
        let undo = Undo { scope, path, output, bytes, bound };
        self.run.undo.entry(owner).or_default().push(undo);
        Ok(())
    }

    /// The nearest `sequence` around a step that compensations count for; `None`: the run.
    fn saga_around(&self, at: &StepRef) -> Option<StepRef> {
        let mut owner = self.run.scopes.get(&at.scope)?.owner.as_ref();
        while let Some(here) = owner {
            let kind = &self.plan.step(here.ix).kind;
            if matches!(kind, StepKind::Sequence { compensation: Some(_), .. }) {
                return Some(here.clone());
            }
            owner = self.run.scopes.get(&here.scope)?.owner.as_ref();
        }
        None
    }

    fn forget_undo(&mut self, owner: Option<&StepRef>) -> Vec<Undo> {
        let undo = self.run.undo.remove(&owner.cloned()).unwrap_or_default();
        let bytes: usize = undo.iter().map(|undo| undo.bytes).sum();
        self.run.undo_bytes = self.run.undo_bytes.saturating_sub(bytes);
        undo
    }

    /// Begins to undo what was done for a scope that is being left. `false`: there is nothing to
    /// do.
    pub(crate) fn compensate(
        &mut self,
        owner: Option<StepRef>,
        when: Compensation,
        ending: Ending,
    ) -> bool {
        let wanted = match ending {
            Ending::Cancelled => when.on_cancelled,
            Ending::Failed(_) => when.on_failed,
        };
        let left = self.forget_undo(owner.as_ref());
        let forced =
            self.run.hard_stop || self.run.cancelled == Some(true) || self.run.succeeding.is_some();
        if !wanted || forced || left.is_empty() {
            return false;
        }
        let undoing = Undoing { left, child: None, is_complete: true, ending };
        self.undo_next(owner, Box::new(undoing));
        true
    }

    /// One compensation has ended.
    pub(crate) fn undone(&mut self, owner: Option<StepRef>, mut undoing: Box<Undoing>, ok: bool) {
        undoing.is_complete &= ok;
        if self.run.cancelled == Some(true) && !undoing.left.is_empty() {
            undoing.left.clear();
            undoing.is_complete = false;
        }
        self.undo_next(owner, undoing);
    }

    fn undo_next(&mut self, owner: Option<StepRef>, mut undoing: Box<Undoing>) {
        let Some(undo) = undoing.left.pop() else {
            let step = owner.as_ref().map(|at| self.run.path(at));
            let step = step.unwrap_or_else(|| StepPath(String::new()));
            self.tell(RunEvent::Compensated { step, complete: undoing.is_complete });
            let ending = undoing.ending();
            return match owner {
                None => self.left_main(ending),
                Some(at) => self.left_sequence(&at, ending),
            };
        };
        let key = ScopeKey::from(format!("{}{UNDO}", undo.path));
        let view = owner.as_ref().map_or(crate::run::MAIN_VIEW, |at| self.run.view_of(at));
        let names = vec![("output".to_owned(), undo.output)];
        let bound = Some(Arc::new(Bound { names, outer: undo.bound }));
        undoing.child = Some(Arc::clone(&key));
        match &owner {
            None => self.run.undoing = Some(undoing),
            Some(at) => {
                if let Some(Work::Sequence(saga)) = self.work_mut(at) {
                    saga.undoing = Some(undoing);
                }
            }
        }
        self.open_bound(undo.scope, key, owner, view, bound);
    }

    fn left_sequence(&mut self, at: &StepRef, ending: Ending) {
        let result = Err(ending.error());
        // What is incomplete counts even where the step was merely cancelled.
        if let Some(active) = self.step_state(at).and_then(|state| state.active.as_mut())
            && active.closing.is_some()
        {
            active.closing = Some(ending);
        }
        self.attempt_ended(at, result);
    }
}

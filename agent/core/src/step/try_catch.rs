//! `try`: steps, what follows their failure, and what follows in any case.

use std::sync::Arc;

use openclaw_protocol::definition::{Catch, ScopeIx};
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::RunError;

use super::{Begun, Work};
use crate::fact::TimerKind;
use crate::names::{self, Bound};
use crate::run::{StepRef, Turn};
use crate::scope::{Ending, ScopeKey, Stage};
use crate::timer::TimerKey;
use crate::{fault, retry};

/// A `try` under way.
#[derive(Debug)]
pub(crate) struct Trying {
    pub(crate) part: Part,
    /// The scope of the part at hand.
    pub(crate) child: ScopeKey,
    /// How the parts before have ended, while `finally` is under way.
    pub(crate) outcome: Option<Result<Value, RunError>>,
}

/// The part of a `try` that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Body,
    Catch,
    Finally,
}

/// What follows the body, as written.
pub(super) struct Shape<'a> {
    pub(super) catches: &'a [Catch],
    pub(super) finally: Option<ScopeIx>,
    pub(super) finally_timeout_ms: u64,
}

impl Trying {
    /// Whether a cancellation leaves it alone.
    pub(super) fn is_shielded(&self) -> bool {
        self.part == Part::Finally
    }
}

impl Turn<'_> {
    pub(super) fn begin_try(&mut self, at: &StepRef, body: ScopeIx) -> Begun {
        let view = self.run.view_of(at);
        let key = self.child_key(at, "");
        self.set_part(at, Part::Body, Arc::clone(&key), None);
        self.open_scope(body, key, Some(at.clone()), view);
        Begun::Waits
    }

    /// A part has ended.
    pub(super) fn tried(
        &mut self,
        at: &StepRef,
        outcome: Result<Value, RunError>,
        shape: &Shape<'_>,
    ) {
        let closing = self.run.active(at).and_then(|active| active.closing.clone());
        let Some(Work::Try(trying)) = self.work_mut(at) else { return };
        let before = trying.outcome.take();
        match (trying.part, outcome, closing) {
            (Part::Finally, outcome, _) => {
                self.run.timers.remove(&TimerKey::step(at, TimerKind::Finally));
                let before = before.unwrap_or(Ok(Value::Null));
                self.attempt_ended(at, with_finally(before, outcome));
            }
            // What ends the step from outside is not for its own `catch`.
            (Part::Body | Part::Catch, _, Some(ending)) => {
                self.finish_try(at, Err(ending.error()), shape);
            }
            (Part::Body, Err(error), None) => self.catch(at, error, shape),
            (Part::Body | Part::Catch, outcome, None) => self.finish_try(at, outcome, shape),
        }
    }

    fn catch(&mut self, at: &StepRef, error: RunError, shape: &Shape<'_>) {
        let value = names::error_value(&error);
        for catch in shape.catches {
            if !retry::catches(&catch.errors, &error.code) {
                continue;
            }
            let names = vec![(catch.name.clone(), value.clone())];
            let bound = Arc::new(Bound { names, outer: self.bound_around(at) });
            if let Some(when) = &catch.when {
                let path = self.run.path(at);
                let mut names = self.run.names(at, &path.0, self.at);
                names.bound = Some(&bound);
                match names.truth("when", when) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(mut worse) => {
                        fault::attach(&mut worse, &error);
                        return self.finish_try(at, Err(worse), shape);
                    }
                }
            }
            let view = self.run.view_of(at);
            let key = self.child_key(at, "[catch]");
            self.set_part(at, Part::Catch, Arc::clone(&key), None);
            return self.open_bound(catch.body, key, Some(at.clone()), view, Some(bound));
        }
        self.finish_try(at, Err(error), shape);
    }

    /// Runs `finally`, if there is one that may run, and ends the step.
    fn finish_try(&mut self, at: &StepRef, outcome: Result<Value, RunError>, shape: &Shape<'_>) {
        let forced = self.run.hard_stop || self.run.cancelled == Some(true);
        let Some(finally) = shape.finally.filter(|_| !forced) else {
            return self.attempt_ended(at, outcome);
        };
        let view = self.run.view_of(at);
        let key = self.child_key(at, "[finally]");
        // The step's own bound was for what may fail, not for tidying up after it.
        self.run.timers.remove(&TimerKey::step(at, TimerKind::AttemptTimeout));
        self.run.timers.remove(&TimerKey::step(at, TimerKind::TotalTimeout));
        self.arm(TimerKey::step(at, TimerKind::Finally), shape.finally_timeout_ms);
        self.set_part(at, Part::Finally, Arc::clone(&key), Some(outcome));
        self.open_scope(finally, key, Some(at.clone()), view);
    }

    /// A `finally` has taken too long.
    pub(crate) fn finally_over(&mut self, at: &StepRef, bound_ms: u64) {
        let Some(Work::Try(trying)) = self.work_mut(at) else { return };
        if trying.is_shielded() {
            let key = Arc::clone(&trying.child);
            self.close_scope(key, Ending::Failed(Box::new(fault::timeout("`finally`", bound_ms))));
        }
    }

    fn set_part(
        &mut self,
        at: &StepRef,
        part: Part,
        child: ScopeKey,
        outcome: Option<Result<Value, RunError>>,
    ) {
        self.set_work(at, Work::Try(Box::new(Trying { part, child, outcome })), Stage::Open);
    }
}

/// An error of `finally` replaces a success, and is attached to a failure.
pub(crate) fn with_finally(
    before: Result<Value, RunError>,
    finally: Result<Value, RunError>,
) -> Result<Value, RunError> {
    match (before, finally) {
        (before, Ok(_)) => before,
        (Ok(_), Err(error)) => Err(error),
        (Err(mut error), Err(beside)) => {
            fault::attach(&mut error, &beside);
            Err(error)
        }
    }
}

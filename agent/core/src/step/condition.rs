//! `condition`: asks, and takes one of two ways.

use openclaw_protocol::definition::ScopeIx;
use openclaw_protocol::expr::{Expr, Value};
use openclaw_protocol::run::{RunError, StepPath};

use super::{Begun, Work};
use crate::names;
use crate::run::{StepRef, Turn};
use crate::scope::{Choice, Stage};

impl Turn<'_> {
    pub(super) fn ask(
        &mut self,
        at: &StepRef,
        path: &StepPath,
        expr: &Expr,
        then: Option<ScopeIx>,
        otherwise: Option<ScopeIx>,
    ) -> Begun {
        let answer = match self.run.names(at, &path.0, self.at).truth("condition", expr) {
            Ok(answer) => answer,
            Err(error) => return Begun::Done(Err(error)),
        };
        let result = names::object([("result", Value::Bool(answer))]);
        let inline = if answer { then } else { otherwise };
        self.go(at, Choice::Truth(answer), result, inline)
    }

    /// Goes the way that was chosen: into inline steps, or at once to the edges.
    pub(super) fn go(
        &mut self,
        at: &StepRef,
        choice: Choice,
        result: Value,
        inline: Option<ScopeIx>,
    ) -> Begun {
        let Some(inline) = inline else {
            self.set_work(at, Work::Choice(choice, Value::Null, None), Stage::Open);
            return Begun::Done(Ok(result));
        };
        let view = self.run.view_of(at);
        let key = self.child_key(at, "");
        self.set_work(at, Work::Choice(choice, result, Some(key.clone())), Stage::Open);
        self.open_scope(inline, key, Some(at.clone()), view);
        Begun::Waits
    }

    /// The inline steps have ended.
    pub(super) fn answered(&mut self, at: &StepRef, outcome: Result<Value, RunError>) {
        let Some(Work::Choice(_, result, _)) = self.work_mut(at) else { return };
        let result = std::mem::replace(result, Value::Null);
        self.attempt_ended(at, outcome.map(|_| result));
    }
}

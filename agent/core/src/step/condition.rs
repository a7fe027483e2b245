//! `condition`: asks, and takes one of two ways.

use openclaw_protocol::definition::ScopeIx;
use openclaw_protocol::expr::{Expr, Value};
use openclaw_protocol::run::{RunError, StepPath};

use super::{Begun, Work};
use crate::names;
use crate::run::{StepRef, Turn};
use crate::scope::Stage;

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
        let Some(inline) = (if answer { then } else { otherwise }) else {
            self.set_work(at, Work::Condition(answer, None), Stage::Open);
            return Begun::Done(Ok(result(answer)));
        };
        let view = self.run.view_of(at);
        let key = self.child_key(at, "");
        self.set_work(at, Work::Condition(answer, Some(key.clone())), Stage::Open);
        self.open_scope(inline, key, Some(at.clone()), view);
        Begun::Waits
    }

    /// The inline steps have ended.
    pub(super) fn answered(&mut self, at: &StepRef, outcome: Result<Value, RunError>) {
        let answer = self.run.active(at).and_then(super::Active::answer).unwrap_or(false);
        self.attempt_ended(at, outcome.map(|_| result(answer)));
    }
}

fn result(answer: bool) -> Value {
    names::object([("result", Value::Bool(answer))])
}

//! `switch`: takes the first case that matches.

use openclaw_protocol::definition::{CaseTest, StepKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::{RunError, StepPath};

use super::Begun;
use crate::run::{StepRef, Turn};
use crate::scope::Choice;
use crate::{fault, names};

impl Turn<'_> {
    pub(super) fn choose(&mut self, at: &StepRef, path: &StepPath, kind: &StepKind) -> Begun {
        let StepKind::Switch { cases, default, has_default, .. } = kind else {
            return Begun::Waits;
        };
        let (case, result) = match self.first_match(at, path, kind) {
            Ok(Some((case, result))) => (Some(case), result),
            Ok(None) if *has_default => (None, Value::Null),
            Ok(None) => {
                let message = "no case matches, and there is no `default`";
                return Begun::Done(Err(fault::fault("condition.no_match", message)));
            }
            Err(error) => return Begun::Done(Err(error)),
        };
        let inline = match case {
            Some(case) => cases.get(usize::from(case)).and_then(|case| case.body),
            None => *default,
        };
        let result = names::object([("case", result)]);
        self.go(at, Choice::Case(case), result, inline)
    }

    /// The first case that matches, and what the result names it by: its value, or its position.
    fn first_match(
        &self,
        at: &StepRef,
        path: &StepPath,
        kind: &StepKind,
    ) -> Result<Option<(u16, Value)>, RunError> {
        let StepKind::Switch { subject, cases, .. } = kind else { return Ok(None) };
        let names = self.run.names(at, &path.0, self.at);
        let subject = match subject {
            Some(expr) => Some(names.value("switch", expr)?),
            None => None,
        };
        for (position, case) in (0_u16..).zip(cases) {
            match &case.test {
                CaseTest::When(expr) => {
                    if names.truth(&format!("case {position}"), expr)? {
                        return Ok(Some((position, Value::Int(i64::from(position)))));
                    }
                }
                CaseTest::Is(template) => {
                    let value = names.fill(&format!("case {position}"), template)?;
                    if subject.as_ref().is_some_and(|subject| subject.equals(&value)) {
                        return Ok(Some((position, value)));
                    }
                }
            }
        }
        Ok(None)
    }
}

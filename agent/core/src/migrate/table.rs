//! What of one definition is in another.

use openclaw_protocol::definition::{ScopeIx, StepIx};

use crate::plan::Plan;

/// For each step and scope of a definition the one in another that has the same id, kind and scope:
/// the same part of the same step, up to the document.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) steps: Vec<Option<StepIx>>,
    pub(crate) scopes: Vec<Option<ScopeIx>>,
}

impl Table {
    pub(crate) fn of(from: &Plan, to: &Plan) -> Self {
        let (old, new) = (&from.workflow, &to.workflow);
        let mut table =
            Self { steps: vec![None; old.steps.len()], scopes: vec![None; old.scopes.len()] };
        let tops = [
            (Some(old.root), Some(new.root)),
            (old.finally, new.finally),
            (old.on_failure, new.on_failure),
        ];
        let mut open: Vec<(ScopeIx, ScopeIx)> =
            tops.into_iter().filter_map(|(one, other)| one.zip(other)).collect();
        while let Some((scope, same)) = open.pop() {
            table.scopes[usize::from(scope.0)] = Some(same);
            for ix in &old.scope(scope).steps {
                let step = old.step(*ix);
                let Some(found) = to.find(step.id.as_str()) else { continue };
                let other = new.step(found);
                if other.scope != same || other.kind.key() != step.kind.key() {
                    continue;
                }
                table.steps[usize::from(ix.0)] = Some(found);
                for (part, scope) in step.scopes() {
                    let same = other.scopes().find(|(other, _)| other.name() == part.name());
                    open.extend(same.map(|(_, same)| (scope, same)));
                }
            }
        }
        table
    }

    pub(crate) fn step(&self, ix: StepIx) -> Option<StepIx> {
        self.steps.get(usize::from(ix.0)).copied().flatten()
    }

    pub(crate) fn scope(&self, ix: ScopeIx) -> Option<ScopeIx> {
        self.scopes.get(usize::from(ix.0)).copied().flatten()
    }
}

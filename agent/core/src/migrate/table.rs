//! What of one definition is in another.

use openclaw_protocol::definition::{ScopeIx, Step, StepIx, StepKind};

use crate::plan::Plan;

/// For each step and scope of a definition the one in another that has the same id, kind and scope:
/// the same part of the same step, up to the document.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) steps: Vec<Option<StepIx>>,
    pub(crate) scopes: Vec<Option<ScopeIx>>,
}

/// What a scope is to its step: a word of the language or the name of a branch, and which of several.
pub(super) type Part<'a> = (&'a str, usize);

/// The part that undoes a step.
const UNDOES: Part<'static> = ("compensate", usize::MAX);

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
                let others = every_part(other);
                open.extend(every_part(step).into_iter().filter_map(|(part, scope)| {
                    let (_, same) = others.iter().find(|(other, _)| *other == part)?;
                    Some((scope, *same))
                }));
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

/// The scopes of a step, with the one that undoes it.
fn every_part(step: &Step) -> Vec<(Part<'_>, ScopeIx)> {
    let mut parts = parts(step);
    parts.extend(step.compensate.map(|scope| (UNDOES, scope)));
    parts
}

/// The scopes that a step runs.
pub(super) fn parts(step: &Step) -> Vec<(Part<'_>, ScopeIx)> {
    let mut found: Vec<(Part<'_>, ScopeIx)> = Vec::new();
    let mut add = |word, n, scope: Option<ScopeIx>| {
        found.extend(scope.map(|scope| ((word, n), scope)));
    };
    match &step.kind {
        StepKind::Condition { then, otherwise, .. } => {
            add("then", 0, *then);
            add("else", 0, *otherwise);
        }
        StepKind::Switch { cases, default, .. } => {
            cases.iter().enumerate().for_each(|(n, case)| add("cases", n, case.body));
            add("default", 0, *default);
        }
        StepKind::Parallel { branches, .. } => {
            let branches = branches.iter().enumerate();
            branches.for_each(|(n, (name, scope))| add(name, n, Some(*scope)));
        }
        StepKind::Loop { body, .. } => add("do", 0, Some(*body)),
        StepKind::Foreach(each) => add("do", 0, Some(each.body)),
        StepKind::Try { body, catches, finally, .. } => {
            add("try", 0, Some(*body));
            catches.iter().enumerate().for_each(|(n, catch)| add("catch", n, Some(catch.body)));
            add("finally", 0, *finally);
        }
        StepKind::Sequence { body, .. } => add("steps", 0, Some(*body)),
        StepKind::Plugin(_)
        | StepKind::Set(_)
        | StepKind::Delay(_)
        | StepKind::Wait(_)
        | StepKind::Call(_)
        | StepKind::Publish(_)
        | StepKind::Emit { .. }
        | StepKind::Approval(_)
        | StepKind::Log { .. }
        | StepKind::Succeed { .. }
        | StepKind::Fail { .. } => {}
    }
    found
}

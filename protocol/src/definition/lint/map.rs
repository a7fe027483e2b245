//! Which scopes a step has, and which scopes a step is in.

use crate::definition::model::{Part, Scope, ScopeIx, Step, StepIx, Workflow};
use crate::ordered::VecMap;

/// What a scope is to the step that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The document's `steps`.
    Root,
    /// The document's `on_failure`.
    OnFailure,
    Then,
    Else,
    /// A case of a `switch`, or its default.
    Case,
    Branch,
    Loop,
    Foreach,
    Try,
    Catch,
    /// Of a `try`, or of the document.
    Finally,
    Sequence,
    Compensate,
}

impl From<Part<'_>> for Role {
    fn from(part: Part<'_>) -> Self {
        match part {
            Part::Then => Self::Then,
            Part::Else => Self::Else,
            Part::Case(..) | Part::Default => Self::Case,
            Part::Branch(..) => Self::Branch,
            Part::Loop => Self::Loop,
            Part::Foreach(_) => Self::Foreach,
            Part::Try => Self::Try,
            Part::Catch(..) => Self::Catch,
            Part::Finally => Self::Finally,
            Part::Sequence => Self::Sequence,
            Part::Compensate => Self::Compensate,
        }
    }
}

/// A workflow with the look-ups that lints need of it.
#[derive(Debug)]
pub(super) struct Map<'w> {
    pub(super) workflow: &'w Workflow,
    /// By [`ScopeIx`].
    roles: Vec<Role>,
    ids: VecMap<&'w str, StepIx>,
}

/// A scope on the way from the document to a step, and the step of it that the way goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) scope: ScopeIx,
    pub(super) step: StepIx,
}

impl<'w> Map<'w> {
    pub(super) fn new(workflow: &'w Workflow) -> Self {
        let mut roles = vec![Role::Root; workflow.scopes.len()];
        let mut note = |ix: ScopeIx, role| {
            if let Some(slot) = roles.get_mut(usize::from(ix.0)) {
                *slot = role;
            }
        };
        if let Some(ix) = workflow.on_failure {
            note(ix, Role::OnFailure);
        }
        if let Some(ix) = workflow.finally {
            note(ix, Role::Finally);
        }
        for step in &workflow.steps {
            for (role, ix) in scopes_of(step) {
                note(ix, role);
            }
        }
        let ids = indexed(workflow).map(|(ix, step)| (step.id.as_str(), ix)).collect();
        Self { workflow, roles, ids }
    }

    pub(super) fn step(&self, ix: StepIx) -> &'w Step {
        self.workflow.step(ix)
    }

    pub(super) fn scope(&self, ix: ScopeIx) -> &'w Scope {
        self.workflow.scope(ix)
    }

    pub(super) fn role(&self, ix: ScopeIx) -> Role {
        self.roles[usize::from(ix.0)]
    }

    /// All steps with their index.
    pub(super) fn steps(&self) -> impl DoubleEndedIterator<Item = (StepIx, &'w Step)> + use<'w> {
        indexed(self.workflow)
    }

    /// The index of a step with an id.
    pub(super) fn find(&self, id: &str) -> Option<StepIx> {
        self.ids.get(id).copied()
    }

    /// The way from the document to a step, outer levels first; the last is the step itself.
    pub(super) fn way_to(&self, step: StepIx) -> Vec<Level> {
        let mut way = Vec::new();
        let mut here = Some(step);
        while let Some(step) = here {
            let scope = self.step(step).scope;
            way.push(Level { scope, step });
            here = self.scope(scope).owner;
        }
        way.reverse();
        way
    }

    /// Everything inside a scope, at any depth, in document order.
    pub(super) fn inside(&self, scope: ScopeIx) -> Vec<StepIx> {
        let mut found = Vec::new();
        let mut open = vec![scope];
        while let Some(scope) = open.pop() {
            for ix in &self.scope(scope).steps {
                found.push(*ix);
                open.extend(scopes_of(self.step(*ix)).into_iter().map(|(_, scope)| scope));
            }
        }
        found.sort_unstable();
        found
    }
}

fn indexed(workflow: &Workflow) -> impl DoubleEndedIterator<Item = (StepIx, &Step)> {
    let index = |n| StepIx(u16::try_from(n).unwrap_or(u16::MAX));
    workflow.steps.iter().enumerate().map(move |(n, step)| (index(n), step))
}

/// The scopes of a step, in the order of the flow, with what each is to it.
pub(super) fn scopes_of(step: &Step) -> Vec<(Role, ScopeIx)> {
    step.scopes().map(|(part, scope)| (Role::from(part), scope)).collect()
}

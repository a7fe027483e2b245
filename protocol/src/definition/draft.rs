//! From YAML or JSON to a checked workflow, and every way to be wrong, with line and column.
//!
//! The way of a text: [`read`] makes a tree that knows its places, [`workflow`], [`step`], [`kind`]
//! and [`trigger`] take it apart key by key, [`super::graph`] joins the steps of each scope, [`refs`]
//! looks up the names that expressions use, and [`canonical`] writes the one spelling that is hashed.
//! Problems are collected on the way; a workflow comes out only where there are none.
//!
//! # How a scope flows
//! A scope is a *graph* if one of its steps has `next_steps`, or is a `condition` or `switch` that
//! names steps by id; then all of its edges are written. Otherwise it is a *sequence*: list
//! order is the flow. A step that is the target of an `on_failure` in a sequence is taken out of
//! the list flow: it runs only after that failure, and ends the scope well unless it fails itself.

mod attempts;
mod canonical;
mod fields;
mod input;
mod kind;
mod names;
mod problem;
mod read;
mod refs;
mod step;
mod tree;
mod trigger;
mod values;
mod workflow;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::rc::Rc;

pub use canonical::attempt_text;
pub(super) use fields::did_you_mean;
use names::Sight;
pub use problem::{DraftError, Problem, ProblemCode};
pub(super) use problem::{Place, Problems};
pub(super) use read::excerpt;
#[cfg(test)]
pub(super) use read::read;
pub(super) use step::{COMMON as STEP_COMMON, KINDS as STEP_KINDS};
pub(super) use tree::{Entry, Node};
pub(super) use trigger::KINDS as TRIGGER_KINDS;
pub(super) use values::find_name;

use super::graph::Flow;
use super::model::{DefinitionHash, Retry, Scope, ScopeIx, Step, StepIx, Workflow};
use crate::expr::Path;
use crate::limits;
use crate::ordered::VecMap;

/// Reads and checks a workflow document, in YAML 1.2 or JSON, in the authoring or the canonical
/// form.
///
/// # Errors
/// Everything that is wrong with the document, in its order, at most fifty problems.
pub fn parse(text: &str) -> Result<Workflow, DraftError> {
    parse_tree(text).1
}

/// As [`parse`], with the document as a tree that knows its places, as far as it could be read.
pub(super) fn parse_tree(text: &str) -> (Option<Node>, Result<Workflow, DraftError>) {
    let mut draft = Draft::default();
    let tree = read::read(text, &mut draft.problems);
    let workflow = draft.checked(tree.as_ref());
    (tree, workflow)
}

/// A workflow in the making.
#[derive(Debug, Default)]
struct Draft {
    problems: Problems,
    /// What plugin steps get where they say nothing; set from `defaults`.
    timeout_ms: Option<u64>,
    retry: Option<Vec<Retry>>,
    /// By [`StepIx`]; `None` while a step is being read, or where it could not be.
    steps: Vec<Option<Step>>,
    /// By [`ScopeIx`].
    scopes: Vec<ScopeDraft>,
    /// Where each step id was first given, and in which scope.
    ids: VecMap<String, (Place, ScopeIx)>,
    /// What an expression at the place being read sees.
    sight: Rc<Sight>,
    /// What is seen where each step stands.
    sights: VecMap<String, Rc<Sight>>,
    /// Where each name was first bound, by a `foreach` or `catch`.
    bound: VecMap<String, Place>,
    /// Inside a `compensate`.
    compensating: bool,
    /// Inside the `with` of a plugin step, the one place for secrets.
    secrets_pass: bool,
    /// Names of declared secrets.
    secrets: BTreeSet<String>,
    /// Names of declared inputs.
    inputs: BTreeSet<String>,
    /// Names of variables that are declared, set or exported somewhere.
    vars: BTreeSet<String>,
    references: Vec<Reference>,
}

/// A scope in the making.
#[derive(Debug)]
struct ScopeDraft {
    owner: Option<StepIx>,
    flows: Vec<Flow>,
    /// A step of it has no usable id, so that nothing can be said about its edges.
    broken: bool,
}

/// A name that an expression reads.
#[derive(Debug)]
struct Reference {
    at: Place,
    path: Path,
    sight: Rc<Sight>,
}

impl Draft {
    /// Everything from the tree to the hash.
    fn checked(mut self, tree: Option<&Node>) -> Result<Workflow, DraftError> {
        let workflow = tree.and_then(|tree| self.workflow(tree));
        let mut workflow = match workflow {
            Some(workflow) if self.problems.is_empty() => workflow,
            _ => return Err(self.problems.into_error()),
        };
        if let Some(tree) = tree {
            super::lint::check_order(&workflow, tree, &mut self.problems);
        }
        workflow.canonical = canonical::text(&workflow);
        if workflow.canonical.len() > limits::DOCUMENT_BYTES {
            let (len, most) = (workflow.canonical.len(), limits::DOCUMENT_BYTES);
            let message =
                format!("the workflow has {len} bytes in canonical form, the most is {most}");
            self.problems.add(ProblemCode::Limit, Place { line: 1, column: 1 }, message);
        }
        if !self.problems.is_empty() {
            return Err(self.problems.into_error());
        }
        workflow.hash = DefinitionHash::of(&workflow.canonical);
        Ok(workflow)
    }

    /// Joins the steps of every scope. `None` where steps or scopes are missing.
    fn join(&mut self) -> Option<(Vec<Step>, Vec<Scope>)> {
        let mut scopes = Vec::new();
        for (n, draft) in std::mem::take(&mut self.scopes).into_iter().enumerate() {
            if draft.broken {
                continue;
            }
            let here = ScopeIx(u16::try_from(n).ok()?);
            let joined = super::graph::join(here, &draft.flows, &self.ids, &mut self.problems);
            let flows = draft.flows.iter().map(|flow| flow.step);
            for (ix, (edges, incoming)) in flows.zip(joined.edges) {
                if let Some(Some(step)) = self.steps.get_mut(usize::from(ix.0)) {
                    (step.edges, step.incoming) = (edges, incoming);
                }
            }
            scopes.push(Scope {
                owner: draft.owner,
                steps: draft.flows.iter().map(|flow| flow.step).collect(),
                graph: joined.graph,
                entries: joined.entries,
            });
        }
        let steps: Option<Vec<Step>> = std::mem::take(&mut self.steps).into_iter().collect();
        Some((steps?, scopes))
    }
}

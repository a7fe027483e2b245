//! References to steps: those that fail in every run, and those that may fail in some.

use super::order::{Doubt, Order, Standing};
use super::places::Places;
use super::sites::{self, Site};
use super::{Code, Report};
use crate::definition::draft::{Node, ProblemCode, Problems};
use crate::definition::model::{CaseTest, EdgeKind, LoopTest, Step, StepIx, StepKind, Workflow};
use crate::expr::Expr;
use crate::ordered::VecSet;

/// A reference to a step.
struct Reference<'w> {
    site: Site<'w>,
    of: StepIx,
    id: String,
    /// What of the step, such as `output`; none for all of it.
    field: Option<String>,
}

impl Reference<'_> {
    fn is_of_output(&self) -> bool {
        self.field.as_ref().is_none_or(|field| field == "output")
    }
}

/// Notes references that cannot be right in any run, or are right by chance only.
pub(in crate::definition) fn check_order(
    workflow: &Workflow,
    tree: &Node,
    problems: &mut Problems,
) {
    let order = Order::rough(workflow);
    let mut places = None;
    for reference in references(&order) {
        let Reference { site, of, id, .. } = &reference;
        let (why, suggestion, absent) = match order.standing(*of, site) {
            Standing::There | Standing::Perhaps(_) => continue,
            Standing::Excluded(Doubt { absent: false, .. }) if !reference.is_of_output() => {
                continue;
            }
            Standing::Excluded(Doubt { why, absent }) => (format!("`{id}` {why}"), None, absent),
            Standing::Never(why) => (format!("`{id}` {why}"), None, true),
            Standing::Chance => (
                format!("nothing says whether `{id}` settles before this"),
                Some(format!("lead from `{id}` to this with `next_steps`")),
                true,
            ),
        };
        if is_guarded(&order, &reference, absent) {
            continue;
        }
        let places = places.get_or_insert_with(|| Places::new(tree, workflow));
        let at = places.name(workflow, site.step, site.key, &format!("steps.{id}"));
        let message = format!("`steps.{id}` is not known here: {why}");
        problems.push(ProblemCode::UnknownRef, at, message, suggestion);
    }
}

/// Warns of references to steps that may not have an output.
pub(super) fn maybe_skipped(order: &Order<'_>, places: &Places<'_>, report: &mut Report) {
    for reference in references(order) {
        let Reference { site, of, id, .. } = &reference;
        let Standing::Perhaps(Doubt { why, absent }) = order.standing(*of, site) else { continue };
        // How a step has ended is known of every step that has settled.
        if (!absent && !reference.is_of_output()) || is_guarded(order, &reference, absent) {
            continue;
        }
        let at = places.name(order.map().workflow, site.step, site.key, &format!("steps.{id}"));
        let (message, suggestion) = if absent {
            (
                format!("`{id}` {why}; `steps.{id}` is not there then, and this fails"),
                format!("ask first: `has(steps.{id}) ? … : …`, or `has(steps.{id})` in an `if`"),
            )
        } else {
            (
                format!("`{id}` {why}; its output is `null` then"),
                format!("ask first, as with `if: steps.{id}.status == 'succeeded'`"),
            )
        };
        report.add(Code::MaybeSkipped, at, message, suggestion);
    }
}

/// References to steps, each once for each key that it stands under.
fn references<'w>(order: &Order<'w>) -> Vec<Reference<'w>> {
    let map = order.map();
    let mut seen = VecSet::new();
    let mut found = Vec::new();
    for site in sites::all(map.workflow) {
        for path in site.expr.references() {
            let [first, id, rest @ ..] = path.as_slice() else { continue };
            let Some(of) = map.find(id).filter(|_| first == "steps") else { continue };
            let field = rest.first().cloned();
            if seen.insert((site.step, site.key, site.expr.source(), of, field.clone())) {
                found.push(Reference { site, of, id: id.clone(), field });
            }
        }
    }
    found
}

/// Whether the expression itself, or a question on the way to it, asks whether the step is there
/// (or, where it is certain to be, how it has ended).
fn is_guarded(order: &Order<'_>, reference: &Reference<'_>, absent: bool) -> bool {
    let id = &reference.id;
    let asks = |text: &str| {
        let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let names = |what: &str| {
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            dense.match_indices(what).any(|(at, _)| ends(&dense[at + what.len()..]))
        };
        let is_there = names(&format!("has(steps.{id}"))
            || dense.contains("get(steps,")
            || names(&format!("'{id}'insteps"))
            || names(&format!("\"{id}\"insteps"));
        let how = ["status", "error", "output==null", "output!=null"];
        is_there || (!absent && how.iter().any(|part| names(&format!("steps.{id}.{part}"))))
    };
    asks(reference.site.expr.source()) || questions(order, reference.site.step).any(asks)
}

/// The questions that must have been answered for a step to run.
fn questions<'w>(order: &Order<'w>, step: Option<StepIx>) -> impl Iterator<Item = &'w str> {
    let map = order.map();
    let way = step.map(|step| map.way_to(step)).unwrap_or_default();
    let mut found = Vec::new();
    for (n, level) in way.iter().enumerate() {
        let here = map.step(level.step);
        found.extend(&here.condition);
        for before in &map.scope(level.scope).steps {
            let edges = map.step(*before).edges.iter().filter(|edge| edge.to == level.step);
            found.extend(edges.filter_map(|edge| match &edge.kind {
                EdgeKind::Next(when) => when.as_ref(),
                EdgeKind::Then | EdgeKind::Else => asked(map.step(*before)),
                EdgeKind::Case(_) | EdgeKind::OnFailure => None,
            }));
        }
        if n + 1 == way.len() {
            break;
        }
        found.extend(asked(here));
        if let StepKind::Switch { cases, .. } = &here.kind {
            found.extend(cases.iter().filter_map(|case| match &case.test {
                CaseTest::When(expr) => Some(expr),
                CaseTest::Is(_) => None,
            }));
        }
    }
    found.into_iter().map(|expr| expr.source())
}

/// What a step asks before it goes one way or another.
fn asked(step: &Step) -> Option<&Expr> {
    if let StepKind::Condition { expr, .. }
    | StepKind::Switch { subject: Some(expr), .. }
    | StepKind::Loop { test: LoopTest::While(expr), .. } = &step.kind
    {
        return Some(expr);
    }
    None
}

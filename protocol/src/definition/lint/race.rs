//! Variables that steps write which nothing puts in order.

use std::collections::{BTreeMap, BTreeSet};

use super::map::{Map, scopes_of};
use super::order::Order;
use super::places::Places;
use super::{Code, Report};
use crate::definition::draft::Place;
use crate::definition::model::{ParallelMode, ScopeIx, Step, StepIx, StepKind};
use crate::expr::Template;

pub(super) fn check(order: &Order<'_>, places: &Places<'_>, report: &mut Report) {
    let map = order.map();
    for n in 0..map.workflow.scopes.len() {
        let scope = ScopeIx(u16::try_from(n).unwrap_or(u16::MAX));
        if map.scope(scope).graph {
            in_graph(order, scope, places, report);
        }
    }
    for (ix, step) in map.steps() {
        if let StepKind::Parallel { mode, branches, .. } = &step.kind
            && *mode != ParallelMode::Race
        {
            in_branches(map, ix, branches, places, report);
        }
        if let StepKind::Foreach(each) = &step.kind
            && each.concurrency > 1
        {
            for (name, writer) in written(map, each.body, true) {
                let at = place(map, places, writer, &name);
                let message = format!(
                    "iterations of `{}` that run at the same time all export `{name}`; the one that \
                     ends last wins",
                    step.id
                );
                let suggestion = "use the `collect` of the `foreach`, which keeps the order";
                report.add(Code::Race, at, message, suggestion);
            }
        }
    }
}

/// Steps of a graph that write the same variable, in the same run, in no order.
fn in_graph(order: &Order<'_>, scope: ScopeIx, places: &Places<'_>, report: &mut Report) {
    let map = order.map();
    let flow = order.flow(scope);
    let mut writers: BTreeMap<String, Vec<(usize, StepIx)>> = BTreeMap::new();
    for ix in &map.scope(scope).steps {
        let Some(here) = flow.place(*ix) else { continue };
        for (name, writer) in written_by(map, *ix) {
            writers.entry(name).or_default().push((here, writer));
        }
    }
    for (name, writers) in writers {
        let pairs = writers
            .iter()
            .enumerate()
            .flat_map(|(n, two)| writers[..n].iter().map(move |one| (one, two)));
        let mut racing = pairs.filter(|((one, _), (two, _))| {
            !flow.leads(*one, *two) && !flow.leads(*two, *one) && !flow.excludes(*one, *two)
        });
        if let Some(((_, one), (_, two))) = racing.next() {
            let at = place(map, places, *two, &name);
            let message = format!(
                "`{}` and `{}` both write `{name}`, and nothing says which comes last",
                map.step(*one).id,
                map.step(*two).id
            );
            let suggestion = "put one before the other with `next_steps`, or write two variables";
            report.add(Code::Race, at, message, suggestion);
        }
    }
}

/// Branches that export the same variable.
fn in_branches(
    map: &Map<'_>,
    step: StepIx,
    branches: &[(String, ScopeIx)],
    places: &Places<'_>,
    report: &mut Report,
) {
    let mut first: BTreeMap<String, (&str, StepIx)> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for (branch, scope) in branches {
        for (name, writer) in written(map, *scope, true) {
            let Some((other, _)) = first.get(&name) else {
                first.insert(name, (branch, writer));
                continue;
            };
            if told.insert(name.clone()) {
                let message = format!(
                    "the branches `{other}` and `{branch}` of `{}` both export `{name}`; the one \
                     that ends last wins",
                    map.step(step).id
                );
                let suggestion = "export under two names, and decide after the join";
                report.add(Code::Race, place(map, places, writer, &name), message, suggestion);
            }
        }
    }
}

/// Variables that a step and what is inside it write to the scope it is in, each with a writer.
fn written_by(map: &Map<'_>, ix: StepIx) -> BTreeMap<String, StepIx> {
    let step = map.step(ix);
    let mut found = own(step, false).map(|name| (name.to_owned(), ix)).collect::<BTreeMap<_, _>>();
    for (_, scope) in flowing(step) {
        let more = written(map, scope, is_fork(step));
        for (name, writer) in more {
            found.entry(name).or_insert(writer);
        }
    }
    found
}

/// Variables that steps of a scope write, as they are seen outside of it.
fn written(map: &Map<'_>, scope: ScopeIx, only_exports: bool) -> BTreeMap<String, StepIx> {
    let mut found = BTreeMap::new();
    let mut open = vec![(scope, only_exports)];
    while let Some((scope, only_exports)) = open.pop() {
        for ix in &map.scope(scope).steps {
            let step = map.step(*ix);
            for name in own(step, only_exports) {
                found.entry(name.to_owned()).or_insert(*ix);
            }
            let inner = flowing(step).into_iter().map(|(_, scope)| scope);
            open.extend(inner.map(|scope| (scope, only_exports || is_fork(step))));
        }
    }
    found
}

/// What a step does in the flow; what undoes it comes at another time.
fn flowing(step: &Step) -> Vec<(super::map::Role, ScopeIx)> {
    let mut scopes = scopes_of(step);
    scopes.retain(|(_, scope)| Some(*scope) != step.compensate);
    scopes
}

/// Whether what is `set` inside ends with it.
fn is_fork(step: &Step) -> bool {
    matches!(step.kind, StepKind::Parallel { .. } | StepKind::Foreach(_))
}

fn own(step: &Step, only_exports: bool) -> impl Iterator<Item = &str> {
    let set = if only_exports { &[] } else { assigned(step) };
    set.iter().chain(&step.export).map(|(name, _)| name.as_str())
}

/// What a `set` assigns.
pub(super) fn assigned(step: &Step) -> &[(String, Template)] {
    if let StepKind::Set(assigned) = &step.kind { assigned } else { &[] }
}

/// Where a step writes a variable.
pub(super) fn place(map: &Map<'_>, places: &Places<'_>, writer: StepIx, name: &str) -> Place {
    for key in ["export", "set", "config"] {
        let under = places.key(map.workflow, writer, key);
        if let Some(found) = under.and_then(|under| super::places::entry(&under.value, name)) {
            return found.at;
        }
    }
    places.id(map.workflow, writer)
}

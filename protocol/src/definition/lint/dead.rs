//! Questions with one answer, and what can therefore, or for other reasons, never run.

use super::map::Map;
use super::order::Order;
use super::places::{Places, entry};
use super::sites::{self, Phase, Site};
use super::{Code, Report};
use crate::definition::draft::Place;
use crate::definition::model::{CaseTest, Catch, EdgeKind, Retry, ScopeIx, StepIx, StepKind};
use crate::expr::{Expr, Scope, Value};

/// Keys that hold questions.
const QUESTIONS: [&str; 8] =
    ["if", "condition", "while", "until", "when", "next_steps", "cases", "catch"];

pub(super) fn check(order: &Order<'_>, places: &Places<'_>, report: &mut Report) {
    let map = order.map();
    for site in sites::all(map.workflow) {
        if QUESTIONS.contains(&site.key)
            && let Some(answer) = constant(site.expr)
        {
            one_answer(map, &site, answer, places, report);
        }
    }
    for (ix, step) in map.steps() {
        if let StepKind::Try { catches, .. } = &step.kind {
            dead_catches(map, ix, catches, places, report);
        }
        if let StepKind::Switch { cases, has_default, .. } = &step.kind {
            let always = cases.iter().position(|case| match &case.test {
                CaseTest::When(expr) => constant(expr) == Some(true),
                CaseTest::Is(_) => false,
            });
            let has_more = |n: usize| n + 1 < cases.len() || *has_default;
            if always.is_some_and(has_more) {
                let at = places.key(map.workflow, ix, "cases").map_or(Place::default(), |e| e.at);
                let message =
                    format!("a case of `{}` is always taken, and those behind it never", step.id);
                report.add(Code::Unreachable, at, message, "put it last, as `default`");
            }
        }
        dead_policies(map, ix, &step.retry, places, report);
        if step.continue_on_error
            && let Some(edge) = step.edges.iter().find(|e| matches!(e.kind, EdgeKind::OnFailure))
        {
            let at = places.key(map.workflow, ix, "on_failure");
            let at = at.map_or_else(|| places.id(map.workflow, ix), |entry| entry.at);
            let message = format!(
                "`{}` goes on after an error, so that its `on_failure` never leads to `{}`",
                step.id,
                map.step(edge.to).id
            );
            let suggestion = "keep one of `continue_on_error` and `on_failure`";
            report.add(Code::Unreachable, at, message, suggestion);
        }
    }
    dead_steps(order, places, report);
}

/// The answer of a question that asks for nothing.
fn constant(expr: &Expr) -> Option<bool> {
    let nothing: &dyn Scope = &();
    if !expr.references().is_empty() {
        return None;
    }
    expr.eval(nothing).ok().as_ref().and_then(Value::as_bool)
}

fn one_answer(
    map: &Map<'_>,
    site: &Site<'_>,
    answer: bool,
    places: &Places<'_>,
    report: &mut Report,
) {
    let Some(ix) = site.step else { return };
    let step = map.step(ix);
    let key = site.key;
    let Some(what) = meaning(map, ix, site, answer, places) else { return };
    let source = site.expr.source();
    let at = places.name(map.workflow, Some(ix), key, source);
    let message = format!("`{key}` of `{}` is always {answer}: {what}", step.id);
    let suggestion = "ask for something that can change, or say it plainly";
    report.add(Code::Constant, at, message, suggestion);
}

/// What it means that a question has this answer always; `None` where that may well be meant.
fn meaning(
    map: &Map<'_>,
    ix: StepIx,
    site: &Site<'_>,
    answer: bool,
    places: &Places<'_>,
) -> Option<&'static str> {
    let kind = &map.step(ix).kind;
    if site.key == "if" {
        // Switched off by `enabled: false`, which says it plainly.
        places.key(map.workflow, ix, "if")?;
        let off = "the step never runs; `enabled: false` says so";
        return Some(if answer { "the step always runs; remove it" } else { off });
    }
    if let StepKind::Loop { body, .. } = kind {
        let goes_on = (site.key == "while") == answer;
        return match (site.key, goes_on) {
            (_, true) if ends_the_run(map, *body) => None,
            (_, true) => Some("the loop ends only with the error `loop.limit`"),
            ("while", false) => Some("the loop never runs"),
            (_, false) => Some("the body runs once"),
        };
    }
    if matches!(kind, StepKind::Wait(_)) && site.phase == Phase::During && !answer {
        return Some("the wait never ends");
    }
    // A case that is always taken is a default, or told with those behind it.
    if matches!(kind, StepKind::Switch { .. }) && answer {
        return None;
    }
    Some(if answer { "one way is always taken" } else { "one way is never taken" })
}

/// Whether something in a scope ends the run or fails on purpose.
fn ends_the_run(map: &Map<'_>, scope: ScopeIx) -> bool {
    map.inside(scope)
        .iter()
        .any(|ix| matches!(map.step(*ix).kind, StepKind::Succeed { .. } | StepKind::Fail { .. }))
}

fn dead_catches(
    map: &Map<'_>,
    ix: StepIx,
    catches: &[Catch],
    places: &Places<'_>,
    report: &mut Report,
) {
    let node = places.key(map.workflow, ix, "catch").map(|entry| &entry.value);
    for (n, catch) in catches.iter().enumerate() {
        let sure = catches[..n].iter().filter(|earlier| earlier.when.is_none());
        let before: Vec<&[String]> = sure.map(|earlier| earlier.errors.as_slice()).collect();
        if !all_taken(&before, &catch.errors) {
            continue;
        }
        let item = node.and_then(|node| node.list()?.get(n));
        let at = item.map_or_else(
            || places.id(map.workflow, ix),
            |node| entry(node, "errors").map_or(node.at, |entry| entry.at),
        );
        let message = format!(
            "this `catch` of `{}` is never reached: the ones before it take the same errors",
            map.step(ix).id
        );
        report.add(Code::Unreachable, at, message, "put the more exact `catch` first");
    }
}

fn dead_policies(
    map: &Map<'_>,
    ix: StepIx,
    policies: &[Retry],
    places: &Places<'_>,
    report: &mut Report,
) {
    for (n, policy) in policies.iter().enumerate() {
        // One without patterns takes only what is marked as worth a retry.
        let sure = policies[..n].iter().filter(|p| p.not_errors.is_empty());
        let sure = sure.filter(|p| !p.errors.is_empty() || policy.errors.is_empty());
        let before: Vec<&[String]> = sure.map(|earlier| earlier.errors.as_slice()).collect();
        if all_taken(&before, &policy.errors) {
            let node = places.key(map.workflow, ix, "retry").map(|entry| &entry.value);
            let item = node.and_then(|node| node.list()?.get(n));
            let at = item.map_or_else(|| places.id(map.workflow, ix), |node| node.at);
            let message = format!(
                "this policy of `{}` is never used: the ones before it take the same errors",
                map.step(ix).id
            );
            report.add(Code::Unreachable, at, message, "put the more exact policy first");
        }
    }
}

/// Whether each of these patterns is taken by an earlier one; no pattern stands for `*`.
fn all_taken(before: &[&[String]], patterns: &[String]) -> bool {
    let star = ["*".to_owned()];
    let or_star = |patterns: &[String]| {
        if patterns.is_empty() { star.to_vec() } else { patterns.to_vec() }
    };
    let earlier: Vec<String> = before.iter().flat_map(|patterns| or_star(patterns)).collect();
    or_star(patterns).iter().all(|pattern| earlier.iter().any(|taker| takes(taker, pattern)))
}

/// Whether one pattern matches everything that another does.
fn takes(one: &str, other: &str) -> bool {
    if one == "*" {
        let head = other.split('.').next().unwrap_or_default();
        return !["cancelled", "limit", "replay"].contains(&head);
    }
    let family =
        |prefix: &str| other.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    one == other || one.strip_suffix(".*").is_some_and(family)
}

/// The first steps behind one that never ends well.
fn dead_steps(order: &Order<'_>, places: &Places<'_>, report: &mut Report) {
    let map = order.map();
    let completes = order.completes();
    for (ix, step) in map.steps() {
        let before: Vec<StepIx> = map
            .scope(step.scope)
            .steps
            .iter()
            .copied()
            .filter(|from| map.step(*from).edges.iter().any(|edge| edge.to == ix))
            .collect();
        let is_shut = |from: &StepIx| {
            let before = map.step(*from);
            let ways = before.edges.iter().filter(|edge| edge.to == ix);
            let fails_over = ways.into_iter().any(|edge| matches!(edge.kind, EdgeKind::OnFailure));
            !completes[usize::from(from.0)] && !before.continue_on_error && !fails_over
        };
        if before.is_empty() || !before.iter().all(is_shut) {
            continue;
        }
        let ids: Vec<String> =
            before.iter().map(|from| format!("`{}`", map.step(*from).id)).collect();
        let message =
            format!("`{}` never runs: the flow ends before it, in {}", step.id, ids.join(", "));
        let at = places.id(map.workflow, ix);
        report.add(Code::Unreachable, at, message, "remove it, or give what is before it an `if`");
    }
}

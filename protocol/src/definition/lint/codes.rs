//! The codes that errors have, and patterns that match none of them.

use super::order::Order;
use super::places::{Places, entry};
use super::{Code, Report};
use crate::definition::draft::{Node, did_you_mean};
use crate::definition::model::StepKind;

/// The codes of errors that the engine and the standard plugins raise. Authors and plugins add those
/// that begin with `user.`; plugins that speak HTTP may add any that begin with `http.`.
pub const KNOWN_CODES: [&str; 35] = [
    "timeout",
    "cancelled",
    "interrupted",
    "plugin.error",
    "plugin.trap",
    "plugin.fuel",
    "plugin.memory",
    "plugin.missing",
    "plugin.output",
    "plugin.load",
    "plugin.vars",
    "permission.denied",
    "secret.missing",
    "expr.type",
    "expr.key",
    "expr.budget",
    "inputs.invalid",
    "outputs.invalid",
    "http.status",
    "http.connect",
    "mqtt.offline",
    "wait.timeout",
    "loop.limit",
    "condition.no_match",
    "compensation.incomplete",
    "workflow.unknown",
    "limit.payload",
    "limit.history",
    "limit.runs",
    "limit.depth",
    "clock.untrusted",
    "worker.busy",
    "replay.mismatch",
    "user.*",
    "http.*",
];
/// Families of which every member may exist.
const OPEN: [&str; 2] = ["user", "http"];

pub(super) fn check(order: &Order<'_>, places: &Places<'_>, report: &mut Report) {
    let workflow = order.map().workflow;
    for (ix, step) in order.map().steps() {
        if let Some(retry) = places.key(workflow, ix, "retry") {
            policies(&retry.value, report);
        }
        if matches!(step.kind, StepKind::Try { .. })
            && let Some(catches) = places.key(workflow, ix, "catch")
        {
            each(&catches.value, |catch| patterns(catch, "errors", report));
        }
    }
    if let Some(retry) = places.top("defaults").and_then(|entry_| entry(&entry_.value, "retry")) {
        policies(&retry.value, report);
    }
}

fn policies(node: &Node, report: &mut Report) {
    each(node, |policy| {
        patterns(policy, "errors", report);
        patterns(policy, "not_errors", report);
    });
}

/// A node's items, or itself where it is no list.
fn each<'t>(node: &'t Node, mut visit: impl FnMut(&'t Node)) {
    for item in node.list().unwrap_or(std::slice::from_ref(node)) {
        visit(item);
    }
}

fn patterns(node: &Node, key: &str, report: &mut Report) {
    let Some(entry) = entry(node, key) else { return };
    each(&entry.value, |item| {
        let Some(pattern) = item.scalar().map(|scalar| scalar.text.as_str()) else { return };
        if is_known(pattern) {
            return;
        }
        let message =
            format!("no error has the code `{pattern}`, so that `{key}` never matches it");
        let suggestion = did_you_mean(pattern, KNOWN_CODES).unwrap_or_else(|| {
            "codes of plugins and of `fail` begin with `user.`; see the table of errors".to_owned()
        });
        report.add(Code::UnknownError, item.at, message, suggestion);
    });
}

/// Whether some error may match a pattern.
fn is_known(pattern: &str) -> bool {
    let family = |code: &str| code.split('.').next().unwrap_or_default().to_owned();
    if pattern == "*" || (OPEN.contains(&family(pattern).as_str()) && pattern.contains('.')) {
        return true;
    }
    match pattern.strip_suffix(".*") {
        Some(prefix) => KNOWN_CODES
            .iter()
            .any(|code| code.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'))),
        None => KNOWN_CODES.contains(&pattern),
    }
}

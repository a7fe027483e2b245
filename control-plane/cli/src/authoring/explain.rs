//! A workflow in plain sentences, step by step, in the order of the flow.

mod attempts;
mod kinds;
mod start;

use std::collections::BTreeMap;

use openclaw_protocol::definition::{
    EdgeKind, Join, Part, ScopeIx, Step, StepIx, StepKind, Workflow,
};
use openclaw_protocol::time::show_duration;

use super::longest;

/// The longest excerpt of an expression or value, in characters.
const EXCERPT: usize = 100;

/// Explains a workflow.
pub(crate) fn explain(workflow: &Workflow) -> String {
    let mut text = Text::default();
    let mut title = format!("{}, version {}", workflow.name, workflow.version);
    if !workflow.description.is_empty() {
        title.push_str(&format!(": {}", workflow.description));
    }
    text.line(0, &title);
    start::section(&mut text, workflow);
    text.gap();
    text.line(0, "What it does");
    let mut teller = Teller { workflow, text };
    teller.scope(workflow.root, "", 0, "the run fails");
    if let Some(scope) = workflow.finally {
        let bound = show_duration(workflow.finally_timeout_ms);
        let when = format!("In any case, also when the run is cancelled, for at most {bound}");
        teller.text.gap();
        teller.text.line(0, &when);
        teller.scope(scope, "", 0, "its error counts where there was none before");
    }
    if let Some(scope) = workflow.on_failure {
        teller.text.gap();
        teller.text.line(0, "When the run has failed, before that is reported");
        teller.scope(scope, "", 0, "its error is put beside the one of the run");
    }
    let mut text = teller.text;
    start::outputs(&mut text, workflow);
    text.gap();
    let bound = match longest::workflow(workflow) {
        Some(ms) => format!(
            "A run takes {} at most, on a device that has power and free slots.",
            show_duration(ms)
        ),
        None => "There is no bound to how long a run may take.".to_owned(),
    };
    text.line(0, &bound);
    text.out
}

/// Lines, indented.
#[derive(Debug, Default)]
struct Text {
    out: String,
}

impl Text {
    fn line(&mut self, depth: usize, line: &str) {
        self.out.push_str(&"  ".repeat(depth));
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }

    /// An empty line, unless there is one.
    fn gap(&mut self) {
        if !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }
}

/// Tells of steps.
struct Teller<'w> {
    workflow: &'w Workflow,
    text: Text,
}

impl Teller<'_> {
    /// Tells of a scope; `fails` is what its failure means.
    fn scope(&mut self, scope: ScopeIx, prefix: &str, depth: usize, fails: &str) {
        let workflow = self.workflow;
        let steps = in_order(workflow, scope);
        let numbers: BTreeMap<StepIx, String> =
            steps.iter().enumerate().map(|(n, ix)| (*ix, format!("{prefix}{}", n + 1))).collect();
        let entries = &workflow.scope(scope).entries;
        if entries.len() > 1 {
            let names: Vec<String> = entries.iter().map(|ix| self.named(*ix)).collect();
            self.text.line(depth, &format!("{} begin at the same time.", listed(&names)));
        }
        for ix in steps {
            let number = numbers.get(&ix).cloned().unwrap_or_default();
            self.step(ix, &number, depth, fails);
        }
    }

    fn step(&mut self, ix: StepIx, number: &str, depth: usize, fails: &str) {
        let step = self.workflow.step(ix);
        let name = if step.name.is_empty() { String::new() } else { format!(" ({})", step.name) };
        let what = kinds::sentence(step);
        self.text.line(depth, &format!("{number}. `{}`{name} {what}.", step.id));
        let under = depth + 1;
        for line in self.before(ix) {
            self.text.line(under, &line);
        }
        for line in attempts::lines(self.workflow, ix) {
            self.text.line(under, &line);
        }
        self.parts(step, number, under, fails);
        if let Some(line) = self.failure(step, fails) {
            self.text.line(under, &line);
        }
        for line in self.after(step) {
            self.text.line(under, &line);
        }
        if let Some(scope) = step.compensate {
            let (what, fails) = kinds::part(step, Part::Compensate, fails);
            self.text.line(under, &what);
            self.scope(scope, &format!("{number}."), under + 1, &fails);
        }
    }

    /// When it runs.
    fn before(&self, ix: StepIx) -> Vec<String> {
        let step = self.workflow.step(ix);
        let mut lines = Vec::new();
        if step.incoming > 1 {
            let ways = step.incoming;
            lines.push(match step.join {
                Join::All => format!(
                    "Runs once all of the {ways} ways that lead here are decided, if one at least was \
                     taken."
                ),
                Join::Every => format!("Runs only if all of the {ways} ways that lead here are taken."),
                Join::Any => format!("Runs as soon as one of the {ways} ways that lead here is taken."),
                Join::AtLeast(n) => {
                    format!("Runs as soon as {n} of the {ways} ways that lead here are taken.")
                }
            });
        }
        match step.condition.as_ref().map(|expr| expr.source()) {
            None | Some("true") => {}
            Some("false") => lines.push("Is switched off: the flow passes it by.".to_owned()),
            Some(expr) => {
                lines.push(format!("Only if {}; else the flow passes it by.", code(expr)))
            }
        }
        lines
    }

    /// What a failure that no retry mends means.
    fn failure(&self, step: &Step, fails: &str) -> Option<String> {
        let target = step.edges.iter().find(|edge| matches!(edge.kind, EdgeKind::OnFailure));
        let what = match target {
            _ if step.continue_on_error => "the flow goes on all the same".to_owned(),
            Some(edge) => format!("{} takes over", self.named(edge.to)),
            None if is_safe(&step.kind) => return None,
            None => fails.to_owned(),
        };
        if let StepKind::Fail { .. } = step.kind {
            let means =
                if target.is_some() || step.continue_on_error { what } else { fails.to_owned() };
            return Some(format!("So {means}."));
        }
        let for_good = if step.retry.is_empty() { "" } else { " for good" };
        Some(format!("If it fails{for_good}, {what}."))
    }

    /// Where the flow goes, where that does not follow from the order of the list.
    fn after(&self, step: &Step) -> Vec<String> {
        let graph = self.workflow.scope(step.scope).graph;
        let mut lines = Vec::new();
        let mut plain = Vec::new();
        for edge in step.edges.iter().filter(|_| graph) {
            match &edge.kind {
                EdgeKind::Next(None) => plain.push(self.named(edge.to)),
                EdgeKind::Next(Some(when)) => {
                    lines.push(format!("Then {} if {}.", self.named(edge.to), code(when.source())));
                }
                EdgeKind::Then => lines.push(format!("If so: {}.", self.named(edge.to))),
                EdgeKind::Else => lines.push(format!("If not: {}.", self.named(edge.to))),
                EdgeKind::Case(case) => {
                    let case = kinds::case(step, *case);
                    lines.push(format!("{case}: {}.", self.named(edge.to)));
                }
                EdgeKind::OnFailure => {}
            }
        }
        if !plain.is_empty() {
            let together = if plain.len() > 1 { ", at the same time" } else { "" };
            lines.insert(0, format!("Then {}{together}.", listed(&plain)));
        }
        for (name, template) in &step.export {
            lines.push(format!("Sets the variable {name} to {}.", value(&template.source())));
        }
        lines
    }

    /// What is inside a step.
    fn parts(&mut self, step: &Step, number: &str, depth: usize, fails: &str) {
        let takes_over = step.edges.iter().any(|edge| matches!(edge.kind, EdgeKind::OnFailure));
        let own = if step.continue_on_error || !step.retry.is_empty() || takes_over {
            format!("it ends, and `{}` fails", step.id)
        } else {
            format!("`{}` fails with it, and {fails}", step.id)
        };
        if let StepKind::Condition { gate: true, .. } = &step.kind {
            self.text.line(depth, "If not, the rest of this list is skipped, and it ends well.");
        }
        let many = step.kind.scopes().count() > 1;
        for (n, (part, scope)) in step.kind.scopes().enumerate() {
            let (what, fails) = kinds::part(step, part, &own);
            self.text.line(depth, &what);
            let prefix =
                if many { format!("{number}{}.", letter(n)) } else { format!("{number}.") };
            self.scope(scope, &prefix, depth + 1, &fails);
        }
    }

    fn named(&self, ix: StepIx) -> String {
        format!("`{}`", self.workflow.step(ix).id)
    }
}

/// The steps of a scope so that each comes after those that lead to it, else as in the document.
fn in_order(workflow: &Workflow, scope: ScopeIx) -> Vec<StepIx> {
    let scope = workflow.scope(scope);
    let mut waits_for: BTreeMap<StepIx, u16> =
        scope.steps.iter().map(|ix| (*ix, workflow.step(*ix).incoming)).collect();
    let mut order = Vec::new();
    while let Some(next) = scope.steps.iter().find(|ix| waits_for.get(ix) == Some(&0)) {
        waits_for.remove(next);
        order.push(*next);
        for edge in &workflow.step(*next).edges {
            if let Some(left) = waits_for.get_mut(&edge.to) {
                *left = left.saturating_sub(1);
            }
        }
    }
    order
}

/// Kinds that fail only where an expression does.
fn is_safe(kind: &StepKind) -> bool {
    matches!(
        kind,
        StepKind::Set(_)
            | StepKind::Log { .. }
            | StepKind::Emit { .. }
            | StepKind::Delay(_)
            | StepKind::Succeed { .. }
            | StepKind::Condition { .. }
            | StepKind::Sequence { .. }
            | StepKind::Try { .. }
    )
}

/// `a`, `b` and `c`.
fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// A part's letter: a to z, then numbers.
fn letter(n: usize) -> String {
    match u8::try_from(n) {
        Ok(n @ 0..26) => char::from(b'a' + n).to_string(),
        _ => format!("-{n}"),
    }
}

/// A piece of the document in one line, shortened.
fn excerpt(text: &str) -> String {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &flat[..end]),
        None => flat,
    }
}

/// An expression as a quotation.
fn code(expr: &str) -> String {
    format!("`{}`", excerpt(expr))
}

/// A value with expressions: one expression as such, a text as it is, all else as JSON.
fn value(json: &serde_json::Value) -> String {
    let Some(text) = json.as_str() else { return code(&json.to_string()) };
    let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    match whole.filter(|inner| !inner.contains("${")) {
        Some(expr) => code(expr.trim()),
        None => format!("\"{}\"", excerpt(text)),
    }
}

#[cfg(test)]
mod tests;

//! The keys that all steps share, and which kind a step is.

use std::rc::Rc;

use super::Draft;
use super::fields::{Fields, did_you_mean, nearest};
use super::kind::Around;
use super::names::Giver;
use super::problem::ProblemCode;
use super::read::excerpt;
use super::tree::Node;
use crate::definition::graph::{Flow, Target};
use crate::definition::model::{EdgeKind, Join, Priority, ScopeIx, Step, StepIx, StepKind};
use crate::expr::{Expr, Template};
use crate::id::StepId;

/// The kinds of steps.
pub(in crate::definition) const KINDS: [&str; 18] = [
    "plugin",
    "condition",
    "switch",
    "set",
    "delay",
    "parallel",
    "loop",
    "foreach",
    "try",
    "sequence",
    "wait",
    "call",
    "publish",
    "emit",
    "approval",
    "log",
    "succeed",
    "fail",
];
/// Keys that belong to some kinds only.
const PARTS: [&str; 17] = [
    "with",
    "then",
    "else",
    "do",
    "cases",
    "default",
    "catch",
    "finally",
    "finally_timeout",
    "compensation",
    "detach",
    "on_parent_close",
    "config",
    "effects",
    "on_interrupt",
    "idempotency_key",
    "trace",
];
/// Keys of every step.
pub(in crate::definition) const COMMON: [&str; 18] = [
    "id",
    "name",
    "description",
    "if",
    "enabled",
    "start",
    "next_steps",
    "on_failure",
    "continue_on_error",
    "join",
    "timeout",
    "total_timeout",
    "retry",
    "output",
    "export",
    "compensate",
    "priority",
    "type",
];

/// A kind and where its details are.
struct Kind<'a> {
    key: &'static str,
    /// The kind key's value, or `config` in the canonical form.
    head: &'a Node,
    canonical: bool,
}

impl Draft {
    /// Reads one step and all steps inside it. `None` where its id is not usable, so that nothing
    /// can lead to it.
    pub(super) fn step(&mut self, node: &Node, scope: ScopeIx, depth: usize) -> Option<Flow> {
        let mut fields = Fields::of(node, "a step", &mut self.problems)?;
        let id_node = fields.need("id", "id: some_name", &mut self.problems);
        let id = id_node.and_then(|node| self.name(node, "id", StepId::parse));
        let at = id_node.map_or(node.at, |node| node.at);
        let known = id.as_ref().is_some_and(|id| self.register(id, at, scope));
        if let Some(id) = &id {
            fields.rename(format!("step `{id}`"));
        }
        let ix = StepIx(u16::try_from(self.steps.len()).ok()?);
        self.steps.push(None);
        let mut targets = Vec::new();
        let kind = self.kind_key(&mut fields).and_then(|kind| {
            let Kind { key, head, canonical } = kind;
            let (fields, targets) = (&mut fields, &mut targets);
            self.kind(key, head, canonical, Around { fields, step: ix, depth, targets })
        });
        let written = !targets.is_empty() | self.next_steps(&mut fields, &mut targets);
        let start = fields.take_set("start").filter(|node| self.flag(node, "start") == Some(true));
        let join = fields.take_set("join").and_then(|node| self.join_rule(node));
        let join = join.unwrap_or_default();
        let compensate = fields.take_set("compensate");
        let compensate = compensate.map(|node| self.compensate(node, ix, depth));
        let mut step = self.common(&mut fields, kind, scope, id.clone(), join);
        match (compensate, &mut step) {
            (Some(Some(scope)), Some(step)) => step.compensate = Some(scope),
            (Some(None), _) => step = None,
            (Some(Some(_)) | None, _) => {}
        }
        fields.finish(&[], &mut self.problems);
        self.steps[usize::from(ix.0)] = step;
        let start = start.map(|node| node.at);
        known.then_some(Flow { step: ix, id: id?.to_string(), at, start, written, targets, join })
    }

    fn register(&mut self, id: &StepId, at: super::Place, scope: ScopeIx) -> bool {
        if let Some((first, _)) = self.ids.get(id.as_str()) {
            let message = format!("the step id `{id}` is taken (line {})", first.line);
            self.problems.add(ProblemCode::DupId, at, message);
            return false;
        }
        self.ids.insert(id.to_string(), (at, scope));
        self.sights.insert(id.to_string(), Rc::clone(&self.sight));
        true
    }

    /// The steps that undo a step, which see its output.
    fn compensate(&mut self, node: &Node, step: StepIx, depth: usize) -> Option<ScopeIx> {
        if self.compensating {
            let message = "what undoes a step is not undone itself";
            self.problems.suggest(ProblemCode::Value, node.at, message, "remove `compensate`");
            return None;
        }
        self.compensating = true;
        let scope = self.seeing(Giver::Place, &["output"], |draft| {
            draft.scope(node, "`compensate`", Some(step), depth + 1)
        });
        self.compensating = false;
        scope
    }

    /// Finds the one kind of a step.
    fn kind_key<'a>(&mut self, fields: &mut Fields<'a>) -> Option<Kind<'a>> {
        if let Some(node) = fields.take("type") {
            let word = self.text(node, "type")?;
            let config = fields.need("config", "config: {...}", &mut self.problems);
            if let Some(key) = KINDS.iter().find(|key| **key == word) {
                return Some(Kind { key, head: config?, canonical: true });
            }
            let message = format!("`{}` is no kind of step", excerpt(&word));
            let suggestion = did_you_mean(&word, KINDS);
            self.problems.push(ProblemCode::Kind, node.at, message, suggestion);
            return None;
        }
        let mut found = KINDS.iter().filter(|key| fields.has(key));
        match (found.next(), found.next()) {
            (Some(key), None) => Some(Kind { key, head: fields.take(key)?, canonical: false }),
            (Some(one), Some(two)) => {
                let message = format!("a step does one thing, but this has `{one}` and `{two}`");
                self.problems.suggest(
                    ProblemCode::Kind,
                    fields.at,
                    message,
                    "make two steps of it",
                );
                for key in KINDS {
                    fields.take(key);
                }
                Self::ignore_parts(fields);
                None
            }
            (None, _) => {
                self.no_kind(fields);
                Self::ignore_parts(fields);
                None
            }
        }
    }

    /// Says why a step has no kind: a typing error, or none at all.
    fn no_kind(&mut self, fields: &mut Fields<'_>) {
        // Asking makes them known, so that a typing error is told as an unknown key.
        for key in KINDS {
            fields.take(key);
        }
        let is_meant = |key: &str| {
            !COMMON.contains(&key) && !PARTS.contains(&key) && nearest(key, KINDS).is_some()
        };
        if fields.rest().iter().any(|entry| is_meant(&entry.key)) {
            return;
        }
        let message = format!("the step has no kind: one of `{}`", KINDS.join("`, `"));
        let suggestion = "say what it does, for example `delay: 5m`";
        self.problems.suggest(ProblemCode::Kind, fields.at, message, suggestion);
    }

    /// Without a kind nothing can be said about the keys that belong to one.
    fn ignore_parts(fields: &mut Fields<'_>) {
        for key in PARTS {
            fields.take(key);
        }
    }

    /// Reads `next_steps` and `on_failure`; whether there were `next_steps`.
    fn next_steps(&mut self, fields: &mut Fields<'_>, targets: &mut Vec<Target>) -> bool {
        let next = fields.take_set("next_steps");
        for node in next.iter().flat_map(|node| node.list().unwrap_or(std::slice::from_ref(node))) {
            if let Some((to, when)) = self.next_step(node) {
                targets.push(Target { at: node.at, to, kind: EdgeKind::Next(when) });
            }
        }
        if let Some(node) = fields.take_set("on_failure") {
            if node.scalar().is_none() {
                let message = "a step's `on_failure` is the id of another step in this list";
                self.problems.add(ProblemCode::Type, node.at, message);
            } else if let Some(to) = self.text(node, "on_failure") {
                targets.push(Target { at: node.at, to, kind: EdgeKind::OnFailure });
            }
        }
        next.is_some()
    }

    fn next_step(&mut self, node: &Node) -> Option<(String, Option<Expr>)> {
        if node.map().is_none() {
            return Some((self.text(node, "next_steps")?, None));
        }
        let mut fields = Fields::of(node, "an entry of `next_steps`", &mut self.problems)?;
        let to = fields.need("to", "to: some_step", &mut self.problems);
        let to = to.and_then(|node| self.text(node, "to"));
        let when = fields.take_set("when").map(|node| self.expr(node, "when"));
        fields.finish(&[], &mut self.problems);
        match when {
            Some(expr) => Some((to?, Some(expr?))),
            None => Some((to?, None)),
        }
    }

    fn join_rule(&mut self, node: &Node) -> Option<Join> {
        if node.map().is_some() {
            let mut fields = Fields::of(node, "`join`", &mut self.problems)?;
            let least = fields.need("at_least", "at_least: 2", &mut self.problems);
            let least = least.and_then(|node| self.whole(node, "at_least", 1..=1_000));
            fields.finish(&[], &mut self.problems);
            return Some(Join::AtLeast(u16::try_from(least?).ok()?));
        }
        self.choice::<JoinWord>(node, "join", &["all", "every", "any"]).map(|word| match word {
            JoinWord::All => Join::All,
            JoinWord::Every => Join::Every,
            JoinWord::Any => Join::Any,
        })
    }

    fn common(
        &mut self,
        fields: &mut Fields<'_>,
        kind: Option<StepKind>,
        scope: ScopeIx,
        id: Option<StepId>,
        join: Join,
    ) -> Option<Step> {
        let name = fields.take_set("name").and_then(|node| self.text(node, "name"));
        if let Some(node) = fields.take_set("description") {
            self.text(node, "description");
        }
        let enabled = fields.take_set("enabled").and_then(|node| self.flag(node, "enabled"));
        let condition = fields.take_set("if").and_then(|node| self.expr(node, "if"));
        let condition =
            if enabled == Some(false) { Expr::compile("false").ok() } else { condition };
        let on_error = fields.take_set("continue_on_error");
        let on_error = on_error.and_then(|node| self.flag(node, "continue_on_error"));
        let attempts = self.attempts(fields, kind.as_ref());
        let priority = fields.take_set("priority").and_then(|node| self.priority(node));
        let (output, export) = self.seeing(Giver::Place, &["output"], |draft| {
            let output = fields.take_set("output").and_then(|node| draft.template(node, "output"));
            let export = fields.take_set("export").map(|node| draft.assignments(node, "export"));
            (output, export)
        });
        Some(Step {
            id: id?,
            scope,
            name: name.unwrap_or_default(),
            kind: kind?,
            condition,
            edges: Vec::new(),
            incoming: 0,
            join,
            continue_on_error: on_error.unwrap_or(false),
            timeout_ms: attempts.timeout_ms,
            total_timeout_ms: attempts.total_timeout_ms,
            retry: attempts.retry,
            effects: attempts.effects,
            on_interrupt: attempts.on_interrupt,
            priority,
            output,
            export: export.unwrap_or_default(),
            idempotency_key: attempts.idempotency_key,
            trace: attempts.trace,
            compensate: None,
        })
    }

    /// A priority, as a word or 1 (low) to 4 (critical).
    pub(super) fn priority(&mut self, node: &Node) -> Option<Priority> {
        match node.scalar().and_then(|scalar| scalar.value.as_u64()) {
            Some(1) => Some(Priority::Low),
            Some(2) => Some(Priority::Normal),
            Some(3) => Some(Priority::High),
            Some(4) => Some(Priority::Critical),
            _ => self.choice(node, "priority", &["low", "normal", "high", "critical"]),
        }
    }

    /// A map from variables to templates, in document order.
    pub(super) fn assignments(&mut self, node: &Node, key: &str) -> Vec<(String, Template)> {
        let Some(entries) = node.map() else {
            self.wrong_type::<()>(node, key, "a map from variable names to values");
            return Vec::new();
        };
        let mut assigned = Vec::new();
        for entry in entries {
            self.variable_name("a variable", &entry.key, entry.at);
            self.vars.insert(entry.key.clone());
            if let Some(template) = self.template(&entry.value, key) {
                assigned.push((entry.key.clone(), template));
            }
        }
        assigned
    }
}

/// The joins that are a single word.
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum JoinWord {
    All,
    Every,
    Any,
}

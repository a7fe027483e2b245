//! How a step's attempts go: timeouts, retries, effects.

use super::Draft;
use super::fields::Fields;
use super::problem::ProblemCode;
use super::read::excerpt;
use super::tree::Node;
use crate::definition::model::{
    Backoff, Effects, Jitter, OnInterrupt, Publish, Retry, StepKind, Trace,
};
use crate::expr::Expr;
use crate::limits;

/// The most retries that a step may ask for.
const MOST_RETRIES: u32 = 1_000;

/// How attempts go.
pub(super) struct Attempts {
    pub(super) timeout_ms: Option<u64>,
    pub(super) total_timeout_ms: Option<u64>,
    pub(super) retry: Vec<Retry>,
    pub(super) effects: Effects,
    pub(super) on_interrupt: OnInterrupt,
    pub(super) idempotency_key: Option<Expr>,
    pub(super) trace: Option<Trace>,
}

/// Whether a step has a timeout without saying so: it waits for an answer from outside.
pub(super) fn is_bounded(kind: &StepKind) -> bool {
    matches!(kind, StepKind::Plugin(_) | StepKind::Publish(Publish { confirm_broker: true, .. }))
}

/// What follows a failed attempt of a step that says nothing about it.
pub(super) fn usual_retry(kind: &StepKind, effects: Effects, compensating: bool) -> Vec<Retry> {
    if !matches!(kind, StepKind::Plugin(_)) || effects == Effects::AtMostOnce {
        return Vec::new();
    }
    vec![if compensating { Retry::compensation() } else { Retry::plugin() }]
}

impl Draft {
    /// Reads the keys that say how attempts go. What repeated attempts do is asked of plugin steps
    /// only, and of steps that may have been meant as such.
    pub(super) fn attempts(
        &mut self,
        fields: &mut Fields<'_>,
        kind: Option<&StepKind>,
    ) -> Attempts {
        let plugin = kind.is_none_or(|kind| matches!(kind, StepKind::Plugin(_)));
        let (mut effects, mut on_interrupt) = (Effects::default(), OnInterrupt::default());
        let (mut idempotency_key, mut trace) = (None, None);
        if plugin {
            let words = ["pure", "idempotent", "at_most_once"];
            let node = fields.take_set("effects");
            effects =
                node.and_then(|node| self.choice(node, "effects", &words)).unwrap_or_default();
            let node = fields.take_set("on_interrupt");
            let word = node.and_then(|node| self.choice(node, "on_interrupt", &["fail", "retry"]));
            on_interrupt = word.unwrap_or_default();
            let node = fields.take_set("idempotency_key");
            idempotency_key = node.and_then(|node| self.expr(node, "idempotency_key"));
            let node = fields.take_set("trace");
            trace = node.and_then(|node| self.choice(node, "trace", &["effects"]));
        }
        let timeout_ms = match fields.take_set("timeout") {
            Some(node) => self.timeout(node, plugin),
            None if kind.is_some_and(is_bounded) => self.timeout_ms,
            None => None,
        };
        let total = fields.take_set("total_timeout");
        let total_timeout_ms = total.and_then(|node| self.bound(node, "total_timeout"));
        let given = fields.take_set("retry").and_then(|node| self.retry(node));
        let retry = given.unwrap_or_else(|| self.absent_retry(kind, effects));
        Attempts {
            timeout_ms,
            total_timeout_ms,
            retry,
            effects,
            on_interrupt,
            idempotency_key,
            trace,
        }
    }

    fn absent_retry(&self, kind: Option<&StepKind>, effects: Effects) -> Vec<Retry> {
        let usual = kind.map(|kind| usual_retry(kind, effects, self.compensating));
        match (usual.unwrap_or_default(), &self.retry) {
            // What undoes something tries harder than what the document asks of all steps.
            (usual, Some(retry)) if !usual.is_empty() && !self.compensating => retry.clone(),
            (usual, _) => usual,
        }
    }

    /// A step's timeout; `none` for no bound, which a call of a plugin has always.
    pub(super) fn timeout(&mut self, node: &Node, plugin: bool) -> Option<u64> {
        if node.text() != Some("none") {
            return self.bound(node, "timeout");
        }
        if plugin {
            let message = "a call of a plugin is always bounded: `timeout` cannot be `none`";
            let suggestion = "write the longest that it may take, such as `timeout: 1h`";
            self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
        }
        None
    }

    /// Retry policies: `none`, one, or a list of which the first counts that matches the error.
    pub(super) fn retry(&mut self, node: &Node) -> Option<Vec<Retry>> {
        if node.text() == Some("none") {
            return Some(Vec::new());
        }
        let Some(items) = node.list() else {
            let policy = self.policy(node)?;
            return Some(if policy.max_retries == 0 { Vec::new() } else { vec![policy] });
        };
        if let [only] = items {
            return self.retry(only);
        }
        if items.len() > limits::RETRY_POLICIES {
            let (most, found) = (limits::RETRY_POLICIES, items.len());
            let message = format!("`retry` takes at most {most} policies, not {found}");
            self.problems.add(ProblemCode::Limit, node.at, message);
            return None;
        }
        let policies: Vec<Option<Retry>> = items.iter().map(|item| self.policy(item)).collect();
        policies.into_iter().collect()
    }

    /// One policy; what it leaves out is as in [`Retry::plugin`].
    fn policy(&mut self, node: &Node) -> Option<Retry> {
        if node.map().is_none() {
            let expected = "`none`, a map such as `{max_retries: 3}` or a list of such maps";
            return self.wrong_type(node, "retry", expected);
        }
        let mut fields = Fields::of(node, "`retry`", &mut self.problems)?;
        let mut retry = Retry::plugin();
        if let Some(node) = fields.take_set("max_retries") {
            retry.max_retries = self.whole(node, "max_retries", 0..=MOST_RETRIES)?;
        }
        if let Some(node) = fields.take_set("backoff") {
            let words = ["constant", "linear", "exponential"];
            retry.backoff = self.choice::<Backoff>(node, "backoff", &words)?;
        }
        if let Some(node) = fields.take_set("delay") {
            retry.delay_ms = self.duration(node, "delay")?;
        }
        if let Some(node) = fields.take_set("factor") {
            retry.factor = self.factor(node)?;
        }
        if let Some(node) = fields.take_set("max_delay") {
            retry.max_delay_ms = Some(self.duration(node, "max_delay")?);
        }
        if let Some(node) = fields.take_set("jitter") {
            retry.jitter = self.choice::<Jitter>(node, "jitter", &["none", "full", "equal"])?;
        }
        if let Some(node) = fields.take_set("errors") {
            retry.errors = self.patterns(node, "errors")?;
        }
        if let Some(node) = fields.take_set("not_errors") {
            retry.not_errors = self.patterns(node, "not_errors")?;
        }
        if let Some(node) = fields.take_set("max_elapsed") {
            retry.max_elapsed_ms = Some(self.bound(node, "max_elapsed")?);
        }
        fields.finish(&[], &mut self.problems);
        Some(retry)
    }

    /// Patterns of errors: a code, `prefix.*` or `*`.
    pub(super) fn patterns(&mut self, node: &Node, key: &str) -> Option<Vec<String>> {
        let patterns = self.texts(node, key)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || b == b'-';
        let is_pattern = |text: &&String| {
            let code = text.strip_suffix(".*").unwrap_or(text);
            text.as_str() == "*" || (!code.is_empty() && code.bytes().all(plain))
        };
        if let Some(wrong) = patterns.iter().find(|text| !is_pattern(text)) {
            let message = format!("`{}` can match no error", excerpt(wrong));
            let suggestion =
                "write a code such as `plugin.error`, a family such as `plugin.*`, or `*`";
            self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
            return None;
        }
        Some(patterns)
    }

    fn factor(&mut self, node: &Node) -> Option<f64> {
        let number = node.scalar().and_then(|scalar| scalar.value.as_f64());
        let Some(factor) = number else { return self.wrong_type(node, "factor", "a number") };
        if (1.0..=100.0).contains(&factor) {
            return Some(factor);
        }
        let message = format!("`factor` must be from 1 to 100, not {factor}");
        self.problems.add(ProblemCode::Value, node.at, message);
        None
    }
}

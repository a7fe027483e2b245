//! How a step's attempts go: timeouts, retries, effects.

use super::Draft;
use super::fields::Fields;
use super::problem::ProblemCode;
use super::tree::Node;
use crate::definition::model::{Backoff, Effects, Jitter, OnInterrupt, Retry};

/// The most retries that a step may ask for.
const MOST_RETRIES: u32 = 1_000;

/// How attempts go.
pub(super) struct Attempts {
    pub(super) timeout_ms: Option<u64>,
    pub(super) total_timeout_ms: Option<u64>,
    pub(super) retry: Retry,
    pub(super) effects: Effects,
    pub(super) on_interrupt: OnInterrupt,
}

impl Draft {
    /// Reads the keys that say how attempts go. What repeated attempts do is asked of plugin steps only.
    pub(super) fn attempts(&mut self, fields: &mut Fields<'_>, plugin: bool) -> Attempts {
        let (mut effects, mut on_interrupt) = (Effects::default(), OnInterrupt::default());
        if plugin {
            let words = ["pure", "idempotent", "at_most_once"];
            let node = fields.take_set("effects");
            effects =
                node.and_then(|node| self.choice(node, "effects", &words)).unwrap_or_default();
            let node = fields.take_set("on_interrupt");
            let word = node.and_then(|node| self.choice(node, "on_interrupt", &["fail", "retry"]));
            on_interrupt = word.unwrap_or_default();
        }
        let timeout_ms = match fields.take_set("timeout") {
            Some(node) => self.timeout(node, plugin),
            None if plugin => self.timeout_ms,
            None => None,
        };
        let total = fields.take_set("total_timeout");
        let total_timeout_ms = total.and_then(|node| self.bound(node, "total_timeout"));
        let base = match (&self.retry, plugin, effects) {
            (_, false, _) | (_, true, Effects::AtMostOnce) => Retry::none(),
            (Some(retry), ..) => retry.clone(),
            (None, ..) => Retry::plugin(),
        };
        let retry = match fields.take_set("retry") {
            Some(node) => self.retry(node, &Retry::plugin()).unwrap_or(base),
            None => base,
        };
        Attempts { timeout_ms, total_timeout_ms, retry, effects, on_interrupt }
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

    /// A retry policy; what it leaves out is as in `base`.
    pub(super) fn retry(&mut self, node: &Node, base: &Retry) -> Option<Retry> {
        if node.text() == Some("none") {
            return Some(Retry::none());
        }
        if node.list().is_some() {
            let message =
                "a list of retry policies is part of the language but not of this version";
            self.problems.add(ProblemCode::Kind, node.at, message);
            return None;
        }
        if node.map().is_none() {
            return self.wrong_type(node, "retry", "`none` or a map such as `{max_retries: 3}`");
        }
        let mut fields = Fields::of(node, "`retry`", &mut self.problems)?;
        let mut retry = base.clone();
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
            retry.errors = self.texts(node, "errors")?;
        }
        if let Some(node) = fields.take_set("not_errors") {
            retry.not_errors = self.texts(node, "not_errors")?;
        }
        fields.finish(&["max_elapsed"], &mut self.problems);
        Some(if retry.max_retries == 0 { Retry::none() } else { retry })
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

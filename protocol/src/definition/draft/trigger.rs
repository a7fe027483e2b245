//! What starts a run: the list of triggers.

mod outside;
mod timed;

use super::Draft;
use super::fields::{Fields, did_you_mean, nearest};
use super::problem::ProblemCode;
use super::read::excerpt;
use super::tree::Node;
use super::values::written;
use crate::definition::model::{Dedupe, InputSpec, Trigger, TriggerKind};
use crate::expr::{Expr, Template};
use crate::id::{TriggerId, WorkflowName};
use crate::limits;
use crate::ordered::{VecMap, VecSet};
use crate::run::RunStatus;
use crate::topic;

/// The kinds.
pub(in crate::definition) const KINDS: [&str; 9] =
    ["interval", "cron", "startup", "manual", "mqtt", "event", "workflow", "webhook", "file"];
/// Keys of all triggers that fire by themselves.
const COMMON: [&str; 7] = ["enabled", "inputs", "when", "for", "debounce", "throttle", "dedupe"];

/// Which firings of a trigger count.
struct Filter {
    when: Option<Expr>,
    hold_ms: Option<u64>,
    debounce_ms: Option<u64>,
    throttle_ms: Option<u64>,
    dedupe: Option<Dedupe>,
}

impl Draft {
    /// Reads the list of triggers.
    pub(super) fn triggers(
        &mut self,
        node: Option<&Node>,
        inputs: &VecMap<String, InputSpec>,
    ) -> Vec<Trigger> {
        let Some(node) = node else { return Vec::new() };
        let Some(items) = node.list() else {
            self.wrong_type::<()>(node, "triggers", "a list of triggers");
            return Vec::new();
        };
        if items.len() > limits::TRIGGERS {
            let message = format!("more than {} triggers", limits::TRIGGERS);
            self.problems.add(ProblemCode::Limit, node.at, message);
            return Vec::new();
        }
        let mut seen = VecMap::new();
        let mut triggers = Vec::new();
        for item in items {
            let Some(trigger) = self.trigger(item, inputs) else { continue };
            if let Some(line) = seen.insert(trigger.id.clone(), item.at.line) {
                let message = format!("the trigger id `{}` is taken (line {line})", trigger.id);
                self.problems.add(ProblemCode::DupId, item.at, message);
            }
            self.is_free_hook(&triggers, &trigger.kind, item.at);
            triggers.push(trigger);
        }
        triggers
    }

    fn trigger(&mut self, node: &Node, inputs: &VecMap<String, InputSpec>) -> Option<Trigger> {
        let mut fields = Fields::of(node, "a trigger", &mut self.problems)?;
        let id = fields.need("id", "id: some_name", &mut self.problems);
        let id = id.and_then(|node| self.name(node, "id", TriggerId::parse));
        if let Some(id) = &id {
            fields.rename(format!("trigger `{id}`"));
        }
        let kind = self.trigger_kind(&mut fields);
        let enabled = fields.take_set("enabled").and_then(|node| self.flag(node, "enabled"));
        let by_itself = !matches!(kind, Some(TriggerKind::Manual));
        let filter = self.seeing_only(&["trigger"], |draft| draft.filter(&mut fields, by_itself));
        let given = fields.take_set("inputs");
        fields.finish(&[], &mut self.problems);
        let given = self.seeing_only(&["trigger"], |draft| draft.given(given, inputs));
        let by_itself = by_itself && kind.is_some();
        if by_itself && enabled != Some(false) {
            let missing = inputs.iter().filter(|(name, spec)| {
                spec.default.is_none() && !spec.optional && !given.contains_key(*name)
            });
            for (name, _) in missing {
                let message = format!("the trigger gives no value to the input `{name}`");
                let suggestion =
                    format!("add `inputs: {{{name}: ...}}`, or a default to the input");
                self.problems.suggest(ProblemCode::MissingKey, node.at, message, suggestion);
            }
        }
        let Filter { when, hold_ms, debounce_ms, throttle_ms, dedupe } = filter?;
        Some(Trigger {
            id: id?,
            enabled: enabled.unwrap_or(true),
            inputs: given,
            when,
            hold_ms,
            debounce_ms,
            throttle_ms,
            dedupe,
            kind: kind?,
        })
    }

    /// Reads what says which firings count.
    fn filter(&mut self, fields: &mut Fields<'_>, by_itself: bool) -> Option<Filter> {
        if !by_itself {
            for key in ["when", "for", "debounce", "throttle", "dedupe"] {
                if let Some(node) = fields.take_set(key) {
                    let message = format!(
                        "a `manual` trigger never fires by itself, so that `{key}` says nothing"
                    );
                    self.problems.suggest(ProblemCode::Value, node.at, message, "remove it");
                }
            }
        }
        let when = fields.take_set("when").map(|node| self.expr(node, "when"));
        let hold = fields.take_set("for").map(|node| {
            if when.is_none() {
                let message = "`for` says how long `when` must hold, but there is no `when`";
                let suggestion = "add `when: trigger.payload > 80`";
                self.problems.suggest(ProblemCode::MissingKey, node.at, message, suggestion);
            }
            self.bound(node, "for")
        });
        let debounce = fields.take_set("debounce").map(|node| self.bound(node, "debounce"));
        let throttle = fields.take_set("throttle").map(|node| self.bound(node, "throttle"));
        let dedupe = fields.take_set("dedupe").map(|node| self.dedupe(node));
        Some(Filter {
            when: written(when)?,
            hold_ms: written(hold)?,
            debounce_ms: written(debounce)?,
            throttle_ms: written(throttle)?,
            dedupe: written(dedupe)?,
        })
    }

    /// Which firings are the same: `{key, window}`, or the key alone.
    fn dedupe(&mut self, node: &Node) -> Option<Dedupe> {
        if node.map().is_none() {
            let key = self.expr(node, "dedupe")?;
            return Some(Dedupe { key, window_ms: limits::DEDUPE_WINDOW_MS });
        }
        let mut fields = Fields::of(node, "`dedupe`", &mut self.problems)?;
        let key = fields.need("key", "key: trigger.topic", &mut self.problems);
        let key = key.and_then(|node| self.expr(node, "key"));
        let window = fields.take_set("window").map(|node| self.bound(node, "window"));
        fields.finish(&[], &mut self.problems);
        Some(Dedupe { key: key?, window_ms: window.unwrap_or(Some(limits::DEDUPE_WINDOW_MS))? })
    }

    /// The inputs a trigger gives.
    fn given(
        &mut self,
        node: Option<&Node>,
        inputs: &VecMap<String, InputSpec>,
    ) -> VecMap<String, Template> {
        let mut given = Vec::new();
        let Some(node) = node else { return VecMap::new() };
        let Some(entries) = node.map() else {
            self.wrong_type::<()>(node, "inputs", "a map from input names to values");
            return VecMap::new();
        };
        // An input whose own schema is wrong is known all the same.
        let known: VecSet<String> = inputs.keys().chain(&self.inputs).cloned().collect();
        for entry in entries {
            if !known.contains(&entry.key) && !self.problems.is_full() {
                let message = format!("the workflow has no input `{}`", excerpt(&entry.key));
                let suggestion = did_you_mean(&entry.key, known.iter().map(String::as_str));
                self.problems.push(ProblemCode::UnknownRef, entry.at, message, suggestion);
            }
            if let Some(template) = self.template(&entry.value, "inputs") {
                given.push((entry.key.clone(), template));
            }
        }
        given.into_iter().collect()
    }

    fn trigger_kind(&mut self, fields: &mut Fields<'_>) -> Option<TriggerKind> {
        let mut found = KINDS.iter().filter(|key| fields.has(key));
        let (first, second) = (found.next(), found.next());
        if let (Some(one), Some(two)) = (first, second) {
            let message = format!("a trigger has one kind, but this has `{one}` and `{two}`");
            self.problems.suggest(ProblemCode::Kind, fields.at, message, "make two triggers of it");
            for key in KINDS {
                fields.take(key);
            }
            return None;
        }
        match first {
            Some(&"interval") => fields.take("interval").and_then(|node| self.interval(node)),
            Some(&"cron") => fields.take("cron").and_then(|node| self.cron(node)),
            Some(&"startup") => {
                let node = fields.take("startup")?;
                self.empty(node, "startup").map(|()| TriggerKind::Startup)
            }
            Some(&"mqtt") => fields.take("mqtt").and_then(|node| self.on_message(node)),
            Some(&"event") => fields.take("event").and_then(|node| self.on_event(node)),
            Some(&"workflow") => fields.take("workflow").and_then(|node| self.on_end(node)),
            Some(&"webhook") => fields.take("webhook").and_then(|node| self.webhook(node)),
            Some(&"file") => fields.take("file").and_then(|node| self.on_file(node)),
            Some(_) => {
                let node = fields.take("manual")?;
                self.empty(node, "manual").map(|()| TriggerKind::Manual)
            }
            None => {
                self.no_trigger_kind(fields);
                None
            }
        }
    }

    fn no_trigger_kind(&mut self, fields: &mut Fields<'_>) {
        // Asking makes them known, so that a typing error is told as an unknown key.
        for key in KINDS {
            fields.take(key);
        }
        let is_meant = |key: &str| !COMMON.contains(&key) && nearest(key, KINDS).is_some();
        if fields.rest().iter().any(|entry| is_meant(&entry.key)) {
            return;
        }
        let message = format!("the trigger has no kind: one of `{}`", KINDS.join("`, `"));
        let suggestion = "say when it fires, for example `interval: 5m`";
        self.problems.suggest(ProblemCode::Kind, fields.at, message, suggestion);
    }

    fn on_message(&mut self, node: &Node) -> Option<TriggerKind> {
        if node.map().is_none() {
            let topic = self.topic_filter(node, "mqtt")?;
            return Some(TriggerKind::Mqtt { topic, qos: 0, retained: false });
        }
        let mut fields = Fields::of(node, "`mqtt`", &mut self.problems)?;
        let topic = fields.need("topic", "topic: site/+/temp", &mut self.problems);
        let topic = topic.and_then(|node| self.topic_filter(node, "topic"));
        let qos = fields.take_set("qos").map(|node| self.qos(node));
        let retained = fields.take_set("retained").map(|node| self.flag(node, "retained"));
        fields.finish(&[], &mut self.problems);
        let (qos, retained) = (qos.unwrap_or(Some(0))?, retained.unwrap_or(Some(false))?);
        Some(TriggerKind::Mqtt { topic: topic?, qos, retained })
    }

    fn topic_filter(&mut self, node: &Node, key: &str) -> Option<String> {
        let filter = self.text(node, key)?;
        let checked = if filter.contains("${") {
            Err("what a trigger listens to must be known before a run, without `${ }`")
        } else {
            topic::check_filter(&filter)
        };
        match checked {
            Ok(()) => Some(filter),
            Err(reason) => {
                self.problems.add(ProblemCode::Value, node.at, format!("`{key}`: {reason}"));
                None
            }
        }
    }

    /// An event's name, as it is or as `{name: ...}`.
    fn on_event(&mut self, node: &Node) -> Option<TriggerKind> {
        let (node, key) = match node.map() {
            None => (node, "event"),
            Some(_) => {
                let mut fields = Fields::of(node, "`event`", &mut self.problems)?;
                let name = fields.need("name", "name: link.down", &mut self.problems);
                fields.finish(&[], &mut self.problems);
                (name?, "name")
            }
        };
        let name = self.text(node, key)?;
        self.is_event_name(node, key, &name).then_some(TriggerKind::Event { name })
    }

    /// A workflow's name, as it is or as `{name: ..., status: [...]}`.
    fn on_end(&mut self, node: &Node) -> Option<TriggerKind> {
        if node.map().is_none() {
            let workflow = self.name(node, "workflow", WorkflowName::parse)?;
            return Some(TriggerKind::Workflow { workflow, status: Vec::new() });
        }
        let mut fields = Fields::of(node, "`workflow`", &mut self.problems)?;
        let name = fields.need("name", "name: other-workflow", &mut self.problems);
        let name = name.and_then(|node| self.name(node, "name", WorkflowName::parse));
        let ends = fields.take_set("status").map(|node| {
            let items = node.list().unwrap_or(std::slice::from_ref(node));
            let words = ["completed", "failed", "cancelled"];
            let read = items.iter().map(|item| self.choice::<RunStatus>(item, "status", &words));
            read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<RunStatus>>>()
        });
        fields.finish(&[], &mut self.problems);
        let mut status = ends.unwrap_or(Some(Vec::new()))?;
        crate::ordered::sort(&mut status);
        status.dedup();
        Some(TriggerKind::Workflow { workflow: name?, status })
    }

    fn empty(&mut self, node: &Node, key: &str) -> Option<()> {
        let is_empty = node.is_null() || node.map().is_some_and(<[_]>::is_empty);
        if is_empty {
            return Some(());
        }
        self.wrong_type(node, key, "an empty map, `{}`")
    }
}

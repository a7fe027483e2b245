//! What starts a run: the list of triggers.

use std::collections::{BTreeMap, BTreeSet};

use super::Draft;
use super::fields::{Fields, did_you_mean, nearest, not_of_this_version};
use super::problem::ProblemCode;
use super::read::excerpt;
use super::tree::Node;
use crate::definition::cron::{Cron, CronError};
use crate::definition::model::{InputSpec, Trigger, TriggerKind};
use crate::expr::Template;
use crate::id::TriggerId;
use crate::limits;

/// The kinds of this version.
const KINDS: [&str; 4] = ["interval", "cron", "startup", "manual"];
/// The kinds of the language that this version does not know.
const LATER_KINDS: [&str; 5] = ["mqtt", "webhook", "file", "event", "workflow"];
/// Keys of triggers that this version does not know.
const LATER: [&str; 5] = ["when", "for", "debounce", "throttle", "dedupe"];

/// The shortest period of an interval, in milliseconds.
const SHORTEST_MS: u64 = 100;

impl Draft {
    /// Reads the list of triggers.
    pub(super) fn triggers(
        &mut self,
        node: Option<&Node>,
        inputs: &BTreeMap<String, InputSpec>,
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
        let mut seen = BTreeMap::new();
        let mut triggers = Vec::new();
        for item in items {
            let Some(trigger) = self.trigger(item, inputs) else { continue };
            if let Some(line) = seen.insert(trigger.id.clone(), item.at.line) {
                let message = format!("the trigger id `{}` is taken (line {line})", trigger.id);
                self.problems.add(ProblemCode::DupId, item.at, message);
            }
            triggers.push(trigger);
        }
        triggers
    }

    fn trigger(&mut self, node: &Node, inputs: &BTreeMap<String, InputSpec>) -> Option<Trigger> {
        let mut fields = Fields::of(node, "a trigger", &mut self.problems)?;
        let id = fields.need("id", "id: some_name", &mut self.problems);
        let id = id.and_then(|node| self.name(node, "id", TriggerId::parse));
        if let Some(id) = &id {
            fields.rename(format!("trigger `{id}`"));
        }
        let kind = self.trigger_kind(&mut fields);
        let enabled = fields.take_set("enabled").and_then(|node| self.flag(node, "enabled"));
        let given = fields.take_set("inputs");
        fields.finish(&LATER, &mut self.problems);
        let given = self.given(given, inputs);
        let by_itself = !matches!(kind, None | Some(TriggerKind::Manual));
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
        Some(Trigger { id: id?, enabled: enabled.unwrap_or(true), inputs: given, kind: kind? })
    }

    /// The inputs a trigger gives.
    fn given(
        &mut self,
        node: Option<&Node>,
        inputs: &BTreeMap<String, InputSpec>,
    ) -> BTreeMap<String, Template> {
        let mut given = BTreeMap::new();
        let Some(node) = node else { return given };
        let Some(entries) = node.map() else {
            self.wrong_type::<()>(node, "inputs", "a map from input names to values");
            return given;
        };
        // An input whose own schema is wrong is known all the same.
        let known: BTreeSet<String> = inputs.keys().chain(&self.inputs).cloned().collect();
        for entry in entries {
            if !known.contains(&entry.key) && !self.problems.is_full() {
                let message = format!("the workflow has no input `{}`", excerpt(&entry.key));
                let suggestion = did_you_mean(&entry.key, known.iter().map(String::as_str));
                self.problems.push(ProblemCode::UnknownRef, entry.at, message, suggestion);
            }
            if let Some(template) = self.template(&entry.value) {
                given.insert(entry.key.clone(), template);
            }
        }
        given
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
        if let Some(later) = LATER_KINDS.iter().find(|key| fields.has(key)) {
            let at = fields.rest().iter().find(|e| e.key == *later).map_or(fields.at, |e| e.at);
            fields.take(later);
            self.problems.add(ProblemCode::Kind, at, not_of_this_version(later));
            return;
        }
        // Asking makes them known, so that a typing error is told as an unknown key.
        for key in KINDS {
            fields.take(key);
        }
        let is_meant = |key: &str| {
            !["enabled", "inputs"].contains(&key)
                && !LATER.contains(&key)
                && nearest(key, KINDS).is_some()
        };
        if fields.rest().iter().any(|entry| is_meant(&entry.key)) {
            return;
        }
        let message = format!("the trigger has no kind: one of `{}`", KINDS.join("`, `"));
        let suggestion = "say when it fires, for example `interval: 5m`";
        self.problems.suggest(ProblemCode::Kind, fields.at, message, suggestion);
    }

    fn interval(&mut self, node: &Node) -> Option<TriggerKind> {
        let every_ms = if node.map().is_some() {
            let mut fields = Fields::of(node, "`interval`", &mut self.problems)?;
            let every = fields.need("every", "every: 5m", &mut self.problems);
            let every_ms = every.and_then(|node| self.duration(node, "every"));
            fields.finish(&["align", "jitter"], &mut self.problems);
            every_ms?
        } else {
            self.duration(node, "interval")?
        };
        if every_ms < SHORTEST_MS {
            let message = format!("an interval is at least {SHORTEST_MS} ms");
            self.problems.add(ProblemCode::Value, node.at, message);
            return None;
        }
        Some(TriggerKind::Interval { every_ms })
    }

    fn cron(&mut self, node: &Node) -> Option<TriggerKind> {
        let (mut tz, mut catch_up) = (None, None);
        let at_node = if node.map().is_some() {
            let mut fields = Fields::of(node, "`cron`", &mut self.problems)?;
            let at = fields.need("at", "at: \"30 2 * * *\"", &mut self.problems);
            if let Some(node) = fields.take_set("tz") {
                tz = Some((node, self.text(node, "tz")?));
            }
            let words = ["skip", "latest", "all"];
            let node = fields.take_set("catch_up");
            catch_up = node.and_then(|node| self.choice(node, "catch_up", &words));
            fields.finish(&["max_catch_up", "dst", "jitter"], &mut self.problems);
            at?
        } else {
            node
        };
        let at = self.text(at_node, "at")?;
        let schedule = self.schedule(at_node, &at, tz.as_ref().map(|(node, tz)| (*node, &**tz)));
        let catch_up = catch_up.unwrap_or_default();
        Some(TriggerKind::Cron { schedule: Box::new(schedule?), catch_up })
    }

    fn schedule(&mut self, node: &Node, at: &str, zone: Option<(&Node, &str)>) -> Option<Cron> {
        let error = match Cron::parse(at, zone.map_or("UTC", |(_, tz)| tz)) {
            Ok(schedule) => return Some(schedule),
            Err(error) => error,
        };
        match (error, zone) {
            (CronError::Zone(tz), Some((zone_node, _))) => {
                let message = format!("there is no time zone `{}`", excerpt(&tz));
                let suggestion = "use a name of the IANA database, such as `Europe/Berlin`";
                self.problems.suggest(ProblemCode::Value, zone_node.at, message, suggestion);
                // The fields may be wrong as well.
                self.schedule(node, at, None);
            }
            (error, _) => {
                let message = format!("`{}` is no cron expression: {error}", excerpt(at));
                let suggestion = "write minute, hour, day, month and weekday: `30 2 * * *`";
                self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
            }
        }
        None
    }

    fn empty(&mut self, node: &Node, key: &str) -> Option<()> {
        let is_empty = node.is_null() || node.map().is_some_and(<[_]>::is_empty);
        if is_empty {
            return Some(());
        }
        self.wrong_type(node, key, "an empty map, `{}`")
    }
}

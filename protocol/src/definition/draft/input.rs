//! Declared inputs: schemas that are held to what this version enforces.

use serde_json::Value as Json;

use super::Draft;
use super::fields::did_you_mean;
use super::problem::ProblemCode;
use super::read::excerpt;
use super::tree::{Entry, Node};
use crate::definition::model::{InputKind, InputSpec};
use crate::definition::schema;

const TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "array", "object"];

impl Draft {
    /// Reads one declared input, or one field of a form.
    pub(super) fn input(&mut self, what: &str, name: &str, node: &Node) -> Option<InputSpec> {
        if let Some(word) = node.text() {
            let message = format!("{what} `{name}` must be a schema, not a text");
            let suggestion = format!("write `{{type: {}}}`", excerpt(word));
            self.problems.suggest(ProblemCode::Type, node.at, message, suggestion);
            return None;
        }
        let before = self.problems.len();
        self.schema(node, &format!("{what} `{name}`"), true);
        if self.problems.len() > before {
            return None;
        }
        let written = node.json();
        let default = written.get("default").cloned();
        let optional = written.get("optional") == Some(&Json::Bool(true));
        let spec = InputSpec {
            kind: schema::kind_of(&written).unwrap_or(InputKind::Any),
            optional,
            default: default.clone(),
            schema: written,
        };
        let mut faults = schema::Faults::default();
        if let Some(value) = default {
            schema::conform(&spec.schema, value, &schema::Way::Input(name), &mut faults);
        }
        let at = node.follow("/default").at;
        for fault in faults.found {
            let message = format!("the default of {what} `{}` {}", fault.input, fault.message);
            self.problems.add(ProblemCode::Value, at, message);
        }
        Some(spec)
    }

    /// A type's name.
    pub(super) fn input_kind(&mut self, node: &Node) {
        let found = node.text().and_then(schema::kind_named);
        if found.is_some() {
            return;
        }
        if node.list().is_some() {
            let message = "`type` must be one name; several are not part of this version";
            self.problems.add(ProblemCode::Kind, node.at, message);
            return;
        }
        let word = node.scalar().map_or("", |scalar| scalar.text.as_str());
        let message = format!("`{}` is no type: use {}", excerpt(word), TYPES.join(", "));
        let suggestion = did_you_mean(word, TYPES);
        self.problems.push(ProblemCode::Value, node.at, message, suggestion);
    }

    /// Checks a schema and those inside it.
    fn schema(&mut self, node: &Node, what: &str, outermost: bool) {
        let Some(entries) = node.map() else {
            self.wrong_type::<()>(node, what, "a schema such as `{type: string}`");
            return;
        };
        for entry in entries {
            let Entry { key, at, value } = entry;
            if key == "optional" && outermost {
                self.flag(value, key);
            } else if schema::ENFORCED.contains(&key.as_str()) {
                self.keyword(key, value);
            } else if key == "optional" || !schema::NOTES.contains(&key.as_str()) {
                let known = schema::ENFORCED.into_iter().chain(schema::NOTES);
                let suggestion =
                    if self.problems.is_full() { None } else { did_you_mean(key, known) };
                let message = format!(
                    "{what} has the keyword `{}`, which is not one of those that are enforced: {}",
                    excerpt(key),
                    schema::ENFORCED.join(", ")
                );
                self.problems.push(ProblemCode::UnknownKey, *at, message, suggestion);
            }
        }
    }

    /// Checks one keyword that constrains.
    fn keyword(&mut self, key: &str, node: &Node) {
        let value = node.scalar().map(|scalar| &scalar.value);
        match key {
            "type" => self.input_kind(node),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum"
                if !value.is_some_and(Json::is_number) =>
            {
                self.wrong_type::<()>(node, key, "a number");
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" => {
                self.whole(node, key, 0..=u32::MAX);
            }
            "additionalProperties" => {
                self.flag(node, key);
            }
            "pattern" => {
                let pattern = self.text(node, key);
                if pattern.is_some_and(|pattern| schema::matches(&pattern, "").is_none()) {
                    let message = "`pattern` is no regular expression that this language knows";
                    self.problems.add(ProblemCode::Value, node.at, message);
                }
            }
            "items" => self.schema(node, "`items`", false),
            "properties" => match node.map() {
                Some(entries) => {
                    for entry in entries {
                        let what = format!("property `{}`", excerpt(&entry.key));
                        self.schema(&entry.value, &what, false);
                    }
                }
                None => {
                    self.wrong_type::<()>(node, key, "a map from names to schemas");
                }
            },
            "enum" if node.list().is_none_or(<[Node]>::is_empty) => {
                self.wrong_type::<()>(node, key, "a list of allowed values");
            }
            "required" => {
                let texts = node.list().map(|items| items.iter().all(|i| i.text().is_some()));
                if texts != Some(true) {
                    self.wrong_type::<()>(node, key, "a list of names");
                }
            }
            _ => {}
        }
    }
}

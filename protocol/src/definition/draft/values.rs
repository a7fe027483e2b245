//! Reading single values: texts, numbers, durations, words from a list, expressions, templates.

use std::ops::RangeInclusive;
use std::rc::Rc;

use serde::de::{DeserializeOwned, IntoDeserializer, value::StrDeserializer};
use serde_json::{Value as Json, json};

use super::fields::did_you_mean;
use super::problem::{Place, ProblemCode};
use super::read::excerpt;
use super::tree::{Node, Scalar};
use super::{Draft, Reference};
use crate::expr::{Expr, Path, Template};
use crate::id::IdError;
use crate::secret;
use crate::time::{parse_duration_ms, seconds_to_ms};

/// The longest text, in bytes, that is searched for the place of a name.
const SEARCHED: usize = 4 * 1024;

/// The longest duration that can be written: ten years.
const LONGEST_MS: u64 = 10 * 365 * 86_400_000;

impl Draft {
    /// A text. A number or `true` is taken as it is written: `version: 1.10` keeps its zero.
    pub(super) fn text(&mut self, node: &Node, key: &str) -> Option<String> {
        match node.scalar() {
            Some(scalar) if !scalar.value.is_null() => Some(scalar.text.clone()),
            _ => self.wrong_type(node, key, "a text"),
        }
    }

    /// A list of texts; a single text is a list of one.
    pub(super) fn texts(&mut self, node: &Node, key: &str) -> Option<Vec<String>> {
        match node.list() {
            Some(items) => items.iter().map(|item| self.text(item, key)).collect(),
            None => Some(vec![self.text(node, key)?]),
        }
    }

    /// An id or name.
    pub(super) fn name<T>(
        &mut self,
        node: &Node,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, IdError>,
    ) -> Option<T> {
        let text = self.text(node, key)?;
        match parse(&text) {
            Ok(name) => Some(name),
            Err(error) => {
                self.problems.add(ProblemCode::Name, node.at, error.to_string());
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, node: &Node, key: &str) -> Option<bool> {
        match node.scalar().and_then(|scalar| scalar.value.as_bool()) {
            Some(flag) => Some(flag),
            None => self.wrong_type(node, key, "`true` or `false`"),
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(
        &mut self,
        node: &Node,
        key: &str,
        bounds: RangeInclusive<u32>,
    ) -> Option<u32> {
        let (least, most) = (bounds.start(), bounds.end());
        match node.scalar().map(|scalar| &scalar.value) {
            Some(value) if value.is_number() => {
                let number = value.as_u64().and_then(|n| u32::try_from(n).ok());
                if let Some(number) = number.filter(|n| bounds.contains(n)) {
                    return Some(number);
                }
                let message =
                    format!("`{key}` must be a whole number from {least} to {most}, not {value}");
                self.problems.add(ProblemCode::Value, node.at, message);
                None
            }
            _ => self.wrong_type(node, key, &format!("a whole number from {least} to {most}")),
        }
    }

    /// A duration in milliseconds: a text such as `1h30m`, or a number of seconds.
    pub(super) fn duration(&mut self, node: &Node, key: &str) -> Option<u64> {
        let scalar = node.scalar().filter(|s| s.value.is_number() || s.value.is_string());
        let Some(Scalar { value, text, .. }) = scalar else {
            return self.wrong_type(node, key, "a duration such as `5m`, or seconds as a number");
        };
        let ms = match value.as_f64() {
            Some(seconds) => seconds_to_ms(seconds),
            None => match parse_duration_ms(text) {
                Ok(ms) => Some(ms),
                Err(error) => {
                    self.problems.add(ProblemCode::Value, node.at, format!("`{key}`: {error}"));
                    return None;
                }
            },
        };
        let in_bounds = ms.filter(|ms| *ms <= LONGEST_MS);
        if in_bounds.is_none() {
            let message = format!("`{key}` must be a duration from 0 to ten years");
            self.problems.add(ProblemCode::Value, node.at, message);
        }
        in_bounds
    }

    /// A duration above zero.
    pub(super) fn bound(&mut self, node: &Node, key: &str) -> Option<u64> {
        let ms = self.duration(node, key)?;
        if ms == 0 {
            let message = format!("`{key}` must be longer than 0");
            self.problems.add(ProblemCode::Value, node.at, message);
            return None;
        }
        Some(ms)
    }

    /// One of a list of words.
    pub(super) fn choice<T: DeserializeOwned>(
        &mut self,
        node: &Node,
        key: &str,
        words: &[&str],
    ) -> Option<T> {
        let listed = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ");
        let Some(word) = node.text() else {
            return self.wrong_type(node, key, &format!("one of {listed}"));
        };
        let deserializer: StrDeserializer<'_, serde::de::value::Error> = word.into_deserializer();
        if let Some(found) = T::deserialize(deserializer).ok().filter(|_| words.contains(&word)) {
            return Some(found);
        }
        let message = format!("`{key}` must be one of {listed}, not `{}`", excerpt(word));
        let suggestion = did_you_mean(word, words.iter().copied());
        self.problems.push(ProblemCode::Value, node.at, message, suggestion);
        None
    }

    /// A field that is always an expression, in bare text.
    pub(super) fn expr(&mut self, node: &Node, key: &str) -> Option<Expr> {
        let Some(scalar) = node.scalar().filter(|scalar| !scalar.value.is_null()) else {
            return self.wrong_type(node, key, "an expression");
        };
        let source = scalar.text.trim();
        if let Some(inner) = whole_expression(source) {
            let message = format!("`{key}` is always an expression and needs no `${{ }}`");
            self.problems.suggest(ProblemCode::Expr, node.at, message, format!("write `{inner}`"));
            return None;
        }
        let lead = scalar.text.len() - scalar.text.trim_start().len();
        match Expr::compile(source) {
            Ok(expr) => {
                self.note(node, key, &expr, Some(lead));
                Some(expr)
            }
            Err(error) => {
                let at = node.place_of(lead + error.span.start as usize);
                self.problems.add(ProblemCode::Expr, at, error.message);
                None
            }
        }
    }

    /// Any value, with `${ expr }` in its strings.
    pub(super) fn template(&mut self, node: &Node, key: &str) -> Option<Template> {
        self.template_of(&node.json(), node, key)
    }

    /// A text with `${ expr }` in it. A number or `true` is taken as it is written.
    pub(super) fn text_template(&mut self, node: &Node, key: &str) -> Option<Template> {
        let text = self.text(node, key)?;
        self.template_of(&Json::String(text), node, key)
    }

    /// A map with `${ expr }` in its strings, or one `${ expr }` that gives a map. Absent, it is
    /// empty.
    pub(super) fn map_template(
        &mut self,
        node: Option<&Node>,
        key: &str,
        what: &str,
    ) -> Option<Template> {
        let Some(node) = node else { return Template::compile(&json!({})).ok() };
        if self.secrets_pass {
            self.no_reserved_keys(node);
        }
        if node.map().is_none() && node.text().and_then(whole_expression).is_none() {
            return self.wrong_type(node, key, what);
        }
        self.template(node, key)
    }

    fn template_of(&mut self, json: &Json, node: &Node, key: &str) -> Option<Template> {
        match Template::compile(json) {
            Ok(template) => {
                for (pointer, expr) in template.expressions() {
                    self.note(node.follow(&pointer), key, expr, None);
                }
                Some(template)
            }
            Err(error) => {
                let place = node.follow(&error.pointer);
                let at = place.place_of(error.error.span.start as usize);
                self.problems.add(ProblemCode::Expr, at, error.error.message);
                None
            }
        }
    }

    /// Remembers what an expression refers to, and tells what is certain to fail in it. `lead` is
    /// where the expression begins in the node's text, where that is known.
    fn note(&mut self, node: &Node, key: &str, expr: &Expr, lead: Option<usize>) {
        for problem in expr.problems() {
            let at = lead.map_or(node.at, |lead| node.place_of(lead + problem.span.start as usize));
            self.problems.add(ProblemCode::Expr, at, problem.message.clone());
        }
        for name in expr.secrets() {
            self.secret(node, key, name);
        }
        for path in expr.references() {
            let at = place_of_name(node, &path);
            self.references.push(Reference { at, path, sight: Rc::clone(&self.sight) });
        }
    }

    fn secret(&mut self, node: &Node, key: &str, name: &str) {
        let name = excerpt(name);
        if !self.secrets_pass {
            let message = format!("`secret('{name}')` must not stand in `{key}`");
            let suggestion = "a secret goes into the `with` of a `plugin` step and nowhere else";
            self.problems.suggest(ProblemCode::Secret, node.at, message, suggestion);
        } else if !self.secrets.contains(&name) {
            let message = format!("there is no secret `{name}`; declare it under `secrets`");
            let suggestion = did_you_mean(&name, self.secrets.iter().map(String::as_str));
            self.problems.push(ProblemCode::Secret, node.at, message, suggestion);
        }
    }

    /// The keys under which a secret stands in inputs once `secret()` is computed: written out they
    /// would ask for one that is not declared.
    fn no_reserved_keys(&mut self, node: &Node) {
        for item in node.list().unwrap_or_default() {
            self.no_reserved_keys(item);
        }
        for entry in node.map().unwrap_or_default() {
            if secret::RESERVED_KEYS.contains(&entry.key.as_str()) {
                let message = format!("the key `{}` is reserved", entry.key);
                let suggestion = "write `${ secret('name') }` where the secret shall stand";
                self.problems.suggest(ProblemCode::Secret, entry.at, message, suggestion);
            }
            self.no_reserved_keys(&entry.value);
        }
    }

    /// Notes that a value has the wrong type.
    pub(super) fn wrong_type<T>(&mut self, node: &Node, key: &str, expected: &str) -> Option<T> {
        let found = node.describe();
        let message = if node.is_null() {
            format!("`{key}` is empty; it must be {expected}")
        } else {
            format!("`{key}` must be {expected}, not {found}")
        };
        self.problems.add(ProblemCode::Type, node.at, message);
        None
    }
}

/// What was written, unless it is wrong.
pub(super) fn written<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        Some(read) => read.map(Some),
        None => Some(None),
    }
}

/// The inside of a text that is exactly one `${ expr }`, as far as that can be told by its ends.
pub(super) fn whole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("${")?.strip_suffix('}')?;
    (!inner.contains("${")).then(|| inner.trim())
}

/// Where a dotted name is first written in a text; the text's place where it is written otherwise.
fn place_of_name(node: &Node, path: &Path) -> Place {
    let names = (1..=path.len().min(2)).rev().map(|parts| path[..parts].join("."));
    let text = node.scalar().map(|scalar| scalar.text.as_str());
    // Searching a long text for each of many names would take long.
    let text = text.filter(|text| text.len() <= SEARCHED).unwrap_or_default();
    let offset = names.into_iter().find_map(|name| find_name(text, &name));
    offset.map_or(node.at, |offset| node.place_of(offset))
}

/// Where a name is written that is not a part of a longer one.
pub(in crate::definition) fn find_name(text: &str, name: &str) -> Option<usize> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = text.match_indices(name).filter(|(at, _)| {
        !text[..*at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part)
    });
    found.next().map(|(at, _)| at)
}

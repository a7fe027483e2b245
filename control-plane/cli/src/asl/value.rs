//! Values that are partly known and partly computed: paths, literals and payload templates.

use serde_json::{Map, Value as Json};

use super::Translator;
use super::path::{Part, Path, Root, quote, select, shown_name};

/// A value of the translation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Val {
    /// An expression that something can be selected from: a path or a call.
    Expr(String),
    /// Known.
    Literal(Json),
    /// An object with computed parts.
    Object(Vec<(String, Val)>),
    /// A list with computed parts.
    List(Vec<Val>),
}

/// What paths mean in one place.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// `$`.
    pub(super) document: Val,
    /// `$$`.
    pub(super) context: Val,
}

impl Val {
    /// Nothing.
    pub(super) fn null() -> Self {
        Self::Literal(Json::Null)
    }

    /// As a document's value: expressions in `${ }`, the rest as it is.
    pub(super) fn template(&self) -> Json {
        match self {
            Self::Expr(text) => Json::String(format!("${{{text}}}")),
            Self::Literal(json) => escaped(json),
            Self::Object(entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.template())).collect()
            }
            Self::List(items) => items.iter().map(Self::template).collect(),
        }
    }

    /// As one expression.
    pub(super) fn expr(&self) -> String {
        match self {
            Self::Expr(text) => text.clone(),
            Self::Literal(json) => literal(json),
            Self::Object(entries) => {
                let entry =
                    |(key, value): &(String, Self)| format!("{}: {}", quote(key), value.expr());
                format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::expr).collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// What lies at some parts below it; `None` where it is known that nothing does.
    pub(super) fn select(&self, parts: &[Part]) -> Option<Self> {
        let Some((first, rest)) = parts.split_first() else { return Some(self.clone()) };
        match (self, first) {
            (Self::Expr(text), _) => Some(Self::Expr(select(text, parts))),
            (Self::Object(entries), Part::Name(name)) => {
                entries.iter().find(|(key, _)| key == name)?.1.select(rest)
            }
            (Self::List(items), Part::Index(index)) => at(items, *index)?.select(rest),
            (Self::Literal(Json::Object(map)), Part::Name(name)) => {
                Self::Literal(map.get(name)?.clone()).select(rest)
            }
            (Self::Literal(Json::Array(items)), Part::Index(index)) => {
                Self::Literal(at(items, *index)?.clone()).select(rest)
            }
            (Self::Object(_) | Self::List(_) | Self::Literal(_), _) => None,
        }
    }

    /// Whether it is an expression already.
    pub(super) fn is_expr(&self) -> bool {
        matches!(self, Self::Expr(_))
    }
}

fn at<T>(items: &[T], index: i64) -> Option<&T> {
    let place = if index < 0 { i64::try_from(items.len()).ok()? + index } else { index };
    items.get(usize::try_from(place).ok()?)
}

/// A literal as a document has to write it, so that nothing in it is taken for an expression.
fn escaped(json: &Json) -> Json {
    match json {
        Json::String(text) => Json::String(text.replace("${", "$${")),
        Json::Array(items) => items.iter().map(escaped).collect(),
        Json::Object(map) => map.iter().map(|(key, value)| (key.clone(), escaped(value))).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
    }
}

/// A JSON value as an expression writes it.
pub(super) fn literal(json: &Json) -> String {
    match json {
        Json::String(text) => quote(text),
        Json::Array(items) => {
            format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        Json::Object(map) => {
            let entry =
                |(key, value): (&String, &Json)| format!("{}: {}", quote(key), literal(value));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        // Beyond what `int` holds, a number is a double.
        Json::Number(number) if number.is_u64() && number.as_i64().is_none() => {
            format!("{number}.0")
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => json.to_string(),
    }
}

impl Translator {
    /// What a path leads to. `None` where that was noted as a problem.
    pub(super) fn resolve(&mut self, frame: &Frame, text: &str, at: &str) -> Option<Val> {
        match Path::parse(text) {
            Ok(path) => self.resolve_path(frame, &path, text, at),
            Err(reason) => {
                self.problem(at, reason);
                None
            }
        }
    }

    /// What a path that has been read leads to.
    pub(super) fn resolve_path(
        &mut self,
        frame: &Frame,
        path: &Path,
        text: &str,
        at: &str,
    ) -> Option<Val> {
        let base = match &path.root {
            Root::Document => frame.document.clone(),
            Root::Context => frame.context.clone(),
            Root::Variable(name) if self.variables.contains(name) => {
                Val::Expr(format!("vars.{name}"))
            }
            Root::Variable(name) => {
                self.problem(at, format!("nothing assigns a variable `${name}`"));
                return None;
            }
        };
        let found = base.select(&path.parts);
        if found.is_none() {
            self.problem(at, format!("`{text}` leads to nothing that is known here"));
        }
        found
    }

    /// A payload template: fields that end in `.$` are paths.
    pub(super) fn payload(&mut self, frame: &Frame, json: &Json, at: &str) -> Val {
        match json {
            Json::Object(map) => self.payload_object(frame, map, at),
            Json::Array(items) => {
                let item = |(n, item)| self.payload(frame, item, &format!("{at}[{n}]"));
                folded_list(items.iter().enumerate().map(item).collect())
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
                Val::Literal(json.clone())
            }
        }
    }

    fn payload_object(&mut self, frame: &Frame, map: &Map<String, Json>, at: &str) -> Val {
        let mut entries = Vec::with_capacity(map.len());
        for (key, value) in map {
            let here = format!("{at}{}", shown_name(key));
            let Some(plain) = key.strip_suffix(".$") else {
                entries.push((key.clone(), self.payload(frame, value, &here)));
                continue;
            };
            let found = match value.as_str() {
                Some(text) => self.resolve(frame, text, &here),
                None => {
                    self.problem(&here, "a field that ends in `.$` takes a path, as a text");
                    None
                }
            };
            entries.push((plain.to_owned(), found.unwrap_or(Val::Literal(Json::Null))));
        }
        let known = entries.iter().map(|(key, value)| Some((key.clone(), value.known()?.clone())));
        match known.collect::<Option<Map<String, Json>>>() {
            Some(known) => Val::Literal(Json::Object(known)),
            None => Val::Object(entries),
        }
    }
}

impl Val {
    fn known(&self) -> Option<&Json> {
        if let Self::Literal(json) = self { Some(json) } else { None }
    }
}

fn folded_list(items: Vec<Val>) -> Val {
    match items.iter().map(Val::known).collect::<Option<Vec<_>>>() {
        Some(known) => Val::Literal(known.into_iter().cloned().collect()),
        None => Val::List(items),
    }
}

//! JSON values whose strings may contain `${ expr }`.
//!
//! A string that is exactly one `${ expr }` keeps the type of the result; any other is joined from
//! its parts. `$${` is a literal `${`. Keys of objects are taken as they are.

use serde_json::Value as Json;

use super::budget::weight;
use super::error::{EvalError, ExprError, Fault, Span};
use super::json::{Form, put};
use super::scope::{Path, Scope};
use super::secret::Joined;
use super::value::Value;
use super::{Expr, lex};
use crate::json::JsonText;
use crate::limits;

/// A compiled JSON value with expressions in its strings.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    root: Part,
    /// The text of what never changes.
    text: Option<JsonText>,
}

/// Why a JSON value is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at `{pointer}`: {error}")]
pub struct TemplateError {
    /// JSON pointer (RFC 6901) to the string.
    pub pointer: String,
    /// What is wrong; the span counts bytes of that string.
    pub error: ExprError,
}

/// Why a template gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at `{pointer}`: {error}")]
pub struct TemplateFailure {
    /// JSON pointer (RFC 6901) to the string.
    pub pointer: String,
    /// What failed; the span counts bytes of that string.
    pub error: EvalError,
}

impl TemplateFailure {
    /// The stable code: `expr.type`, `expr.key` or `expr.budget`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.error.code()
    }
}

impl Template {
    /// Compiles every `${ expr }` in the strings of a JSON value.
    ///
    /// # Errors
    /// The first text that does not compile, or a value nested too deeply.
    pub fn compile(json: &Json) -> Result<Self, TemplateError> {
        let mut pointer = Pointer::default();
        match compile(json, &mut pointer) {
            Ok(root) => {
                let text =
                    if let Part::Literal(json) = &root { Some(JsonText::of(json)) } else { None };
                Ok(Self { root, text })
            }
            Err(error) => Err(TemplateError { pointer: pointer.text(), error }),
        }
    }

    /// Evaluates to the outer JSON form, for what leaves the engine: an integral double becomes an
    /// integer.
    ///
    /// # Errors
    /// The first expression that fails, or a whole above [`limits::RUN_STATE_BYTES`].
    pub fn eval(&self, scope: &dyn Scope) -> Result<Json, TemplateFailure> {
        self.eval_as(scope, Form::Outer)
    }

    /// The text of [`Template::eval`].
    ///
    /// # Errors
    /// As [`Template::eval`].
    pub fn eval_text(&self, scope: &dyn Scope) -> Result<JsonText, TemplateFailure> {
        if let Some(text) = &self.text {
            return Ok(text.clone());
        }
        let mut text = Vec::new();
        let mut run = Run::new(scope, Form::Outer);
        match run.write(&self.root, &mut text) {
            Ok(()) => Ok(JsonText::written(String::from_utf8(text).unwrap_or_default())),
            Err(error) => Err(TemplateFailure { pointer: run.pointer.text(), error }),
        }
    }

    /// Evaluates to the inner JSON form, for values that expressions read again: a double stays
    /// a double ([`Value::from_json_typed`] gives the same back).
    ///
    /// # Errors
    /// As [`Template::eval`].
    pub fn eval_typed(&self, scope: &dyn Scope) -> Result<Json, TemplateFailure> {
        self.eval_as(scope, Form::Typed)
    }

    /// Whether there is no expression in it.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        matches!(self.root, Part::Literal(_))
    }

    /// The expressions in document order, each with the JSON pointer to its string.
    #[must_use]
    pub fn expressions(&self) -> Vec<(String, &Expr)> {
        let mut found = Vec::new();
        collect(&self.root, &mut Pointer::default(), &mut found);
        found
    }

    /// The names that the expressions read, as [`Expr::references`], each once.
    #[must_use]
    pub fn references(&self) -> Vec<Path> {
        let mut all: Vec<Path> = Vec::new();
        for (_, expr) in self.expressions() {
            for path in &expr.program.references {
                if !all.contains(path) {
                    all.push(path.clone());
                }
            }
        }
        all
    }

    /// The JSON value it was compiled from.
    #[must_use]
    pub fn source(&self) -> Json {
        self.root.source()
    }

    fn eval_as(&self, scope: &dyn Scope, form: Form) -> Result<Json, TemplateFailure> {
        let mut run = Run::new(scope, form);
        run.part(&self.root).map_err(|error| TemplateFailure { pointer: run.pointer.text(), error })
    }
}

/// A part of a template. Parts without expressions are folded into literals.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(Json),
    /// A string that is one expression, and where that starts in the string.
    Whole(Expr, u32),
    Text(Vec<Piece>),
    List(Vec<Part>),
    Object(Vec<(String, Part)>),
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Literal(String),
    Expr(Expr, u32),
}

/// The way from the root to the part at hand. Left standing where an error occurs.
#[derive(Debug, Default)]
struct Pointer(Vec<String>);

impl Pointer {
    fn text(&self) -> String {
        self.0
            .iter()
            .map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")))
            .collect()
    }

    fn enter(&mut self, name: impl ToString) {
        self.0.push(name.to_string());
    }

    fn leave(&mut self) {
        self.0.pop();
    }
}

fn compile(json: &Json, pointer: &mut Pointer) -> Result<Part, ExprError> {
    if pointer.0.len() > limits::VALUE_DEPTH {
        let message = format!("nested more than {} deep", limits::VALUE_DEPTH);
        return Err(ExprError::new(message, Span::default()));
    }
    match json {
        Json::String(text) => compile_text(text),
        Json::Array(items) => {
            let mut parts = Vec::with_capacity(items.len());
            for (position, item) in items.iter().enumerate() {
                pointer.enter(position);
                parts.push(compile(item, pointer)?);
                pointer.leave();
            }
            Ok(fold_list(parts))
        }
        Json::Object(object) => {
            let mut parts = Vec::with_capacity(object.len());
            for (name, item) in object {
                pointer.enter(name);
                parts.push((name.clone(), compile(item, pointer)?));
                pointer.leave();
            }
            Ok(fold_object(parts))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(Part::Literal(json.clone())),
    }
}

fn fold_list(parts: Vec<Part>) -> Part {
    if parts.iter().any(|part| !matches!(part, Part::Literal(_))) {
        return Part::List(parts);
    }
    let literals = parts.into_iter().filter_map(Part::literal);
    Part::Literal(Json::Array(literals.collect()))
}

fn fold_object(parts: Vec<(String, Part)>) -> Part {
    if parts.iter().any(|(_, part)| !matches!(part, Part::Literal(_))) {
        return Part::Object(parts);
    }
    let literals = parts.into_iter().filter_map(|(name, part)| Some((name, part.literal()?)));
    Part::Literal(Json::Object(literals.collect()))
}

impl Part {
    fn source(&self) -> Json {
        match self {
            Self::Literal(json) => escaped(json),
            Self::Whole(expr, _) => Json::String(format!("${{{}}}", expr.source())),
            Self::Text(pieces) => {
                let pieces = pieces.iter().map(|piece| match piece {
                    Piece::Literal(text) => text.replace("${", "$${"),
                    Piece::Expr(expr, _) => format!("${{{}}}", expr.source()),
                });
                Json::String(pieces.collect())
            }
            Self::List(parts) => parts.iter().map(Self::source).collect(),
            Self::Object(parts) => {
                parts.iter().map(|(name, part)| (name.clone(), part.source())).collect()
            }
        }
    }

    fn literal(self) -> Option<Json> {
        if let Self::Literal(json) = self { Some(json) } else { None }
    }
}

/// A literal as it has to be written so that nothing in it is taken for an expression.
fn escaped(json: &Json) -> Json {
    match json {
        Json::String(text) => Json::String(text.replace("${", "$${")),
        Json::Array(items) => items.iter().map(escaped).collect(),
        Json::Object(object) => {
            object.iter().map(|(name, value)| (name.clone(), escaped(value))).collect()
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => json.clone(),
    }
}

fn compile_text(text: &str) -> Result<Part, ExprError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${") {
        let open = at + found;
        if text[..open].ends_with('$') {
            literal.push_str(&text[at..open - 1]);
            literal.push_str("${");
            at = open + 2;
            continue;
        }
        literal.push_str(&text[at..open]);
        let start = open + 2;
        let end = lex::closing_brace(text, start)?;
        let expr = Expr::compile(&text[start..end]).map_err(|error| shifted(error, start))?;
        if open == 0 && end + 1 == text.len() {
            return Ok(Part::Whole(expr, offset(start)));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Expr(expr, offset(start)));
        at = end + 1;
    }
    literal.push_str(&text[at..]);
    if pieces.is_empty() {
        return Ok(Part::Literal(Json::String(literal)));
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Part::Text(pieces))
}

fn offset(start: usize) -> u32 {
    u32::try_from(start).unwrap_or(u32::MAX)
}

fn shifted(error: ExprError, start: usize) -> ExprError {
    ExprError { span: shift(error.span, offset(start)), ..error }
}

fn shift(span: Span, by: u32) -> Span {
    Span { start: span.start.saturating_add(by), end: span.end.saturating_add(by) }
}

fn collect<'a>(part: &'a Part, pointer: &mut Pointer, found: &mut Vec<(String, &'a Expr)>) {
    match part {
        Part::Literal(_) => {}
        Part::Whole(expr, _) => found.push((pointer.text(), expr)),
        Part::Text(pieces) => {
            for piece in pieces {
                if let Piece::Expr(expr, _) = piece {
                    found.push((pointer.text(), expr));
                }
            }
        }
        Part::List(parts) => {
            for (position, part) in parts.iter().enumerate() {
                pointer.enter(position);
                collect(part, pointer, found);
                pointer.leave();
            }
        }
        Part::Object(parts) => {
            for (name, part) in parts {
                pointer.enter(name);
                collect(part, pointer, found);
                pointer.leave();
            }
        }
    }
}

struct Run<'a> {
    scope: &'a dyn Scope,
    form: Form,
    /// Bytes that results may still have.
    left: usize,
    pointer: Pointer,
}

impl<'a> Run<'a> {
    fn new(scope: &'a dyn Scope, form: Form) -> Self {
        Self { scope, form, left: limits::RUN_STATE_BYTES, pointer: Pointer::default() }
    }

    /// Writes the text of what [`Self::part`] gives.
    fn write(&mut self, part: &Part, to: &mut Vec<u8>) -> Result<(), EvalError> {
        match part {
            Part::Literal(json) => put(to, json),
            Part::Whole(expr, start) => {
                let (value, span) = self.value(expr, *start)?;
                value.write(self.form, to).map_err(|fault| fault.at(span))?;
            }
            Part::Text(pieces) => put(to, &self.text(pieces)?),
            Part::List(parts) => {
                to.push(b'[');
                for (position, part) in parts.iter().enumerate() {
                    if position > 0 {
                        to.push(b',');
                    }
                    self.pointer.enter(position);
                    self.write(part, to)?;
                    self.pointer.leave();
                }
                to.push(b']');
            }
            Part::Object(parts) => {
                to.push(b'{');
                for (position, (name, part)) in parts.iter().enumerate() {
                    if position > 0 {
                        to.push(b',');
                    }
                    put(to, name.as_str());
                    to.push(b':');
                    self.pointer.enter(name);
                    self.write(part, to)?;
                    self.pointer.leave();
                }
                to.push(b'}');
            }
        }
        Ok(())
    }

    fn part(&mut self, part: &Part) -> Result<Json, EvalError> {
        match part {
            Part::Literal(json) => Ok(json.clone()),
            Part::Whole(expr, start) => {
                let (value, span) = self.value(expr, *start)?;
                value.json(self.form).map_err(|fault| fault.at(span))
            }
            Part::Text(pieces) => self.text(pieces),
            Part::List(parts) => {
                let mut items = Vec::with_capacity(parts.len());
                for (position, part) in parts.iter().enumerate() {
                    self.pointer.enter(position);
                    items.push(self.part(part)?);
                    self.pointer.leave();
                }
                Ok(Json::Array(items))
            }
            Part::Object(parts) => {
                let mut object = serde_json::Map::with_capacity(parts.len());
                for (name, part) in parts {
                    self.pointer.enter(name);
                    object.insert(name.clone(), self.part(part)?);
                    self.pointer.leave();
                }
                Ok(Json::Object(object))
            }
        }
    }

    fn text(&mut self, pieces: &[Piece]) -> Result<Json, EvalError> {
        let mut joined = Joined::default();
        for piece in pieces {
            match piece {
                Piece::Literal(text) => joined.text.push_str(text),
                Piece::Expr(expr, start) => {
                    let (value, span) = self.value(expr, *start)?;
                    join(&mut joined, &value).map_err(|fault| fault.at(span))?;
                }
            }
        }
        Ok(joined.finish())
    }

    fn value(&mut self, expr: &Expr, start: u32) -> Result<(Value, Span), EvalError> {
        let span = shift(Span::new(0, expr.source().len()), start);
        let value = expr
            .eval(self.scope)
            .map_err(|error| EvalError { span: shift(error.span, start), ..error })?;
        let weight = weight(&value).map_err(|fault| fault.at(span))?;
        let rest = self.left.checked_sub(usize::try_from(weight).unwrap_or(usize::MAX));
        self.left = rest.ok_or_else(|| {
            let limit = limits::RUN_STATE_BYTES;
            Fault::budget(format!("the results exceed {limit} bytes together")).at(span)
        })?;
        Ok((value, span))
    }
}

/// Joins a value to text.
fn join(joined: &mut Joined, value: &Value) -> Result<(), Fault> {
    match value {
        Value::String(text) => joined.text.push_str(text),
        Value::Secret(secret) => joined.push(secret),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_) => {
            let json = value.json(Form::Outer)?;
            // Text forms such as a timestamp's are joined without quotes.
            joined.text.push_str(json.as_str().unwrap_or(&json.to_string()));
        }
    }
    Ok(())
}

//! The part of JSON Schema (2020-12) that inputs are held to, and [`Workflow::check_inputs`].
//!
//! Enforced are `type` (one name), `enum`, `const`, `minimum`, `maximum`, `exclusiveMinimum`,
//! `exclusiveMaximum`, `minLength`, `maxLength`, `pattern`, `minItems`, `maxItems`, `items`,
//! `properties`, `required` and `additionalProperties` (as `true` or `false`). Notes to readers are
//! let through. Every other keyword is refused when the document is read, so that nothing looks
//! enforced that is not.

use std::fmt;

use serde_json::{Map, Number, Value as Json};

use super::draft::{did_you_mean, excerpt};
use super::model::{InputKind, InputSpec, Workflow};
use crate::api::ProblemItem;
use crate::expr::{Expr, Value};
use crate::json::JsonText;
use crate::limits;
use crate::ordered::VecMap;

/// Keywords that constrain.
pub(super) const ENFORCED: [&str; 16] = [
    "type",
    "enum",
    "const",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "items",
    "properties",
    "required",
    "additionalProperties",
];

/// Keywords for readers. `optional` is ours: the input may be absent without a default.
pub(super) const NOTES: [&str; 9] = [
    "title",
    "description",
    "default",
    "examples",
    "format",
    "deprecated",
    "readOnly",
    "$comment",
    "optional",
];

/// Faults told of one set of inputs; what else is wrong shows once these are mended.
const PROBLEMS: usize = 20;
/// The longest way to a value that is told, in bytes; beyond it the value around is named.
const PLACE_BYTES: usize = 512;

/// Why a value is not accepted as an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputProblem {
    /// Where: the input's name, and the way into it, such as `zones[2].name`. Empty for the inputs
    /// as a whole.
    pub input: String,
    /// The same place as a JSON Pointer (RFC 6901) into the inputs, such as `/zones/2/name`.
    pub pointer: String,
    /// What is wrong, and what to write.
    pub message: String,
}

impl fmt::Display for InputProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.input.as_str() {
            "" => write!(f, "the inputs {}", self.message),
            input => write!(f, "input `{input}` {}", self.message),
        }
    }
}

impl From<&InputProblem> for ProblemItem {
    /// As a problem of a request that has the inputs as `inputs` in its body.
    fn from(problem: &InputProblem) -> Self {
        Self {
            code: "inputs.invalid".to_owned(),
            message: problem.to_string(),
            line: 0,
            column: 0,
            suggestion: None,
            pointer: Some(format!("/inputs{}", problem.pointer)),
        }
    }
}

/// The way to a value, from the outermost in. Costs nothing until there is a problem to tell.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// The inputs as a whole.
    Inputs,
    /// A declared input, or one that should have been.
    Input(&'a str),
    Item(&'a Way<'a>, usize),
    Field(&'a Way<'a>, &'a str),
}

impl Way<'_> {
    /// How people write it, and as a pointer.
    fn written(&self) -> (String, String) {
        let (outer, name, step) = match self {
            Self::Inputs => return (String::new(), String::new()),
            Self::Input(name) => (&Self::Inputs, (*name).to_owned(), escaped(name)),
            Self::Item(outer, n) => (*outer, format!("[{n}]"), n.to_string()),
            Self::Field(outer, name) => (*outer, format!(".{name}"), escaped(name)),
        };
        let (input, pointer) = outer.written();
        if pointer.len() + step.len() > PLACE_BYTES {
            return (input, pointer);
        }
        (input + &name, format!("{pointer}/{step}"))
    }
}

/// A name as one step of a JSON Pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// What is wrong so far; the first few are kept.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) found: Vec<InputProblem>,
    count: usize,
}

impl Faults {
    fn add(&mut self, at: &Way<'_>, message: String) {
        self.count += 1;
        if self.found.len() < PROBLEMS {
            let (input, pointer) = at.written();
            self.found.push(InputProblem { input, pointer, message });
        }
    }
}

impl Workflow {
    /// Checks the inputs of a run and completes them: defaults are filled in, and numbers get the
    /// type that expressions see (an `integer` stays one; every other number is a double). The one
    /// check of inputs: the control plane asks it before it writes a wish down, the device before
    /// a run exists.
    ///
    /// `null` for the whole counts as no inputs.
    ///
    /// # Errors
    /// The first twenty things that are wrong: not an object, an unknown or missing input, a value
    /// that breaks the input's schema, more than [`limits::VALUE_BYTES`].
    pub fn check_inputs(&self, given: &JsonText) -> Result<JsonText, Vec<InputProblem>> {
        check_against(&self.inputs, given)
    }
}

/// Checks values by name against what is declared of them, such as a run's inputs or an approval's
/// form, and fills in the defaults.
///
/// # Errors
/// As [`Workflow::check_inputs`].
pub fn check_against(
    declared: &VecMap<String, InputSpec>,
    given: &JsonText,
) -> Result<JsonText, Vec<InputProblem>> {
    let mut problems = Faults::default();
    let checked = checked(declared, given, &mut problems);
    let checked = checked.filter(|text| is_small(text, &mut problems));
    checked.filter(|_| problems.count == 0).ok_or(problems.found)
}

fn checked(
    declared: &VecMap<String, InputSpec>,
    given: &JsonText,
    problems: &mut Faults,
) -> Option<JsonText> {
    if !is_small(given, problems) {
        return None;
    }
    let mut given = match given.read::<Json>() {
        Ok(Json::Object(given)) => given,
        Ok(Json::Null) => Map::new(),
        Ok(Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_)) | Err(_) => {
            problems.add(&Way::Inputs, "must be a map from names to values".to_owned());
            return None;
        }
    };
    let mut checked = Map::new();
    for (name, spec) in declared {
        let at = Way::Input(name);
        let Some(value) = given.remove(name).or_else(|| spec.default.clone()) else {
            if !spec.optional {
                problems.add(&at, "is missing and has no default".to_owned());
            }
            continue;
        };
        checked.insert(name.clone(), conform(&spec.schema, value, &at, problems));
    }
    for name in given.keys().take(PROBLEMS) {
        let suggestion = did_you_mean(&excerpt(name), declared.keys().map(String::as_str));
        let suggestion = suggestion.map_or(String::new(), |text| format!("; {text}"));
        let message = format!("is not an input of this workflow{suggestion}");
        problems.add(&Way::Input(name), message);
    }
    Some(JsonText::of(&Json::Object(checked)))
}

fn is_small(inputs: &JsonText, problems: &mut Faults) -> bool {
    let (bytes, most) = (inputs.len(), limits::VALUE_BYTES);
    if bytes > most {
        problems.add(&Way::Inputs, format!("have {bytes} bytes of JSON; the most is {most}"));
    }
    bytes <= most
}

/// The declared type of a schema, where it names one we know.
pub(super) fn kind_of(schema: &Json) -> Option<InputKind> {
    match schema.get("type") {
        None => Some(InputKind::Any),
        Some(name) => kind_named(name.as_str()?),
    }
}

/// The type with a JSON Schema name.
pub(super) fn kind_named(name: &str) -> Option<InputKind> {
    Some(match name {
        "string" => InputKind::String,
        "number" => InputKind::Number,
        "integer" => InputKind::Integer,
        "boolean" => InputKind::Boolean,
        "array" => InputKind::Array,
        "object" => InputKind::Object,
        _ => return None,
    })
}

/// Whether a text matches a pattern somewhere; `None` where the pattern is none. The language's
/// own linear-time matcher does the work.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    let literal = Json::String(pattern.to_owned());
    let expr = Expr::compile(&format!("text.matches({literal})")).ok()?;
    let scope = VecMap::from([("text".to_owned(), Value::String(text.into()))]);
    match expr.eval(&scope) {
        Ok(Value::Bool(found)) => Some(found),
        _ => None,
    }
}

/// Holds a value against a schema; gives it back with its numbers typed.
pub(super) fn conform(schema: &Json, value: Json, at: &Way<'_>, problems: &mut Faults) -> Json {
    let before = problems.count;
    let mut wrong = |message: String| problems.add(at, message);
    let kind = kind_of(schema).unwrap_or(InputKind::Any);
    let value = match typed(kind, value) {
        Ok(value) => value,
        Err(found) => {
            let expected = schema.get("type").and_then(Json::as_str).unwrap_or("value");
            wrong(format!("must be of type {expected}, not {}", describe(&found)));
            return found;
        }
    };
    let listed = schema.get("enum").and_then(Json::as_array);
    if let Some(allowed) = listed.filter(|allowed| !allowed.iter().any(|one| same(one, &value))) {
        let allowed: Vec<String> = allowed.iter().take(20).map(Json::to_string).collect();
        wrong(format!("must be one of {}", allowed.join(", ")));
    }
    if let Some(only) = schema.get("const").filter(|only| !same(only, &value)) {
        wrong(format!("must be {only}"));
    }
    match &value {
        Json::Number(number) => check_number(schema, number, &mut wrong),
        Json::String(text) => check_text(schema, text, &mut wrong),
        Json::Array(items) => check_length(schema, "Items", "items", items.len(), &mut wrong),
        Json::Null | Json::Bool(_) | Json::Object(_) => {}
    }
    if problems.count > before {
        return value;
    }
    match value {
        Json::Array(items) => {
            let inner = schema.get("items").unwrap_or(&Json::Null);
            let each = |(n, item)| conform(inner, item, &Way::Item(at, n), problems);
            Json::Array(items.into_iter().enumerate().map(each).collect())
        }
        Json::Object(object) => conform_object(schema, object, at, problems),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value,
    }
}

fn conform_object(
    schema: &Json,
    object: Map<String, Json>,
    at: &Way<'_>,
    problems: &mut Faults,
) -> Json {
    let known = schema.get("properties").and_then(Json::as_object);
    let closed = schema.get("additionalProperties") == Some(&Json::Bool(false));
    let required = schema.get("required").and_then(Json::as_array);
    for name in required.into_iter().flatten().filter_map(Json::as_str) {
        if !object.contains_key(name) {
            problems.add(at, format!("has no `{name}`"));
        }
    }
    let each = |(name, value): (String, Json)| {
        let inner = known.and_then(|known| known.get(&name));
        if inner.is_none() && closed {
            problems.add(at, format!("must not have `{}`", excerpt(&name)));
        }
        let way = Way::Field(at, &name);
        let value = conform(inner.unwrap_or(&Json::Null), value, &way, problems);
        (name, value)
    };
    Json::Object(object.into_iter().map(each).collect())
}

/// The value with its number typed, or the value back where it is of another type.
fn typed(kind: InputKind, value: Json) -> Result<Json, Json> {
    let fits = match kind {
        InputKind::Any => true,
        InputKind::String => value.is_string(),
        InputKind::Boolean => value.is_boolean(),
        InputKind::Array => value.is_array(),
        InputKind::Object => value.is_object(),
        InputKind::Number => value.is_number(),
        InputKind::Integer => {
            return match value.as_number().and_then(integer) {
                Some(number) => Ok(Json::from(number)),
                None => Err(value),
            };
        }
    };
    if !fits {
        return Err(value);
    }
    match value.as_f64().and_then(Number::from_f64) {
        Some(double) => Ok(Json::Number(double)),
        None => Ok(value),
    }
}

/// The 64-bit integer that a number is exactly: JSON Schema counts `5.0` as an integer.
fn integer(number: &Number) -> Option<i64> {
    if let Some(integer) = number.as_i64() {
        return Some(integer);
    }
    let double = number.as_f64().filter(|_| !number.is_u64())?;
    let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&double);
    #[expect(clippy::cast_possible_truncation, reason = "in range and integral")]
    (in_range && double.fract() == 0.0).then_some(double as i64)
}

fn check_number(schema: &Json, number: &Number, wrong: &mut impl FnMut(String)) {
    let Some(found) = number.as_f64() else { return };
    let bound = |key| schema.get(key).and_then(Json::as_f64);
    if let Some(least) = bound("minimum").filter(|least| found < *least) {
        wrong(format!("must be at least {least}"));
    }
    if let Some(most) = bound("maximum").filter(|most| found > *most) {
        wrong(format!("must be at most {most}"));
    }
    if let Some(least) = bound("exclusiveMinimum").filter(|least| found <= *least) {
        wrong(format!("must be above {least}"));
    }
    if let Some(most) = bound("exclusiveMaximum").filter(|most| found >= *most) {
        wrong(format!("must be below {most}"));
    }
}

fn check_text(schema: &Json, text: &str, wrong: &mut impl FnMut(String)) {
    check_length(schema, "Length", "characters", text.chars().count(), wrong);
    let pattern = schema.get("pattern").and_then(Json::as_str);
    if let Some(pattern) = pattern.filter(|pattern| matches(pattern, text) != Some(true)) {
        wrong(format!("must match `{pattern}`"));
    }
}

fn check_length(schema: &Json, of: &str, unit: &str, found: usize, wrong: &mut impl FnMut(String)) {
    let bound = |end: &str| schema.get(format!("{end}{of}").as_str()).and_then(Json::as_u64);
    let found = found as u64;
    if let Some(least) = bound("min").filter(|least| found < *least) {
        wrong(format!("must have at least {least} {unit}, not {found}"));
    }
    if let Some(most) = bound("max").filter(|most| found > *most) {
        wrong(format!("must have at most {most} {unit}, not {found}"));
    }
}

/// Whether two values are the same to JSON Schema, where `5` is `5.0`.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

fn describe(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests;

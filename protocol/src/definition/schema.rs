//! The part of JSON Schema (2020-12) that inputs are held to, and [`Workflow::check_inputs`].
//!
//! Enforced are `type` (one name), `enum`, `const`, `minimum`, `maximum`, `exclusiveMinimum`,
//! `exclusiveMaximum`, `minLength`, `maxLength`, `pattern`, `minItems`, `maxItems`, `items`,
//! `properties`, `required` and `additionalProperties` (as `true` or `false`). Notes to readers are
//! let through. Every other keyword is refused when the document is read, so that nothing looks
//! enforced that is not.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Number, Value as Json};

use super::draft::did_you_mean;
use super::model::{InputKind, Workflow};
use crate::expr::{Expr, Value};

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

/// Why a value is not accepted as an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputProblem {
    /// Where: the input's name, and the way into it, such as `zones[2].name`.
    pub input: String,
    /// What is wrong, and what to write.
    pub message: String,
}

impl fmt::Display for InputProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "input `{}` {}", self.input, self.message)
    }
}

impl Workflow {
    /// Checks the inputs of a run and completes them: defaults are filled in, and numbers get the
    /// type that expressions see (an `integer` stays one; every other number is a double).
    ///
    /// `null` for the whole counts as no inputs.
    ///
    /// # Errors
    /// Everything that is wrong: not an object, an unknown or missing input, a value that breaks
    /// the input's schema.
    pub fn check_inputs(&self, given: Json) -> Result<Json, Vec<InputProblem>> {
        let mut given = match given {
            Json::Object(given) => given,
            Json::Null => Map::new(),
            Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                let message = "are a map from names to values".to_owned();
                return Err(vec![InputProblem { input: "*".to_owned(), message }]);
            }
        };
        let (mut checked, mut problems) = (Map::new(), Vec::new());
        for (name, spec) in &self.inputs {
            let Some(value) = given.remove(name).or_else(|| spec.default.clone()) else {
                if !spec.optional {
                    let message = "is missing and has no default".to_owned();
                    problems.push(InputProblem { input: name.clone(), message });
                }
                continue;
            };
            let value = conform(&spec.schema, value, name, &mut problems);
            checked.insert(name.clone(), value);
        }
        for name in given.keys() {
            let suggestion = did_you_mean(name, self.inputs.keys().map(String::as_str));
            let suggestion = suggestion.map_or(String::new(), |text| format!("; {text}"));
            let message = format!("is not an input of this workflow{suggestion}");
            problems.push(InputProblem { input: name.chars().take(80).collect(), message });
        }
        if problems.is_empty() { Ok(Json::Object(checked)) } else { Err(problems) }
    }
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
    let scope = BTreeMap::from([("text".to_owned(), Value::String(text.into()))]);
    match expr.eval(&scope) {
        Ok(Value::Bool(found)) => Some(found),
        _ => None,
    }
}

/// Holds a value against a schema; gives it back with its numbers typed.
pub(super) fn conform(
    schema: &Json,
    value: Json,
    at: &str,
    problems: &mut Vec<InputProblem>,
) -> Json {
    let before = problems.len();
    let mut wrong = |message: String| problems.push(InputProblem { input: at.to_owned(), message });
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
    if problems.len() > before {
        return value;
    }
    match value {
        Json::Array(items) => {
            let inner = schema.get("items").unwrap_or(&Json::Null);
            let each = |(n, item)| conform(inner, item, &format!("{at}[{n}]"), problems);
            Json::Array(items.into_iter().enumerate().map(each).collect())
        }
        Json::Object(object) => conform_object(schema, object, at, problems),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value,
    }
}

fn conform_object(
    schema: &Json,
    object: Map<String, Json>,
    at: &str,
    problems: &mut Vec<InputProblem>,
) -> Json {
    let known = schema.get("properties").and_then(Json::as_object);
    let closed = schema.get("additionalProperties") == Some(&Json::Bool(false));
    let required = schema.get("required").and_then(Json::as_array);
    for name in required.into_iter().flatten().filter_map(Json::as_str) {
        if !object.contains_key(name) {
            let message = format!("has no `{name}`");
            problems.push(InputProblem { input: at.to_owned(), message });
        }
    }
    let each = |(name, value): (String, Json)| {
        let inner = known.and_then(|known| known.get(&name));
        if inner.is_none() && closed {
            let message = format!("must not have `{name}`");
            problems.push(InputProblem { input: at.to_owned(), message });
        }
        let value = conform(inner.unwrap_or(&Json::Null), value, &format!("{at}.{name}"), problems);
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
mod tests {
    use serde_json::json;

    use super::*;
    use crate::definition::parse;

    fn workflow(inputs: &str) -> Workflow {
        let text = format!("workflow: w\ninputs: {inputs}\nsteps: [{{id: a, delay: 1}}]\n");
        parse(&text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn checked(inputs: &str, given: Json) -> Result<String, String> {
        match workflow(inputs).check_inputs(given) {
            Ok(value) => Ok(value.to_string()),
            Err(problems) => {
                Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
        }
    }

    #[test]
    fn defaults_are_filled_in_and_numbers_get_their_type() {
        let inputs = "{device: {type: string}, limit: {type: number, default: 80}, \
                      n: {type: integer}, note: {type: string, optional: true}, any: {}, \
                      zones: {type: array, items: {type: integer}, default: []}}";
        let given = json!({"device": "p", "n": 5.0, "any": {"x": [1, true]}, "zones": [2]});
        let expected = r#"{"any":{"x":[1.0,true]},"device":"p","limit":80.0,"n":5,"zones":[2]}"#;
        assert_eq!(checked(inputs, given), Ok(expected.to_owned()));
        assert_eq!(checked("{}", Json::Null), Ok("{}".to_owned()));
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            ("{a: {type: string}}", json!({}), "input `a` is missing and has no default"),
            ("{alpha: {}}", json!({"alpha": 1, "alhpa": 2}), "did you mean `alpha`?"),
            ("{}", json!([]), "input `*` are a map from names to values"),
            (
                "{a: {type: string}}",
                json!({"a": 1}),
                "input `a` must be of type string, not number",
            ),
            ("{a: {type: integer}}", json!({"a": 1.5}), "must be of type integer, not number"),
            ("{a: {type: integer}}", json!({"a": u64::MAX}), "must be of type integer"),
            ("{a: {type: number}}", json!({"a": "1"}), "must be of type number, not string"),
            ("{a: {type: boolean}}", json!({"a": null}), "must be of type boolean, not null"),
            ("{a: {enum: [1, x]}}", json!({"a": 2}), "must be one of 1, \"x\""),
            ("{a: {const: 5}}", json!({"a": 6}), "must be 5"),
            ("{a: {minimum: 1}}", json!({"a": 0.5}), "must be at least 1"),
            ("{a: {exclusiveMaximum: 1}}", json!({"a": 1}), "must be below 1"),
            ("{a: {minLength: 3}}", json!({"a": "éé"}), "at least 3 characters, not 2"),
            ("{a: {pattern: '^p-[0-9]+$'}}", json!({"a": "q-1"}), "must match `^p-[0-9]+$`"),
            ("{a: {maxItems: 1}}", json!({"a": [1, 2]}), "at most 1 items, not 2"),
            (
                "{a: {items: {properties: {n: {type: string}}}}}",
                json!({"a": [{"n": "x"}, {"n": 1}]}),
                "input `a[1].n` must be of type string",
            ),
            ("{a: {required: [n]}}", json!({"a": {}}), "input `a` has no `n`"),
            (
                "{a: {properties: {n: {}}, additionalProperties: false}}",
                json!({"a": {"m": 1}}),
                "input `a` must not have `m`",
            ),
        ];
        for (inputs, given, part) in cases {
            let error = checked(inputs, given.clone()).unwrap_err();
            assert!(error.contains(part), "{inputs} {given}: {error}");
        }
    }

    #[test]
    fn what_fits() {
        for (inputs, given) in [
            ("{a: {enum: [1, x]}}", json!({"a": 1.0})),
            ("{a: {pattern: '[0-9]'}}", json!({"a": "x7y"})),
            ("{a: {pattern: \"\\\"\\\\\\\\$\"}}", json!({"a": "\"\\"})),
            ("{a: {type: integer}}", json!({"a": i64::MIN})),
            ("{a: {type: integer}}", json!({"a": 1e3})),
            ("{a: {maximum: 1}}", json!({"a": "not a number"})),
            (
                "{a: {type: object, properties: {n: {type: integer}}}}",
                json!({"a": {"n": 1, "m": 2}}),
            ),
        ] {
            checked(inputs, given.clone()).unwrap_or_else(|error| panic!("{inputs}: {error}"));
        }
    }
}

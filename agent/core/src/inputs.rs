//! Inputs of a run, checked before the run exists.

use std::collections::BTreeMap;

use openclaw_protocol::definition::{InputKind, InputSpec};
use openclaw_protocol::expr::Value;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use serde_json::{Map, Value as Json};

use crate::names;

/// Checks what was given against what is declared, and fills in what has a default. Numbers
/// become doubles except where `integer` is declared, so that `21` and `21.0` are the same.
///
/// # Errors
/// What is wrong and what is expected, for people.
pub(crate) fn check(
    specs: &BTreeMap<String, InputSpec>,
    given: &JsonText,
) -> Result<JsonText, String> {
    let given = match given.value() {
        Json::Object(given) => given,
        Json::Null => Map::new(),
        Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) => {
            return Err("inputs must be an object with the inputs by name".to_owned());
        }
    };
    if let Some(unknown) = given.keys().find(|name| !specs.contains_key(*name)) {
        let known: Vec<&str> = specs.keys().map(String::as_str).collect();
        return Err(match known.as_slice() {
            [] => format!("input `{unknown}` is not declared; this workflow takes none"),
            known => format!("input `{unknown}` is not declared; declared: {}", known.join(", ")),
        });
    }
    let mut checked = Vec::with_capacity(specs.len());
    for (name, spec) in specs {
        match given.get(name).or(spec.default.as_ref()) {
            Some(json) => checked.push((name.as_str(), typed(name, spec, json)?)),
            None if spec.optional => {}
            None => return Err(format!("input `{name}` is missing and has no default")),
        }
    }
    let json = names::object(checked).to_json_typed().map_err(|error| error.to_string())?;
    let text = JsonText::of(&json);
    if text.len() > limits::VALUE_BYTES {
        let (bytes, most) = (text.len(), limits::VALUE_BYTES);
        return Err(format!("the inputs have {bytes} bytes; the most is {most}"));
    }
    Ok(text)
}

fn typed(name: &str, spec: &InputSpec, json: &Json) -> Result<Value, String> {
    let value = Value::from_json(json);
    let wrong = |expected: &str| {
        Err(format!("input `{name}` must be {expected}, not {}", names::short(json)))
    };
    let value = match (spec.kind, json) {
        (InputKind::Any, _)
        | (InputKind::String, Json::String(_))
        | (InputKind::Number, Json::Number(_))
        | (InputKind::Boolean, Json::Bool(_))
        | (InputKind::Array, Json::Array(_))
        | (InputKind::Object, Json::Object(_)) => value,
        (InputKind::Integer, Json::Number(_)) => match Value::from_json_typed(json).as_integer() {
            Some(integer) => Value::Int(integer),
            None => return wrong("a whole number"),
        },
        (InputKind::String, _) => return wrong("text"),
        (InputKind::Number, _) => return wrong("a number"),
        (InputKind::Integer, _) => return wrong("a whole number"),
        (InputKind::Boolean, _) => return wrong("true or false"),
        (InputKind::Array, _) => return wrong("a list"),
        (InputKind::Object, _) => return wrong("a map"),
    };
    allowed(name, spec, json)?;
    Ok(value)
}

/// The keywords of JSON Schema that bound a value by itself. The whole schema is checked where a
/// person gives the inputs; on the device only what a trigger can get wrong.
fn allowed(name: &str, spec: &InputSpec, json: &Json) -> Result<(), String> {
    let schema = &spec.schema;
    if let Some(Json::Array(choices)) = schema.get("enum")
        && !choices.iter().any(|choice| Value::from_json(choice) == Value::from_json(json))
    {
        let choices: Vec<String> = choices.iter().map(names::short).collect();
        return Err(format!("input `{name}` must be one of {}", choices.join(", ")));
    }
    let Some(number) = json.as_f64() else { return Ok(()) };
    if let Some(least) = schema.get("minimum").and_then(Json::as_f64)
        && number < least
    {
        return Err(format!("input `{name}` is {number}; the least is {least}"));
    }
    if let Some(most) = schema.get("maximum").and_then(Json::as_f64)
        && number > most
    {
        return Err(format!("input `{name}` is {number}; the most is {most}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(kind: InputKind, default: Option<Json>, optional: bool) -> InputSpec {
        InputSpec {
            schema: json!({"enum": [1, 2.5, "a", true, [1], {"k": 1}], "maximum": 2.5}),
            kind,
            default,
            optional,
        }
    }

    fn check_one(kind: InputKind, given: &Json) -> Result<String, String> {
        let specs = BTreeMap::from([("x".to_owned(), spec(kind, None, false))]);
        check(&specs, &JsonText::of(&json!({"x": given}))).map(|text| text.as_str().to_owned())
    }

    #[test]
    fn numbers_are_doubles_unless_declared_integer() {
        assert_eq!(check_one(InputKind::Number, &json!(1)).unwrap(), r#"{"x":1.0}"#);
        assert_eq!(check_one(InputKind::Integer, &json!(1.0)).unwrap(), r#"{"x":1}"#);
        assert_eq!(check_one(InputKind::Array, &json!([1])).unwrap(), r#"{"x":[1.0]}"#);
        let error = check_one(InputKind::Integer, &json!(2.5)).unwrap_err();
        assert_eq!(error, "input `x` must be a whole number, not 2.5");
    }

    #[test]
    fn wrong_types_and_values_are_named() {
        for (kind, given, expected) in [
            (InputKind::String, json!(1), "input `x` must be text, not 1"),
            (InputKind::Boolean, json!("a"), "input `x` must be true or false, not \"a\""),
            (InputKind::Object, json!([1]), "input `x` must be a map, not [1]"),
            (
                InputKind::Number,
                json!(2),
                "input `x` must be one of 1, 2.5, \"a\", true, [1], {\"k\":1}",
            ),
        ] {
            assert_eq!(check_one(kind, &given).unwrap_err(), expected);
        }
    }

    #[test]
    fn missing_unknown_default_optional() {
        let specs = BTreeMap::from([
            ("a".to_owned(), spec(InputKind::Any, None, false)),
            ("b".to_owned(), spec(InputKind::Number, Some(json!(1)), false)),
            ("c".to_owned(), spec(InputKind::Any, None, true)),
        ]);
        let all = |given: Json| check(&specs, &JsonText::of(&given));
        assert_eq!(all(json!({"a": "a"})).unwrap().as_str(), r#"{"a":"a","b":1.0}"#);
        assert_eq!(all(json!({})).unwrap_err(), "input `a` is missing and has no default");
        assert_eq!(
            all(json!({"a": 1, "d": 1})).unwrap_err(),
            "input `d` is not declared; declared: a, b, c"
        );
        assert!(all(json!([1])).unwrap_err().starts_with("inputs must be an object"));
    }
}

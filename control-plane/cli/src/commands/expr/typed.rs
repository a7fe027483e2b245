//! Values with their types, as JSON: `{"type": "uint", "value": "7"}`.
//!
//! Plain JSON cannot tell an `int` from a `double`, has no bytes or times, and no map keys but
//! text. This form loses nothing. Described in `docs/expressions.md`.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER_PERMISSIVE;
use openclaw_protocol::expr::{Expr, Key, Map, TypeName, Value};
use openclaw_protocol::limits;
use serde_json::{Value as Json, json};

/// The key of bytes that are no text.
const BYTES_HEX: &str = "$bytes_hex";

/// The short name of a type, which is what requests and answers use.
pub(crate) fn name_of(value: &Value) -> &'static str {
    match value.type_name() {
        TypeName::Null => "null",
        TypeName::Timestamp => "timestamp",
        TypeName::Duration => "duration",
        kind @ (TypeName::Bool
        | TypeName::Int
        | TypeName::Uint
        | TypeName::Double
        | TypeName::String
        | TypeName::Bytes
        | TypeName::List
        | TypeName::Map
        | TypeName::Type
        | TypeName::Secret) => kind.as_str(),
    }
}

/// A value in the typed form.
pub(crate) fn write(value: &Value) -> Json {
    let inner = match value {
        Value::Null => return json!({ "type": "null" }),
        Value::Bool(flag) => json!(flag),
        Value::Int(number) => json!(number.to_string()),
        Value::Uint(number) => json!(number.to_string()),
        // The shortest text that reads back as the same number, with a point or an exponent.
        Value::Double(number) => json!(format!("{number:?}")),
        Value::String(text) => json!(text.as_ref()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => json!(text),
            Err(_) => json!({ BYTES_HEX: HEXLOWER_PERMISSIVE.encode(bytes) }),
        },
        Value::List(items) => items.iter().map(write).collect(),
        Value::Map(map) => {
            map.iter().map(|(key, value)| json!([write(&key.to_value()), write(value)])).collect()
        }
        Value::Timestamp(at) => json!(at.to_string()),
        Value::Duration(length) => json!(length.to_string()),
        Value::Type(kind) => json!(kind.as_str()),
        Value::Secret(secret) => secret.to_json(),
    };
    json!({ "type": name_of(value), "value": inner })
}

/// Whether a JSON value has the shape of the typed form, whatever is in it.
pub(crate) fn looks_typed(json: &Json) -> bool {
    let Some(object) = json.as_object() else { return false };
    let Some(kind) = object.get("type").and_then(Json::as_str) else { return false };
    let keys = if matches!(kind, "null" | "null_type") { 1..=2 } else { 2..=2 };
    keys.contains(&object.len()) && object.keys().all(|key| key == "type" || key == "value")
}

/// Reads the typed form.
pub(crate) fn read(json: &Json) -> Result<Value, String> {
    read_at(json, 0)
}

/// Reads plain JSON as a value of a type.
pub(crate) fn read_as(kind: &str, json: &Json) -> Result<Value, String> {
    if !matches!(kind, "list" | "map" | "string") {
        return scalar(kind, json, 0);
    }
    let value = Value::from_json_typed(json);
    if name_of(&value) == kind {
        return Ok(value);
    }
    Err(format!("{json} is no {kind}"))
}

fn read_at(json: &Json, depth: usize) -> Result<Value, String> {
    if depth > limits::VALUE_DEPTH {
        return Err(format!("values are nested deeper than {}", limits::VALUE_DEPTH));
    }
    if !looks_typed(json) {
        return Err(format!("{json} is no typed value: write {{\"type\": T, \"value\": V}}"));
    }
    let kind = json["type"].as_str().unwrap_or_default();
    let value = &json["value"];
    match kind {
        "list" => {
            let items = value.as_array().ok_or_else(|| wrong(kind, value))?;
            let items: Result<Vec<Value>, String> =
                items.iter().map(|item| read_at(item, depth + 1)).collect();
            items.map(Value::from)
        }
        "map" => {
            let pairs = value.as_array().ok_or_else(|| wrong(kind, value))?;
            let entries: Result<Vec<(Key, Value)>, String> =
                pairs.iter().map(|pair| entry(pair, depth + 1)).collect();
            Map::new(entries?)
                .map(Value::from)
                .map_err(|key| format!("the key {key} is there twice"))
        }
        kind => scalar(kind, value, depth),
    }
}

fn entry(pair: &Json, depth: usize) -> Result<(Key, Value), String> {
    let Some([key, value]) = pair.as_array().map(Vec::as_slice) else {
        return Err(format!("{pair} is no entry: write [KEY, VALUE]"));
    };
    let key = read_at(key, depth)?;
    let kind = name_of(&key);
    let key = key_of(key).ok_or_else(|| format!("a {kind} is no key of a map"))?;
    Ok((key, read_at(value, depth)?))
}

fn key_of(value: Value) -> Option<Key> {
    match value {
        Value::Bool(flag) => Some(Key::Bool(flag)),
        Value::Int(number) => Some(Key::Int(number)),
        Value::Uint(number) => Some(Key::Uint(number)),
        Value::String(text) => Some(Key::String(text)),
        Value::Null
        | Value::Double(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_)
        | Value::Secret(_) => None,
    }
}

fn scalar(kind: &str, value: &Json, depth: usize) -> Result<Value, String> {
    let read = match kind {
        "null" | "null_type" => value.is_null().then_some(Value::Null),
        "bool" => value.as_bool().map(Value::Bool),
        "int" => number(value).and_then(|text| text.parse().ok()).map(Value::Int),
        "uint" => number(value).and_then(|text| text.parse().ok()).map(Value::Uint),
        "double" => number(value).and_then(|text| text.parse().ok()).map(Value::Double),
        "string" => value.as_str().map(Value::from),
        "bytes" => bytes(value).map(|bytes| Value::Bytes(bytes.into())),
        "timestamp" | "google.protobuf.Timestamp" => time("timestamp(text)", value),
        "duration" | "google.protobuf.Duration" => time("duration(text)", value),
        "type" => value.as_str().and_then(TypeName::parse).map(Value::Type),
        "list" | "map" => return read_at(&json!({ "type": kind, "value": value }), depth),
        other => return Err(format!("`{other}` is no type of values that can be given")),
    };
    read.ok_or_else(|| wrong(kind, value))
}

fn wrong(kind: &str, value: &Json) -> String {
    format!("{value} is no {kind}")
}

/// The text of a number, which may be written as one.
fn number(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

fn bytes(value: &Json) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    HEXLOWER_PERMISSIVE.decode(value.get(BYTES_HEX)?.as_str()?.as_bytes()).ok()
}

/// Reads a time in the way that expressions do.
fn time(conversion: &str, value: &Json) -> Option<Value> {
    let scope = BTreeMap::from([("text".to_owned(), Value::from(value.as_str()?))]);
    Expr::compile(conversion).ok()?.eval(&scope).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_as_it_went() {
        for text in [
            r#"{"type":"null"}"#,
            r#"{"type":"bool","value":true}"#,
            r#"{"type":"int","value":"-9223372036854775808"}"#,
            r#"{"type":"uint","value":"18446744073709551615"}"#,
            r#"{"type":"double","value":"-0.0"}"#,
            r#"{"type":"double","value":"1e300"}"#,
            r#"{"type":"double","value":"inf"}"#,
            r#"{"type":"double","value":"NaN"}"#,
            r#"{"type":"string","value":"ü"}"#,
            r#"{"type":"bytes","value":"text"}"#,
            r#"{"type":"bytes","value":{"$bytes_hex":"00ff"}}"#,
            r#"{"type":"timestamp","value":"2026-01-31T11:30:00Z"}"#,
            r#"{"type":"duration","value":"90s"}"#,
            r#"{"type":"type","value":"google.protobuf.Timestamp"}"#,
            r#"{"type":"list","value":[{"type":"int","value":"1"},{"type":"list","value":[]}]}"#,
            r#"{"type":"map","value":[[{"type":"uint","value":"7"},{"type":"null"}]]}"#,
        ] {
            let json: Json = serde_json::from_str(text).unwrap();
            assert_eq!(write(&read(&json).unwrap()).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_typed_value_is_refused_with_a_reason() {
        for (text, reason) in [
            ("1", "is no typed value"),
            (r#"{"type":"int"}"#, "is no typed value"),
            (r#"{"type":"int","value":"1","more":1}"#, "is no typed value"),
            (r#"{"type":"int","value":"1.5"}"#, "is no int"),
            (r#"{"type":"uint","value":-1}"#, "is no uint"),
            (r#"{"type":"timestamp","value":"yesterday"}"#, "is no timestamp"),
            (r#"{"type":"wheel","value":1}"#, "is no type"),
            (
                r#"{"type":"map","value":[[{"type":"double","value":"1"},{"type":"null"}]]}"#,
                "no key",
            ),
            (
                r#"{"type":"map","value":[[{"type":"int","value":"1"},{"type":"null"}],
                    [{"type":"uint","value":"1"},{"type":"null"}]]}"#,
                "twice",
            ),
        ] {
            let error = read(&serde_json::from_str(text).unwrap()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let mut deep = json!({ "type": "list", "value": [] });
        for _ in 0..100 {
            deep = json!({ "type": "list", "value": [deep] });
        }
        assert!(read(&deep).unwrap_err().contains("deeper"));
    }
}

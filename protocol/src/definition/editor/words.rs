//! The small schemas that the larger ones are made of.

use serde_json::{Value as Json, json};

/// The types that inputs have.
pub(super) const TYPES: [&str; 6] = ["string", "number", "integer", "boolean", "array", "object"];
/// Durations as text: `1h30m`, `PT5M`, or bare seconds.
const DURATION: &str = r"^\s*([0-9]+(\.[0-9]*)?((ms|s|m|h|d|w)([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))*)?|[Pp](?=.)([0-9.]+[Ww])?([0-9.]+[Dd])?([Tt]([0-9.]+[Hh])?([0-9.]+[Mm])?([0-9.]+[Ss])?)?)\s*$";

/// A text; a number or truth value is taken as it is written.
pub(super) fn text(description: &str) -> Json {
    json!({"type": ["string", "number", "boolean"], "description": description})
}

/// A text of some form.
pub(super) fn named(description: &str, pattern: &str) -> Json {
    json!({"type": "string", "pattern": pattern, "maxLength": crate::limits::ID_BYTES, "description": description})
}

/// The name of something that expressions use.
pub(super) fn name(description: &str) -> Json {
    named(description, "^[A-Za-z_][A-Za-z0-9_]*$")
}

/// A list of texts, or one.
pub(super) fn texts(description: &str) -> Json {
    list_or_one(description, &text(""))
}

/// A list of such things, or one.
pub(super) fn list_or_one(description: &str, item: &Json) -> Json {
    json!({"anyOf": [item, {"type": "array", "items": item}], "description": description})
}

/// One of these words.
pub(super) fn choice(description: &str, words: &[&str]) -> Json {
    json!({"enum": words, "description": description})
}

/// `true` or `false`.
pub(super) fn flag(description: &str) -> Json {
    json!({"type": "boolean", "description": description})
}

/// A whole number.
pub(super) fn whole(description: &str, least: u32, most: u32) -> Json {
    json!({"type": "integer", "minimum": least, "maximum": most, "description": description})
}

/// A bare expression.
pub(super) fn expr(description: &str) -> Json {
    json!({
        "type": ["string", "number", "boolean"],
        "not": {"type": "string", "pattern": r"^\s*\$\{[^$]*\}\s*$"},
        "description": format!("{description} A bare expression, without `${{ }}`."),
    })
}

/// A duration, zero as well.
pub(super) fn duration(description: &str) -> Json {
    json!({
        "anyOf": [{"type": "string", "pattern": DURATION}, {"type": "number", "minimum": 0}],
        "description": format!("{description} As `1h30m`, `PT5M`, or seconds as a number."),
    })
}

/// A duration above zero.
pub(super) fn positive(description: &str) -> Json {
    json!({
        "anyOf": [{"type": "string", "pattern": DURATION}, {"type": "number", "exclusiveMinimum": 0}],
        "description": format!("{description} As `1h30m`, `PT5M`, or seconds as a number."),
    })
}

/// A map from names to such things.
pub(super) fn map_of(description: &str, of: &Json) -> Json {
    json!({
        "type": "object",
        "propertyNames": name(""),
        "additionalProperties": of,
        "description": description,
    })
}

/// A map with `${ }` in it, or one `${ }` that gives a map.
pub(super) fn map_template(description: &str) -> Json {
    json!({
        "anyOf": [{"type": "object"}, {"type": "string", "pattern": r"^\s*\$\{[\s\S]*\}\s*$"}],
        "description": description,
    })
}

/// Any value with `${ }` in its texts.
pub(super) fn template(description: &str) -> Json {
    json!({"description": format!("{description} With `${{ }}`.")})
}

/// A quality of service.
pub(super) fn qos() -> Json {
    whole("Quality of service.", 0, 1)
}

/// Nothing, as `{}` or empty.
pub(super) fn empty(description: &str) -> Json {
    json!({"type": ["object", "null"], "maxProperties": 0, "description": description})
}

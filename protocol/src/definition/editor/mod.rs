//! The JSON Schema (2020-12) of workflow documents, for editors: completion, hover, red lines.
//!
//! It is made from the tables that the parser reads by, where there are such tables, and held to
//! the parser by tests where there are not: every key that is asked for in `draft` is here and no
//! other, and so is every word of a choice. It is coarser than the parser: what an expression means,
//! whether an id exists, whether steps lead in a circle, only [`super::parse`] tells.
//!
//! A step is not a `oneOf` of its kinds, which would make one typing error a riddle ("is not valid
//! under any of the given schemas"), but one map of all keys in which each kind forbids the keys of
//! the others, so that an editor points at the key that is wrong.

mod steps;
#[cfg(test)]
mod tests;
mod triggers;
mod words;

use serde_json::{Map, Value as Json, json};

use super::schema;
use words::{choice, expr, list_or_one, map_of, named, positive, text, texts, whole};

/// The name that the schema has; it says nothing about where it can be had.
const SCHEMA_ID: &str = "urn:openclaw:schema:workflow:1";

/// The schema of a workflow document.
#[must_use]
pub fn json_schema() -> Json {
    let mut keys = about_runs();
    keys.extend(about_contents());
    let mut schema = object("a workflow", keys, &["workflow", "steps"]);
    let definitions = [
        ("step", steps::step()),
        ("steps", json!({"type": "array", "items": reference("step"), "minItems": 1})),
        ("way", steps::way()),
        ("retry", steps::retry()),
        ("trigger", triggers::trigger()),
        ("compensation", steps::compensation()),
        ("input", input()),
        ("schema", input_schema(false)),
    ];
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!(SCHEMA_ID);
    schema["title"] = json!("OpenClaw workflow, language 1");
    let definitions = definitions.into_iter().map(|(name, schema)| (name.to_owned(), schema));
    schema["$defs"] = Json::Object(definitions.collect());
    schema
}

/// The keys that say what a workflow is and when it runs.
fn about_runs() -> Vec<(&'static str, Json)> {
    vec![
        (
            "workflow",
            named(
                "Its name: lower-case letters, digits and dashes.",
                "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
            ),
        ),
        ("language", json!({"const": 1, "description": "The language's version."})),
        ("version", text("Your label; identity is the hash of the canonical form.")),
        ("description", text("For people.")),
        ("tags", texts("For people.")),
        ("priority", priority("Of runs that nobody gave one.")),
        (
            "mode",
            choice(
                "What happens when a run is started while another is not settled.",
                &["queued", "single", "restart", "parallel"],
            ),
        ),
        ("max", whole("Waiting (queued) or simultaneous (parallel) runs at most.", 1, 1_000)),
        (
            "max_exceeded",
            choice("Who goes where `max` is reached.", &["drop_newest", "drop_oldest", "fail"]),
        ),
        ("concurrency_key", expr("One queue for each value of this; sees `inputs` and `trigger`.")),
        (
            "on_update",
            choice(
                "What becomes of runs under way when this definition comes into force.",
                &["pin", "migrate", "restart"],
            ),
        ),
        ("timeout", positive("Bound of a whole run.")),
        ("compensation", reference("compensation")),
    ]
}

/// The keys that say what is in it.
fn about_contents() -> Vec<(&'static str, Json)> {
    vec![
        ("secrets", texts("Names of secrets that it may ask for.")),
        ("inputs", map_of("Declared inputs by name.", &reference("input"))),
        (
            "vars",
            json!({"type": "object", "description": "Variables and their first values, without `${ }`."}),
        ),
        ("outputs", outputs()),
        (
            "defaults",
            object(
                "what plugin steps get that say nothing",
                vec![("timeout", positive("Of one attempt.")), ("retry", reference("retry"))],
                &[],
            ),
        ),
        (
            "triggers",
            json!({"type": "array", "items": reference("trigger"), "maxItems": crate::limits::TRIGGERS, "description": "What starts a run."}),
        ),
        ("steps", described(reference("steps"), "What it does.")),
        (
            "on_failure",
            described(
                reference("steps"),
                "Steps that run when the run has failed, before it is reported.",
            ),
        ),
        (
            "finally",
            described(reference("steps"), "Steps that run after the others, however they end."),
        ),
        ("finally_timeout", positive("Bound of `finally`; 30 s where absent.")),
    ]
}

/// A map of known keys and no others.
fn object(what: &str, properties: Vec<(&str, Json)>, required: &[&str]) -> Json {
    let properties: Map<String, Json> =
        properties.into_iter().map(|(key, schema)| (key.to_owned(), schema)).collect();
    let mut schema = json!({
        "type": "object",
        "description": format!("{}{}", what[..1].to_uppercase(), &what[1..]),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn described(mut schema: Json, description: &str) -> Json {
    schema["description"] = json!(description);
    schema
}

/// Something in short or at length.
fn either(short: Json, long: Json) -> Json {
    let description = short.get("description").cloned().unwrap_or(json!(""));
    json!({"anyOf": [short, long], "description": description})
}

fn priority(description: &str) -> Json {
    json!({"enum": ["low", "normal", "high", "critical", 1, 2, 3, 4], "description": description})
}

/// An output is a value, or a map with one and notes to it.
fn outputs() -> Json {
    let declared = object(
        "an output",
        vec![
            ("type", choice("A note to readers.", &words::TYPES)),
            ("description", text("For people.")),
            ("value", json!({"description": "With `${ }`."})),
        ],
        &[],
    );
    let output = json!({
        "if": {"type": "object", "required": ["value"]},
        "then": declared,
    });
    map_of("Values of the run, once it has succeeded.", &output)
}

/// An input: a schema, with `optional`.
fn input() -> Json {
    input_schema(true)
}

/// The keywords of JSON Schema that are understood, out of the table that enforces them.
fn input_schema(outermost: bool) -> Json {
    let known = schema::ENFORCED.into_iter().chain(schema::NOTES);
    let known = known.filter(|key| outermost || *key != "optional");
    let properties: Vec<(&str, Json)> = known.map(|key| (key, keyword(key))).collect();
    object("a schema (JSON Schema 2020-12)", properties, &[])
}

fn keyword(key: &str) -> Json {
    match key {
        "type" => choice("What it is; every number but an integer is a double.", &words::TYPES),
        "optional" => {
            json!({"type": "boolean", "description": "It may be absent without a default."})
        }
        "additionalProperties" => json!({"type": "boolean"}),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => {
            json!({"type": "number"})
        }
        "minLength" | "maxLength" | "minItems" | "maxItems" => whole("A bound.", 0, u32::MAX),
        "pattern" => json!({"type": "string", "format": "regex"}),
        "items" => reference("schema"),
        "properties" => map_of("Of an object.", &reference("schema")),
        "enum" => json!({"type": "array", "minItems": 1}),
        "required" => json!({"type": "array", "items": {"type": "string"}}),
        // Values and notes of any form.
        _ => json!({}),
    }
}

/// A delay, a timeout that may be `none`, and other durations are texts or numbers of seconds.
fn timeout() -> Json {
    json!({"anyOf": [{"const": "none"}, positive("")], "description": "Bound of one attempt; `none` for no bound, but not for `plugin`."})
}

/// Patterns of errors.
fn patterns(description: &str) -> Json {
    let pattern = json!({
        "type": "string",
        "pattern": "^(\\*|[A-Za-z0-9_.-]+(\\.\\*)?)$",
        "examples": super::lint::KNOWN_CODES.as_slice(),
    });
    list_or_one(description, &pattern)
}

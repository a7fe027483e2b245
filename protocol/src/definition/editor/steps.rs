//! The schema of steps: the keys that all have, and those of each kind.

use serde_json::{Map, Value as Json, json};

use super::words::{
    choice, duration, expr, flag, list_or_one, map_of, map_template, name, positive, qos, template,
    text, texts, whole,
};
use super::{described, either, input, object, patterns, priority, reference, timeout};
use crate::definition::draft::{STEP_COMMON, STEP_KINDS};
use crate::limits;

/// Properties of a map.
type Keys = Vec<(&'static str, Json)>;

pub(super) fn step() -> Json {
    let mut properties: Keys = STEP_COMMON.iter().map(|key| (*key, common(key))).collect();
    properties.extend(STEP_KINDS.iter().map(|kind| (*kind, head(kind))));
    let mut parts: Vec<&str> = Vec::new();
    for kind in STEP_KINDS {
        for (key, schema) in parts_of(kind) {
            if !parts.contains(&key) {
                parts.push(key);
                // Each kind says below what it takes it for.
                let note = schema.get("description").map(|note| json!({"description": note}));
                properties.push((key, note.unwrap_or_else(|| json!({}))));
            }
        }
    }
    properties.push((
        "config",
        json!({"description": "The details of a `type`, in the canonical form."}),
    ));
    let mut schema = object("a step: an id, and one thing that it does", properties, &["id"]);
    let mut rules: Vec<Json> = STEP_KINDS.iter().map(|kind| authoring(kind, &parts)).collect();
    rules.extend(STEP_KINDS.iter().map(|kind| canonical(kind, &parts)));
    schema["allOf"] = Json::Array(rules);
    let mut kinds: Vec<Json> = STEP_KINDS.iter().map(|kind| json!({"required": [kind]})).collect();
    kinds.push(json!({"required": ["type", "config"]}));
    schema["anyOf"] = Json::Array(kinds);
    schema
}

/// What a step that has a kind's key may have beside it.
fn authoring(kind: &str, parts: &[&str]) -> Json {
    let mut keys = Map::new();
    for other in STEP_KINDS.iter().filter(|other| **other != kind).chain(&["type", "config"]) {
        keys.insert((*other).to_owned(), json!(false));
    }
    let own = parts_of(kind);
    for part in parts {
        let schema = own.iter().find(|(key, _)| key == part).map(|(_, schema)| schema.clone());
        keys.insert((*part).to_owned(), schema.unwrap_or(json!(false)));
    }
    let needs = needed(kind);
    json!({"if": {"required": [kind]}, "then": {"properties": keys, "required": needs}})
}

/// What a step of a `type` has in its `config`.
fn canonical(kind: &str, parts: &[&str]) -> Json {
    let mut keys = Map::new();
    // What says how attempts go stands beside `config`.
    let beside = ["effects", "on_interrupt", "idempotency_key", "trace"];
    let own = parts_of(kind);
    for part in parts {
        let schema = own.iter().find(|(key, _)| key == part && beside.contains(key));
        keys.insert((*part).to_owned(), schema.map_or(json!(false), |(_, schema)| schema.clone()));
    }
    keys.insert("config".to_owned(), config(kind, &beside));
    for other in STEP_KINDS {
        keys.insert(other.to_owned(), json!(false));
    }
    let is = json!({"required": ["type"], "properties": {"type": {"const": kind}}});
    json!({"if": is, "then": {"properties": keys}})
}

fn config(kind: &str, beside: &[&str]) -> Json {
    let parts: Keys = parts_of(kind).into_iter().filter(|(key, _)| !beside.contains(key)).collect();
    match kind {
        "plugin" | "condition" | "switch" | "try" | "call" => {
            let mut keys: Keys = STEP_KINDS
                .iter()
                .filter(|key| **key == kind)
                .map(|key| (*key, head(key)))
                .collect();
            keys.extend(parts);
            let mut required = needed(kind);
            if kind != "switch" {
                required.push(if kind == "try" { "try" } else { kind_key(kind) });
            }
            object("the details", keys, &required)
        }
        // Their details are those of the kind's key.
        _ => head(kind),
    }
}

fn kind_key(kind: &str) -> &'static str {
    STEP_KINDS.iter().find(|key| **key == kind).copied().unwrap_or_default()
}

/// Parts that a kind cannot do without.
fn needed(kind: &str) -> Vec<&'static str> {
    match kind {
        "switch" => vec!["cases"],
        _ => Vec::new(),
    }
}

fn common(key: &str) -> Json {
    match key {
        "id" => name("Its id, unique in the document."),
        "name" | "description" => text("For people."),
        "if" => expr("False: the step is bypassed, and the flow goes on behind it."),
        "enabled" => flag("`false`: the same as `if: false`."),
        "start" => flag("One of several steps that a graph begins with."),
        "next_steps" => list_or_one(
            "The steps that follow, by id. One such key makes the whole list a graph.",
            &json!({"anyOf": [text(""), object("an edge", vec![("to", text("A step's id.")), ("when", expr("The edge is taken only where this is true."))], &["to"])]}),
        ),
        "on_failure" => {
            text("The id of a step in this list that takes over when this one has failed.")
        }
        "continue_on_error" => flag("A failure stays visible, and the flow goes on."),
        "join" => json!({
            "anyOf": [
                choice("", &["all", "every", "any"]),
                object("a partial join", vec![("at_least", whole("Taken edges.", 1, 1_000))], &["at_least"]),
            ],
            "description": "When it runs if several edges lead here.",
        }),
        "timeout" => timeout(),
        "total_timeout" => positive("Bound of all attempts and the waits between them."),
        "retry" => described(reference("retry"), "What follows a failed attempt."),
        "output" => template("Reshapes the result, which it sees as `output`."),
        "export" => map_of("Variables set from the result.", &template("A value.")),
        "compensate" => described(reference("steps"), "Steps that undo it."),
        "priority" => priority("Instead of the run's."),
        "type" => choice("The kind, in the canonical form.", &STEP_KINDS),
        _ => json!({}),
    }
}

/// Parts that stand beside a kind's key.
fn parts_of(kind: &str) -> Keys {
    let with = |what| ("with", map_template(what));
    let body = || ("do", described(reference("steps"), "The steps that are repeated."));
    match kind {
        "plugin" => vec![
            with("The plugin's input."),
            (
                "effects",
                choice("What a repeated call would do.", &["pure", "idempotent", "at_most_once"]),
            ),
            (
                "on_interrupt",
                choice("What a power cut in an at-most-once call means.", &["fail", "retry"]),
            ),
            ("idempotency_key", expr("Instead of the derived key; a text.")),
            (
                "trace",
                choice("Keep what each call was told from outside, for its replay.", &["effects"]),
            ),
        ],
        "condition" => vec![
            ("then", described(reference("way"), "Steps for true, or ids of steps beside it.")),
            ("else", described(reference("way"), "Steps for false, or ids of steps beside it.")),
        ],
        "switch" => vec![
            ("cases", cases()),
            ("default", described(reference("way"), "Steps where nothing matches, or ids.")),
        ],
        "loop" | "foreach" => vec![body()],
        "try" => vec![
            ("catch", list_or_one("What follows an error; the first that matches.", &catch())),
            ("finally", described(reference("steps"), "Steps that run in any case.")),
            ("finally_timeout", positive("Bound of `finally`; 30 s where absent.")),
        ],
        "sequence" => vec![("compensation", reference("compensation"))],
        "call" => vec![
            with("The workflow's inputs."),
            ("detach", flag("Do not wait for its end.")),
            (
                "on_parent_close",
                choice("What becomes of it when this step is cancelled.", &["cancel", "abandon"]),
            ),
        ],
        _ => Vec::new(),
    }
}

/// The value of a kind's key.
fn head(kind: &str) -> Json {
    match kind {
        "plugin" => {
            json!({"type": "string", "pattern": r"^[^$]+$", "description": "Calls a plugin: `name.action@^1.2`."})
        }
        "condition" => expr("Asks, and takes one of two ways."),
        "switch" => {
            json!({"anyOf": [expr(""), {"type": "null"}], "description": "Takes the first of several ways that matches. A bare expression, or nothing where all cases have `when`."})
        }
        "set" => {
            json!({"type": "object", "minProperties": 1, "propertyNames": name(""), "description": "Assigns variables; all right sides see the old values."})
        }
        "delay" => delay(),
        "parallel" => parallel(),
        "loop" => repeat(),
        "foreach" => foreach(),
        "try" => described(reference("steps"), "Steps that may fail."),
        "sequence" => json!({
            "anyOf": [reference("steps"), object("a unit that is undone as a whole", vec![("steps", reference("steps")), ("compensation", reference("compensation"))], &["steps"])],
            "description": "A list of steps as one step.",
        }),
        "wait" => wait(),
        "call" => text("Starts a run of another workflow."),
        "publish" => publish(),
        "emit" => either(
            text("Says something on the device's own bus."),
            object(
                "says something on the device's own bus",
                vec![("event", text("Its name.")), ("data", template("What goes with it."))],
                &["event"],
            ),
        ),
        "approval" => either(text("Asks people this."), approval()),
        "log" => either(
            text("Tells people."),
            object(
                "tells people",
                vec![
                    ("level", choice("How important it is.", &["debug", "info", "warn", "error"])),
                    ("message", text("The text.")),
                    ("fields", map_template("What goes with it.")),
                ],
                &["message"],
            ),
        ),
        "succeed" => {
            json!({"anyOf": [{"type": ["object", "null"]}, map_template("")], "description": "Ends the run well; a map replaces its outputs."})
        }
        // What is left is `fail`.
        _ => object(
            "fails",
            vec![
                (
                    "code",
                    json!({"type": "string", "pattern": r"^(user\.|\$\{)", "description": "Begins with `user.`."}),
                ),
                ("message", text("For people.")),
                ("details", template("Anything.")),
            ],
            &["code"],
        ),
    }
}

/// Steps, or ids of steps.
pub(super) fn way() -> Json {
    json!({"anyOf": [reference("steps"), text("A step's id."), {"type": "array", "items": text("A step's id."), "minItems": 1}]})
}

fn delay() -> Json {
    let length = || json!({"anyOf": [duration(""), {"type": "string", "pattern": r"^\s*\$\{"}], "description": "A duration, or one `${ }` that gives one."});
    let long = object(
        "waits",
        vec![
            ("for", length()),
            (
                "until",
                json!({"type": "string", "description": "A point in time: an expression, or RFC 3339."}),
            ),
            (
                "count_downtime",
                choice("Whether time without power counts.", &["auto", "always", "never"]),
            ),
            ("require", choice("How well the clock must be known.", &["estimated", "synced"])),
        ],
        &[],
    );
    json!({"anyOf": [length(), long], "description": "Waits; survives a restart."})
}

fn parallel() -> Json {
    let most = limits::PARALLEL_BRANCHES;
    let lists =
        json!({"type": "array", "items": reference("steps"), "minItems": 1, "maxItems": most});
    let mut maps = map_of("By name.", &reference("steps"));
    maps["minProperties"] = json!(1);
    maps["maxProperties"] = json!(most);
    object(
        "runs branches at the same time",
        vec![
            (
                "branches",
                json!({"anyOf": [maps, lists], "description": "Lists of steps, by name or in a list."}),
            ),
            ("mode", choice("What counts as done.", &["fail_fast", "wait_all", "race"])),
            ("need", whole("As `race`, with so many successes.", 1, 64)),
            ("concurrency", whole("Branches at once at most.", 1, 64)),
        ],
        &["branches"],
    )
}

fn repeat() -> Json {
    let mut schema = object(
        "repeats its body",
        vec![
            ("while", expr("Asked before each iteration.")),
            ("until", expr("Asked after each iteration.")),
            ("times", expr("So many times.")),
            ("max_iterations", whole("More are the error `loop.limit`.", 1, limits::SETTLED_STEPS)),
            ("every", positive("Iterations begin this far apart at the least.")),
            ("collect", expr("What each iteration leaves in `items`.")),
            ("do", described(reference("steps"), "The steps that are repeated.")),
        ],
        &[],
    );
    schema["oneOf"] =
        ["while", "until", "times"].iter().map(|key| json!({"required": [key]})).collect();
    schema
}

fn foreach() -> Json {
    let list = || json!({"anyOf": [expr(""), {"type": "array"}, {"type": "object"}], "description": "A list or map: an expression, or written out."});
    let long = object(
        "runs its body for each item",
        vec![
            ("in", list()),
            ("as", name("The item's name in expressions; `item` where absent.")),
            ("index", name("The name of its place, from 0.")),
            ("concurrency", whole("Iterations at once.", 1, limits::FOREACH_CONCURRENCY)),
            (
                "mode",
                choice(
                    "Whether one failure too many ends the rest at once.",
                    &["fail_fast", "wait_all"],
                ),
            ),
            (
                "tolerate",
                json!({"anyOf": [whole("", 0, 10_000), {"type": "string", "pattern": r"^\s*[0-9]+\s*%\s*$"}], "description": "Failed iterations that are fine: a number, or a share such as `10%`."}),
            ),
            ("collect", expr("What each iteration leaves in `items`.")),
            ("do", described(reference("steps"), "The steps that are repeated.")),
        ],
        &["in"],
    );
    json!({"anyOf": [expr(""), {"type": "array"}, long], "description": "Runs its body for each item of a list or entry of a map."})
}

fn wait() -> Json {
    let mut schema = object(
        "waits for a message, a signal, or a change",
        vec![
            (
                "mqtt",
                either(
                    text("A message on the site's local broker that this topic filter matches."),
                    object(
                        "a message on the site's local broker",
                        vec![("topic", text("A topic filter.")), ("qos", qos())],
                        &["topic"],
                    ),
                ),
            ),
            ("event", text("An event on the device's own bus.")),
            ("signal", text("A signal to this run.")),
            ("until", expr("What becomes true.")),
            ("when", expr("Which messages count; sees `message`.")),
            ("count", whole("How many must come.", 1, limits::WAIT_MESSAGES)),
            (
                "on_timeout",
                choice("Whether running out of time is an error.", &["fail", "continue"]),
            ),
            ("poll", positive("How often `until` is asked again; at least 1 s.")),
        ],
        &[],
    );
    let sources = ["mqtt", "event", "signal", "until"];
    schema["oneOf"] = sources.iter().map(|key| json!({"required": [key]})).collect();
    schema
}

fn publish() -> Json {
    object(
        "sends a message to the site's local broker",
        vec![
            ("topic", text("A topic.")),
            ("qos", qos()),
            ("retain", flag("The broker keeps it for those who come later.")),
            ("payload", template("A text is sent as it is, all else as JSON.")),
            (
                "confirm",
                choice("Done when it is stored, or when the broker has it.", &["stored", "broker"]),
            ),
        ],
        &["topic"],
    )
}

fn approval() -> Json {
    let choices = json!({"type": "array", "items": text(""), "minItems": 1, "maxItems": limits::CHOICES, "description": "What may be answered; `approve` and `reject` where absent."});
    object(
        "asks people",
        vec![
            ("prompt", text("The question.")),
            ("roles", texts("Who may answer.")),
            ("choices", choices),
            ("form", map_of("What may be filled in.", &input())),
            ("remind", positive("People are told again this often.")),
            ("on_timeout", text("The choice that running out of time means.")),
        ],
        &["prompt"],
    )
}

fn cases() -> Json {
    let mut case = object(
        "a way",
        vec![
            ("case", json!({"description": "A value that equals what `switch` gives."})),
            ("when", expr("A question of its own.")),
            ("do", described(reference("way"), "Steps, or ids of steps.")),
        ],
        &["do"],
    );
    case["oneOf"] = json!([{"required": ["case"]}, {"required": ["when"]}]);
    json!({"type": "array", "items": case, "minItems": 1, "maxItems": limits::CASES, "description": "The first that matches is taken."})
}

fn catch() -> Json {
    object(
        "what follows an error",
        vec![
            ("errors", patterns("Codes: exact, `prefix.*` or `*`.")),
            ("when", expr("Which of them; sees the error.")),
            ("as", name("The error's name in expressions; `error` where absent.")),
            ("do", described(reference("steps"), "What there is to do.")),
        ],
        &["do"],
    )
}

pub(super) fn compensation() -> Json {
    let ends = list_or_one("Which ends count.", &choice("", &["failed", "cancelled"]));
    object("when what was done is undone", vec![("run_on", ends)], &[])
}

pub(super) fn retry() -> Json {
    let policy = object(
        "what follows a failed attempt",
        vec![
            ("max_retries", whole("Retries after the first attempt.", 0, 1_000)),
            ("backoff", choice("How the waits grow.", &["constant", "linear", "exponential"])),
            ("delay", duration("The base wait.")),
            (
                "factor",
                json!({"type": "number", "minimum": 1, "maximum": 100, "description": "Growth of the exponential backoff."}),
            ),
            ("max_delay", duration("Cap of one wait.")),
            ("jitter", choice("How the wait is spread.", &["none", "full", "equal"])),
            ("max_elapsed", positive("No retry after so much time since the first attempt.")),
            ("errors", patterns("Only these.")),
            ("not_errors", patterns("Never these; wins.")),
        ],
        &[],
    );
    json!({"anyOf": [{"const": "none"}, policy, {"type": "array", "items": policy, "maxItems": limits::RETRY_POLICIES}]})
}

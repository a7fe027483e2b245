//! The schema of triggers.

use serde_json::{Value as Json, json};

use super::words::{
    choice, duration, empty, expr, flag, list_or_one, map_of, name, positive, qos, template, text,
};
use super::{either, object};
use crate::definition::draft::TRIGGER_KINDS;

pub(super) fn trigger() -> Json {
    let mut properties = vec![
        ("id", name("Its id, unique in the document.")),
        ("enabled", flag("A disabled trigger never fires.")),
        ("inputs", map_of("Inputs that it gives; sees `trigger`.", &template("A value."))),
        ("when", expr("Only firings for which this is true.")),
        ("debounce", positive("Only once nothing has come for this time.")),
        ("throttle", positive("At most one in this time.")),
        ("dedupe", either(expr("What makes two firings the same."), dedupe())),
    ];
    properties.extend(TRIGGER_KINDS.map(|kind| (kind, details(kind))));
    let mut schema = object("what starts a run", properties, &["id"]);
    let others = |kind: &str| -> Json {
        let others = TRIGGER_KINDS.iter().filter(|other| **other != kind);
        let mut no: serde_json::Map<String, Json> =
            others.map(|other| ((*other).to_owned(), json!(false))).collect();
        if kind == "manual" {
            no.extend(
                ["when", "debounce", "throttle", "dedupe"].map(|k| (k.to_owned(), json!(false))),
            );
        }
        json!({"if": {"required": [kind]}, "then": {"properties": no}})
    };
    schema["allOf"] = TRIGGER_KINDS.iter().map(|kind| others(kind)).collect();
    schema["anyOf"] = TRIGGER_KINDS.iter().map(|kind| json!({"required": [kind]})).collect();
    schema
}

fn details(kind: &str) -> Json {
    match kind {
        "interval" => either(
            duration("Fires each so much time since boot."),
            object("fires each so much time", vec![("every", duration("The period."))], &["every"]),
        ),
        "cron" => either(
            json!({"type": "string", "description": "Fires by the wall clock: minute, hour, day, month, weekday.", "examples": ["30 2 * * *", "@daily"]}),
            object(
                "fires by the wall clock",
                vec![
                    (
                        "at",
                        json!({"type": "string", "examples": ["30 2 * * *", "@daily"], "description": "Minute, hour, day, month, weekday; six fields with seconds in front; or `@daily`."}),
                    ),
                    (
                        "tz",
                        json!({"type": "string", "examples": ["UTC", "Europe/Berlin", "Asia/Shanghai"], "description": "IANA name of a time zone."}),
                    ),
                    (
                        "catch_up",
                        choice(
                            "What becomes of slots that passed while the device was off.",
                            &["skip", "latest", "all"],
                        ),
                    ),
                ],
                &["at"],
            ),
        ),
        "startup" => empty("Fires once in each boot."),
        "manual" => empty("Never fires by itself."),
        "mqtt" => either(
            json!({"type": "string", "description": "Fires at a message on the site's local broker that this topic filter matches."}),
            object(
                "fires at a message on the site's local broker",
                vec![
                    (
                        "topic",
                        json!({"type": "string", "description": "A topic filter, such as `site/+/temp`."}),
                    ),
                    ("qos", qos()),
                    ("retained", flag("Messages that the broker had kept count too.")),
                ],
                &["topic"],
            ),
        ),
        "event" => either(
            text("Fires at an event of this name on the device's own bus."),
            object("fires at an event", vec![("name", text("Its name."))], &["name"]),
        ),
        // What is left is `workflow`.
        _ => either(
            text("Fires when a run of this workflow has ended."),
            object(
                "fires when a run of another workflow has ended",
                vec![
                    ("name", text("The other workflow.")),
                    (
                        "status",
                        list_or_one(
                            "Ends that count; all where absent.",
                            &choice("", &["completed", "failed", "cancelled"]),
                        ),
                    ),
                ],
                &["name"],
            ),
        ),
    }
}

fn dedupe() -> Json {
    object(
        "of firings that are the same only the first counts",
        vec![
            ("key", expr("What makes two firings the same.")),
            ("window", positive("How long one is remembered.")),
        ],
        &["key"],
    )
}

//! The schema of triggers.

use serde_json::{Value as Json, json};

use super::words::{
    choice, duration, empty, expr, flag, list_or_one, map_of, name, positive, qos, template, text,
    whole,
};
use super::{either, object};
use crate::definition::draft::TRIGGER_KINDS;

pub(super) fn trigger() -> Json {
    let mut properties = vec![
        ("id", name("Its id, unique in the document.")),
        ("enabled", flag("A disabled trigger never fires.")),
        ("inputs", map_of("Inputs that it gives; sees `trigger`.", &template("A value."))),
        ("when", expr("Only firings for which this is true.")),
        ("for", positive("`when` must have been true for this time without a break.")),
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
                ["when", "for", "debounce", "throttle", "dedupe"]
                    .map(|k| (k.to_owned(), json!(false))),
            );
        }
        json!({"if": {"required": [kind]}, "then": {"properties": no}})
    };
    schema["dependentRequired"] = json!({"for": ["when"]});
    schema["allOf"] = TRIGGER_KINDS.iter().map(|kind| others(kind)).collect();
    schema["anyOf"] = TRIGGER_KINDS.iter().map(|kind| json!({"required": [kind]})).collect();
    schema
}

fn details(kind: &str) -> Json {
    match kind {
        "interval" => interval(),
        "cron" => cron(),
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
        "webhook" => webhook(),
        "file" => file(),
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

fn interval() -> Json {
    either(
        duration("Fires each so much time since boot."),
        object(
            "fires each so much time",
            vec![
                ("every", duration("The period.")),
                ("align", choice("What beats are counted from.", &["boot", "clock"])),
                ("jitter", duration("A beat comes up to this much later; at most the period.")),
            ],
            &["every"],
        ),
    )
}

fn cron() -> Json {
    either(
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
                (
                    "max_catch_up",
                    whole(
                        "With `catch_up: all`, how many of them at most, the latest.",
                        1,
                        crate::limits::CATCH_UP_RUNS_MAX,
                    ),
                ),
                (
                    "dst",
                    choice(
                        "A slot in the hour that summer time skips comes after it, or not.",
                        &["run_after", "skip"],
                    ),
                ),
                ("jitter", duration("A slot comes up to this much later; at most an hour.")),
            ],
            &["at"],
        ),
    )
}

fn webhook() -> Json {
    let mut schema = object(
        "fires at a request to the device's own listener",
        vec![
            (
                "path",
                json!({"type": "string", "pattern": r"^(/[A-Za-z0-9\-._~]+)+$", "maxLength": crate::limits::WEBHOOK_PATH_BYTES, "description": "The request's path, such as `/orders`."}),
            ),
            (
                "methods",
                list_or_one(
                    "Its methods; POST where absent.",
                    &choice("", &["DELETE", "GET", "PATCH", "POST", "PUT"]),
                ),
            ),
            (
                "hmac",
                either(
                    text("The name of the secret that requests are signed with."),
                    object(
                        "how requests are signed",
                        vec![
                            ("secret", text("The name of a declared secret.")),
                            ("header", text("The header; X-Hub-Signature-256 where absent.")),
                        ],
                        &["secret"],
                    ),
                ),
            ),
            ("auth", choice("Anybody who reaches it may.", &["none"])),
        ],
        &["path"],
    );
    schema["oneOf"] = json!([{"required": ["hmac"]}, {"required": ["auth"]}]);
    schema
}

fn file() -> Json {
    let path = |note: &str| json!({"type": "string", "pattern": r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(/[^/\\\[\]{}]+)+$", "maxLength": crate::limits::FILE_PATH_BYTES, "description": note, "examples": ["inbox/*.csv", "inbox/**/*.json"]});
    either(
        path(
            "Fires when files that this means come or change; it begins with one of the device's directories.",
        ),
        object(
            "fires when files come, change or go",
            vec![
                ("path", path("One of the device's directories, and which files in it.")),
                (
                    "events",
                    list_or_one(
                        "What of them; created and modified where absent.",
                        &choice("", &["created", "modified", "deleted"]),
                    ),
                ),
                ("settle", duration("How long a file must not have changed; 2 s where absent.")),
            ],
            &["path"],
        ),
    )
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

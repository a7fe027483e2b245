//! The engine: random workflows and random lives.
//!
//! An input is four bytes of setup, the choices a workflow is made of, and four bytes for each
//! thing that happens. A life is *sane* or *wild*: in a wild one clocks go anyhow, which the engine
//! must bear, but then not every wait comes to its end.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::bytes::Bytes;
use crate::patience::within;
use world::World;

#[path = "../../../agent/core/src/tests/generate.rs"]
mod generate;
mod judge;
mod life;
mod state;
mod world;

use generate::{CALLEE, Choices};

/// For a whole life.
const PATIENCE: Duration = Duration::from_secs(10);
/// Things that happen in one life.
const HAPPENINGS: usize = 60;
/// Documents by hand, which use what the generator does not.
const SAMPLES: [&str; 4] = [
    include_str!("../../../protocol/src/definition/draft/tests/pump-overheat.workflow.yaml"),
    include_str!("../../../docs/examples/cool-down.workflow.yaml"),
    include_str!("../../../docs/examples/machine-health.workflow.yaml"),
    include_str!("../../../docs/examples/two-sites.workflow.yaml"),
];

/// What kind of life it is.
struct Setup {
    /// Clocks go anyhow.
    wild: bool,
    /// Triggers fire, besides those who start runs by hand.
    triggers: bool,
    /// Made by the generator, where every wait ends.
    made: bool,
}

/// Lives a life and judges it.
pub fn check(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (setup, mut world) = begin(&mut bytes);
    within(PATIENCE, "a life", || {
        let mut left = HAPPENINGS;
        while left > 0 && !bytes.is_empty() {
            life::live(&mut world, &mut bytes, &setup);
            left -= 1;
        }
        judge::same_when_folded(&world);
        life::end(&mut world, &setup);
        judge::story(&world);
    });
}

fn begin(bytes: &mut Bytes<'_>) -> (Setup, World) {
    let (flags, triggers, source, length) =
        (bytes.byte(), bytes.byte(), bytes.byte(), bytes.byte());
    let choices = bytes.take(length.into());
    let slots = [64, 1, 2, 4][usize::from(flags % 4)];
    let setup = Setup {
        wild: flags & 4 != 0,
        triggers: triggers != 0,
        made: usize::from(source) % 16 < 12,
    };
    let text = if setup.made {
        with_triggers(&generate::workflow(&mut Choices::new(choices)), triggers)
    } else {
        SAMPLES[usize::from(source) % 4].to_owned()
    };
    let mut world = World::new(&[&text, CALLEE], slots);
    life::start(&mut world, &Json::Null);
    (setup, world)
}

/// The workflow with those of the triggers whose bits are set.
fn with_triggers(text: &str, bits: u8) -> String {
    let all = [
        json!({"id": "beat", "interval": "10s", "throttle": "15s"}),
        json!({"id": "cron", "cron": {"at": "*/5 * * * *", "tz": "Europe/Berlin", "catch_up": "all"}}),
        json!({"id": "boot", "startup": {}}),
        json!({"id": "mqtt", "mqtt": {"topic": "a/#", "retained": true},
            "when": "trigger.payload > 0", "dedupe": {"key": "trigger.topic", "window": "10s"}}),
        json!({"id": "event", "event": "e", "debounce": "3s"}),
        json!({"id": "ended", "workflow": {"name": "c"}, "throttle": "1s"}),
        json!({"id": "self", "workflow": {"name": "w", "status": ["failed"]}, "debounce": "5s"}),
        json!({"id": "once", "cron": {"at": "30 2 * * *", "tz": "Europe/Berlin"}}),
    ];
    let chosen = all.into_iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
    let mut document: Json = serde_json::from_str(text).expect("the generator writes JSON");
    let chosen: Vec<Json> = chosen.map(|(_, trigger)| trigger).collect();
    if !chosen.is_empty() {
        document["triggers"] = Json::Array(chosen);
    }
    document.to_string()
}

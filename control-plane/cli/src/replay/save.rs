//! A recording as a scenario: what the plugins answered becomes mocks, what happened becomes
//! stimuli, and how it ended becomes what must come of it.

mod mocks;
mod stimuli;

use std::collections::{BTreeMap, BTreeSet};

use openclaw_agent_core::Fact;
use openclaw_agent_core::replay::{Recording, Replay};
use openclaw_protocol::definition::{self, StepKind, Workflow};
use openclaw_protocol::expr::Timestamp;
use openclaw_protocol::id::Digest;
use openclaw_protocol::run::RunEvent;
use openclaw_protocol::time::Stamp;
use serde_json::{Map, Value as Json, json};

use super::plugins::{PlayedCall, Taped};

/// Triggers that nothing in a scenario has to set off.
const BY_HAND: [&str; 2] = ["manual", "call"];

/// A recording as files of a directory.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Their contents, by name: definitions, modules and the scenario.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The name of the scenario.
    pub(crate) scenario: String,
    /// Plugins whose calls have a tape and whose module is not at hand.
    pub(crate) without_module: BTreeSet<String>,
}

/// What is known of the calls inside plugins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inside<'a> {
    /// Those that have a tape.
    pub(crate) taped: &'a [Taped],
    /// What came of playing each of them, in the same order.
    pub(crate) played: &'a [PlayedCall],
    /// The modules that are at hand.
    pub(crate) modules: &'a BTreeMap<Digest, Vec<u8>>,
}

/// A definition of the run, and the file that it goes to.
struct Written {
    workflow: Workflow,
    file: String,
}

/// A recording as a scenario, with the definitions and modules that it names.
///
/// # Errors
/// A definition does not read.
pub(crate) fn save(
    recording: &Recording,
    replay: &Replay,
    inside: Inside<'_>,
) -> Result<Saved, String> {
    let mut written = Vec::new();
    let mut files = BTreeMap::new();
    for (n, text) in std::iter::once(&recording.definition).chain(&recording.migrated).enumerate() {
        let unread = |why: String| format!("the definition: {why}");
        let workflow = definition::parse(text).map_err(|error| unread(error.to_string()))?;
        let json: Json = serde_json::from_str(text).map_err(|error| unread(error.to_string()))?;
        let later = if n == 0 { String::new() } else { format!("-update-{n}") };
        let file = format!("{}-{}{later}.workflow.json", workflow.name, recording.run);
        files.insert(file.clone(), pretty(&json));
        written.push(Written { workflow, file });
    }
    let (mocks, without_module) = mocks::plugins(recording, replay, inside, &mut files);
    let scenario = scenario(recording, replay, &written, mocks);
    let name = format!("{}-{}.scenario.json", written[0].workflow.name, recording.run);
    files.insert(name.clone(), pretty(&scenario));
    Ok(Saved { files, scenario: name, without_module })
}

fn pretty(json: &Json) -> Vec<u8> {
    format!("{json:#}\n").into_bytes()
}

fn scenario(
    recording: &Recording,
    replay: &Replay,
    written: &[Written],
    mocks: BTreeMap<String, Json>,
) -> Json {
    let times = times(recording);
    let mut scenario = json!({
        "scenario": 1,
        "name": format!("as run {} went", recording.run),
        "definition": written[0].file,
        "mocks": { "plugins": mocks },
        "expect": expect(replay),
    });
    let calls = mocks::workflows(recording, written, &times);
    if !calls.is_empty() {
        scenario["mocks"]["workflows"] = json!(calls);
    }
    if let Some(first) = recording.facts.first()
        && let Fact::Accepted { trigger, trigger_data, inputs, agent, .. } = &first.fact
    {
        scenario["inputs"] = inputs.value();
        scenario["device"] = device(recording.seed, first.at, &agent.value());
        if !BY_HAND.contains(&trigger.as_str()) {
            let mut data = trigger_data.value();
            if let Some(map) = data.as_object_mut() {
                map.remove("id");
                map.remove("kind");
            }
            scenario["trigger"] = json!({ "id": trigger, "data": data });
            scenario["inputs"] = json!({});
        }
    }
    let stimuli = stimuli::stimuli(recording, replay, written, &times);
    if !stimuli.is_empty() {
        scenario["stimuli"] = Json::Array(stimuli);
    }
    scenario
}

/// When each fact was, in milliseconds since the first, downtime included as far as it is certain.
fn times(recording: &Recording) -> Vec<u64> {
    let mut now = 0_u64;
    let mut before: Option<Stamp> = None;
    let mut times = Vec::with_capacity(recording.facts.len());
    for record in &recording.facts {
        // A note of being alive is stamped with a time before the one at hand.
        let passed = before.map_or(0, |before| before.elapsed_ms(record.at));
        now = now.saturating_add(passed);
        before = Some(record.at);
        times.push(now);
    }
    times
}

fn device(seed: u64, at: Stamp, agent: &Json) -> Json {
    let mut device = json!({ "seed": seed, "trust": at.trust });
    if let Some(clock) = Timestamp::from_millis(at.wall_ms) {
        device["clock"] = json!(clock.to_string());
    }
    for key in ["id", "labels"] {
        if let Some(value) = agent.get(key) {
            device[key] = value.clone();
        }
    }
    device
}

fn expect(replay: &Replay) -> Json {
    let mut expect = Map::new();
    let mut steps = Vec::new();
    for (_, record) in &replay.events {
        if let RunEvent::StepSettled { step, status, attempts, .. } = &record.event {
            steps.push(json!({ "path": step, "status": status, "attempts": attempts }));
        }
        if let RunEvent::Settled { status, outputs, error } = &record.event {
            expect.insert("status".to_owned(), json!(status));
            match error {
                Some(error) => expect.insert("error".to_owned(), json!(error.code)),
                None => expect.insert("outputs".to_owned(), outputs.value()),
            };
        }
    }
    expect.insert("steps".to_owned(), Json::Array(steps));
    Json::Object(expect)
}

/// What kind of step an instance is of, in whichever definition has it.
fn kind_of<'w>(written: &'w [Written], path: &str) -> Option<&'w StepKind> {
    let id = path.rsplit('/').next()?;
    written.iter().find_map(|one| one.workflow.step_named(id)).map(|step| &step.kind)
}

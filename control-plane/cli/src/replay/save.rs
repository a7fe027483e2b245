//! A recording as a scenario: what the plugins answered becomes mocks, what happened becomes
//! stimuli, and how it ended becomes what must come of it.

use std::collections::BTreeMap;

use openclaw_agent_core::replay::{Recording, Replay, ReplayedCall};
use openclaw_agent_core::{AttemptOutcome, Fact};
use openclaw_protocol::definition::{StepKind, Workflow};
use openclaw_protocol::expr::Timestamp;
use openclaw_protocol::run::{RunError, RunEvent};
use openclaw_protocol::time::Stamp;
use serde_json::{Map, Value as Json, json};

/// Triggers that nothing in a scenario has to set off.
const BY_HAND: [&str; 2] = ["manual", "call"];

/// The scenario of a recording, next to a definition of this file name.
pub(crate) fn save(
    recording: &Recording,
    replay: &Replay,
    workflow: &Workflow,
    file: &str,
) -> Json {
    let times = times(recording);
    let mut scenario = json!({
        "scenario": 1,
        "name": format!("as run {} went", recording.run),
        "definition": file,
        "mocks": { "plugins": plugins(replay, &times) },
        "expect": expect(replay),
    });
    let calls = workflows(recording, workflow, &times);
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
    let stimuli = stimuli(recording, workflow, &times);
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

/// What each attempt was answered. One that was made again after an interruption is answered when
/// it is made again, so not before the interruption; one that nothing answered hangs.
fn plugins(replay: &Replay, times: &[u64]) -> BTreeMap<String, Json> {
    let mut mocks: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for (place, call) in replay.calls.iter().enumerate() {
        let is_same =
            |other: &ReplayedCall| (&other.step, other.attempt) == (&call.step, call.attempt);
        if replay.calls[..place].iter().any(is_same) {
            continue;
        }
        let last = replay.calls[place..].iter().rfind(|other| is_same(other)).unwrap_or(call);
        let mut answer = match &last.ended {
            Some((ended, outcome)) => {
                let latency = times[*ended].saturating_sub(times[last.begun]);
                let interrupted = times[last.begun].saturating_sub(times[call.begun]);
                let mut answer = answer(outcome);
                let latency = json!(format!("{}ms", latency.max(interrupted)));
                answer.insert("latency".to_owned(), latency);
                answer
            }
            None => Map::from_iter([("hang".to_owned(), json!(true))]),
        };
        answer.insert("step".to_owned(), json!(call.step));
        answer.insert("attempt".to_owned(), json!(call.attempt));
        mocks.entry(call.plugin.clone()).or_default().push(Json::Object(answer));
    }
    mocks.into_iter().map(|(name, answers)| (name, json!({ "answers": answers }))).collect()
}

fn workflows(recording: &Recording, workflow: &Workflow, times: &[u64]) -> BTreeMap<String, Json> {
    let mut mocks: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for (place, record) in recording.facts.iter().enumerate() {
        let Fact::AttemptSettled { step, outcome, .. } = &record.fact else { continue };
        let Some(StepKind::Call(call)) = kind_of(workflow, &step.0) else { continue };
        let begun = recording.facts[..place].iter().rposition(
            |earlier| matches!(&earlier.fact, Fact::ChildStarted { step: of, .. } if of == step),
        );
        let mut answer = answer(outcome);
        if let Some(output) = answer.remove("output") {
            answer.insert("outputs".to_owned(), output);
        }
        let latency = begun.map_or(0, |begun| times[place].saturating_sub(times[begun]));
        answer.insert("latency".to_owned(), json!(format!("{latency}ms")));
        mocks.entry(call.workflow.to_string()).or_default().push(Json::Object(answer));
    }
    mocks.into_iter().map(|(name, answers)| (name, json!({ "answers": answers }))).collect()
}

fn answer(outcome: &AttemptOutcome) -> Map<String, Json> {
    let mut answer = Map::new();
    match outcome {
        AttemptOutcome::Succeeded { output, .. } => {
            answer.insert("output".to_owned(), output.value());
        }
        AttemptOutcome::Failed { error } => {
            answer.insert("error".to_owned(), error_json(error));
        }
    }
    answer
}

fn error_json(error: &RunError) -> Json {
    let mut json = json!({
        "code": error.code,
        "message": error.message,
        "retryable": error.retryable,
    });
    if let Some(details) = &error.details {
        json["details"] = details.value();
    }
    json
}

/// What happened meanwhile. Timers fire by themselves, and workers answer as their mocks say.
fn stimuli(recording: &Recording, workflow: &Workflow, times: &[u64]) -> Vec<Json> {
    let mut stimuli = Vec::new();
    for (place, record) in recording.facts.iter().enumerate().skip(1) {
        let at = format!("{}ms", times[place]);
        match &record.fact {
            Fact::CancelRequested { force } => {
                stimuli.push(json!({ "at": at, "cancel": { "force": force } }));
            }
            Fact::Signalled { name, data } => {
                stimuli.push(json!({ "at": at, "signal": { "name": name, "data": data.value() } }));
            }
            Fact::Decided { step, choice, by, form } => stimuli.push(json!({
                "at": at,
                "approval": { "step": step, "choice": choice, "by": by, "form": form.value() },
            })),
            Fact::Message { step, message } => {
                stimuli.extend(heard(kind_of(workflow, &step.0), &message.value(), &at));
            }
            Fact::Restarted { unclean } => {
                let before = recording.facts[..place].iter().rev();
                let before = before.map(|earlier| earlier.at).next();
                let other_boot = before.is_some_and(|before| before.boot != record.at.boot);
                let since = before.map_or(0, |before| before.elapsed_ms(record.at));
                let began = format!("{}ms", times[place].saturating_sub(since));
                let down = format!("{since}ms");
                stimuli.push(if other_boot {
                    json!({ "at": began, "power_cut": { "down": down, "trust": record.at.trust } })
                } else {
                    json!({ "at": at, "crash": { "clean": !unclean } })
                });
            }
            Fact::Accepted { .. }
            | Fact::Began
            | Fact::AttemptStarted { .. }
            | Fact::AttemptSettled { .. }
            | Fact::TimerFired { .. }
            | Fact::Settled { .. }
            | Fact::Continued
            | Fact::Alive
            | Fact::ChildStarted { .. }
            | Fact::Refused { .. }
            | Fact::Migrated { .. }
            | Fact::Stayed { .. } => {}
        }
    }
    stimuli
}

/// A message or event that a `wait` took.
fn heard(kind: Option<&StepKind>, message: &Json, at: &str) -> Option<Json> {
    let StepKind::Wait(_) = kind? else { return None };
    if let Some(name) = message.get("event") {
        let data = message.get("data").cloned().unwrap_or_default();
        return Some(json!({ "at": at, "event": { "name": name, "data": data } }));
    }
    let part = |key: &str| message.get(key).cloned().unwrap_or_default();
    Some(json!({ "at": at, "mqtt": {
        "topic": part("topic"),
        "payload": part("payload"),
        "qos": part("qos"),
        "retained": part("retained"),
    } }))
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

/// What kind of step an instance is of.
fn kind_of<'w>(workflow: &'w Workflow, path: &str) -> Option<&'w StepKind> {
    let id = path.rsplit('/').next()?;
    workflow.step_named(id).map(|step| &step.kind)
}

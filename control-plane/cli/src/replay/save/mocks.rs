//! What the calls of a recorded run were answered, as mocks.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_agent_core::replay::{Recording, Replay, ReplayedCall};
use openclaw_agent_core::{AttemptOutcome, Fact, FactRecord, TimerKind};
use openclaw_protocol::definition::StepKind;
use openclaw_protocol::run::{RunError, StepPath};
use serde_json::{Map, Value as Json, json};

use super::{Inside, Written, kind_of, times};

/// What each attempt was answered, and which plugins have a tape and no module. One that was made
/// again after an interruption is answered when it is made again, so not before the interruption. A tape goes with its answer, unless the module did otherwise with
/// it here; the module is put among the files.
pub(super) fn plugins(
    recording: &Recording,
    replay: &Replay,
    inside: Inside<'_>,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> (BTreeMap<String, Json>, BTreeSet<String>) {
    let times = &times(recording);
    let mut answers: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    let mut taped: BTreeMap<&str, &ReplayedCall> = BTreeMap::new();
    for (place, call) in replay.calls.iter().enumerate() {
        let is_same =
            |other: &ReplayedCall| (&other.step, other.attempt) == (&call.step, call.attempt);
        if replay.calls[..place].iter().any(is_same) {
            continue;
        }
        let last = replay.calls[place..].iter().rfind(|other| is_same(other)).unwrap_or(call);
        let mut answer = given(recording, call, last, times);
        answer.insert("step".to_owned(), json!(call.step));
        answer.insert("attempt".to_owned(), json!(call.attempt));
        // A mock has one module; where the run has gone on with another one, the first one counts.
        let known = taped.get(call.plugin.as_str()).is_none_or(|one| one.digest == last.digest);
        if let Some(tape) = inside.tape_of(last).filter(|_| known) {
            answer.insert("tape".to_owned(), tape);
            taped.insert(&call.plugin, last);
        }
        answers.entry(&call.plugin).or_default().push(Json::Object(answer));
    }
    let mut without_module = BTreeSet::new();
    let mut mocks = BTreeMap::new();
    for (plugin, answers) in answers {
        let mut mock = json!({ "answers": answers });
        if let Some(call) = taped.get(plugin) {
            if let Some(module) = inside.modules.get(&call.digest) {
                let file = format!("{}-{}.wasm", call.given.pin.name, call.version);
                files.insert(file.clone(), module.clone());
                mock["module"] = json!(file);
            } else {
                without_module.insert(plugin.to_owned());
            }
        }
        mocks.insert(plugin.to_owned(), mock);
    }
    (mocks, without_module)
}

/// What an attempt was answered, and when. A call that was stopped ends where the engine stops it
/// here, too: its answer hangs. One that ended in its own time after that ignores it.
fn given(
    recording: &Recording,
    first: &ReplayedCall,
    last: &ReplayedCall,
    times: &[u64],
) -> Map<String, Json> {
    let fired = |until: usize, wanted: TimerKind| {
        recording.facts[last.begun..until].iter().any(|record| {
            matches!(&record.fact, Fact::TimerFired { step, what } if *step == last.step && *what == wanted)
        })
    };
    let hangs = Map::from_iter([("hang".to_owned(), json!(true))]);
    let until = last.ended.as_ref().map_or(recording.facts.len(), |(ended, _)| *ended);
    let mut given = match &last.ended {
        None => hangs,
        Some((_, AttemptOutcome::Failed { error })) if error.code == "cancelled" => return hangs,
        Some((ended, outcome)) => {
            let latency = times[*ended].saturating_sub(times[last.begun]);
            let interrupted = times[last.begun].saturating_sub(times[first.begun]);
            let mut answer = answer(outcome);
            let latency = json!(format!("{}ms", latency.max(interrupted)));
            answer.insert("latency".to_owned(), latency);
            answer
        }
    };
    let is_deaf = match &last.ended {
        None => fired(until, TimerKind::Grace),
        Some(_) => fired(until, TimerKind::AttemptTimeout),
    };
    if is_deaf {
        given.insert("ignores_stop".to_owned(), json!(true));
    }
    given
}

impl Inside<'_> {
    /// The tape of a call, if the module was not seen to do otherwise with it.
    fn tape_of(&self, call: &ReplayedCall) -> Option<Json> {
        let mut taped = self.taped.iter().zip(self.played);
        let (taped, played) = taped.find(|(taped, _)| taped.call == *call)?;
        let is_unknown = !self.modules.contains_key(&call.digest);
        (played.is_same || is_unknown).then(|| taped.kept())
    }
}

/// What each called run gave, in the order in which they were called. One that nobody waits for gives
/// nothing; one that had not ended, or whose end nobody heard of, never does; one that was refused
/// fails at once.
pub(super) fn workflows(
    recording: &Recording,
    written: &[Written],
    times: &[u64],
) -> BTreeMap<String, Json> {
    let facts = &recording.facts;
    let mut mocks: BTreeMap<String, Vec<Json>> = BTreeMap::new();
    for (place, record) in facts.iter().enumerate() {
        let (of, ended) = if let Fact::ChildStarted { step, attempt, .. } = &record.fact {
            let mut later = (place..).zip(&facts[place..]);
            (step, later.find_map(|(ended, later)| end_of_call(later, step, *attempt, ended)))
        } else if let Fact::AttemptSettled { step, attempt, outcome } = &record.fact
            && !facts[..place].iter().any(|earlier| began_call(earlier, step, *attempt))
        {
            (step, Some((place, outcome)))
        } else {
            continue;
        };
        let Some(StepKind::Call(call)) = kind_of(written, &of.0) else { continue };
        let mut given = match ended {
            Some((_, outcome)) if !call.detach => answer(outcome),
            None if !call.detach => Map::from_iter([("hang".to_owned(), json!(true))]),
            Some(_) | None => Map::from_iter([("output".to_owned(), json!({}))]),
        };
        if let Some(output) = given.remove("output") {
            given.insert("outputs".to_owned(), output);
        }
        let latency = ended.map_or(0, |(ended, _)| times[ended].saturating_sub(times[place]));
        given.insert("latency".to_owned(), json!(format!("{latency}ms")));
        let answers = mocks.entry(call.workflow.to_string()).or_default();
        given.insert("call".to_owned(), json!(answers.len() + 1));
        answers.push(Json::Object(given));
    }
    mocks.into_iter().map(|(name, answers)| (name, json!({ "answers": answers }))).collect()
}

fn began_call(record: &FactRecord, of: &StepPath, number: u32) -> bool {
    matches!(&record.fact, Fact::ChildStarted { step, attempt, .. } if step == of && *attempt == number)
}

fn end_of_call<'r>(
    record: &'r FactRecord,
    of: &StepPath,
    number: u32,
    place: usize,
) -> Option<(usize, &'r AttemptOutcome)> {
    let Fact::AttemptSettled { step, attempt, outcome } = &record.fact else { return None };
    (step == of && *attempt == number).then_some((place, outcome))
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

//! Desk replay: a run that a device recorded, folded again here, told step by step, its plugins run
//! again, and turned into a scenario that keeps it from happening again.

pub(crate) mod plugins;
mod save;
mod tell;

pub(crate) use save::{Inside, save};
pub(crate) use tell::{event_line, fact_line};

use openclaw_agent_core::replay::{Recording, Replay};
use openclaw_protocol::run::RunEvent;
use plugins::PlayedCall;
use serde_json::{Value as Json, json};

/// A recording file, in bytes.
pub(crate) const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// What a replay came to, for programs.
pub(crate) fn summary(recording: &Recording, replay: &Replay, played: &[PlayedCall]) -> Json {
    let settled = replay.events.iter().filter_map(|(_, record)| {
        let RunEvent::StepSettled { step, status, attempts, output, error } = &record.event else {
            return None;
        };
        Some(json!({
            "path": step,
            "status": status,
            "attempts": attempts,
            "output": output.as_ref().map(openclaw_protocol::json::JsonText::value),
            "error": error,
        }))
    });
    let end = replay.events.iter().find_map(|(_, record)| {
        let RunEvent::Settled { status, outputs, error } = &record.event else { return None };
        Some(json!({ "status": status, "outputs": outputs.value(), "error": error }))
    });
    let divergence = replay.divergence.map(|found| {
        let call = replay.diverging_call();
        let call = call.map(|call| json!({ "step": call.step, "attempt": call.attempt }));
        json!({
            "fact": found.fact,
            "call": call,
            "recorded": found.recorded,
            "replayed": found.replayed,
        })
    });
    let same = replay.divergence.is_none() && played.iter().all(|call| call.mismatch.is_none());
    json!({
        "run": recording.run,
        "agent": recording.agent,
        "facts": recording.facts.len(),
        "snapshot": recording.snapshot.as_ref().map(|beginning| beginning.facts),
        "same": same,
        "divergence": divergence,
        "plugins": played.iter().map(|call| &call.json).collect::<Vec<_>>(),
        "steps": settled.collect::<Vec<_>>(),
        "end": end,
    })
}

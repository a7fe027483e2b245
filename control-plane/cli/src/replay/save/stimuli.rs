//! What happened to a recorded run meanwhile, as stimuli.

use openclaw_agent_core::Fact;
use openclaw_agent_core::replay::{Recording, Replay};
use openclaw_protocol::definition::StepKind;
use openclaw_protocol::run::RunEvent;
use openclaw_protocol::time::Stamp;
use serde_json::{Value as Json, json};

use super::{Written, kind_of};

/// A wall clock that is off by less was not set, in milliseconds.
const JUMP_MS: u64 = 2_000;

/// What happened meanwhile. Timers fire by themselves, and workers answer as their mocks say.
pub(super) fn stimuli(
    recording: &Recording,
    replay: &Replay,
    written: &[Written],
    times: &[u64],
) -> Vec<Json> {
    let mut stimuli = Vec::new();
    for (place, record) in recording.facts.iter().enumerate().skip(1) {
        let at = format!("{}ms", times[place]);
        stimuli.extend(jump(recording.facts[place - 1].at, record.at, &at));
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
                stimuli.extend(heard(kind_of(written, &step.0), &message.value(), &at));
            }
            Fact::Restarted { unclean } => {
                stimuli.push(restart(recording, replay, times, place, *unclean));
            }
            Fact::Migrated { definition, .. } => {
                let update = written.iter().find(|one| one.workflow.hash == *definition);
                stimuli.extend(update.map(|one| json!({ "at": at, "update": one.file })));
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
            | Fact::Stayed { .. } => {}
        }
    }
    stimuli
}

/// The agent came back. It had died after the fact before; where that is the end of a step, this comes
/// once the step has settled, for at one moment stimuli come before answers.
fn restart(
    recording: &Recording,
    replay: &Replay,
    times: &[u64],
    place: usize,
    unclean: bool,
) -> Json {
    let (before, now) = (recording.facts[place - 1].at, recording.facts[place].at);
    let since = before.elapsed_ms(now);
    let (mut stimulus, began) = if before.boot == now.boot {
        (json!({ "crash": { "clean": !unclean } }), times[place])
    } else {
        let down = format!("{since}ms");
        let cut = json!({ "power_cut": { "down": down, "trust": now.trust } });
        (cut, times[place].saturating_sub(since))
    };
    let mut settled = replay.events.iter().rev().filter(|(of, _)| {
        *of < place && times[*of] == began && recording.facts[*of].at.boot == before.boot
    });
    let settled = settled.find_map(|(_, record)| {
        let RunEvent::StepSettled { step, .. } = &record.event else { return None };
        Some(step)
    });
    match settled {
        Some(step) => stimulus["after"] = json!(step),
        None => stimulus["at"] = json!(format!("{began}ms")),
    }
    stimulus
}

/// The wall clock jumped between two facts of one boot, or came to be believed otherwise.
fn jump(before: Stamp, now: Stamp, at: &str) -> Option<Json> {
    let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let passed = signed(now.boot_ms).saturating_sub(signed(before.boot_ms));
    let by = now.wall_ms.saturating_sub(before.wall_ms).saturating_sub(passed);
    let is_jump = by.unsigned_abs() > JUMP_MS || before.trust != now.trust;
    (before.boot == now.boot && is_jump).then(|| {
        let sign = if by < 0 { "-" } else { "+" };
        let by = format!("{sign}{}ms", by.unsigned_abs());
        json!({ "at": at, "clock": { "by": by, "trust": now.trust } })
    })
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

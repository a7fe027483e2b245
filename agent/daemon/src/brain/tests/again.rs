//! Runs once more, at the control plane's wish: retried where they failed, and recorded.

use openclaw_agent_core::replay::Recording;
use openclaw_protocol::command::Command;
use openclaw_protocol::id::RunId;
use openclaw_protocol::recording;
use openclaw_protocol::run::RunError;

use super::peer::{GENERATION, Peer, now_ms};
use super::sync::{install, pair};
use super::*;

/// What the device has answered to a wish.
fn outcome<'p>(peer: &'p Peer, wish: &str) -> Vec<&'p Result<RunId, Refusal>> {
    let answers = peer.reports.iter().filter_map(|report| {
        let Report::Command { request, outcome } = report else { return None };
        (request.as_str() == wish).then_some(outcome)
    });
    answers.collect()
}

/// A run of two steps of which the second fails for good.
fn fail(device: &mut Device) -> RunId {
    let run = RunId::parse(&device.begin("w").unwrap().unwrap()).unwrap();
    let first = device.calls().remove(0);
    device.answer(&first).unwrap();
    let second = device.calls().remove(0);
    let error = RunError::new("plugin.error", "it is broken");
    let outcome = AttemptOutcome::Failed { error };
    let (attempt, denials) = (second.attempt, Vec::new());
    device
        .turn(vec![Event::Settled { attempt, outcome, denials, tape: None, kept: None }])
        .unwrap();
    run
}

#[test]
fn a_failed_run_goes_on_where_it_failed_once_a_wish() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 2);
    let run = fail(&mut device);
    peer.exchange(&mut device);
    peer.command("again", Command::Retry { run: run.clone() }, now_ms(&device));
    let ghost = RunId::parse("000000000000-9").unwrap();
    peer.command("ghost", Command::Retry { run: ghost }, now_ms(&device));
    peer.exchange(&mut device);
    let calls = device.calls();
    let [call] = &calls[..] else { panic!("one call, not {}", calls.len()) };
    assert_eq!(call.attempt.step.0, "s2", "the first step is not called again");
    device.answer(call).unwrap();
    peer.exchange(&mut device);
    let [Ok(second)] = outcome(&peer, "again")[..] else { panic!("one answer") };
    assert_ne!(*second, run);
    let settled = device.results().into_iter().find(|result| result.run == *second).unwrap();
    assert_eq!(settled.status, RunStatus::Completed);
    let [Err(refusal)] = outcome(&peer, "ghost")[..] else { panic!("one refusal") };
    assert_eq!(refusal.code, "run.unknown");

    // A control plane that has lost the answer gets the same one, and nothing is done.
    device.brain = None;
    device.start().unwrap();
    let mut restored = Peer::of(GENERATION + 1);
    restored.connect(&mut device);
    restored.command("again", Command::Retry { run }, now_ms(&device));
    restored.exchange(&mut device);
    assert!(device.calls().is_empty());
    // It is told what was told before, and is answered the same.
    let answers = outcome(&restored, "again");
    assert_eq!(answers, [&Ok(second.clone()), &Ok(second.clone())]);
}

#[test]
fn a_recording_goes_to_the_control_plane_and_replays_there() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 2);
    let run = fail(&mut device);
    peer.exchange(&mut device);
    assert!(peer.parts.is_empty());
    peer.command("record", Command::Export { run: run.clone() }, now_ms(&device));
    let ghost = RunId::parse("000000000000-9").unwrap();
    peer.command("ghost", Command::Export { run: ghost }, now_ms(&device));
    peer.exchange(&mut device);
    assert_eq!(outcome(&peer, "record"), [&Ok(run.clone())]);
    assert!(outcome(&peer, "ghost")[0].is_err());
    assert!(peer.parts.iter().all(|part| part.run == run && part.request.as_str() == "record"));
    let text = recording::join(peer.parts.iter().map(|part| part.bytes.as_slice())).unwrap();
    let recording: Recording = serde_json::from_str(&text).unwrap();
    let replay = recording.replay().unwrap();
    assert!(replay.is_settled && replay.divergence.is_none(), "{:?}", replay.divergence);
    assert_eq!(replay.calls.len(), 2);
}

/// A failed run of two steps that each gave a text which hardly deflates.
fn fail_with_noise(device: &mut Device) -> RunId {
    let run = RunId::parse(&device.begin("w").unwrap().unwrap()).unwrap();
    let mut state = 7_u64;
    let noise: String = (0..50_000)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(b'0' + u8::try_from(state >> 58).unwrap())
        })
        .collect();
    for failed in [false, true] {
        let task = device.calls().remove(0);
        let outcome = if failed {
            AttemptOutcome::Failed { error: RunError::new("plugin.error", "it is broken") }
        } else {
            let output = JsonText::of(&serde_json::json!({ "n": 1, "noise": noise }));
            AttemptOutcome::Succeeded { output, vars: None }
        };
        let (attempt, denials) = (task.attempt, Vec::new());
        device
            .turn(vec![Event::Settled { attempt, outcome, denials, tape: None, kept: None }])
            .unwrap();
    }
    run
}

#[test]
fn many_recordings_at_once_are_written_one_by_one_and_none_is_lost_in_silence() {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.retention.lane_bytes = 1024 * 1024;
    device.start().unwrap();
    peer.connect(&mut device);
    install(&mut device, &mut peer, 1, 2);
    let run = fail_with_noise(&mut device);
    peer.exchange(&mut device);
    let wishes: Vec<String> = (0..40).map(|n| format!("record-{n}")).collect();
    for wish in &wishes {
        peer.command(wish, Command::Export { run: run.clone() }, now_ms(&device));
    }
    let commits = device.status().commits;
    peer.exchange(&mut device);
    let answered = |peer: &Peer, wish: &str| outcome(peer, wish)[0].clone();
    let sent = wishes.iter().filter(|wish| answered(&peer, wish).is_ok()).count();
    assert!(device.status().commits - commits >= sent as u64, "each has a commit of its own");
    assert!((5..40).contains(&sent), "{sent} of 40 were sent");
    for wish in &wishes {
        let parts: Vec<_> = peer.parts.iter().filter(|p| p.request.as_str() == wish).collect();
        match answered(&peer, wish) {
            Ok(_) => assert!(parts.len() == 1 && parts[0].parts == 1, "{wish} has not come whole"),
            Err(refusal) => {
                assert_eq!((refusal.code.as_str(), parts.len()), ("recording.full", 0), "{wish}");
            }
        }
    }
    // Those have come, so there is room again.
    peer.command("once-more", Command::Export { run }, now_ms(&device));
    peer.exchange(&mut device);
    assert!(answered(&peer, "once-more").is_ok());
}

//! Of which calls it is kept what they were told from outside, and for how long.

use std::collections::BTreeSet;

use openclaw_agent_core::Fact;
use openclaw_agent_core::replay::Recording;
use openclaw_protocol::command::Command;
use openclaw_protocol::id::{RequestId, RunId, WorkflowName};
use openclaw_protocol::run::RunError;
use openclaw_sandbox::Tape;
use serde_json::json;

use super::peer::now_ms;
use super::sync::{install, pair};
use super::*;
use crate::event::Recorded;

/// A tape with one answer of so many bytes.
fn tape(bytes: usize) -> Box<Tape> {
    let call = json!({
        "function": "now_ms", "answered": "ok", "arguments": "0", "sum": "0",
        "result": "7".repeat(bytes),
    });
    let end = json!({ "code": "", "sum": "0", "fuel": 1 });
    let tape = Tape::from_json(&json!({ "calls": [call], "made": 1, "end": end }));
    Box::new(tape.unwrap())
}

/// The call ends well, or not, after it was told so much.
fn told(task: &PluginTask, fails: bool, bytes: usize) -> Event {
    let Event::Settled { attempt, outcome, denials, .. } = settled(task) else { unreachable!() };
    let outcome = if fails {
        AttemptOutcome::Failed { error: RunError::new("plugin.error", "it is broken") }
    } else {
        outcome
    };
    let tape = Some(Recorded { tape: tape(bytes), traced: task.traced });
    Event::Settled { attempt, outcome, denials, tape, kept: None }
}

/// Plays a run to its end; steps of these names fail.
fn play(device: &mut Device, workflow: &str, failing: &[&str], bytes: usize) -> RunId {
    let run = RunId::parse(&device.begin(workflow).unwrap().unwrap()).unwrap();
    loop {
        let calls = device.calls();
        if calls.is_empty() {
            return run;
        }
        for call in calls {
            let fails = failing.contains(&call.attempt.step.0.as_str());
            device.turn(vec![told(&call, fails, bytes)]).unwrap();
        }
    }
}

fn taped(device: &Device, run: &RunId) -> Vec<(String, u32)> {
    let tapes = device.brain.as_ref().unwrap().store.tapes(run).unwrap();
    tapes.into_iter().map(|kept| (kept.step.0, kept.attempt)).collect()
}

fn traced() -> Deployed {
    deployed(
        "workflow: traced
steps:
  - { id: plain, plugin: count@^1, with: { n: 0 } }
  - { id: watched, plugin: count@^1, with: { n: 1 }, trace: effects }
  - { id: shaky, plugin: count@^1, with: { n: 2 }, retry: none }
",
    )
}

#[test]
fn failed_calls_are_kept_and_those_whose_step_says_so() {
    let mut device = Device::new(1, vec![traced()]);
    device.start().unwrap();
    let before = device.brain.as_ref().unwrap().store.syncs();
    let well = play(&mut device, "traced", &[], 10);
    let syncs = device.brain.as_ref().unwrap().store.syncs() - before;
    assert_eq!(taped(&device, &well), [("watched".to_owned(), 1)]);
    let badly = play(&mut device, "traced", &["shaky"], 10);
    assert_eq!(taped(&device, &badly), [("watched".to_owned(), 1), ("shaky".to_owned(), 1)]);
    let text = traced().workflow.canonical.replace("\"trace\":", "\"name\":");
    let mut plain = Device::new(1, vec![deployed(&text)]);
    plain.start().unwrap();
    let before = plain.brain.as_ref().unwrap().store.syncs();
    play(&mut plain, "traced", &[], 10);
    let without = plain.brain.as_ref().unwrap().store.syncs() - before;
    assert_eq!(syncs, without, "what is kept costs no sync of its own");

    // They are in the recording.
    let text = device.export(badly.as_str()).0;
    let tapes = serde_json::from_str::<Recording>(&text).unwrap().tapes;
    assert_eq!((&tapes[1]["step"], &tapes[1]["attempt"]), (&json!("shaky"), &json!(1)));
    assert_eq!(Tape::from_json(&tapes[1]).as_ref(), Ok(&*tape(10)));
}

#[test]
fn the_next_runs_of_a_workflow_are_recorded_at_a_wish() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 2);
    let wish = |name: &str, next| {
        (name.to_owned(), Command::Record { workflow: WorkflowName::parse("w").unwrap(), next })
    };
    for (name, command) in [wish("two", 2), wish("many", 101)] {
        peer.command(&name, command, now_ms(&device));
    }
    let workflow = WorkflowName::parse("other").unwrap();
    peer.command("other", Command::Record { workflow, next: 1 }, now_ms(&device));
    peer.exchange(&mut device);
    let request = RequestId::parse("two").unwrap();
    assert!(peer.reports.contains(&Report::Done { request }), "{:?}", peer.reports);
    let refused = |wish: &str| {
        peer.reports.iter().find_map(|report| {
            let Report::Command { request, outcome: Err(refusal) } = report else { return None };
            (request.as_str() == wish).then(|| refusal.code.clone())
        })
    };
    assert_eq!(refused("many").as_deref(), Some("record.runs"));
    assert_eq!(refused("other").as_deref(), Some("workflow.unknown"));

    // The first of them is under way while the agent is started anew.
    let first = RunId::parse(&device.begin("w").unwrap().unwrap()).unwrap();
    let call = device.calls().remove(0);
    device.turn(vec![told(&call, false, 10)]).unwrap();
    device.brain = None;
    device.start().unwrap();
    let call = device.calls().remove(0);
    device.turn(vec![told(&call, false, 10)]).unwrap();
    let both = [("s1".to_owned(), 1), ("s2".to_owned(), 1)];
    assert_eq!(taped(&device, &first), both);
    let second = play(&mut device, "w", &[], 10);
    assert_eq!(taped(&device, &second), both);
    let third = play(&mut device, "w", &[], 10);
    assert_eq!(taped(&device, &third), []);

    // The same from the device itself, and taken back.
    let record = |next| Request::Record { workflow: "w".to_owned(), next };
    assert_eq!(device.ask(record(5)).unwrap(), Some(Answer::End));
    assert_eq!(device.ask(record(0)).unwrap(), Some(Answer::End));
    let fourth = play(&mut device, "w", &[], 10);
    assert_eq!(taped(&device, &fourth), []);
}

#[test]
fn late_and_repeated_results_bring_nothing() {
    let mut device = Device::new(1, vec![traced()]);
    device.start().unwrap();
    let run = RunId::parse(&device.begin("traced").unwrap().unwrap()).unwrap();
    let call = device.calls().remove(0);
    device.turn(vec![settled(&call)]).unwrap();
    device.turn(vec![told(&call, true, 10)]).unwrap();
    assert_eq!(taped(&device, &run), []);
}

#[test]
fn of_one_run_the_newest_are_kept_and_they_go_with_it() {
    let text = "workflow: long
steps:
  - id: over
    foreach: { in: 'lists.range(5)' }
    do:
      - { id: call, plugin: count@^1, with: { n: 0 }, trace: effects }
";
    let mut device = Device::new(1, vec![deployed(text)]);
    device.retention = Retention { journal_bytes: 100_000, ..Retention::default() };
    device.start().unwrap();
    let first = play(&mut device, "long", &[], 25_000);
    let kept = taped(&device, &first);
    assert_eq!(kept.len(), 2, "64 KiB hold two of 25,000 bytes: {kept:?}");
    assert!(kept[1].0.contains('4'), "the newest: {kept:?}");
    let second = play(&mut device, "long", &[], 25_000);
    let third = play(&mut device, "long", &[], 25_000);
    for _ in 0..40 {
        play(&mut device, "long", &[], 1);
    }
    assert!(taped(&device, &first).is_empty(), "it went with its journal, over the quota");
    let left = [second, third].iter().map(|run| taped(&device, run).len()).sum::<usize>();
    assert!(left <= 2, "{left} large ones are left in 100,000 bytes");
}

/// Steps and attempts.
type Calls = BTreeSet<(String, u32)>;

/// The calls of which the end is kept, and those of which the tape is.
fn pairs(device: &Device, run: &RunId) -> (Calls, Calls) {
    let facts = device.brain.as_ref().unwrap().store.facts_of(run).unwrap();
    let ended = facts.facts.into_iter().filter_map(|record| {
        let Fact::AttemptSettled { step, attempt, .. } = record.fact else { return None };
        Some((step.0, attempt))
    });
    (ended.collect(), taped(device, run).into_iter().collect())
}

#[test]
fn a_power_cut_at_every_sync_parts_no_tape_from_its_call() {
    let steps = (1..=4).map(|n| {
        format!("  - {{ id: s{n}, plugin: count@^1, with: {{ n: {n} }}, trace: effects }}\n")
    });
    let workflow = deployed(&format!("workflow: w\nsteps:\n{}", steps.collect::<String>()));
    let mut cuts = 0;
    for cut in 3.. {
        let mut device = Device::new(cut, vec![workflow.clone()]);
        device.disk.cut_at_sync(cut);
        let begun = device.start().and_then(|()| device.begin("w"));
        let mut run = begun.ok().flatten().map(|run| RunId::parse(&run).unwrap());
        let mut alive = run.is_some();
        while alive && let Some(call) = device.calls().pop() {
            alive = device.turn(vec![told(&call, false, 30)]).is_ok();
        }
        if !device.disk.is_dead() {
            break;
        }
        cuts += 1;
        device.brain = None;
        device.disk.revive();
        device.start().unwrap();
        if run.is_none() {
            // It may have been made, and not acknowledged.
            let open = device.ask(Request::Runs { limit: 1 }).unwrap();
            let Some(Answer::Runs(rows)) = open else { panic!("{open:?}") };
            run = rows.first().map(|row| RunId::parse(&row.run).unwrap());
        }
        let Some(run) = run else { continue };
        let (ended, taped) = pairs(&device, &run);
        assert_eq!(ended, taped, "cut at sync {cut}");
        while let Some(call) = device.calls().pop() {
            device.turn(vec![told(&call, false, 30)]).unwrap();
        }
        let (ended, taped) = pairs(&device, &run);
        assert_eq!((ended.len(), &ended), (4, &taped), "cut at sync {cut}");
    }
    assert!(cuts >= 5, "{cuts} cuts");
}

//! `on_update` on a disk that can lose its power, and what a device keeps because of it.

use openclaw_agent_core::replay::{RECORDING_MIGRATED, Recording};
use openclaw_protocol::run::RunEvent;

use super::*;

/// One life of the device with the newer definition: until nothing is under way any more.
fn live(device: &mut Device) -> Result<(), StoreError> {
    device.start()?;
    // A run that is told to stop ends as the plugin's answer comes, or when its grace is over.
    for _ in 0..100 {
        let calls = device.calls();
        for call in &calls {
            device.answer(call)?;
        }
        if device.status().unsettled == 0 {
            return Ok(());
        }
        if calls.is_empty() {
            device.clock.advance(20_000);
            device.turn(Vec::new())?;
        }
    }
    panic!("the runs do not end");
}

/// A device that has made the first call of a run, gets another definition at its next start, loses
/// its power at that sync, and lives on; its run, and whether the power went.
fn updated(newer: &str, cut: u64) -> (Device, String, bool) {
    let mut device = Device::new(cut, vec![chain("w", 4)]);
    device.start().unwrap();
    let run = device.begin("w").unwrap().unwrap();
    let first = device.calls().remove(0);
    device.answer(&first).unwrap();
    device.brain = None;
    device.workflows = vec![deployed(newer)];
    device.disk.cut_at_sync(cut);
    let mut went = false;
    while let Err(e) = live(&mut device) {
        assert!(device.disk.is_dead(), "{e}");
        went = true;
        device.brain = None;
        device.disk.revive();
    }
    (device, run, went)
}

#[test]
fn a_power_cut_at_any_sync_restarts_a_run_once() {
    let newer = chain_text("w", 3).replace("version: 1", "version: 2\non_update: restart");
    let mut cuts = 0;
    for cut in 1.. {
        let (device, old, went) = updated(&newer, cut);
        let results = device.results();
        let told: Vec<_> = results.iter().map(|one| (one.version.as_str(), one.status)).collect();
        let expected = [("1", RunStatus::Cancelled), ("2", RunStatus::Completed)];
        assert_eq!(told, expected, "cut {cut}");
        assert_eq!(results[0].run.to_string(), old);
        assert_eq!(results[1].outputs.value(), serde_json::json!({ "n": 3 }), "from the beginning");
        if !went {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 4, "{cuts} cuts");
}

/// The events of all runs, as they are told.
fn told(device: &Device) -> Vec<RunEventRecord> {
    let store = &device.brain.as_ref().unwrap().store;
    let records = store.load(Lane::History, 1, u64::MAX, usize::MAX).unwrap();
    let unpack = |body: &[u8]| wire::unpack(Kind::RunEvent, body, usize::MAX).unwrap();
    records.iter().map(|record| unpack(&record.body)).collect()
}

/// The recording of a run that has gone on with one other definition, and whether it has ended in it.
fn replayed(device: &mut Device, run: &str, is_settled: bool) -> Recording {
    let recording: Recording = serde_json::from_str(&device.export(run).0).unwrap();
    let replay = recording.replay().unwrap();
    assert!(replay.divergence.is_none(), "{:?}", replay.divergence);
    assert_eq!(replay.is_settled, is_settled);
    assert_eq!((recording.recording, recording.migrated.len()), (RECORDING_MIGRATED, 1));
    recording
}

#[test]
fn a_power_cut_at_any_sync_migrates_a_run_once() {
    let newer = chain_text("w", 6).replace("version: 1", "version: 2\non_update: migrate");
    let mut cuts = 0;
    for cut in 1.. {
        let (mut device, run, went) = updated(&newer, cut);
        let results = device.results();
        let ends: Vec<_> = results.iter().map(|one| (one.version.as_str(), one.status)).collect();
        assert_eq!(ends, [("2", RunStatus::Completed)], "cut {cut}");
        assert_eq!(results[0].outputs.value(), serde_json::json!({ "n": 6 }), "with what had been");
        let events = told(&device);
        let count = |is: fn(&RunEvent) -> bool| events.iter().filter(|one| is(&one.event)).count();
        assert_eq!(count(|event| matches!(event, RunEvent::Migrated { .. })), 1, "cut {cut}");
        assert_eq!(count(|event| matches!(event, RunEvent::StepSettled { .. })), 6, "cut {cut}");
        replayed(&mut device, &run, true);
        if !went {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 4, "{cuts} cuts");
}

#[test]
fn a_run_that_goes_on_for_long_keeps_both_definitions() {
    let text = |more: &str, step: &str| {
        format!(
            "workflow: long\n{more}outputs:\n  n: ${{ vars.n }}\nvars: {{ n: 0 }}\nsteps:\n  \
             - id: l\n    loop: {{ times: 1200, max_iterations: 1200 }}\n    do:\n      \
             - {{ id: wait, delay: 5m }}\n      - {{ id: count, set: {{ n: '${{ vars.n + 1 }}' }} }}\n{step}"
        )
    };
    let step = "      - { id: more, set: { n: '${ vars.n + 1 }' } }\n";
    let mut device = Device::new(1, vec![deployed(&text("", ""))]);
    device.retention.journal_bytes = 6_000;
    device.start().unwrap();
    let run = device.begin("long").unwrap().unwrap();
    for round in 1..=1_200_u32 {
        if round % 300 == 100 {
            device.brain = None;
            let newer = text("version: 2\non_update: migrate\n", step);
            device.workflows = vec![deployed(&newer)];
            device.start().unwrap();
            assert_eq!(device.status().unsettled, 1, "round {round}");
        }
        // Each start lets one wait end: the clock of this device goes on over boots.
        if round == 1_190 {
            let recording = replayed(&mut device, &run, false);
            assert!(recording.snapshot.is_some(), "the migration has gone with other facts");
            let is_migration = |record: &openclaw_agent_core::FactRecord| {
                matches!(record.fact, openclaw_agent_core::Fact::Migrated { .. })
            };
            assert!(!recording.facts.iter().any(is_migration));
        }
        device.clock.advance(300_000);
        device.turn(Vec::new()).unwrap();
    }
    let results = device.results();
    assert_eq!(results[0].outputs.value(), serde_json::json!({ "n": 2 * 1_200 - 99 }));
    assert_eq!(results[0].version, "2");
}

#[test]
fn a_recording_of_any_size_goes_out_in_lines_of_the_socket() {
    // A definition and a snapshot that are larger than a line, together, and text in many bytes.
    let long = "é".repeat(110_000);
    let mut text = format!("workflow: w\nversion: 1\ndescription: '{long}'\nsteps:\n");
    for n in 1..=21 {
        text.push_str(&format!("  - {{ id: s{n}, plugin: count@^1 }}\n"));
    }
    let mut device = Device::new(1, vec![deployed(&text)]);
    device.retention.journal_bytes = 10_000;
    device.start().unwrap();
    let run = device.begin("w").unwrap().unwrap();
    for n in 1..=20 {
        let task = device.calls().remove(0);
        let output =
            JsonText::of(&serde_json::json!({ "much": format!("{n}{}", "\"é\"".repeat(8_000)) }));
        let outcome = AttemptOutcome::Succeeded { output, vars: None };
        let (attempt, denials) = (task.attempt, Vec::new());
        device
            .turn(vec![Event::Settled { attempt, outcome, denials, tape: None, kept: None }])
            .unwrap();
    }
    let (text, parts) = device.export(&run);
    assert!(text.len() > limits::LOCAL_LINE_BYTES && parts > 2, "{} in {parts}", text.len());
    let recording: Recording = serde_json::from_str(&text).unwrap();
    let beginning = recording.snapshot.as_ref().unwrap().state.len();
    assert!(beginning > limits::EXPORT_PART_BYTES, "{beginning}");
    assert!(recording.replay().unwrap().divergence.is_none());
}

//! Runs that go on for long: snapshots of them, what goes because of these, and what is left.

use std::collections::BTreeMap;

use openclaw_agent_core::replay::Recording;

use super::*;

const STEPS: usize = 24;
/// What each step says, so that a few make a snapshot due.
const SAID_BYTES: usize = 8 * 1024;

/// Steps that say much; each sees the number of the one before.
fn talkative() -> Deployed {
    chain("long", STEPS)
}

/// Answers as `settled` does, with much more.
fn said(task: &PluginTask) -> Event {
    let n = task.input.value()["n"].as_i64().unwrap_or(0) + 1;
    let output = JsonText::of(&serde_json::json!({ "n": n, "much": "x".repeat(SAID_BYTES) }));
    let outcome = AttemptOutcome::Succeeded { output, vars: None };
    Event::Settled {
        attempt: task.attempt.clone(),
        outcome,
        denials: Vec::new(),
        tape: None,
        kept: None,
    }
}

fn store(device: &Device) -> &Store {
    &device.brain.as_ref().unwrap().store
}

/// What has been seen over all lives.
#[derive(Debug, Default)]
struct Seen {
    snapshots: u64,
    restored_by_one: usize,
    with_facts_gone: usize,
}

/// One life of the device: until the run has ended, or the power is gone.
fn live(
    device: &mut Device,
    ledger: &mut BTreeMap<String, Vec<String>>,
    seen: &mut Seen,
) -> Result<(), StoreError> {
    device.start()?;
    if let Some((snapshot, gone)) = store(device).way_back(1) {
        seen.restored_by_one += usize::from(snapshot);
        seen.with_facts_gone += usize::from(gone);
    }
    if device.status().unsettled == 0 && device.results().is_empty() {
        device.begin("long")?;
    }
    loop {
        let calls = device.calls();
        if calls.is_empty() {
            seen.snapshots += u64::from(store(device).snapshot_bytes() > 0);
            return Ok(());
        }
        for call in calls {
            let input = call.input.as_str().to_owned();
            ledger.entry(call.idempotency_key.clone()).or_default().push(input);
            device.turn(vec![said(&call)])?;
        }
    }
}

/// The power goes at every sync of a run that snapshots are written of, and of which facts go.
#[test]
fn a_power_cut_at_every_sync_of_a_run_that_is_snapshotted() {
    let workflow = talkative();
    let mut seen = Seen::default();
    let mut cuts = 0;
    for seed in 0..2 {
        for cut in 3.. {
            let mut device = Device::new(7_000 * seed + cut, vec![workflow.clone()]);
            device.retention.journal_bytes = 40_000;
            device.disk.cut_at_sync(cut);
            let mut ledger = BTreeMap::new();
            let mut was_cut = false;
            while let Err(e) = live(&mut device, &mut ledger, &mut seen) {
                assert!(device.disk.is_dead(), "cut at {cut}: {e}");
                was_cut = true;
                device.brain = None;
                device.disk.revive();
            }
            let results = device.results();
            assert_eq!(results.len(), 1, "cut at {cut}");
            assert_eq!(results[0].outputs.value(), serde_json::json!({ "n": STEPS }), "{cut}");
            assert_eq!(ledger.len(), STEPS, "cut at {cut}: every effect under its own key");
            for inputs in ledger.values() {
                assert!(inputs.iter().all(|input| *input == inputs[0]), "cut at {cut}: {inputs:?}");
            }
            if !was_cut {
                break;
            }
            cuts += 1;
        }
    }
    assert!(cuts > 2 * STEPS, "{cuts} cuts");
    assert!(seen.restored_by_one > 10 && seen.with_facts_gone > 5, "{cuts} cuts: {seen:?}");
}

/// A loop that goes on for months.
const MONTHS: &str = "workflow: months\noutputs:\n  n: ${ vars.n }\nvars: { n: 0 }\nsteps:\n  \
    - id: l\n    loop: { times: 20000, max_iterations: 20000 }\n    do:\n      \
    - { id: wait, delay: 5m }\n      - { id: count, set: { n: '${ vars.n + 1 }' } }\n";

#[test]
fn a_run_of_twenty_thousand_iterations_stays_small() {
    const MOST: u64 = 256 * 1024;
    let mut device = Device::new(1, vec![deployed(MONTHS)]);
    device.retention.journal_bytes = MOST;
    device.start().unwrap();
    device.begin("months").unwrap().unwrap();
    let (mut rows, mut bytes, mut file, mut restarts) = (0, 0, 0, 0);
    for round in 1..=20_000_u32 {
        device.clock.advance(300_000);
        device.turn(Vec::new()).unwrap();
        if round % 500 == 0 {
            let held = store(&device).journal_rows();
            rows = rows.max(held.0);
            bytes = bytes.max(held.1);
            file = file.max(device.disk.len());
        }
        if round % 4_000 == 0 {
            device.brain = None;
            device.start().unwrap();
            restarts += 1;
            let (facts, by_snapshot) = store(&device).read_at_start(1);
            assert!(by_snapshot && facts <= 300, "{facts} facts were read");
        }
    }
    let results = device.results();
    assert_eq!(results.len(), 1, "{restarts} restarts");
    assert_eq!(results[0].outputs.value(), serde_json::json!({ "n": 20_000 }));
    let tail = limits::SNAPSHOT_TAIL_BYTES + 64 * 1024;
    assert!(bytes <= MOST + tail, "{rows} rows, {bytes} bytes in the journal");
    println!("at most {rows} rows, {bytes} bytes in the journal; a file of {file} bytes");
    assert_eq!(restarts, 5);
}

/// A device with a run under way that has a snapshot, and of which facts have gone where little may
/// be kept.
fn under_way(journal_bytes: u64) -> (Device, String) {
    answered(talkative(), journal_bytes, STEPS / 2)
}

fn answered(workflow: Deployed, journal_bytes: u64, answers: usize) -> (Device, String) {
    let mut device = Device::new(1, vec![workflow]);
    device.retention.journal_bytes = journal_bytes;
    device.start().unwrap();
    let run = device.begin("long").unwrap().unwrap();
    for _ in 0..answers {
        let call = device.calls().remove(0);
        device.turn(vec![said(&call)]).unwrap();
    }
    (device, run)
}

fn go_on(device: &mut Device) {
    loop {
        let calls = device.calls();
        let Some(call) = calls.first() else { return };
        device.turn(vec![said(call)]).unwrap();
    }
}

fn told_damaged(device: &Device) -> usize {
    let told = |r: &&Report| matches!(r, Report::Security { code, .. } if code == "store.damaged");
    device.reports().iter().filter(told).count()
}

#[test]
fn a_damaged_snapshot_is_made_up_for_by_the_facts() {
    let (mut device, _) = under_way(1024 * 1024);
    assert_eq!(store(&device).way_back(1), Some((true, false)));
    store(&device).spoil("snapshots", &1_u64.to_be_bytes());
    device.brain = None;
    device.start().unwrap();
    assert_eq!(told_damaged(&device), 1);
    assert_eq!((device.status().unsettled, device.status().damaged), (1, 0));
    go_on(&mut device);
    assert_eq!(device.results()[0].outputs.value(), serde_json::json!({ "n": STEPS }));
}

/// As after an update that reads snapshots no more: each as it was written, and of no use.
#[test]
fn a_snapshot_of_another_version_is_made_up_for_by_the_facts() {
    let (mut device, _) = under_way(1024 * 1024);
    store(&device).change_state(1, |state| state[0] = 9);
    device.brain = None;
    device.start().unwrap();
    assert_eq!((device.status().unsettled, device.status().damaged), (1, 0));
    go_on(&mut device);
    assert_eq!(device.results()[0].outputs.value(), serde_json::json!({ "n": STEPS }));
}

#[test]
fn no_fact_goes_because_of_a_snapshot_that_was_of_no_use() {
    let (mut device, _) = under_way(1024 * 1024);
    store(&device).change_state(1, |state| state[0] = 9);
    // From now on all goes that a snapshot stands for.
    device.retention.journal_bytes = 1;
    for _ in 0..2 {
        device.brain = None;
        device.start().unwrap();
        assert_eq!((device.status().unsettled, device.status().damaged), (1, 0));
        let call = device.calls().remove(0);
        device.turn(vec![said(&call)]).unwrap();
    }
    go_on(&mut device);
    assert_eq!(device.results()[0].outputs.value(), serde_json::json!({ "n": STEPS }));
}

#[test]
fn a_damaged_snapshot_of_a_run_whose_facts_have_gone_ends_it_once() {
    let (mut device, run) = under_way(30_000);
    assert_eq!(store(&device).way_back(1), Some((true, true)));
    store(&device).spoil("snapshots", &1_u64.to_be_bytes());
    for _ in 0..2 {
        device.brain = None;
        device.start().unwrap();
        let results = device.results();
        assert_eq!(results.len(), 1);
        assert_eq!((results[0].run.as_str(), results[0].status), (&*run, RunStatus::Failed));
        assert_eq!(results[0].error.as_ref().unwrap().code, "store.damaged");
        assert_eq!(device.status().unsettled, 0);
    }
}

fn export(device: &mut Device, run: &str) -> Recording {
    serde_json::from_str(&device.export(run).0).unwrap()
}

/// A loop that keeps nothing but a number, so its snapshots are small.
const ROUNDS: &str = "workflow: long\nvars: { n: 0 }\noutputs:\n  n: ${ vars.n }\nsteps:\n  \
    - id: l\n    loop: { times: 24 }\n    do:\n      \
    - { id: s, plugin: count@^1, with: { n: '${ vars.n }' }, export: { n: '${ output.n }' } }\n";

#[test]
fn a_recording_says_that_it_begins_with_a_snapshot_and_replays_from_there() {
    let (mut device, run) = answered(deployed(ROUNDS), 100_000, 20);
    assert_eq!(store(&device).way_back(1), Some((true, true)));
    for settled in [false, true] {
        if settled {
            let call = device.calls().remove(0);
            let error = openclaw_protocol::run::RunError::new("plugin.error", "no");
            let outcome = AttemptOutcome::Failed { error };
            let attempt = call.attempt;
            device
                .turn(vec![Event::Settled {
                    attempt,
                    outcome,
                    denials: Vec::new(),
                    tape: None,
                    kept: None,
                }])
                .unwrap();
            assert_eq!(device.results().len(), 1);
        }
        let recording = export(&mut device, &run);
        let beginning = recording.snapshot.clone().unwrap();
        assert_eq!(recording.recording, 2);
        assert!(beginning.facts > 10, "{} facts", beginning.facts);
        let replay = recording.replay().unwrap();
        assert_eq!(replay.divergence, None);
        assert_eq!(replay.is_settled, settled);
        assert!(replay.events.len() > 2);
        let bare = Recording { recording: 1, ..recording.clone() };
        assert!(bare.replay().is_err(), "a build that knows no snapshots refuses it");
        let mut bad = recording;
        bad.snapshot.as_mut().unwrap().state.truncate(40);
        assert!(bad.replay().is_err());
    }
    let part = device.ask(Request::Retry { run: run.clone(), whole: false }).unwrap();
    let Some(Answer::Error(refusal)) = part else { panic!("{part:?}") };
    assert_eq!(refusal.code, "run.compacted", "{}", refusal.message);
    let whole = device.ask(Request::Retry { run, whole: true }).unwrap();
    assert!(matches!(whole, Some(Answer::Accepted { .. })), "{whole:?}");
}

#[test]
fn a_run_of_which_all_is_kept_replays_from_its_beginning() {
    let (mut device, run) = under_way(1024 * 1024);
    go_on(&mut device);
    assert!(store(&device).snapshot_bytes() > 0);
    let recording = export(&mut device, &run);
    assert_eq!((recording.recording, &recording.snapshot), (1, &None));
    let replay = recording.replay().unwrap();
    assert!(replay.divergence.is_none() && replay.is_settled);
    assert_eq!(store(&device).snapshots_kept(), 0, "nobody needs it any more");
}

/// Snapshots are no rows of the journal, and are counted beside them.
#[test]
fn snapshots_are_counted_apart() {
    let (device, _) = under_way(1024 * 1024);
    let (journal, snapshots) = (store(&device).journal_bytes(), store(&device).snapshot_bytes());
    assert!(journal > (STEPS as u64 / 2) * SAID_BYTES as u64, "{journal}");
    assert!(snapshots > 0 && snapshots <= journal + limits::SNAPSHOT_TAIL_BYTES, "{snapshots}");
}

//! What must hold, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_agent_core::replay::{RECORDING, Recording, Replay};
use openclaw_agent_core::{Fact, Told};
use openclaw_protocol::definition::Effects;
use openclaw_protocol::id::RunId;
use openclaw_protocol::run::{Run, RunEvent, RunEventRecord, StepPath, StepStatus};

use super::state;
use super::world::{SEED, World};

/// The fold of the journal is the state.
pub(super) fn same_when_folded(world: &World) {
    let folded = world.folded();
    let (lived, folded) = (state::of(&world.engine), state::of(&folded));
    if lived != folded {
        let differs = lived.bytes().zip(folded.bytes()).position(|(one, other)| one != other);
        let from = differs.unwrap_or_default().saturating_sub(400);
        let part = |text: &str| -> String { text.chars().skip(from).take(800).collect() };
        panic!("lived:\n{}\nfolded:\n{}", part(&lived), part(&folded));
    }
}

/// The story on the disk, once every run has ended.
pub(super) fn story(world: &World) {
    let mut seqs: BTreeMap<&RunId, u32> = BTreeMap::new();
    let mut begun = BTreeSet::new();
    let mut settled = BTreeSet::new();
    let mut over = BTreeSet::new();
    for record in events(world) {
        let run = &record.run;
        let seq = seqs.entry(run).or_default();
        *seq += 1;
        assert_eq!(record.seq, *seq, "gap or repetition in {run}");
        assert!(!over.contains(run), "told after the end: {record:?}");
        match &record.event {
            RunEvent::StepQueued { step, .. } | RunEvent::StepStarted { step, .. } => {
                assert!(!settled.contains(&(run, step)), "{step} of {run} begins again");
                begun.insert((run, step));
            }
            RunEvent::StepSettled { step, .. } => {
                begun.remove(&(run, step));
                assert!(settled.insert((run, step)), "{step} of {run} settled twice");
            }
            RunEvent::Settled { .. } => {
                over.insert(run);
            }
            RunEvent::Accepted { .. }
            | RunEvent::Began
            | RunEvent::StepDelayed { .. }
            | RunEvent::StepWaiting { .. }
            | RunEvent::Logged { .. }
            | RunEvent::Compensated { .. }
            | RunEvent::CancelRequested { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::Migrated { .. }
            | RunEvent::Stayed { .. } => {}
        }
    }
    assert!(begun.is_empty(), "begun and never settled: {begun:?}");
    assert_eq!(over.len(), seqs.len(), "runs that did not end");
    calls(world);
    shown(world);
    replayed(world);
}

/// What must not be repeated is not; one step instance has one key, two have two.
fn calls(world: &World) {
    let mut once = BTreeSet::new();
    let mut keys = BTreeMap::new();
    for (attempt, effects, key) in &world.made {
        if *effects == Effects::AtMostOnce {
            assert!(once.insert(attempt), "{attempt:?} was called twice");
        }
        let instance = (&attempt.run, &attempt.step);
        assert_eq!(*keys.entry(key).or_insert(instance), instance, "one key for two steps");
    }
    let instances: BTreeSet<_> = keys.values().collect();
    assert_eq!(instances.len(), keys.len(), "two keys for one step");
}

/// What those who look at the story see in the end is what the one result says.
fn shown(world: &World) {
    let mut shown: BTreeMap<&RunId, Run> = BTreeMap::new();
    for record in events(world) {
        let run = shown.entry(&record.run).or_insert_with(|| Run::new(record.run.clone()));
        assert!(run.apply(record), "refused: {record:?}");
    }
    let mut results = BTreeSet::new();
    for told in &world.disk.told {
        let Told::Result(result) = told else { continue };
        assert!(results.insert(&result.run), "two results of {}", result.run);
        let run = &shown[&result.run];
        assert_eq!(run.status, result.status);
        let is_open = |status| {
            matches!(
                status,
                StepStatus::Queued
                    | StepStatus::Running
                    | StepStatus::Delayed
                    | StepStatus::Waiting
            )
        };
        assert!(!run.steps.iter().any(|step| is_open(step.status)), "{run:?}");
    }
    assert_eq!(results.len(), shown.len(), "a result for each run");
}

/// At the desk a run comes to what the device did. One of them stands for all: it takes its time.
fn replayed(world: &World) {
    let facts: usize = world.disk.runs.values().map(|(_, facts)| facts.len()).sum();
    let chosen = facts % world.disk.runs.len().max(1);
    let Some((run, _)) = world.disk.runs.values().nth(chosen) else { return };
    let replay = replay(world, run).expect("a run on the disk");
    assert!(replay.divergence.is_none(), "{run}: {:?}", replay.divergence);
    assert!(replay.is_settled, "{run} does not end at the desk");
    let told: Vec<_> = events(world).filter(|record| record.run == *run).collect();
    let desk: Vec<_> = replay.events.iter().map(|(_, record)| record).collect();
    assert_eq!(told, desk, "told by the device, and at the desk");
}

/// A run that is on the disk, replayed.
pub(super) fn replay(world: &World, run: &RunId) -> Option<Replay> {
    let (_, facts) = world.disk.runs.get(&run.number()?)?;
    let Fact::Accepted { definition, .. } = &facts.first()?.fact else { return None };
    let workflow = world.workflows.iter().find(|workflow| workflow.hash == *definition)?;
    let recording = Recording {
        recording: RECORDING,
        agent: String::new(),
        tzdb: String::new(),
        run: run.clone(),
        seed: SEED,
        definition: workflow.canonical.clone(),
        migrated: Vec::new(),
        snapshot: None,
        facts: facts.clone(),
        tapes: Vec::new(),
    };
    Some(recording.replay().unwrap_or_else(|error| panic!("{run}: {error}")))
}

/// Steps of a run that have been told to wait for a decision, and have not been told to have ended.
pub(super) fn asking(world: &World, run: &RunId) -> Vec<StepPath> {
    let mut asking = Vec::new();
    for record in events(world).filter(|record| record.run == *run) {
        if let RunEvent::StepWaiting { step, reason, .. } = &record.event
            && reason.as_str() == "approval"
        {
            asking.push(step.clone());
        } else if let RunEvent::StepSettled { step, .. } = &record.event {
            asking.retain(|one| one != step);
        }
    }
    asking
}

fn events(world: &World) -> impl Iterator<Item = &RunEventRecord> {
    world
        .disk
        .told
        .iter()
        .filter_map(|told| if let Told::Event(record, _) = told { Some(record) } else { None })
}

//! The golden journals: recordings that this and every later version must tell as they were told.
//!
//! `corpus/VERSION` holds those that were written by that version of the engine, and stays. Beside
//! each, `NAME.yaml` is what it was recorded from: definition, definitions beside it, scenario. A
//! new one is made by `openclaw workflow test -d … -s … --record NAME.ocr`, and its line of the list
//! by the example `replay_digests`. Those named `life-NUMBER` are of random lives, `cut-NUMBER` the
//! same with a snapshot: the ignored test `record_lives` of the simulator has written them.

#![expect(clippy::unwrap_used, reason = "helpers of tests, too")]

#[path = "support/altered.rs"]
mod altered;
#[path = "../examples/replay_digests/corpus.rs"]
mod corpus;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use openclaw_agent_core::replay::{Recording, Replay, ReplayedCall};
use openclaw_agent_core::{AttemptOutcome, Fact, TimerKind};
use openclaw_protocol::definition;
use openclaw_protocol::json::JsonText;

/// The directory of each version that has one.
fn versions() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut found: Vec<PathBuf> =
        all.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn recordings() -> Vec<(String, Recording)> {
    versions().iter().flat_map(|dir| corpus::recordings(dir).unwrap()).collect()
}

/// The places of results of calls that had told something.
fn results(recording: &Recording, replay: &Replay) -> Vec<usize> {
    let tells = |place: &usize| replay.events.iter().any(|(of, _)| of == place);
    let ended = |place: &usize| {
        replay.calls.iter().any(|call| call.ended.as_ref().is_some_and(|(at, _)| at == place))
    };
    (0..recording.facts.len()).filter(tells).filter(ended).collect()
}

fn altered(recording: &Recording, place: usize) -> Recording {
    let mut recording = recording.clone();
    let Fact::AttemptSettled { outcome, .. } = &mut recording.facts[place].fact else {
        panic!("{place} is no result");
    };
    match outcome {
        AttemptOutcome::Succeeded { output, .. } => {
            *output = JsonText::parse("{\"celsius\":-273.15}").unwrap();
        }
        AttemptOutcome::Failed { error } => error.message.push('!'),
    }
    recording
}

#[test]
fn every_recording_is_told_as_it_was_and_as_the_list_says() {
    let mut total = 0;
    for dir in versions() {
        let (recordings, listed) =
            (corpus::recordings(&dir).unwrap(), corpus::listed(&dir).unwrap());
        assert_eq!(corpus::differences(&recordings, &listed), BTreeMap::new(), "{dir:?}");
        total += recordings.len();
    }
    assert!(total >= 200, "only {total} recordings");
}

#[test]
fn an_altered_result_is_named_as_the_first_call_that_differs() {
    let (mut named_in, mut named, mut idle) = (0, 0, Vec::new());
    for (name, recording) in recordings() {
        let told = recording.replay().unwrap();
        let before = named;
        for place in results(&recording, &told) {
            let replay = altered(&recording, place).replay().unwrap();
            if replay.events == told.events {
                // The answer of a call that had been told to stop changes nothing.
                assert_eq!(replay.divergence, None, "{name}: fact {place}");
                idle.push((name.clone(), place));
                continue;
            }
            let divergence = replay.divergence.unwrap_or_else(|| panic!("{name}: fact {place}"));
            assert_eq!(divergence.fact, place + 1, "{name}");
            let Fact::AttemptSettled { step, attempt, .. } = &recording.facts[place].fact else {
                panic!("{name}: {place} is no result");
            };
            let call = replay.diverging_call().unwrap_or_else(|| panic!("{name}: fact {place}"));
            assert_eq!((&call.step, call.attempt), (step, *attempt), "{name}: fact {place}");
            named += 1;
        }
        named_in += usize::from(named > before);
    }
    println!("{named} altered results named, in {named_in} recordings; without effect: {idle:?}");
    assert!(named_in >= 30 && named >= 100, "{named} named, in {named_in} recordings");
    assert!(idle.len() * 10 <= named, "too many change nothing: {idle:?}");
}

/// What was told, wherever in the journal: events, and calls with inputs and keys.
fn story(replay: &Replay) -> impl PartialEq + use<> {
    let events: Vec<_> = replay.events.iter().map(|(_, event)| event.clone()).collect();
    let call = |call: &ReplayedCall| {
        (call.step.clone(), call.attempt, call.input.clone(), call.idempotency_key.clone())
    };
    (events, replay.calls.iter().map(call).collect::<Vec<_>>())
}

/// Whatever an engine did otherwise that can be told, the replay says so: clock, chance, order,
/// results and steps, one at a time, all over the journal.
#[test]
fn what_is_told_otherwise_is_named_whatever_it_is() {
    /// Of each recording.
    const PLACES: usize = 3;
    // What was told before a snapshot is not told again.
    let recordings = recordings().into_iter().filter(|(_, one)| one.snapshot.is_none());
    let recordings: Vec<_> = recordings
        .map(|(name, recording)| (name, story(&recording.replay().unwrap()), recording))
        .collect();
    for (name, alter) in altered::ALL {
        let (mut named, mut idle, mut unseen) = (0, 0, Vec::new());
        for (of, told, recording) in &recordings {
            // After the last fact nothing is compared any more.
            let last = recording.facts.len() - 1;
            for place in (0..last).step_by(last.div_ceil(PLACES)) {
                let mut other = recording.clone();
                if alter(&mut other, place).is_none() {
                    continue;
                }
                match other.replay() {
                    Ok(replay) if replay.divergence.is_none() => {
                        let same = story(&replay) == *told;
                        idle += usize::from(same);
                        unseen.extend((!same).then(|| (of.clone(), place)));
                    }
                    Ok(_) | Err(_) => named += 1,
                }
            }
        }
        println!("{name}: named {named} times; {idle} change nothing");
        assert!(named > 0, "{name}: never named; changes nothing {idle} times");
        assert_eq!(unseen, [], "{name}");
    }
}

/// What the first test compares can differ: a changed digest, a recording that is not listed, one
/// that is gone, and one whose story another engine would tell otherwise.
#[test]
fn control_what_is_not_as_listed_is_named() {
    let dir = versions().remove(0);
    let (recordings, listed) = (corpus::recordings(&dir).unwrap(), corpus::listed(&dir).unwrap());
    let names: Vec<String> = recordings.keys().cloned().collect();
    let mut list = listed.clone();
    list.get_mut(&names[0]).unwrap().digest.replace_range(0..1, "x");
    list.remove(&names[1]);
    let mut changed = recordings.clone();
    changed.remove(&names[2]);
    let (name, place) = names[3..]
        .iter()
        .find_map(|name| {
            let recording = &recordings[name];
            Some((name, *results(recording, &recording.replay().unwrap()).first()?))
        })
        .unwrap();
    // With the sums of the changed story, the list alone can tell.
    let mut forged = altered(&recordings[name], place);
    while let Some(found) = forged.replay().unwrap().divergence {
        forged.facts[found.fact].check = found.replayed;
    }
    changed.insert(name.clone(), forged);
    let named: Vec<String> = corpus::differences(&changed, &list).into_keys().collect();
    let mut expected = names[..3].to_vec();
    expected.push(name.clone());
    assert_eq!(named, expected);
}

/// The definition as its author wrote it still means what was recorded, hash and all.
#[test]
fn the_sources_still_come_to_the_recorded_definitions() {
    for dir in versions() {
        for (name, recording) in corpus::recordings(&dir).unwrap() {
            let source = std::fs::read_to_string(dir.join(format!("{name}.yaml"))).unwrap();
            let written = definition::parse(source.split("\n---\n").next().unwrap()).unwrap();
            assert_eq!(written.canonical, recording.definition, "{name}");
            let Fact::Accepted { definition, .. } = &recording.facts[0].fact else {
                panic!("{name}: no acceptance");
            };
            assert_eq!(written.hash, *definition, "{name}");
        }
    }
}

/// What runs do that is hard to get right is in them.
#[test]
fn the_corpus_holds_what_it_is_for() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, recording) in recordings() {
        for record in &recording.facts {
            let kind = match &record.fact {
                Fact::AttemptSettled { outcome: AttemptOutcome::Failed { error }, .. }
                    if ["plugin.trap", "plugin.fuel", "plugin.memory"]
                        .contains(&error.code.as_str()) =>
                {
                    "traps"
                }
                Fact::TimerFired { what, .. } => match what {
                    TimerKind::AttemptTimeout | TimerKind::TotalTimeout | TimerKind::RunTimeout => {
                        "timeouts"
                    }
                    TimerKind::Retry => "retries",
                    TimerKind::Deadline => "deadlines",
                    TimerKind::Grace => "calls given up",
                    TimerKind::Delay
                    | TimerKind::Beat
                    | TimerKind::Poll
                    | TimerKind::Remind
                    | TimerKind::Finally => "other timers",
                },
                Fact::CancelRequested { .. } => "cancellations",
                Fact::Restarted { .. } => "interruptions",
                Fact::Decided { .. } => "approvals",
                Fact::Signalled { .. } => "signals",
                Fact::Message { .. } => "messages",
                Fact::ChildStarted { .. } => "calls of workflows",
                Fact::Continued => "long work",
                Fact::Accepted { .. }
                | Fact::Began
                | Fact::AttemptStarted { .. }
                | Fact::AttemptSettled { .. }
                | Fact::Settled { .. }
                | Fact::Alive
                | Fact::Refused { .. }
                | Fact::Migrated { .. }
                | Fact::Stayed { .. } => continue,
            };
            *seen.entry(kind).or_default() += 1;
        }
        for kind in ["parallel", "foreach", "loop", "compensate", "wait"] {
            let used = recording.definition.contains(&format!("\"{kind}\""));
            *seen.entry(kind).or_default() += usize::from(used);
        }
    }
    println!("{seen:?}");
    for (kind, least) in [
        ("traps", 5),
        ("timeouts", 8),
        ("retries", 20),
        ("deadlines", 3),
        ("calls given up", 1),
        ("cancellations", 4),
        ("interruptions", 10),
        ("approvals", 2),
        ("signals", 3),
        ("messages", 3),
        ("calls of workflows", 3),
        ("long work", 2),
        ("parallel", 8),
        ("foreach", 5),
        ("loop", 3),
        ("compensate", 5),
        ("wait", 3),
    ] {
        let count = seen.get(kind).copied().unwrap_or_default();
        assert!(count >= least, "{kind}: {count} of at least {least}");
    }
}

//! The properties of the machine, on random workflows and random lives.
//!
//! P1 the fold of the journal is the state, whole or cut into snapshot and tail; P2 a crash re-issues what was outstanding, with the
//! same keys; P3 what is repeated or late changes nothing; P4 each step instance settles once,
//! the story is gap-free and every run ends; P5 the order of independent ends does not matter;
//! P6 cancel settles; P7 nothing panics.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::definition::Effects;
use openclaw_protocol::id::{RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{Run, RunEvent, StepPath, StepStatus};
use openclaw_protocol::time::{ClockTrust, Stamp};
use proptest::prelude::*;

use super::generate::{CALLEE, Choices, workflow};
use super::snapshots::check_all;
use super::world::{EPOCH, World, error};
use crate::{AttemptId, AttemptOutcome, Input, Message, StartRequest};

/// One thing in a device's life; numbers choose among what is there.
#[derive(Debug, Clone)]
pub(super) enum Happening {
    Start,
    Ok(u8),
    Fail(u8),
    /// An answer, twice.
    Twice(u8),
    Pass(u32),
    Cancel(u8, bool),
    Signal(u8),
    Decide(u8),
    Message,
    Event,
    Stop,
    Kill,
    PowerCut(u32),
}

pub(super) fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        3 => Just(Happening::Start),
        8 => any::<u8>().prop_map(Happening::Ok),
        3 => any::<u8>().prop_map(Happening::Fail),
        2 => any::<u8>().prop_map(Happening::Twice),
        5 => (0..30_000_u32).prop_map(Happening::Pass),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(run, force)| Happening::Cancel(run, force)),
        1 => any::<u8>().prop_map(Happening::Signal),
        1 => any::<u8>().prop_map(Happening::Decide),
        1 => Just(Happening::Message),
        1 => Just(Happening::Event),
        2 => Just(Happening::Stop),
        1 => Just(Happening::Kill),
        1 => (0..60_000_u32).prop_map(Happening::PowerCut),
    ]
}

fn life() -> impl Strategy<Value = (Vec<u8>, Vec<Happening>)> {
    (prop::collection::vec(any::<u8>(), 0..160), prop::collection::vec(happening(), 1..40))
}

/// The state of all runs, as text.
fn state(world: &World) -> BTreeMap<u64, String> {
    let runs = world.engine.runs.iter();
    runs.map(|(number, held)| (*number, format!("{:?}", held.run))).collect()
}

/// P1: what the facts so far fold to, also those that are not on the disk yet.
pub(super) fn check_fold(world: &World) -> Result<(), TestCaseError> {
    let mut disk = world.disk.clone();
    for (run, record) in world.unsynced.iter().flat_map(|decision| decision.facts.clone()) {
        let journal = disk.runs.entry(run.number().unwrap()).or_insert((run, Vec::new()));
        journal.1.push(record);
    }
    let folded = world.restored_from(&disk);
    let folded: BTreeMap<u64, String> =
        folded.runs.iter().map(|(number, held)| (*number, format!("{:?}", held.run))).collect();
    prop_assert_eq!(folded, state(world));
    Ok(())
}

/// P2: the calls that a clean restart must issue again: those that may be repeated and that
/// nobody has told to stop.
fn outstanding(world: &World) -> BTreeMap<AttemptId, String> {
    let repeatable = world.calls.iter().filter(|call| call.effects != Effects::AtMostOnce);
    let wanted = repeatable.filter(|call| {
        let number = call.attempt.run.number().unwrap();
        world.engine.runs.get(&number).is_some_and(|held| {
            held.run.find(&call.attempt.step).is_some_and(|at| {
                held.run.expects(&at, call.attempt.attempt)
                    && held.run.active(&at).is_some_and(|active| active.closing.is_none())
            })
        })
    });
    wanted.map(|call| (call.attempt.clone(), call.idempotency_key.clone())).collect()
}

fn check_reissue(world: &mut World) -> Result<(), TestCaseError> {
    let before = outstanding(world);
    world.restart(false);
    let after = outstanding(world);
    for (attempt, key) in &before {
        // What ended with the interruption of another step is not wanted any more.
        let number = attempt.run.number().unwrap();
        let gone = world.engine.runs.get(&number).is_none_or(|held| {
            held.run
                .find(&attempt.step)
                .is_none_or(|at| held.run.active(&at).is_none_or(|active| active.closing.is_some()))
        });
        prop_assert!(gone || after.get(attempt) == Some(key), "{:?} was not issued again", attempt);
    }
    Ok(())
}

/// P3: an answer that comes again changes nothing and asks for nothing.
fn check_repeat(world: &mut World, attempt: AttemptId) -> Result<(), TestCaseError> {
    let before = state(world);
    let outcome = AttemptOutcome::Failed { error: error("late") };
    let decision = world.engine.step(Input::Settled { attempt, outcome }, world.now);
    prop_assert!(decision.facts.is_empty() && decision.effects.is_empty());
    prop_assert!(decision.told.is_empty() && !decision.needs_commit);
    prop_assert_eq!(state(world), before);
    Ok(())
}

fn answer(world: &mut World, choice: u8, fails: bool) -> Option<AttemptId> {
    if let Some(attempt) = world.confirms.pop() {
        let outcome = AttemptOutcome::Succeeded { output: JsonText::null(), vars: None };
        world.input("", Input::Settled { attempt: attempt.clone(), outcome });
        return Some(attempt);
    }
    if world.calls.is_empty() {
        return None;
    }
    let call = world.calls.remove(usize::from(choice) % world.calls.len());
    let outcome = if fails {
        AttemptOutcome::Failed { error: error("plugin.error") }
    } else {
        AttemptOutcome::Succeeded { output: JsonText::parse("{\"x\":1}").unwrap(), vars: None }
    };
    world.input("", Input::Settled { attempt: call.attempt.clone(), outcome });
    Some(call.attempt)
}

pub(super) fn live(world: &mut World, happening: &Happening) -> Result<(), TestCaseError> {
    match happening {
        Happening::Start => {
            world.start("{}");
        }
        Happening::Ok(choice) => {
            answer(world, *choice, false);
        }
        Happening::Fail(choice) => {
            answer(world, *choice, true);
        }
        Happening::Twice(choice) => {
            if let Some(attempt) = answer(world, *choice, choice % 2 == 1) {
                settle_down(world);
                check_repeat(world, attempt)?;
            }
            let attempts = world.calls.iter().map(|call| call.attempt.clone());
            for attempt in attempts.collect::<Vec<_>>() {
                let later = attempt.attempt + 1;
                check_repeat(world, AttemptId { attempt: later, ..attempt.clone() })?;
                check_repeat(world, AttemptId { attempt: attempt.attempt - 1, ..attempt })?;
            }
        }
        Happening::Pass(ms) => {
            world.pass(u64::from(*ms));
        }
        Happening::Cancel(choice, force) => {
            let runs: Vec<u64> = world.engine.runs.keys().copied().collect();
            if let Some(number) = runs.get(usize::from(*choice) % runs.len().max(1)) {
                world.cancel(*number, *force);
                settle_down(world);
                // P6: without grace it is over at once.
                prop_assert!(!force || !world.engine.runs.contains_key(number));
            }
        }
        Happening::Signal(choice) => {
            if let Some(run) = some_run(world, *choice) {
                let data = JsonText::parse("1").unwrap();
                let name = "s".to_owned();
                world.input("", Input::Signal { run, name, data, request: None });
            }
        }
        Happening::Decide(choice) => {
            if let Some(run) = some_run(world, *choice) {
                let held = &world.engine.runs[&run.number().unwrap()].run;
                let asking = held.live().map(|(at, _)| at).find(|at| held.is_asking(at));
                let step = asking.map_or_else(|| StepPath("s1".to_owned()), |at| held.path(&at));
                let (choice, by) = ("approve".to_owned(), "me".to_owned());
                let form = JsonText::parse("{}").unwrap();
                world.input("", Input::Decide { run, step, choice, by, form, request: None });
            }
        }
        Happening::Message => {
            let payload = JsonText::parse("1").unwrap();
            let message = Message { topic: "a/b".to_owned(), payload, qos: 0, retained: false };
            world.input("", Input::Message(message));
        }
        Happening::Event => {
            let data = JsonText::parse(r#"{"n":1}"#).unwrap();
            world.input("", Input::Event { name: "e".to_owned(), data });
        }
        Happening::Stop => check_reissue(world)?,
        Happening::Kill => {
            world.restart(true);
        }
        Happening::PowerCut(ms) => {
            world.reboot(u64::from(*ms));
        }
    }
    Ok(())
}

fn some_run(world: &World, choice: u8) -> Option<RunId> {
    let runs: Vec<RunId> =
        world.engine.runs.values().map(|held| held.run.head.id.clone()).collect();
    runs.get(usize::from(choice) % runs.len().max(1)).cloned()
}

/// Lets left-over work go on.
pub(super) fn settle_down(world: &mut World) {
    for _ in 0..100 {
        if world.engine.unfinished.is_empty() && world.engine.moved.is_empty() {
            return;
        }
        world.pass(0);
    }
    panic!("work is always left over");
}

/// P4: from here on all goes well; every run must end.
pub(super) fn finish(world: &mut World) -> Result<(), TestCaseError> {
    for _ in 0..3_000 {
        if world.engine.runs.is_empty() {
            return Ok(());
        }
        if answer(world, 0, false).is_some() {
            continue;
        }
        let due = world.engine.next_deadline();
        prop_assert!(due.is_some(), "waits for nothing: {:?}", state(world));
        let due = due.unwrap().0.max(world.now.boot_ms);
        world.pass(due - world.now.boot_ms);
    }
    prop_assert!(false, "does not end: {:?}", state(world));
    Ok(())
}

/// P4: the story on the disk.
fn check_story(world: &World) -> Result<(), TestCaseError> {
    let mut seqs: BTreeMap<RunId, u32> = BTreeMap::new();
    let mut begun = BTreeSet::new();
    let mut settled = BTreeSet::new();
    let mut over = BTreeSet::new();
    for record in world.events() {
        let seq = seqs.entry(record.run.clone()).or_default();
        *seq += 1;
        prop_assert_eq!(record.seq, *seq, "gap or repetition in {}", record.run);
        prop_assert!(!over.contains(&record.run), "told after the end: {:?}", record);
        let run = record.run.clone();
        match record.event {
            RunEvent::StepQueued { step, .. } | RunEvent::StepStarted { step, .. } => {
                prop_assert!(!settled.contains(&(run.clone(), step.clone())), "{} again", step);
                begun.insert((run, step));
            }
            RunEvent::StepSettled { step, .. } => {
                begun.remove(&(run.clone(), step.clone()));
                prop_assert!(settled.insert((run, step.clone())), "{} settled twice", step);
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
    prop_assert!(begun.is_empty(), "begun and never settled: {:?}", begun);
    prop_assert_eq!(over.len(), seqs.len(), "runs that did not end");
    let results: BTreeSet<u64> = world.results().into_iter().map(|(number, _)| number).collect();
    prop_assert_eq!(results.len(), world.results().len(), "a result twice");
    prop_assert_eq!(results.len(), over.len());
    check_calls(world)?;
    check_shown(world)
}

/// P2: what must not be repeated is not; one step instance has one key, two have two.
fn check_calls(world: &World) -> Result<(), TestCaseError> {
    let mut once = BTreeSet::new();
    let mut keys = BTreeMap::new();
    for (attempt, effects, key) in &world.made {
        if *effects == Effects::AtMostOnce {
            prop_assert!(once.insert(attempt), "{:?} was called twice", attempt);
        }
        let instance = (&attempt.run, &attempt.step);
        prop_assert_eq!(*keys.entry(key).or_insert(instance), instance);
    }
    let instances: BTreeSet<_> = keys.values().collect();
    prop_assert_eq!(instances.len(), keys.len(), "two keys for one step instance");
    Ok(())
}

/// What those who look at the story see in the end is what the result says.
fn check_shown(world: &World) -> Result<(), TestCaseError> {
    let mut shown: BTreeMap<u64, Run> = BTreeMap::new();
    for record in world.events() {
        let number = record.run.number().unwrap();
        let run = shown.entry(number).or_insert_with(|| Run::new(record.run.clone()));
        prop_assert!(run.apply(&record), "refused: {:?}", record);
    }
    for (number, status) in world.results() {
        prop_assert_eq!(shown[&number].status, status);
        let open = shown[&number].steps.iter().filter(|step| {
            matches!(
                step.status,
                StepStatus::Queued
                    | StepStatus::Running
                    | StepStatus::Delayed
                    | StepStatus::Waiting
            )
        });
        prop_assert_eq!(open.count(), 0);
    }
    Ok(())
}

/// Lives it to its end: its story, and all its cuts.
pub(super) fn check_end(world: &mut World) -> Result<(), TestCaseError> {
    finish(world)?;
    world.sync();
    check_story(world)?;
    let cuts = check_all(world, true);
    prop_assert!(cuts.is_ok(), "{}", cuts.unwrap_err());
    Ok(())
}

proptest! {
    #[test]
    fn any_life_of_any_workflow((bytes, happenings) in life()) {
        let text = workflow(&mut Choices::new(&bytes));
        let mut world = World::with(&[&text, CALLEE], 64);
        world.start("{}");
        for happening in &happenings {
            live(&mut world, happening)?;
            settle_down(&mut world);
            check_fold(&world)?;
        }
        check_end(&mut world)?;
    }

    #[test]
    fn few_slots_only_delay((bytes, happenings) in life()) {
        let text = workflow(&mut Choices::new(&bytes));
        let mut world = World::with(&[&text, CALLEE], 1);
        world.start("{}");
        for happening in &happenings {
            if !matches!(happening, Happening::Stop) {
                live(&mut world, happening)?;
                prop_assert!(world.engine.queue().running <= 1);
            }
        }
        finish(&mut world)?;
        world.sync();
        check_story(&world)?;
    }

    #[test]
    fn the_order_of_independent_ends_does_not_matter(order in Just((0..6_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let branches: Vec<String> = (0..6)
            .map(|n| format!("[{{ id: a{n}, plugin: p@1, export: {{ x{n}: '${{ output }}' }} }}]"))
            .collect();
        let text = format!(
            "{{workflow: w, steps: [{{id: p, parallel: {{mode: wait_all, branches: [{}]}}}}], \
             outputs: {{all: {{value: '${{ vars }}'}}, list: {{value: '${{ steps.p.output }}'}}}}}}",
            branches.join(", ")
        );
        let mut world = World::with(&[&text], 64);
        world.start("{}").transcript();
        for n in order {
            world.ok(&format!("p[{n}]/a{n}"), &n.to_string());
        }
        let transcript = world.transcript();
        let expected = r#"Completed {"all":{"x0":0,"x1":1,"x2":2,"x3":3,"x4":4,"x5":5},"list":[0,1,2,3,4,5]}"#;
        prop_assert!(transcript.contains(expected), "{}", transcript);
    }
}

/// P7: inputs that make no sense, clocks that run anyhow.
fn nonsense() -> impl Strategy<Value = (Input, Stamp)> {
    let path = prop_oneof![
        Just(String::new()),
        Just("/".to_owned()),
        Just("s1".to_owned()),
        Just("s1/s2".to_owned()),
        Just("s1#0/s2".to_owned()),
        ".{0,8}",
    ];
    let run = (0..4_u64).prop_map(|number| RunId::of(EPOCH, number));
    let attempt = (run.clone(), path, 0..4_u32).prop_map(|(run, step, attempt)| AttemptId {
        run,
        step: StepPath(step),
        attempt,
    });
    let outcome = prop_oneof![
        "[a-z\\[\\]{}\":0-9]{0,6}".prop_map(|text| {
            let output = JsonText::parse(&text).unwrap_or_else(|_| JsonText::null());
            AttemptOutcome::Succeeded { output, vars: Some(vec![1]) }
        }),
        "[a-z.]{0,12}".prop_map(|code| AttemptOutcome::Failed { error: error(&code) }),
    ];
    let start = Just(Input::Start(StartRequest {
        workflow: WorkflowName::parse("w").unwrap(),
        inputs: JsonText::null(),
        priority: None,
        request: None,
        again: None,
    }));
    let input = prop_oneof![
        3 => start,
        1 => Just(Input::Deploy(Vec::new())),
        6 => (attempt, outcome).prop_map(|(attempt, outcome)| Input::Settled { attempt, outcome }),
        2 => (run, any::<bool>()).prop_map(|(run, force)| Input::Cancel { run, force, request: None }),
        3 => Just(Input::Tick),
        1 => any::<bool>().prop_map(|unclean| Input::Restarted { unclean }),
    ];
    let trust =
        prop_oneof![Just(ClockTrust::Unset), Just(ClockTrust::Estimated), Just(ClockTrust::Synced)];
    let boot_ms = prop_oneof![0..100_000_u64, Just(u64::MAX), any::<u64>()];
    let wall_ms =
        prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>(), 0..4_000_000_000_000_i64];
    let stamp = (0..3_u32, boot_ms, wall_ms, trust)
        .prop_map(|(boot, boot_ms, wall_ms, trust)| Stamp { boot, boot_ms, wall_ms, trust });
    (input, stamp)
}

proptest! {
    #[test]
    fn nothing_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..160),
        inputs in prop::collection::vec(nonsense(), 1..40),
    ) {
        let mut text: serde_json::Value =
            serde_json::from_str(&workflow(&mut Choices::new(&bytes))).unwrap();
        text["triggers"] = serde_json::json!([
            {"id": "i", "interval": "10s"},
            {"id": "c", "cron": {"at": "*/5 * * * *", "tz": "Europe/Berlin", "catch_up": "all"}},
            {"id": "b", "startup": {}},
        ]);
        let mut world = World::with(&[&text.to_string(), CALLEE], 2);
        for (input, stamp) in inputs {
            world.now = stamp;
            world.input("", input);
            let _ = world.engine.next_deadline();
            let _ = world.engine.runs().count();
            let _ = world.engine.queue();
        }
    }
}

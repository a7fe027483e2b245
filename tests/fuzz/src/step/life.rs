//! What happens in a life.

use openclaw_agent_core::{Again, AttemptId, AttemptOutcome, Input, Message, StartRequest};
use openclaw_protocol::definition::Priority;
use openclaw_protocol::id::{RequestId, RunId};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{RunError, StepPath};
use openclaw_protocol::time::ClockTrust;
use serde_json::{Value as Json, json};

use super::world::{EPOCH, MONDAY_MS, World};
use super::{Setup, judge};
use crate::bytes::Bytes;

/// Decisions in which work may be left over before one calls it endless.
const LEFT_OVER: usize = 200;
/// Answers and waits until the last run must have ended.
const ROUNDS: usize = 30_000;
const CODES: [&str; 7] =
    ["plugin.error", "timeout", "user.no", "plugin.trap", "cancelled", "limit.payload", "x"];
const TOPICS: [&str; 4] = ["a/b", "a", "plant/pump-7/vibration", "a/b/c"];

/// One thing happens: four bytes say what.
pub(super) fn live(world: &mut World, bytes: &mut Bytes<'_>, setup: &Setup) {
    let (what, a, b, c) = (bytes.byte(), bytes.byte(), bytes.byte(), bytes.byte());
    match what % 26 {
        0 => start(world, &Json::Null),
        1..=4 => {
            answer(world, a, &succeeded(b));
        }
        5 => {
            answer(world, a, &failed(b, c));
        }
        6 => twice(world, (a, b), setup),
        7 | 8 => world.pass(u64::from(a) * 250),
        9 => {
            world.pass(u64::from(u16::from_le_bytes([a, b])) * [1, 100, 60_000][usize::from(c % 3)])
        }
        10 => cancel(world, a, b % 2 == 1, setup),
        11 => signal(world, a, b),
        12 => decide(world, a, b),
        13 => say(world, (a, b, c)),
        14 => {
            let name = ["e", "link.down", "door", ""][usize::from(a % 4)].to_owned();
            let data = JsonText::of(&json!({"n": b.cast_signed()}));
            world.input(Input::Event { name, data });
        }
        15 => world.restart(false, None, a % 2 == 1),
        16 => world.restart(true, None, a % 2 == 1),
        17 => world.restart(true, Some(u64::from(u16::from_le_bytes([a, b])) * 100), c % 2 == 1),
        18 => nonsense(world, (a, b, c)),
        19 => jump(world, a, b),
        20 if a % 4 == 0 => world.input(Input::Deploy(Vec::new())),
        20 => world.deploy(a % 2 == 1),
        21 if a % 2 == 0 => {
            world.draining = true;
            world.input(Input::Drain);
        }
        21 => world.sync(),
        22 => wish(world, (a, b, c)),
        23 => again(world, a),
        24 => judge::same_when_folded(world),
        _ if setup.wild => anyhow(world, (a, b, c)),
        _ => world.engine.set_agent(JsonText::of(&json!({"id": "edge", "labels": {"n": a}}))),
    }
    settle_down(world, setup);
}

/// Somebody starts a run of the first workflow.
pub(super) fn start(world: &mut World, inputs: &Json) {
    let request = StartRequest {
        workflow: world.workflows[0].name.clone(),
        inputs: JsonText::of(inputs),
        priority: None,
        request: None,
        again: None,
    };
    world.input(Input::Start(request));
}

fn wish(world: &mut World, (a, b, c): (u8, u8, u8)) {
    let name = format!("01890a5d-ac96-774b-bcce-b302099a80{:02x}", a % 8);
    let request = RequestId::parse(&name).ok();
    assert!(request.is_some(), "{name} names a wish");
    let priorities = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
    let of = usize::from(b) % world.workflows.len();
    let inputs = [json!({}), json!({"n": 1}), json!({"device": "press-7"}), json!([1])];
    let wish = StartRequest {
        workflow: world.workflows[of].name.clone(),
        inputs: JsonText::of(&inputs[usize::from(c % 4)]),
        priority: priorities.get(usize::from(c / 4 % 8)).copied(),
        request,
        again: None,
    };
    world.input(Input::Start(wish));
}

/// A failed run is done again, from where it failed.
fn again(world: &mut World, a: u8) {
    let failed: Vec<RunId> = world.engine.failed_runs().map(|failed| failed.run.clone()).collect();
    let Some(of) = failed.get(usize::from(a) % failed.len().max(1)) else { return };
    // Lost with the crash that came before its commit, or refused before it was one.
    let Some(replay) = judge::replay(world, of) else { return };
    let request = StartRequest {
        workflow: world.workflows[0].name.clone(),
        inputs: JsonText::null(),
        priority: None,
        request: None,
        again: Some(Again { of: of.clone(), given: replay.results }),
    };
    world.input(Input::Start(request));
}

fn succeeded(b: u8) -> AttemptOutcome {
    let long = "x".repeat(70_000);
    let output = match b % 8 {
        0..=3 => json!({"x": 1}),
        4 => Json::Null,
        5 => json!([b, 1.0]),
        6 => json!({"celsius": 90.5, "vibration_mm_s": 9}),
        _ if b > 250 => json!(long),
        _ => json!("text"),
    };
    let vars = (b > 200).then(|| vec![b; 3]);
    AttemptOutcome::Succeeded { output: JsonText::of(&output), vars }
}

fn failed(b: u8, c: u8) -> AttemptOutcome {
    let code = CODES[usize::from(b) % CODES.len()];
    let error = RunError { retryable: !c.is_multiple_of(4), ..RunError::new(code, "it did not work") };
    AttemptOutcome::Failed { error }
}

/// A worker or the broker answers.
fn answer(world: &mut World, choice: u8, outcome: &AttemptOutcome) -> Option<AttemptId> {
    let (attempt, outcome) = if let Some(attempt) = world.confirms.pop() {
        (attempt, AttemptOutcome::Succeeded { output: JsonText::null(), vars: None })
    } else if world.calls.is_empty() {
        return None;
    } else {
        let call = world.calls.remove(usize::from(choice) % world.calls.len());
        (call.attempt, outcome.clone())
    };
    world.input(Input::Settled { attempt: attempt.clone(), outcome });
    Some(attempt)
}

/// An answer comes twice: the second time it is nothing.
fn twice(world: &mut World, (a, b): (u8, u8), setup: &Setup) {
    let first = if b % 2 == 1 { failed(b, b) } else { succeeded(b) };
    let Some(attempt) = answer(world, a, &first) else { return };
    settle_down(world, setup);
    let outcome = AttemptOutcome::Failed { error: RunError::new("late", "it comes late") };
    let decision = world.engine.step(Input::Settled { attempt, outcome }, world.now);
    // With triggers, or at the end of all time, the same moment may set something else off.
    if !setup.triggers && setup.made && !setup.wild {
        assert!(decision.facts.is_empty() && decision.effects.is_empty(), "{decision:?}");
        assert!(decision.told.is_empty() && !decision.needs_commit, "{decision:?}");
    }
    world.perform(decision);
}

fn cancel(world: &mut World, choice: u8, force: bool, setup: &Setup) {
    let live = world.live();
    let Some(run) = live.get(usize::from(choice) % live.len().max(1)) else { return };
    world.input(Input::Cancel { run: run.clone(), force, request: None });
    settle_down(world, setup);
    // Without grace it is over at once.
    assert!(!force || !world.live().contains(run), "{run} outlives its end");
}

fn signal(world: &mut World, a: u8, b: u8) {
    let live = world.live();
    let stranger = RunId::of(EPOCH, 9_999);
    let run = live.get(usize::from(a) % (live.len() + 1)).unwrap_or(&stranger).clone();
    let name = ["s", "x", "stop"][usize::from(b % 3)].to_owned();
    let data = JsonText::of(&json!(b));
    world.input(Input::Signal { run, name, data, request: None });
}

/// Somebody answers an approval; most often one that is asked for.
fn decide(world: &mut World, a: u8, b: u8) {
    let live = world.live();
    let Some(run) = live.get(usize::from(a) % live.len().max(1)).cloned() else { return };
    let asked = judge::asking(world, &run);
    let step = asked.get(usize::from(b / 16) % (asked.len() + 1));
    let step = step.cloned().unwrap_or_else(|| StepPath("s1".to_owned()));
    let choices = ["approve", "reject", "maybe", "stop", "continue"];
    let choice = choices[usize::from(b % 16) % choices.len()].to_owned();
    let (by, form) = ("me".to_owned(), JsonText::of(&json!({})));
    world.input(Input::Decide { run, step, choice, by, form, request: None });
}

fn say(world: &mut World, (a, b, c): (u8, u8, u8)) {
    // What is subscribed to now and then, with its wildcards filled in.
    let wanted: Vec<String> = world.engine.subscriptions().into_iter().map(|one| one.0).collect();
    let topic = match wanted.get(usize::from(a / 8)) {
        Some(filter) => filter.replace(['+', '#'], "x"),
        None => TOPICS[usize::from(a) % TOPICS.len()].to_owned(),
    };
    let payloads = [json!(b.cast_signed()), json!("on"), json!({"value": b}), Json::Null];
    let payload = JsonText::of(&payloads[usize::from(c % 4)]);
    world.input(Input::Message(Message { topic, payload, qos: c % 2, retained: c / 4 % 2 == 1 }));
}

/// An answer to something that nobody asked, or not like this.
fn nonsense(world: &mut World, (a, b, c): (u8, u8, u8)) {
    let asked = world.calls.get(usize::from(a) % world.calls.len().max(1));
    let paths =
        ["", "/", "s1", "s1/s2", "s1#0/s2", "s1[0]/s2", "s1#4294967295/s2", "é", "s1~", "#"];
    let attempt = match asked {
        Some(task) if b % 4 == 0 => AttemptId {
            attempt: task.attempt.attempt.wrapping_add(c.into()),
            ..task.attempt.clone()
        },
        Some(task) if b % 4 == 1 => {
            AttemptId { step: StepPath(format!("{}/x", task.attempt.step)), ..task.attempt.clone() }
        }
        _ => AttemptId {
            run: RunId::of(EPOCH, u64::from(a % 8)),
            step: StepPath(paths[usize::from(b / 4) % paths.len()].to_owned()),
            attempt: (c % 4).into(),
        },
    };
    // A worker that was told to run exactly this one will answer once more.
    world.calls.retain(|call| call.attempt != attempt);
    let outcome = if c >= 128 { failed(b, c) } else { succeeded(b) };
    world.input(Input::Settled { attempt, outcome });
}

/// The wall clock steps, or is believed more or less.
fn jump(world: &mut World, a: u8, b: u8) {
    let by = [-86_400_000, -3_600_000, 3_600_000, 86_400_000, 31 * 86_400_000, 500];
    let by = by[usize::from(a) % by.len()] * i64::from(b % 4);
    world.now.wall_ms = world.now.wall_ms.saturating_add(by);
    world.now.trust = trust(b / 4);
    world.input(Input::Tick);
}

fn trust(choice: u8) -> ClockTrust {
    [ClockTrust::Synced, ClockTrust::Estimated, ClockTrust::Unset][usize::from(choice % 3)]
}

/// Clocks that no device has.
fn anyhow(world: &mut World, (a, b, c): (u8, u8, u8)) {
    let boots = [0, 1, 5, 60_000, u64::MAX / 2, u64::MAX - 1, u64::MAX];
    let walls = [i64::MIN, i64::MIN + 1, -1, 0, MONDAY_MS, 253_402_300_799_999, i64::MAX];
    world.now.boot = u32::from(c % 4);
    world.now.boot_ms = boots[usize::from(a) % boots.len()];
    world.now.wall_ms = walls[usize::from(b) % walls.len()];
    world.now.trust = trust(c / 4);
    let unclean = c >= 128;
    world.input(if c % 8 == 7 { Input::Restarted { unclean } } else { Input::Tick });
}

/// Lets work that was left over go on. What triggers set off again and again may not come to rest.
fn settle_down(world: &mut World, setup: &Setup) {
    for _ in 0..LEFT_OVER {
        let reason = world.engine.next_deadline().map(|(_, reason)| reason);
        if reason != Some("work left over") {
            return;
        }
        world.input(Input::Tick);
    }
    assert!(setup.triggers || !setup.made, "work is always left over");
}

/// From here on all goes well, and every run must end. Where waits need not end by themselves,
/// people end them.
pub(super) fn end(world: &mut World, setup: &Setup) {
    world.deploy(false);
    if world.draining {
        world.restart(false, None, true);
        world.deploy(false);
    }
    if setup.wild || !setup.made {
        end_by_force(world, setup);
    } else {
        world.now.trust = ClockTrust::Synced;
        world.now.wall_ms = world.now.wall_ms.max(MONDAY_MS + 3_600_000);
        end_well(world);
    }
    world.sync();
}

fn end_well(world: &mut World) {
    for _ in 0..ROUNDS {
        if world.engine.runs().next().is_none() {
            return;
        }
        if answer(world, 0, &succeeded(0)).is_some() {
            continue;
        }
        let due = world.engine.next_deadline();
        let Some((due_ms, _)) = due else { panic!("waits for nothing: {:?}", summaries(world)) };
        world.pass(due_ms.saturating_sub(world.now.boot_ms));
    }
    panic!("does not end: {:?}", summaries(world));
}

fn end_by_force(world: &mut World, setup: &Setup) {
    // Whoever waits for a turn begins when another ends.
    for _ in 0..ROUNDS {
        let Some(run) = world.live().first().cloned() else { return };
        world.input(Input::Cancel { run, force: true, request: None });
        settle_down(world, setup);
    }
    panic!("does not end: {:?}", summaries(world));
}

fn summaries(world: &World) -> Vec<openclaw_agent_core::RunSummary> {
    world.engine.runs().collect()
}

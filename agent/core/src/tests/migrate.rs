//! `on_update: migrate`: what goes on with another definition, and what stays, and why.

use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{Run, RunStatus};

use super::snapshots::check_all;
use super::world::{deployed, workflow};
use super::{World, minutes, seconds};
use crate::replay::{RECORDING_MIGRATED, Recording};
use crate::{Fact, Input};

/// A document of these steps and other keys, of a version.
fn version(label: &str, more: &str, steps: &str) -> String {
    format!("{{workflow: w, version: {label}, on_update: migrate, {more} steps: [{steps}]}}")
}

/// Another definition comes into force; those before are still known.
fn update(world: &mut World, text: &str) -> String {
    world.transcript();
    world.workflows.push(workflow(text));
    let all = world.workflows.iter().map(deployed).collect();
    world.input("update", Input::Deploy(all));
    world.transcript()
}

/// What becomes of a run that stands after `go` when this comes into force: nothing, or why it stays.
fn outcome(steps: &str, go: impl Fn(&mut World), newer: &str) -> Result<World, String> {
    outcome_of(&version("v1", "", steps), go, &version("v2", "", newer))
}

fn outcome_of(text: &str, go: impl Fn(&mut World), newer: &str) -> Result<World, String> {
    let mut world = World::new(text);
    world.start("{}");
    go(&mut world);
    let told = update(&mut world, newer);
    if told.contains("Migrated v2") {
        return Ok(world);
    }
    let (_, why) = told.split_once("Stayed, not v2: ").unwrap_or_else(|| panic!("{told}"));
    Err(why.lines().next().unwrap().to_owned())
}

/// Every journal is cut anywhere and folded, and replays to the same story.
fn replays(world: &World) {
    check_all(world, true).unwrap();
    for (run, facts) in world.disk.runs.values() {
        let text = |hash: &DefinitionHash| {
            let found = world.workflows.iter().find(|one| one.hash == *hash).unwrap();
            found.canonical.clone()
        };
        let Fact::Accepted { definition, .. } = &facts[0].fact else { panic!("no acceptance") };
        let migrated = facts.iter().filter_map(|record| {
            let Fact::Migrated { definition, .. } = &record.fact else { return None };
            Some(text(definition))
        });
        let mut recording = Recording {
            recording: 0,
            agent: String::new(),
            tzdb: String::new(),
            run: run.clone(),
            seed: 1,
            definition: text(definition),
            migrated: migrated.collect(),
            snapshot: None,
            facts: facts.clone(),
            tapes: Vec::new(),
        };
        recording.recording = recording.format();
        let json = serde_json::to_string(&recording).unwrap();
        let recording: Recording = serde_json::from_str(&json).unwrap();
        let replay = recording.replay().unwrap();
        assert!(replay.divergence.is_none(), "{:?}", replay.divergence);
        let events = world.events();
        let told: Vec<_> = events.iter().filter(|event| event.run == *run).collect();
        assert!(told.into_iter().eq(replay.events.iter().map(|(_, event)| event)));
        if recording.migrated.is_empty() {
            continue;
        }
        assert_eq!(recording.recording, RECORDING_MIGRATED);
        let without = Recording { migrated: Vec::new(), recording: 1, ..recording };
        assert!(without.replay().is_err(), "a definition is missing");
    }
}

const A: &str = "{id: a, plugin: p@1}, ";
const B: &str = "{id: b, plugin: p@1}, ";

fn after_a(world: &mut World) {
    world.ok("a", "1");
}

#[test]
fn what_has_not_been_reached_may_be_another() {
    let steps = format!("{A}{B}{{id: c, plugin: p@1}}");
    let newer = format!(
        "{A}{B}{{id: d, plugin: q@2, with: {{n: '${{ steps.a.output }}'}}}}, {{id: e, set: {{x: 1}}}}"
    );
    let mut world = outcome(&steps, after_a, &newer).unwrap();
    world.ok("b", "2");
    assert_eq!(world.calls[0].attempt.step.0, "d");
    assert_eq!(world.calls[0].input.as_str(), "{\"n\":1}", "of a result from before");
    world.restart(true);
    world.ok("d", "3");
    assert_eq!(world.results(), [(1, RunStatus::Completed)]);
    replays(&world);
    let shown = Run::from_events(&world.events()).unwrap();
    assert_eq!((shown.version.as_str(), &shown.stayed), ("v2", &None));
    assert_eq!(shown.definition, world.workflows[1].hash.0);
    let crate::Told::Result(result) =
        world.disk.told.iter().find(|told| matches!(told, crate::Told::Result(_))).unwrap()
    else {
        unreachable!()
    };
    assert_eq!(result.version, "v2");
}

#[test]
fn it_is_asked_once_whatever_restarts() {
    let steps = format!("{A}{B}{{id: c, delay: 1h}}");
    // It goes on, and the second time there is nothing to say.
    let mut world = outcome(&steps, after_a, &format!("{A}{B}{{id: c, delay: 2h}}")).unwrap();
    world.deploy();
    world.restart(true);
    let count = |world: &World, migrated: bool| {
        let facts = world.disk.runs.values().flat_map(|(_, facts)| facts);
        facts
            .filter(|record| {
                if migrated {
                    matches!(record.fact, Fact::Migrated { .. })
                } else {
                    matches!(record.fact, Fact::Stayed { .. })
                }
            })
            .count()
    };
    assert_eq!((count(&world, true), count(&world, false)), (1, 0));
    // A third definition, and then one that it stays with.
    let told = update(&mut world, &version("v3", "", &format!("{A}{B}{{id: c, delay: 3h}}")));
    assert!(told.contains("Migrated v3"), "{told}");
    let told = update(&mut world, &version("v4", "", &format!("{B}{{id: c, delay: 3h}}")));
    assert!(told.contains("Stayed, not v4: `a` has begun, and is gone"), "{told}");
    world.deploy();
    world.restart(true);
    assert_eq!((count(&world, true), count(&world, false)), (2, 1));
    let shown = Run::from_events(&world.events()).unwrap();
    assert_eq!(shown.version, "v3");
    let stayed = shown.stayed.unwrap();
    assert_eq!(
        (stayed.version.as_str(), stayed.reason.as_str()),
        ("v4", "`a` has begun, and is gone")
    );
    world.ok("b", "1").sleep(minutes(60 * 3 + 1));
    assert_eq!(world.results(), [(1, RunStatus::Completed)]);
    replays(&world);
}

#[test]
fn what_comes_into_force_while_the_agent_is_down_counts_too() {
    let mut world = World::new(&version("v1", "", &format!("{A}{{id: b, delay: 10s}}")));
    world.start("{}");
    world.sync();
    world.lose();
    world.workflows.push(workflow(&version("v2", "", &format!("{A}{{id: b, delay: 20s}}"))));
    world.revive(true);
    world.ok("a", "1").sleep(seconds(15));
    assert!(world.results().is_empty());
    world.sleep(seconds(5));
    assert_eq!(world.results(), [(1, RunStatus::Completed)]);
    replays(&world);
}

#[test]
fn what_has_been_must_be_there() {
    let steps = format!("{A}{B}{{id: c, plugin: p@1}}");
    for (newer, why) in [
        (format!("{B}{{id: c, plugin: p@1}}"), "`a` has begun, and is gone"),
        (
            format!("{{id: a, set: {{x: 1}}}}, {B}"),
            "`a` has begun, and is of another kind or somewhere else",
        ),
        (
            format!("{{id: s, sequence: [{A}]}}, {B}"),
            "`a` has begun, and is of another kind or somewhere else",
        ),
        (format!("{A}{{id: x, delay: 1}}, {B}"), "`a` has settled, and leads to other steps"),
        (format!("{A}{{id: x, delay: 1}}"), "`a` has settled, and leads to other steps"),
        (
            format!("{A}{{id: b, plugin: p@1, with: {{n: 1}}}}"),
            "`b` is under way, and is written otherwise",
        ),
        (
            format!("{A}{{id: b, plugin: p@1, timeout: 1s}}"),
            "`b` is under way, and is written otherwise",
        ),
        (format!("{A}{{id: b, plugin: p@2}}"), "`b` is under way, and is written otherwise"),
        (
            format!("{{id: a, plugin: p@1, compensate: [{{id: u, plugin: p@1}}]}}, {B}"),
            "`a` has settled, and only one of the two definitions undoes it",
        ),
    ] {
        let found = outcome(&steps, after_a, &newer).map(|_| ()).unwrap_err();
        assert_eq!(found, why, "{newer}");
    }
    // What is said of `a` beside does not matter any more, nor what becomes of `b` once it is there.
    let newer = "{id: a, name: first, plugin: p@1, with: {n: 2}, retry: none}, \
                 {id: b, plugin: p@1, export: {x: '${ output }'}, continue_on_error: true}";
    outcome(&steps, after_a, newer).unwrap();
}

#[test]
fn a_join_that_could_run_already_is_noticed() {
    let graph = |more: &str, join: &str| {
        format!(
            "{{id: a, start: true, plugin: p@1, next_steps: [j]}}, \
             {{id: b, start: true, plugin: p@1, next_steps: [c]}}, \
             {{id: c, delay: 1, next_steps: [{more}]}}, {{id: j, join: {join}, plugin: p@1}}"
        )
    };
    let steps = graph("j", "all");
    // It waits for `c`; without that edge nothing would let it begin.
    let why = outcome(&steps, after_a, &graph("", "all")).map(|_| ()).unwrap_err();
    assert_eq!(why, "what leads to `j` has been decided already");
    let why = outcome(&steps, after_a, &graph("j", "any")).map(|_| ()).unwrap_err();
    assert_eq!(why, "what leads to `j` has been decided already");
    let mut world = outcome(&steps, after_a, &graph("j", "every")).unwrap();
    world.ok("b", "1").sleep(seconds(2));
    world.ok("j", "1");
    assert_eq!(world.results(), [(1, RunStatus::Completed)]);
    // A second beginning would never begin.
    let newer = format!("{}, {{id: z, start: true, delay: 1}}", graph("j", "all"));
    let why = outcome(&steps, after_a, &newer).map(|_| ()).unwrap_err();
    assert_eq!(why, "what leads to `z` has been decided already");
}

#[test]
fn what_runs_its_steps_several_times_keeps_all_of_them() {
    let each = |body: &str| {
        format!(
            "{{id: e, foreach: {{in: [1, 2], collect: item}}, do: [{{id: s, plugin: p@1}}{body}]}}"
        )
    };
    let go = |world: &mut World| {
        world.ok("e#0/s", "1").ok("e#0/t", "1");
    };
    let why = outcome(&each(", {id: t, plugin: p@1}"), go, &each("")).map(|_| ()).unwrap_err();
    assert_eq!(why, "`t` has begun, and is gone");
    let newer = each(", {id: t, plugin: p@1}, {id: u, plugin: p@1}");
    let mut world = outcome(&each(", {id: t, plugin: p@1}"), go, &newer).unwrap();
    world.ok("e#1/s", "1").ok("e#1/t", "2").ok("e#1/u", "3");
    assert_eq!(world.results(), [(1, RunStatus::Completed)]);
    replays(&world);

    let both = |names: [&str; 2]| {
        let branch = |name: &str| format!("{name}: [{{id: {name}{name}, plugin: p@1}}]");
        format!("{{id: p, parallel: {{branches: {{{}, {}}}}}}}", branch(names[0]), branch(names[1]))
    };
    let go = |world: &mut World| {
        world.ok("p[x]/xx", "1");
    };
    let why = outcome(&both(["x", "y"]), go, &both(["x", "z"])).map(|_| ()).unwrap_err();
    assert_eq!(why, "`p` is under way, and is written otherwise");
    outcome(&both(["x", "y"]), go, &format!("{}, {B}", both(["x", "y"]))).unwrap();

    let repeat =
        |body: &str| format!("{{id: l, loop: {{times: 3}}, do: [{{id: s, plugin: p@1}}{body}]}}");
    let go = |world: &mut World| {
        world.ok("l#0/s", "1");
    };
    let mut world =
        outcome(&repeat(""), go, &repeat(", {id: t, set: {n: '${ loop.index }'}}")).unwrap();
    world.ok("l#1/s", "1").ok("l#2/s", "1");
    assert_eq!(world.results(), [(1, RunStatus::Completed)]);
    replays(&world);
}

#[test]
fn a_run_as_a_whole() {
    let both = |one: &str, other: &str, steps: &str| {
        let go = |_: &mut World| {};
        outcome_of(&version("v1", one, steps), go, &version("v2", other, steps))
    };
    let b = "{id: b, plugin: p@1}, {id: c, delay: 1}";
    for (one, other, why) in [
        ("", "timeout: 1h,", "its `timeout` is another one, and has begun to count"),
        ("", "concurrency_key: trigger.id,", "its `concurrency_key` is another one"),
        ("", "inputs: {n: {type: integer}},", "its inputs do not fit: "),
    ] {
        let found = both(one, other, b).map(|_| ()).unwrap_err();
        assert!(found.starts_with(why), "{found}");
    }
    // The lane it is in is the lane it would be in after a restart.
    let keyed = |more: &str| format!("concurrency_key: inputs, inputs: {{{more}}},");
    let (one, other) = (
        keyed("m: {type: integer, default: 1}"),
        keyed("m: {type: integer, default: 1}, n: {type: integer, default: 7}"),
    );
    let found = both(&one, &other, b).map(|_| ()).unwrap_err();
    assert!(found.starts_with("its `concurrency_key` has another value"), "{found}");
    let same = keyed("m: {type: integer, default: 2}");
    both(&one, &same, b).unwrap().restart(true);
    // New inputs and variables begin with what is written of them.
    let more = "inputs: {n: {type: integer, default: 7}}, vars: {m: 8}, \
                outputs: {n: '${ inputs.n + vars.m }'},";
    let mut world = both("", more, b).unwrap();
    world.restart(true);
    world.ok("b", "1");
    world.transcript();
    world.pass(seconds(1));
    let told = world.transcript();
    assert!(told.contains("Completed {\"n\":15}"), "{told}");
    replays(&world);
    // What waits for its turn has no past.
    let mut world = World::new(&version("v1", "", B));
    world.start("{}").start("{}");
    let told = update(&mut world, &version("v2", "timeout: 1h,", "{id: z, plugin: p@1}"));
    assert!(told.contains("Stayed") && told.contains("Migrated"), "{told}");
    world.ok("b", "1").ok("z", "1");
    assert_eq!(world.results().len(), 2);
    replays(&world);
}

#[test]
fn who_is_called_or_about_to_end_stays() {
    let caller = "{workflow: caller, steps: [{id: c, call: w}]}";
    let mut world = World::with(&[caller, &version("v1", "", B)], 4);
    world.start("{}");
    let told = update(&mut world, &version("v2", "", &format!("{B}{{id: c, delay: 1}}")));
    assert!(told.contains("was promised the definition that it began with"), "{told}");
    world.ok("b", "1");
    assert_eq!(world.results().len(), 2, "both have ended");

    let mut world = World::new(&version("v1", "", B));
    world.start("{}").cancel(1, false);
    let told = update(&mut world, &version("v2", "", &format!("{B}{{id: c, delay: 1}}")));
    assert!(!told.contains("Stayed") && !told.contains("Migrated"), "{told}");
}

#[test]
fn what_undoes_and_what_follows_a_failure_is_that_of_the_other() {
    let steps = |undo: &str, last: &str| {
        format!(
            "{{id: a, plugin: p@1, compensate: [{{id: u, plugin: {undo}}}]}}, {B}\
             {{id: f, fail: {{code: user.no}}}}], on_failure: [{{id: {last}, plugin: p@1}}"
        )
    };
    let mut world = outcome(&steps("p@1", "x"), after_a, &steps("q@1", "y")).unwrap();
    world.ok("b", "1");
    assert_eq!(world.calls[0].pin.name.as_str(), "q");
    world.ok("a[undo]/u", "1").ok("y", "1");
    assert_eq!(world.results(), [(1, RunStatus::Failed)]);
    replays(&world);
}

#[test]
fn what_waits_for_a_slot_keeps_its_place() {
    let one = version("v1", "mode: parallel,", "{id: x, plugin: p@1}, {id: a, plugin: p@1}");
    let mut world = World::with(&[&one], 1);
    world.start("{}").start("{}").start("{}");
    assert_eq!(world.engine.queue().waiting, 2);
    // The steps have other places in this document.
    let newer = "{id: x, plugin: p@1}, {id: n, plugin: p@1}], finally: [{id: z, set: {k: 1}}";
    let told = update(&mut world, &version("v2", "mode: parallel,", newer));
    assert_eq!(told.matches("Migrated").count(), 3, "{told}");
    assert_eq!(world.engine.queue().waiting, 2);
    for n in 1..=3 {
        assert_eq!(world.calls[0].attempt.run.number(), Some(n));
        let attempt = world.calls.remove(0).attempt;
        let output = JsonText::null();
        let outcome = crate::AttemptOutcome::Succeeded { output, vars: None };
        world.input("", Input::Settled { attempt, outcome });
    }
}

#[test]
fn a_wait_an_approval_and_what_they_have_heard_go_on() {
    let steps = "{id: ask, approval: {prompt: really?, remind: 1h}}, {id: w, wait: {signal: s}}, ";
    let go = |world: &mut World| {
        let run = world.engine.runs[&1].run.head.id.clone();
        let (name, data) = ("s".to_owned(), JsonText::null());
        world.input("", Input::Signal { run, name, data, request: None });
    };
    let newer = format!("{steps}{B}");
    let mut world = outcome(steps, go, &newer).unwrap();
    let run = world.engine.runs[&1].run.head.id.clone();
    let step = openclaw_protocol::run::StepPath("ask".to_owned());
    let (choice, by) = ("approve".to_owned(), "me".to_owned());
    let form = JsonText::parse("{}").unwrap();
    world.input("", Input::Decide { run, step, choice, by, form, request: None });
    world.ok("b", "1");
    assert_eq!(world.results(), [(1, RunStatus::Completed)]);
    replays(&world);
    let newer = steps.replace("really?", "sure?");
    let why = outcome(steps, go, &newer).map(|_| ()).unwrap_err();
    assert_eq!(why, "`ask` is under way, and is written otherwise");
}

#[test]
fn the_plugin_of_a_call_under_way_must_be_the_same() {
    let steps = format!("{A}{{id: c, delay: 1}}");
    let mut world = World::new(&version("v1", "", &steps));
    world.start("{}").transcript();
    let newer = workflow(&version("v2", "", &format!("{steps}, {B}")));
    let mut other = deployed(&newer);
    other.pins = other
        .pins
        .iter()
        .map(|(name, pin)| {
            let mut pin = (**pin).clone();
            pin.version = "1.0.1".to_owned();
            (name.clone(), std::sync::Arc::new(pin))
        })
        .collect();
    world.workflows.push(newer);
    world.input("update", Input::Deploy(vec![other]));
    let told = world.transcript();
    assert!(told.contains("`a` is under way, and its plugin is of another version"), "{told}");
    world.ok("a", "1");
}

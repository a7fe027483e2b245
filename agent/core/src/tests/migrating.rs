//! Random lives in which other definitions come into force: small edits of the one before. Wherever
//! the checker says that a run can go on, all properties of the machine hold afterwards, and what
//! had settled before has kept its result.

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_protocol::definition::parse;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::RunEvent;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde_json::{Value as Json, json};

use super::generate::{CALLEE, Choices, workflow};
use super::properties::{Happening, check_end, check_fold, finish, happening, live, settle_down};
use super::world::{World, workflow as read};
use crate::migrate::{Onward, check};
use crate::plan::Plan;
use crate::{Fact, FactRecord};

/// Where lists of steps are in a document.
fn lists(value: &Json, at: String, found: &mut Vec<String>) {
    match value {
        Json::Array(items) => {
            if items.first().is_some_and(|item| item.get("id").is_some()) {
                found.push(at.clone());
            }
            for (n, item) in items.iter().enumerate() {
                lists(item, format!("{at}/{n}"), found);
            }
        }
        Json::Object(entries) => {
            entries.iter().for_each(|(key, value)| lists(value, format!("{at}/{key}"), found));
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

/// One small edit. What comes of it need not be a workflow.
fn edit(document: &mut Json, choices: &mut Choices<'_>, fresh: usize) {
    let mut all = Vec::new();
    lists(document, String::new(), &mut all);
    // Edits of the outermost steps are those that most often leave the past alone.
    let list = match choices.below(2) {
        0 => "/steps".to_owned(),
        _ => all[usize::from(choices.below(u8::try_from(all.len()).unwrap()))].clone(),
    };
    let steps = document.pointer_mut(&list).unwrap().as_array_mut().unwrap();
    let count = u8::try_from(steps.len()).unwrap();
    let at = usize::from(choices.below(count));
    let is_graph = steps.iter().any(|step| step.get("next_steps").is_some());
    let id = format!("x{fresh}");
    match choices.below(14) {
        0 | 1 => {
            if let Some(next) = steps[at].get_mut("next_steps").filter(|_| is_graph) {
                next.as_array_mut().unwrap().push(json!(id));
            }
            steps.push(json!({"id": id, "plugin": "q@1", "with": {"n": "${ vars.n }"}}));
        }
        2 => steps.insert(at, json!({"id": id, "set": {"n": "${ vars.n + 2 }"}})),
        3 => drop(steps.remove(at)),
        4 => steps[at]["id"] = json!(id),
        5 => steps.swap(0, at),
        6 => steps[at]["name"] = json!("another"),
        7 => steps[at]["export"] = json!({"n": "${ vars.n + 3 }"}),
        8 => steps[at]["compensate"] = json!([{"id": id, "plugin": "p@1"}]),
        9 => drop(steps[at].as_object_mut().unwrap().remove("compensate")),
        10 => steps[at]["join"] = json!(["all", "every", "any"][usize::from(choices.below(3))]),
        11 => {
            document["vars"][format!("v{fresh}")] = json!(fresh);
            document["outputs"][format!("v{fresh}")] =
                json!({"value": format!("${{ vars.v{fresh} }}")});
        }
        12 => document["finally"] = json!([{"id": id, "plugin": "p@1"}]),
        _ => document["on_failure"] = json!([{"id": id, "set": {"n": 0}}]),
    }
}

/// What each run knows of its steps: status, output and attempts by view and id.
fn known(world: &World) -> BTreeMap<u64, Vec<String>> {
    let runs = world.engine.runs.iter().map(|(number, held)| {
        let run = &held.run;
        let results = run.views.iter().flat_map(|(view, seen)| {
            let id = |ix| run.plan.step(ix).id.to_string();
            seen.results().map(move |(ix, result)| format!("{view} {} {result:?}", id(ix)))
        });
        let mut results: Vec<String> = results.collect();
        results.sort();
        (*number, results)
    });
    runs.collect()
}

/// Another definition comes into force, if the edit has made one.
fn update(
    world: &mut World,
    document: &mut Json,
    choices: &mut Choices<'_>,
    fresh: usize,
) -> Result<(), TestCaseError> {
    let mut edited = document.clone();
    edit(&mut edited, choices, fresh);
    edited["on_update"] = json!("migrate");
    edited["version"] = json!(format!("v{fresh}"));
    let text = edited.to_string();
    if parse(&text).is_err() {
        return Ok(());
    }
    *document = edited;
    let before = known(world);
    world.workflows.push(read(&text));
    world.deploy();
    let after = known(world);
    for (number, results) in after {
        let new = world.engine.runs[&number].run.head.accepted == world.now;
        prop_assert!(new || before.get(&number) == Some(&results), "run {number} knows otherwise");
    }
    Ok(())
}

/// A life with updates in it. How many runs went on with another definition, and how many stayed.
fn lived(bytes: &[u8], happenings: &[Happening]) -> Result<(usize, usize), TestCaseError> {
    let mut choices = Choices::new(bytes);
    let text = workflow(&mut choices);
    let mut document: Json = serde_json::from_str(&text).unwrap();
    let mut world = World::with(&[&text, CALLEE], 64);
    world.start("{}");
    settle_down(&mut world);
    for (fresh, happening) in happenings.iter().enumerate() {
        if choices.below(3) == 0 {
            update(&mut world, &mut document, &mut choices, fresh)?;
            settle_down(&mut world);
            check_fold(&world)?;
        }
        live(&mut world, happening)?;
        settle_down(&mut world);
        check_fold(&world)?;
    }
    check_end(&mut world)?;
    let count = |wanted: fn(&Fact) -> bool| {
        let facts = world.disk.runs.values().flat_map(|(_, facts)| facts);
        facts.filter(|record| wanted(&record.fact)).count()
    };
    let told = world.events();
    let told = told.iter().filter(|event| matches!(event.event, RunEvent::Migrated { .. })).count();
    let migrated = count(|fact| matches!(fact, Fact::Migrated { .. }));
    prop_assert_eq!(told, migrated);
    Ok((migrated, count(|fact| matches!(fact, Fact::Stayed { .. }))))
}

proptest! {
    #[test]
    fn whoever_goes_on_with_another_definition_goes_on_well(
        bytes in prop::collection::vec(any::<u8>(), 40..240),
        happenings in prop::collection::vec(happening(), 1..14),
    ) {
        lived(&bytes, &happenings)?;
    }
}

/// The property above says something: both answers are common.
#[test]
fn many_go_on_and_many_stay() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let lives =
        (prop::collection::vec(any::<u8>(), 40..240), prop::collection::vec(happening(), 1..14));
    let (mut migrated, mut stayed) = (0, 0);
    for _ in 0..150 {
        let (bytes, happenings) = lives.new_tree(&mut runner).unwrap().current();
        let (some, others) = lived(&bytes, &happenings).unwrap();
        migrated += some;
        stayed += others;
    }
    println!("{migrated} went on, {stayed} stayed");
    assert!(migrated >= 100 && stayed >= 50, "{migrated} went on, {stayed} stayed");
}

/// What a run comes to that goes on although the checker says no: nothing.
#[test]
fn control_without_the_checker_a_run_waits_for_ever() {
    let text = |next: &str| {
        format!(
            "{{workflow: w, steps: [{{id: a, start: true, plugin: p@1, next_steps: [j]}}, \
             {{id: c, start: true, delay: 1, next_steps: [{next}]}}, {{id: j, plugin: p@1}}]}}"
        )
    };
    let newer = read(&text(""));
    let mut world = World::new(&text("j"));
    world.start("{}").ok("a", "1");
    let plan = Arc::new(Plan::new(Arc::clone(&newer)));
    let held = world.engine.runs.get_mut(&1).unwrap();
    let (pins, callees) = (Arc::clone(&held.run.head.pins), Vec::new());
    assert!(check(&held.run, &held.lane.1, &plan, &pins).is_err());
    let fact = Fact::Migrated {
        definition: newer.hash.clone(),
        pins: Vec::new(),
        callees: Vec::new(),
        inputs: JsonText::parse("{}").unwrap(),
    };
    let record = FactRecord { at: world.now, check: held.run.check(), fact };
    held.run.migrate(&record, Onward { plan, pins, callees }).unwrap();
    let hangs = finish(&mut world).unwrap_err().to_string();
    assert!(hangs.contains("waits for nothing"), "{hangs}");
}

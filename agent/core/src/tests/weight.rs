//! What very many waiting runs weigh, and how a restart is told to them: a part at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use openclaw_protocol::expr::Value;
use openclaw_protocol::json::JsonText;

use super::World;
use crate::engine::Held;
use crate::input::StartRequest;
use crate::limits::RESTARTED_PER_DECISION;
use crate::run::Run;
use crate::scope::ScopeState;
use crate::step::Active;
use crate::{Fact, Input};

const WAITS: [&str; 3] = [
    "{workflow: a, mode: parallel, max: 1000, vars: {x: [1, 2]}, steps: [{id: s, wait: {signal: go}}]}",
    "{workflow: b, mode: parallel, max: 1000, steps: [{id: s, wait: {signal: go}}]}",
    "{workflow: c, mode: parallel, max: 1000, steps: [{id: s, wait: {signal: go}}]}",
];

/// A device on which so many runs of each workflow wait.
fn waiting(each: usize) -> World {
    let mut world = World::with(&WAITS, 4);
    for workflow in world.workflows.clone() {
        for _ in 0..each {
            let (workflow, inputs) = (workflow.name.clone(), JsonText::parse("{}").unwrap());
            let wish =
                StartRequest { workflow, inputs, priority: None, request: None, again: None };
            world.input("start", Input::Start(wish));
        }
    }
    world
}

/// Counts that no heap and no machine can touch: the blocks that each waiting run has for itself.
#[test]
fn a_waiting_run_has_few_and_small_blocks_of_its_own() {
    assert!(size_of::<Held>() <= 672, "{} bytes", size_of::<Held>());
    assert!(size_of::<ScopeState>() <= 112, "{} bytes", size_of::<ScopeState>());
    assert!(size_of::<Active>() <= 152, "{} bytes", size_of::<Active>());
    let world = waiting(2);
    let runs: Vec<&Run> = world.engine.runs.values().map(|held| &held.run).collect();
    let [one, other, ..] = runs.as_slice() else { panic!("{} runs", runs.len()) };
    let of_head = |run: &Run| {
        let values = [&run.head.agent, &run.head.inputs, &run.head.trigger_data].map(Value::clone);
        values.map(|value| {
            let Value::Map(map) = value else { panic!("{value:?}") };
            Arc::as_ptr(&map) as usize
        })
    };
    assert_eq!(of_head(one), of_head(other), "what they have alike is shared");
    assert!(Arc::ptr_eq(&one.head.pins, &other.head.pins) && Arc::ptr_eq(&one.plan, &other.plan));
    let vars = |run: &Run| Arc::as_ptr(&run.views[&crate::run::MAIN_VIEW].vars);
    assert_eq!(vars(one), vars(other));
    assert_eq!(one.agenda.capacity(), 0, "nothing is left of what there was to do");
    assert!(one.scopes.values().all(|scope| scope.steps.capacity() == 1));
}

#[test]
fn very_many_runs_are_told_of_a_restart_a_part_at_a_time() {
    let mut world = waiting(RESTARTED_PER_DECISION / 2 - 100);
    world.lose();
    world.engine = world.restored();
    world.deploy();
    let all: BTreeSet<u64> = world.engine.runs.keys().copied().collect();
    assert!(all.len() > RESTARTED_PER_DECISION);
    let (mut told, mut parts) = (BTreeSet::new(), 0);
    loop {
        let decision = world.engine.step(Input::Restarted { unclean: true }, world.now);
        parts += 1;
        assert!(decision.facts.len() <= RESTARTED_PER_DECISION && decision.effects.is_empty());
        for (run, record) in &decision.facts {
            assert!(matches!(record.fact, Fact::Restarted { unclean: true }));
            assert!(told.insert(run.number().unwrap()), "{run} was told twice");
        }
        if !world.engine.is_restarting() {
            break;
        }
        assert_eq!(world.engine.next_deadline(), None, "nothing happens before all know");
    }
    assert_eq!((told, parts), (all, 2));
}

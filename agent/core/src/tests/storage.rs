//! A full disk: what is refused at which level, what pauses, and that all of it goes on.

use openclaw_protocol::id::{RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{RunStatus, StepPath};

use super::world::{EPOCH, workflow};
use super::{World, minutes, seconds};
use crate::{FileStat, Input, Listing, Storage};

/// Two calls with a delay between them, beside a trigger that fires every minute.
const CHAIN: &str = "{workflow: w, mode: parallel, max: 100,
    triggers: [{id: beat, interval: 1m, enabled: true}],
    steps: [{id: a, plugin: p@1}, {id: d, delay: 10s}, {id: b, plugin: p@1}]}";
const CALLER: &str = "{workflow: caller, steps: [{id: c, call: callee}]}";
const CALLEE: &str = "{workflow: callee, steps: [{id: a, set: {x: 1}}]}";
const ASKS: &str = "{workflow: asks, steps: [{id: hear, wait: {signal: go}},
    {id: ask, approval: {prompt: ok, roles: [admin], choices: [yes, no]}}]}";

fn signal(world: &mut World, run: u64) -> String {
    world.transcript();
    let (run, data) = (RunId::of(EPOCH, run), JsonText::parse("{}").unwrap());
    world.input("signal", Input::Signal { run, name: "go".into(), data, request: None });
    world.transcript()
}

fn decide(world: &mut World) -> String {
    world.transcript();
    let decision = Input::Decide {
        run: RunId::of(EPOCH, 1),
        step: StepPath("ask".to_owned()),
        choice: "yes".to_owned(),
        by: "ann".to_owned(),
        form: JsonText::parse("{}").unwrap(),
        request: None,
    };
    world.input("decide", decision);
    world.transcript()
}

/// Room again: what waited goes on with the next look at the deadlines.
fn relieve(world: &mut World) {
    world.engine.set_storage(Storage::Ample);
    world.pass(0);
}

#[test]
fn with_little_room_nothing_comes_in_and_what_is_under_way_ends() {
    let mut world = World::new(CHAIN);
    world.start("{}");
    world.engine.set_storage(Storage::Low);
    world.transcript();
    world.start("{}");
    assert!(world.transcript().contains("refused storage_full"));
    world.ok("a", "1").sleep(seconds(10)).ok("b", "2");
    assert_eq!(world.results(), [(1, RunStatus::Completed)]);
    world.transcript();
    world.sleep(minutes(2));
    let told = world.transcript();
    assert_eq!(told.matches("dropped storage_full").count(), 2, "{told}");
    assert!(world.engine.next_deadline().is_some(), "triggers are looked at, and told of");

    relieve(&mut world);
    world.sleep(minutes(1));
    assert_eq!(world.engine.unsettled(), 1, "the trigger fires again");
    world.start("{}");
    assert_eq!(world.engine.unsettled(), 2);
}

#[test]
fn without_room_a_run_pauses_where_it_is_and_goes_on_from_there() {
    let mut world = World::new(CHAIN);
    world.start("{}").start("{}").ok("a", "1");
    world.engine.set_storage(Storage::Full);
    world.transcript();
    // Its call had begun: the end of it is taken, and then it is the turn of the delay.
    world.ok("a", "1");
    assert_eq!(world.engine.next_deadline(), None, "nobody is to look at a deadline in vain");
    world.pass(minutes(3));
    world.start("{}");
    let told = world.transcript();
    assert!(told.contains("end a(1) ok") && told.contains("refused storage_full"), "{told}");
    for begun in ["timer", "start b", "dropped", "call b"] {
        assert!(!told.contains(begun), "`{begun}` in {told}");
    }

    relieve(&mut world);
    world.ok("b", "2").sleep(seconds(10)).ok("b", "2");
    let ended = [(1, RunStatus::Completed), (2, RunStatus::Completed)];
    assert_eq!(world.results(), ended);
    assert!(world.disk.runs[&1].1.iter().all(|record| record.at.boot == 1));
}

#[test]
fn what_waits_for_a_slot_waits_for_room_as_well() {
    let mut world = World::with(&[CHAIN], 1);
    world.start("{}").start("{}");
    world.engine.set_storage(Storage::Full);
    world.ok("a", "1");
    assert!(world.calls.is_empty());
    assert_eq!(world.engine.queue().waiting, 1);
    relieve(&mut world);
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn a_run_that_is_under_way_may_call_another() {
    for storage in [Storage::Low, Storage::Full] {
        let caller = CALLER.replace("steps: [", "steps: [{id: p, plugin: p@1}, ");
        let mut world = World::with(&[&caller, CALLEE], 1);
        world.start("{}");
        world.engine.set_storage(storage);
        world.ok("p", "1");
        relieve(&mut world);
        let ended = world.results();
        assert_eq!(ended.len(), 2, "{storage:?}");
        assert!(ended.iter().all(|(_, status)| *status == RunStatus::Completed), "{storage:?}");
    }
}

#[test]
fn words_to_a_run_are_taken_while_there_is_room_for_them_and_an_end_always() {
    let mut world = World::new(ASKS);
    world.start("{}").start("{}");
    world.engine.set_storage(Storage::Full);
    assert!(signal(&mut world, 1).contains("refused storage_full"));
    world.engine.set_storage(Storage::Low);
    assert!(signal(&mut world, 1).contains("answer 1"));
    world.engine.set_storage(Storage::Full);
    assert!(decide(&mut world).contains("refused storage_full"));
    world.cancel(2, false);
    assert_eq!(world.results(), [(2, RunStatus::Cancelled)]);
    relieve(&mut world);
    assert!(decide(&mut world).contains("answer 1"));
    assert_eq!(world.results().len(), 2);
}

#[test]
fn a_file_waits_for_room_instead_of_being_dropped() {
    let text = "{workflow: w, triggers: [{id: t, file: {path: in/*, settle: 1s}}],
        steps: [{id: a, set: {x: 1}}]}";
    let mut world = World::new(text);
    let list = |world: &mut World, files: &[&str]| {
        let stat = FileStat { size: 1, modified_ns: 1 };
        let files = Some(files.iter().map(|name| ((*name).to_owned(), stat)).collect());
        let (workflow, trigger) =
            (WorkflowName::parse("w").unwrap(), TriggerId::parse("t").unwrap());
        let path = "in/*".to_owned();
        world.input("list", Input::Files(Listing { workflow, trigger, path, files }));
        world.pass(seconds(2));
    };
    list(&mut world, &[]);
    world.engine.set_storage(Storage::Low);
    for _ in 0..3 {
        list(&mut world, &["new"]);
    }
    assert!(world.results().is_empty());
    assert!(world.engine.listed().next().unwrap().3, "it is to be looked for again");
    assert!(!world.transcript().contains("dropped"));
    relieve(&mut world);
    for _ in 0..3 {
        list(&mut world, &["new"]);
    }
    assert_eq!(world.results().len(), 1);
}

#[test]
fn a_newer_definition_restarts_its_runs_when_there_is_room() {
    let text = "{workflow: w, on_update: restart, steps: [{id: a, plugin: p@1}]}";
    let mut world = World::new(text);
    world.start("{}");
    world.engine.set_storage(Storage::Low);
    world.workflows = vec![workflow(&text.replace("id: a", "id: z"))];
    let old = workflow(text);
    world.deploy();
    world.pass(0);
    assert_eq!(world.engine.unsettled(), 1);
    let due_ms = world.engine.next_deadline().map(|(due_ms, _)| due_ms);
    assert!(due_ms.is_none_or(|due_ms| due_ms > world.now.boot_ms), "nobody is to look in vain");
    relieve(&mut world);
    assert_eq!(world.engine.unsettled(), 2, "the new one, and the old one that is being ended");
    assert_ne!(old.hash, world.workflows[0].hash);
}

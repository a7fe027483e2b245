//! How many runs of one workflow there are, wishes, and the summary.

use openclaw_protocol::definition::Priority;
use openclaw_protocol::id::{Epoch, RequestId, RunId, WorkflowName};
use openclaw_protocol::json::JsonText;

use super::World;
use super::world::{EPOCH, workflow};
use crate::{Input, StartRequest, Told, limits};

fn with_mode(mode: &str) -> World {
    let mut world =
        World::new(&format!("{{workflow: w, {mode}, steps: [{{id: a, plugin: p@1}}]}}"));
    world.transcript();
    world
}

#[test]
fn single_refuses() {
    let mut world = with_mode("mode: single");
    world.start("{}").start("{}").ok("a", "1").start("{}");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; start a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    > start
      told refused single
    > ok a
      fact end a(1) ok; settled
      told 5 a succeeded(1) 1; 6 Completed {}; result Completed
    > start
      fact accepted; began; start a(1)
      told 1 accepted manual {}; answer 2; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    ");
}

#[test]
fn queued_waits_its_turn_up_to_max() {
    let mut world = with_mode("max: 1");
    world.start("{}").start("{}").start("{}").transcript();
    let waiting: Vec<_> = world.engine.runs().map(|run| (run.status, run.waiting)).collect();
    insta::assert_debug_snapshot!(waiting, @r#"
    [
        (
            Running,
            None,
        ),
        (
            Pending,
            Some(
                "turn",
            ),
        ),
    ]
    "#);
    world.ok("a", "1");
    insta::assert_snapshot!(world.transcript(), @r"
    > ok a
      fact end a(1) ok; settled; began; start a(1)
      told 5 a succeeded(1) 1; 6 Completed {}; result Completed; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    ");
}

#[test]
fn parallel_runs_up_to_max() {
    let mut world = with_mode("mode: parallel, max: 2");
    world.start("{}").start("{}").start("{}");
    assert_eq!(world.calls.len(), 2);
    assert!(world.transcript().ends_with("told refused queue_full\n"));
}

#[test]
fn restart_ends_the_old_one_first() {
    let mut world = with_mode("mode: restart");
    world.start("{}").transcript();
    world.start("{}").start("{}").err("a", "cancelled");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact cancel; accepted
      told 5 cancel; 1 accepted manual {}; answer 2
      do   stop a(1) Cancelled
    > start
      fact cancel; settled; accepted
      told 2 cancel; 3 Cancelled {}; result Cancelled; 1 accepted manual {}; answer 3
    > err a cancelled
      fact end a(1) cancelled; settled; began; start a(1)
      told 6 a cancelled(1); 7 Cancelled {}; result Cancelled; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    ");
}

fn wish(workflow: &str, request: &str, inputs: &str) -> Input {
    Input::Start(StartRequest {
        workflow: WorkflowName::parse(workflow).unwrap(),
        inputs: JsonText::parse(inputs).unwrap(),
        priority: Some(Priority::High),
        request: Some(RequestId::parse(request).unwrap()),
        again: None,
    })
}

#[test]
fn a_wish_is_heard_once_also_after_a_restart() {
    let mut world = with_mode("mode: parallel");
    world.input("wish", wish("w", "r-1", "{}")).input("again", wish("w", "r-1", "{}"));
    assert_eq!(world.engine.runs().count(), 1);
    world.restart(true).input("and again", wish("w", "r-1", "{}"));
    assert_eq!(world.engine.runs().count(), 1);
    assert!(world.transcript().ends_with("> and again\n  told answer 1\n"));
}

#[test]
fn what_became_of_a_wish_is_known_when_its_run_has_settled_and_the_agent_restarted() {
    let mut world = with_mode("mode: parallel");
    world.input("wish", wish("w", "r-1", "{}")).ok("a", "1");
    world.input("", wish("unknown", "r-2", "{}"));
    let run = RunId::of(EPOCH, 1);
    let cancel = Input::Cancel { run, force: false, request: RequestId::parse("r-3").ok() };
    world.input("", cancel.clone());
    assert_eq!(world.engine.runs().count(), 0);
    // Only what is not settled has a journal to go on with.
    world.disk.runs.clear();
    world.restart(true).transcript();
    world.workflows.push(workflow("{workflow: unknown, steps: [{id: a, plugin: p@1}]}"));
    world.deploy();
    world.input("again", wish("w", "r-1", "{}"));
    world.input("deployed by now", wish("unknown", "r-2", "{}"));
    world.input("cancel again", cancel);
    insta::assert_snapshot!(world.transcript(), @r"
    > again
      told answer 1
    > deployed by now
      told refused workflow.unknown
    > cancel again
      told refused run.unknown
    ");
    assert!(world.calls.is_empty());
    assert_eq!(world.disk.wishes.len(), 3, "an answer that is known is not kept again");
}

#[test]
fn the_oldest_wishes_are_forgotten() {
    let mut world = with_mode("mode: parallel");
    let wishes = limits::REQUESTS + 1;
    for n in 0..wishes {
        world.input("", wish("unknown", &format!("r-{n}"), "{}"));
    }
    assert_eq!(world.engine.requests.len(), limits::REQUESTS);
    let known = |n: usize| {
        let request = RequestId::parse(&format!("r-{n}")).unwrap();
        world.engine.requests.contains_key(&request)
    };
    assert_eq!((known(0), known(1), known(wishes - 1)), (false, true, true));
}

#[test]
fn what_cannot_run_is_refused() {
    let mut world =
        World::new("{workflow: w, inputs: {x: {type: integer}}, steps: [{id: a, set: {y: 1}}]}");
    world.input("unknown", wish("v", "r-1", "{}"));
    world.input("inputs", wish("w", "r-2", r#"{"x":"a"}"#));
    world.input("fine", wish("w", "r-3", r#"{"x":1}"#));
    world.cancel(7, false);
    insta::assert_snapshot!(world.transcript(), @r#"
    > unknown
      told refused workflow.unknown
    > inputs
      told refused inputs.invalid
    > fine
      fact accepted; began; settled
      told 1 accepted manual {"x":1}; answer 1; 2 began; 3 a started set(1); 4 a succeeded(1); 5 Completed {}; result Completed
    > cancel
      told refused run.unknown
    "#);
}

#[test]
fn urgent_runs_get_the_slot_first() {
    let workflow = |name: &str, priority: &str| {
        format!(
            "{{workflow: {name}, priority: {priority}, steps: [{{id: {priority}, plugin: p@1}}]}}"
        )
    };
    let texts: Vec<String> = [("a", "normal"), ("b", "low"), ("c", "critical"), ("d", "high")]
        .iter()
        .map(|(name, priority)| workflow(name, priority))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut world = World::with(&texts, 1);
    for name in ["a", "b", "c", "d"] {
        let workflow = WorkflowName::parse(name).unwrap();
        let inputs = JsonText::parse("{}").unwrap();
        let wish = StartRequest { workflow, inputs, priority: None, request: None, again: None };
        world.input("", Input::Start(wish));
    }
    let mut order = Vec::new();
    while let Some(call) = world.calls.first() {
        let step = call.attempt.step.0.clone();
        world.ok(&step, "1");
        order.push(step);
    }
    assert_eq!(order, ["normal", "critical", "high", "low"]);
}

#[test]
fn the_whole_schema_of_an_input_is_enforced_before_a_run_exists() {
    let mut world = World::new(
        "{workflow: w, inputs: {x: {type: string, pattern: '^p-[0-9]+$'}, \
          zones: {type: array, maxItems: 2, items: {type: integer}, default: []}}, \
          steps: [{id: a, set: {y: 1}}]}",
    );
    for (request, given, refused) in [
        ("r-1", r#"{"x":"q-1"}"#, "input `x` must match"),
        ("r-2", r#"{"x":"p-1","zones":[1,2,3]}"#, "input `zones` must have at most 2 items"),
        ("r-3", r#"{"x":"p-1","zones":[1,"2"]}"#, "input `zones[1]` must be of type integer"),
    ] {
        let decision = world.engine.step(wish("w", request, given), world.now);
        let [Told::Answer { outcome: Err(refusal), .. }] = decision.told.as_slice() else {
            panic!("{given}: {:?}", decision.told);
        };
        assert_eq!(refusal.code, "inputs.invalid");
        assert!(refusal.message.starts_with(refused), "{}", refusal.message);
    }
    world.start(r#"{"x":"p-7","zones":[1.0,2]}"#);
    assert!(world.transcript().contains(r#"accepted manual {"x":"p-7","zones":[1,2]}"#));
}

#[test]
fn after_a_fork_runs_are_named_under_the_new_epoch() {
    let mut world = with_mode("mode: parallel");
    world.start("{}");
    let epoch = Epoch(0xfedc_ba98_7654_0000);
    world.engine.set_epoch(epoch);
    world.start("{}");
    let ids = |world: &World| world.engine.runs().map(|run| run.id).collect::<Vec<_>>();
    assert_eq!(ids(&world), [RunId::of(EPOCH, 1), RunId::of(epoch, 2)]);
    // Both lives go on after a restart, and the former id is still the run's name.
    world.restart(true);
    assert_eq!(ids(&world), [RunId::of(EPOCH, 1), RunId::of(epoch, 2)]);
    world.cancel(1, true);
    assert_eq!(ids(&world), [RunId::of(epoch, 2)]);
}

#[test]
fn no_more_wait_than_may_however_many_come_at_once() {
    let mut world = World::new(
        "{workflow: w, max: 2, triggers: [{id: c, cron: {at: '* * * * *', catch_up: all, max_catch_up: 9}}],
          steps: [{id: a, plugin: p@1}]}",
    );
    world.pass(super::minutes(1)).ok("a", "1");
    world.sync();
    world.reboot(super::minutes(30));
    let runs: Vec<_> = world.engine.runs().map(|run| run.waiting).collect();
    assert_eq!(runs, [None, Some("turn"), Some("turn")]);
    let dropped = world.disk.told.iter();
    let dropped = dropped.filter(|told| matches!(told, Told::Dropped { reason: "queue_full", .. }));
    assert_eq!(dropped.count(), 6);
}

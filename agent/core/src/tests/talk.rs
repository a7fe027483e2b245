//! What runs hear, and what they say: signals, messages, decisions, events, other runs.

use openclaw_protocol::id::RunId;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::StepPath;

use super::language::ending;
use super::world::EPOCH;
use super::{World, minutes, seconds};
use crate::{Input, Message};

fn signal(world: &mut World, name: &str, data: &str) {
    let (run, data) = (RunId::of(EPOCH, 1), JsonText::parse(data).unwrap());
    let name = name.to_owned();
    world.input("signal", Input::Signal { run, name, data, request: None });
}

fn message(world: &mut World, topic: &str, payload: &str) {
    let payload = JsonText::parse(payload).unwrap();
    let topic = topic.to_owned();
    world.input("message", Input::Message(Message { topic, payload, qos: 0, retained: false }));
}

fn event(world: &mut World, name: &str, data: &str) {
    let data = JsonText::parse(data).unwrap();
    world.input("event", Input::Event { name: name.to_owned(), data });
}

fn decide(world: &mut World, step: &str, choice: &str) {
    let decision = Input::Decide {
        run: RunId::of(EPOCH, 1),
        step: StepPath(step.to_owned()),
        choice: choice.to_owned(),
        by: "ann".to_owned(),
        form: JsonText::parse("{}").unwrap(),
        request: None,
    };
    world.input("decide", decision);
}

#[test]
fn a_wait_for_a_signal_takes_those_of_before() {
    let text = "{workflow: w, steps: [{id: d, delay: 1m},
        {id: a, wait: {signal: go, when: 'message.data > 1'}},
        {id: b, wait: {signal: go, count: 2}, timeout: 1m}],
        outputs: {a: {value: '${ steps.a.output.message.data }'},
                  b: {value: '${ steps.b.output.messages.map(m, m.data) }'},
                  left: {value: '${ steps.b.output.remaining_ms }'}}}";
    let mut world = World::new(text);
    world.start("{}");
    for data in ["1", "2", "3"] {
        signal(&mut world, "go", data);
    }
    world.restart(true).sleep(minutes(1));
    assert_eq!(ending(&mut world), r#"Completed {"a":2,"b":[1,3],"left":60000}"#);
}

#[test]
fn a_wait_for_messages_takes_what_comes_and_counts() {
    let text = "{workflow: w, steps: [
        {id: a, wait: {mqtt: {topic: 'site/+/temp'}, when: 'message.payload > 50.0 && message.topic_parts[1] == \"x\"'}},
        {id: b, wait: {event: door}, timeout: 1m}],
        outputs: {a: {value: '${ steps.a.output.message.payload }'}}}";
    let mut world = World::new(text);
    message(&mut world, "site/x/temp", "99");
    world.start("{}");
    assert_eq!(world.engine.subscriptions().into_iter().next().unwrap().0, "site/+/temp");
    message(&mut world, "site/x/temp", "49");
    message(&mut world, "site/y/temp", "51");
    message(&mut world, "site/x/temp", "\"text\"");
    message(&mut world, "site/x/temp", "51");
    assert!(world.engine.subscriptions().is_empty());
    world.restart(true);
    event(&mut world, "window", "{}");
    event(&mut world, "door", "{}");
    assert_eq!(ending(&mut world), r#"Completed {"a":51}"#);
}

#[test]
fn a_wait_that_runs_out_of_time_fails_or_goes_on() {
    let text = |more: &str| {
        format!(
            "{{workflow: w, steps: [{{id: a, wait: {{event: e{more}}}, timeout: 30s}}],
              outputs: {{a: {{value: '${{ steps.a.output.message }}'}}}}}}"
        )
    };
    let mut world = World::new(&text(""));
    world.start("{}").sleep(seconds(31));
    assert!(ending(&mut world).starts_with("Failed {} wait.timeout"));
    let mut world = World::new(&text(", on_timeout: continue"));
    world.start("{}").sleep(seconds(31));
    assert_eq!(ending(&mut world), r#"Completed {"a":null}"#);
}

#[test]
fn until_is_looked_at_when_variables_change_and_as_time_goes() {
    let text =
        "{workflow: w, vars: {n: 0}, steps: [{id: a, set: {n: 0}, start: true, next_steps: [c]},
        {id: b, wait: {until: 'vars.n > 1'}, start: true, next_steps: [e]},
        {id: c, plugin: p@1, next_steps: [d]}, {id: d, set: {n: 2}},
        {id: e, wait: {until: 'now > execution.started_at + duration(\"90s\")', poll: 20s}}]}";
    let mut world = World::new(text);
    world.start("{}").ok("c", "1");
    assert!(world.transcript().contains("b succeeded"));
    world.sleep(seconds(95));
    assert!(world.engine.runs.len() == 1);
    world.sleep(seconds(10));
    assert_eq!(ending(&mut world), "Completed {}");
}

#[test]
fn people_are_asked_reminded_and_taken_at_their_word() {
    let text = "{workflow: w, steps: [{id: a, timeout: 1h, approval: {prompt: 'stop ${ 1 + 1 }?',
        choices: [stop, go_on], remind: 20m, on_timeout: go_on}}],
        outputs: {it: {value: '${ steps.a.output.choice }'}, by: {value: '${ steps.a.output.by }'}}}";
    let mut world = World::new(text);
    world.start("{}").sleep(minutes(45));
    assert_eq!(world.transcript().matches("a waits for approval").count(), 3);
    decide(&mut world, "a", "perhaps");
    assert!(world.transcript().contains("refused approval.choice"));
    decide(&mut world, "b", "stop");
    assert!(world.transcript().contains("refused approval.unknown"));
    world.restart(true);
    decide(&mut world, "a", "stop");
    assert_eq!(ending(&mut world), r#"Completed {"by":"ann","it":"stop"}"#);
    let mut world = World::new(text);
    world.start("{}").sleep(minutes(61));
    assert_eq!(ending(&mut world), r#"Completed {"by":null,"it":"go_on"}"#);
}

const PARENT: &str = "{workflow: w, steps: [{id: c, call: child, with: {n: 2}, retry: none}],
    outputs: {it: {value: '${ steps.c.output.double }'}}}";
const CHILD: &str = "{workflow: child, inputs: {n: {type: integer}},
    steps: [{id: a, plugin: p@1, with: {n: '${ inputs.n }'}, retry: none}],
    outputs: {double: {value: '${ inputs.n * 2 }'}}}";

#[test]
fn a_call_is_a_run_of_its_own_whose_end_comes_home() {
    let mut world = World::with(&[PARENT, CHILD], 4);
    world.start("{}").restart(true).ok("a", "1");
    assert_eq!(ending(&mut world), r#"Completed {"it":4}"#);
    let mut world = World::with(&[PARENT, CHILD], 4);
    world.start("{}").err("a", "user.broken");
    assert!(ending(&mut world).starts_with("Failed {} user.broken"));
    let mut world = World::with(&[PARENT], 4);
    world.start("{}");
    assert!(ending(&mut world).starts_with("Failed {} workflow.unknown"));
}

#[test]
fn a_call_is_cancelled_with_its_caller_unless_it_is_abandoned() {
    let mut world = World::with(&[PARENT, CHILD], 4);
    world.start("{}").cancel(1, false).pass(seconds(11));
    assert_eq!(world.results().len(), 2);
    assert!(world.engine.runs.is_empty());
    let abandoned = PARENT.replace("retry: none", "retry: none, on_parent_close: abandon");
    let mut world = World::with(&[&abandoned, CHILD], 4);
    world.start("{}").cancel(1, false);
    assert_eq!(world.engine.runs.len(), 1, "the child goes on");
    world.ok("a", "1");
    assert!(world.engine.runs.is_empty());
}

#[test]
fn a_workflow_may_call_itself_but_not_for_ever() {
    let text = "{workflow: w, steps: [{id: c, call: w}]}";
    let mut world = World::new(text);
    world.start("{}");
    assert!(ending(&mut world).starts_with("Failed {} limit.depth"));
    assert_eq!(world.results().len(), 9);
}

#[test]
fn a_caller_keeps_to_the_definition_of_its_beginning() {
    let text = PARENT.replace("{id: c,", "{id: d, delay: 1m}, {id: c,");
    let mut world = World::with(&[&text, CHILD], 4);
    world.start("{}");
    world.workflows.push(super::world::workflow(&CHILD.replace("* 2", "* 3")));
    let newest: Vec<_> =
        [0, 2].iter().map(|n| super::world::deployed(&world.workflows[*n])).collect();
    world.input("", Input::Deploy(newest));
    world.sleep(minutes(1)).ok("a", "1");
    assert_eq!(ending(&mut world), r#"Completed {"it":4}"#);
}

#[test]
fn events_reach_waits_and_triggers_in_the_same_breath() {
    let texts = [
        "{workflow: w, steps: [{id: a, emit: {event: hot, data: {t: 5}}}]}",
        "{workflow: hears, triggers: [{id: t, event: hot, when: 'trigger.data.t > 4.0',
            inputs: {t: '${ trigger.data.t }'}}], inputs: {t: {type: number}},
          steps: [{id: s, set: {x: 1}}], outputs: {t: {value: '${ inputs.t }'}}}",
        "{workflow: after, triggers: [{id: t, workflow: {name: hears, status: [completed]},
            inputs: {t: '${ trigger.outputs.t }'}}], inputs: {t: {type: number}},
          steps: [{id: s, set: {x: 1}}], outputs: {got: {value: '${ inputs.t }'}}}",
    ];
    let mut world = World::with(&texts, 4);
    world.start("{}");
    assert_eq!(world.results().len(), 3, "{}", world.transcript());
    assert_eq!(ending(&mut world), r#"Completed {"got":5}"#);
}

#[test]
fn workflows_that_set_each_other_off_are_stopped_somewhere() {
    let text = "{workflow: w, mode: parallel, triggers: [{id: t, event: e}, {id: m, manual: {}}],
        steps: [{id: a, emit: {event: e}}]}";
    let mut world = World::new(text);
    world.start("{}");
    assert!(world.transcript().contains("dropped events"));
}

#[test]
fn triggers_are_held_back_as_written() {
    let text = |more: &str| {
        format!(
            "{{workflow: w, triggers: [{{id: t, event: e, {more}}}], mode: parallel,
              steps: [{{id: a, set: {{x: 1}}}}]}}"
        )
    };
    let runs = |more: &str, script: &dyn Fn(&mut World)| {
        let mut world = World::new(&text(more));
        script(&mut world);
        world.results().len()
    };
    let thrice = |world: &mut World| {
        for n in ["1", "1", "2"] {
            event(world, "e", n);
            world.sleep(seconds(1));
        }
    };
    assert_eq!(runs("when: 'trigger.data > 1.0'", &thrice), 1);
    assert_eq!(runs("throttle: 2s", &thrice), 2);
    assert_eq!(
        runs("debounce: 5s", &|world| {
            thrice(world);
            assert!(world.results().is_empty());
            world.sleep(seconds(5));
        }),
        1
    );
    assert_eq!(runs("dedupe: {key: 'trigger.data', window: 1m}", &thrice), 2);
    assert_eq!(
        runs("dedupe: {key: 'trigger.data', window: 1m}", &|world| {
            thrice(world);
            world.restart(true);
            thrice(world);
            world.sleep(minutes(1));
            thrice(world);
        }),
        4,
        "a restart forgets nothing, the window does"
    );
}

#[test]
fn what_was_refused_is_not_remembered_as_a_firing() {
    let text = |more: &str| {
        format!(
            "{{workflow: w, triggers: [{{id: t, event: e, {more}}}], mode: single,
              steps: [{{id: d, delay: 15s}}]}}"
        )
    };
    let same = "dedupe: {key: trigger.data, window: 1h}";
    for (more, wait_ms) in [
        (same.to_owned(), 0),
        (format!("{same}, debounce: 2s"), seconds(2)),
        ("throttle: 1h".to_owned(), 0),
    ] {
        let mut world = World::new(&text(&more));
        // By hand, so that no trigger remembers it.
        world.start("{}").transcript();
        event(&mut world, "e", "7");
        world.sleep(wait_ms);
        assert!(world.transcript().contains("dropped single"), "{more}");
        world.sleep(seconds(15)).transcript();
        event(&mut world, "e", "7");
        world.sleep(wait_ms);
        assert!(world.transcript().contains("began"), "{more}: the same comes again");
        world.sleep(seconds(15));
        event(&mut world, "e", "7");
        world.sleep(seconds(15));
        assert_eq!(world.results().len(), 2, "{more}: now it has been");
    }
}

#[test]
fn a_publication_is_there_before_its_step_is_over() {
    let text = |confirm: &str| {
        format!(
            "{{workflow: w, steps: [{{id: a, publish: {{topic: 'x/${{ 1 }}', payload: {{n: 1}},
              confirm: {confirm}}}}}]}}"
        )
    };
    let mut world = World::new(&text("stored"));
    world.start("{}");
    assert_eq!(ending(&mut world), "Completed {}");
    let mut world = World::new(&text("broker"));
    world.start("{}").restart(true);
    assert_eq!(world.results().len(), 0);
    let attempt = world.confirms.pop().unwrap();
    let output = JsonText::null();
    let outcome = crate::AttemptOutcome::Succeeded { output, vars: None };
    world.input("puback", Input::Settled { attempt, outcome });
    assert_eq!(ending(&mut world), "Completed {}");
}

//! What right documents mean.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use insta::assert_snapshot;

use super::{right, right_steps};
use crate::definition::model::*;
use crate::limits;

/// Every scope on a line: its steps with their edges, entries first marked by `>`.
fn flow(workflow: &Workflow) -> String {
    let mut text = String::new();
    for scope in &workflow.scopes {
        let owner = scope.owner.map_or("-", |ix| workflow.step(ix).id.as_str());
        let shape = if scope.graph { "graph" } else { "list" };
        write!(text, "{owner} {shape}:").unwrap();
        for ix in &scope.steps {
            let step = workflow.step(*ix);
            let mark = if scope.entries.contains(ix) { ">" } else { "" };
            write!(text, " {mark}{}/{}", step.id, step.incoming).unwrap();
            let edges = step.edges.iter().map(|edge| {
                let how = match &edge.kind {
                    EdgeKind::Next(None) => String::new(),
                    EdgeKind::Next(Some(expr)) => format!("{expr}? "),
                    EdgeKind::Then => "then ".into(),
                    EdgeKind::Else => "else ".into(),
                    EdgeKind::Case(Some(n)) => format!("case {n} "),
                    EdgeKind::Case(None) => "default ".into(),
                    EdgeKind::OnFailure => "fail ".into(),
                };
                format!("{how}{}", workflow.step(edge.to).id)
            });
            write!(text, "({})", edges.collect::<Vec<_>>().join(", ")).unwrap();
        }
        text.push('\n');
    }
    text
}

fn step<'a>(workflow: &'a Workflow, id: &str) -> &'a Step {
    workflow.step_named(id).unwrap()
}

#[test]
fn a_list_flows_in_its_order() {
    let w = right_steps(
        "
  - {id: a, delay: 1}
  - {id: b, delay: 1, on_failure: fix}
  - {id: fix, delay: 1, on_failure: worse}
  - {id: c, condition: 1 < 2, then: [{id: d, delay: 1}, {id: e, delay: 1}]}
  - {id: worse, delay: 1}
",
    );
    assert_snapshot!(flow(&w), @r"
    - list: >a/0(b) b/1(c, fail fix) fix/1(fail worse) c/1() worse/1()
    c list: >d/0(e) e/1()
    ");
    assert!(matches!(step(&w, "c").kind, StepKind::Condition { gate: false, .. }));
}

#[test]
fn a_graph_flows_as_written() {
    let w = right_steps(
        "
  - {id: a, delay: 1, start: true, next_steps: [b, {to: c, when: vars.x > 1}]}
  - {id: b, delay: 1, next_steps: d, on_failure: e}
  - {id: c, delay: 1, next_steps: [d]}
  - {id: d, condition: 1 < 2, then: e, else: [f, g], join: every}
  - {id: e, delay: 1, join: {at_least: 2}}
  - {id: f, set: {x: 1}}
  - {id: g, delay: 1, join: any}
  - {id: h, delay: 1, start: true}
",
    );
    assert_snapshot!(flow(&w), @"- graph: >a/0(b, vars.x > 1? c) b/1(d, fail e) c/1(d) d/2(then e, else f, else g) e/2() f/1() g/1() >h/0()");
    assert_eq!(step(&w, "e").join, Join::AtLeast(2));
}

#[test]
fn a_graph_in_which_nothing_leads_on_stays_one() {
    let workflow = right_steps(
        "
  - {id: a, delay: 1, start: true, next_steps: []}
  - {id: b, delay: 1, start: true, on_failure: c}
  - {id: c, delay: 1}",
    );
    assert!(workflow.scope(workflow.root).graph);
    assert_eq!(workflow.scope(workflow.root).entries.len(), 2);
    assert!(right_steps("  - {id: a, delay: 1, next_steps: []}").scopes[0].graph);
}

#[test]
fn ids_in_then_and_else_make_a_graph() {
    let w = right_steps(
        "
  - {id: a, condition: 1 < 2, then: b, else: c}
  - {id: b, delay: 1}
  - {id: c, delay: 1}
",
    );
    assert_snapshot!(flow(&w), @"- graph: >a/0(then b, else c) b/1() c/1()");
}

#[test]
fn scopes_nest() {
    let w = right_steps(
        "
  - id: p
    parallel:
      need: 1
      concurrency: 2
      branches:
        one: [{id: a, delay: 1}]
        two: [{id: b, loop: {until: loop.last, collect: loop.index}, do: [{id: c, delay: 1}]}]
  - {id: q, parallel: {branches: [[{id: d, delay: 1}], [{id: e, delay: 1}]]}}
  - {id: gate, condition: 1 < 2}
on_failure:
  - {id: tell, delay: 1}
",
    );
    assert_snapshot!(flow(&w), @r"
    - list: >p/0(q) q/1(gate) gate/1()
    p list: >a/0()
    p list: >b/0()
    b list: >c/0()
    q list: >d/0()
    q list: >e/0()
    - list: >tell/0()
    ");
    let StepKind::Parallel { mode, branches, named, concurrency } = &step(&w, "p").kind else {
        panic!("not parallel")
    };
    let names: Vec<&str> = branches.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((*mode, *named, *concurrency), (ParallelMode::Need(1), true, Some(2)));
    assert_eq!(names, ["one", "two"]);
    assert!(matches!(step(&w, "gate").kind, StepKind::Condition { gate: true, .. }));
    let tell = w.scope(w.on_failure.unwrap()).steps[0];
    assert_eq!(w.step(tell).id.as_str(), "tell");
}

#[test]
fn what_steps_get_that_say_nothing() {
    let w = right_steps("
  - {id: plain, plugin: http}
  - {id: once, plugin: http, effects: at_most_once}
  - {id: once_more, plugin: http, effects: at_most_once, retry: {max_retries: 1}, on_interrupt: retry}
  - {id: never, plugin: http, retry: none, timeout: 10h}
  - {id: patient, delay: 5m, timeout: none}
  - {id: zero, plugin: http, retry: {max_retries: 0, delay: 5}}
  - {id: rest, delay: 5m}
  - {id: hurry, delay: 5m, timeout: 1m, total_timeout: PT2M, retry: {backoff: exponential, delay: 1s, factor: 3, max_delay: 10s, jitter: equal, errors: [timeout], not_errors: plugin.*}}
  - {id: off, delay: 1, enabled: false, if: 1 < 2}
");
    let got = |id| {
        let step = step(&w, id);
        let retry = step.retry.first().map_or((0, 0), |retry| (retry.max_retries, retry.delay_ms));
        (step.timeout_ms, retry.0, retry.1)
    };
    assert_eq!(got("plain"), (Some(limits::ATTEMPT_TIMEOUT_MS), 3, 60_000));
    assert_eq!(got("once"), (Some(limits::ATTEMPT_TIMEOUT_MS), 0, 0));
    assert_eq!(got("once_more"), (Some(limits::ATTEMPT_TIMEOUT_MS), 1, 60_000));
    assert_eq!(got("never"), (Some(36_000_000), 0, 0));
    assert_eq!(got("patient"), (None, 0, 0));
    assert_eq!(step(&w, "zero").retry, []);
    assert_eq!(got("rest"), (None, 0, 0));
    assert_eq!(got("hurry"), (Some(60_000), 3, 1_000));
    let hurry = step(&w, "hurry");
    assert_eq!(hurry.total_timeout_ms, Some(120_000));
    assert_eq!((hurry.retry[0].factor, hurry.retry[0].jitter), (3.0, Jitter::Equal));
    assert_eq!(hurry.retry[0].not_errors, ["plugin.*"]);
    assert_eq!(step(&w, "off").condition.as_ref().unwrap().source(), "false");
    assert_eq!(step(&w, "once_more").on_interrupt, OnInterrupt::Retry);
    assert_eq!((w.version.as_str(), w.max, w.mode), ("1", 10, Mode::Queued));
}

#[test]
fn defaults_are_for_plugin_steps() {
    let w = right(
        "
workflow: w
defaults: {timeout: 20s, retry: {max_retries: 7, delay: 1}}
steps:
  - {id: a, plugin: http}
  - {id: b, plugin: http, timeout: 5, retry: {max_retries: 1}}
  - {id: c, plugin: http, effects: at_most_once}
  - {id: d, delay: 1}
",
    );
    let got = |id| {
        let step = step(&w, id);
        let retry = step.retry.first().map_or((0, 0), |retry| (retry.max_retries, retry.delay_ms));
        (step.timeout_ms, retry.0, retry.1)
    };
    assert_eq!(got("a"), (Some(20_000), 7, 1_000));
    assert_eq!(got("b"), (Some(5_000), 1, 60_000));
    assert_eq!(got("c"), (Some(20_000), 0, 0));
    assert_eq!(got("d"), (None, 0, 0));
}

#[test]
fn both_spellings_and_both_syntaxes_are_one_workflow() {
    let authoring = right(
        "
# A comment, and keys in another order.
steps:
  - {plugin: 'http@1', id: a, description: asks, with: {n: 1, t: 'x ${ inputs.i } $${ y }'}, timeout: 300}
  - {id: b, delay: 1h30m}
  - {id: c, set: {x: '${ steps.a.output }'}}
  - {id: d, condition: vars.x == 1, then: [{id: e, delay: '${ inputs.i }'}]}
  - {id: f, loop: {times: 3}, do: [{id: g, delay: 0.5}]}
inputs: {i: {type: integer, default: 5}}
workflow: w
version: '2'
",
    );
    let canonical = right(
        r#"{"workflow": "w", "version": 2, "inputs": {"i": {"type": "integer", "default": 5}}, "steps": [
  {"id": "a", "type": "plugin", "config": {"plugin": "http.execute@^1",
    "with": {"n": 1, "t": "x ${ inputs.i } $${ y }"}}},
  {"id": "b", "type": "delay", "config": {"for": 5400}},
  {"id": "c", "type": "set", "config": {"x": "${ steps.a.output }"}, "next_steps": null},
  {"id": "d", "type": "condition", "config": {"condition": "vars.x == 1",
    "then": [{"id": "e", "type": "delay", "config": {"for": "${ inputs.i }"}}]}},
  {"id": "f", "type": "loop", "config": {"times": "3",
    "do": [{"id": "g", "type": "delay", "config": {"for": "500ms"}}]}}
]}"#,
    );
    assert_eq!(authoring.canonical, canonical.canonical);
    assert_eq!(authoring.hash, canonical.hash);
    assert_eq!(authoring.hash.0.len(), 64);
    assert_snapshot!(authoring.canonical, @r#"{"workflow":"w","language":1,"version":"2","inputs":{"i":{"type":"integer","default":5}},"steps":[{"id":"a","type":"plugin","config":{"plugin":"http.execute@^1","with":{"n":1,"t":"x ${ inputs.i } $${ y }"}}},{"id":"b","type":"delay","config":{"for":5400}},{"id":"c","type":"set","config":{"x":"${ steps.a.output }"}},{"id":"d","type":"condition","config":{"condition":"vars.x == 1","then":[{"id":"e","type":"delay","config":{"for":"${ inputs.i }"}}]}},{"id":"f","type":"loop","config":{"times":"3","do":[{"id":"g","type":"delay","config":{"for":"500ms"}}]}}]}"#);
}

#[test]
fn plugin_references_are_written_out_and_told_once() {
    let w = right_steps(
        "
  - {id: a, plugin: http}
  - {id: b, plugin: modbus.read@^1.2}
  - {id: c, plugin: 'modbus.read@1.2'}
  - {id: d, plugin: 'http@>=1, <3'}
  - {id: e, plugin: 'http.execute@*'}
",
    );
    let refs: Vec<String> = w.plugin_refs().into_iter().map(|(reference, _)| reference).collect();
    assert_eq!(refs, ["http.execute@*", "modbus.read@^1.2", "http.execute@>=1, <3"]);
}

#[test]
fn triggers_in_every_spelling() {
    let w = right(
        "
workflow: w
inputs: {i: {type: string}, j: {type: string, optional: true}}
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, interval: 5s, inputs: {i: x}}
  - {id: b, interval: {every: 90}, enabled: false}
  - {id: c, cron: '@daily', inputs: {i: '${ trigger.at }'}}
  - {id: d, cron: {at: '*/5 1-3 * * mon', tz: Asia/Shanghai, catch_up: all}, inputs: {i: x, j: y}}
  - {id: e, startup: {}, inputs: {i: x}}
  - {id: f, manual: }
",
    );
    let kinds: Vec<String> = w.triggers.iter().map(|t| format!("{:?}", t.kind)).collect();
    assert_snapshot!(kinds.join("\n"), @r#"
    Interval { every_ms: 5000, align: Boot, jitter_ms: 0 }
    Interval { every_ms: 90000, align: Boot, jitter_ms: 0 }
    Cron { schedule: "@daily" in UTC, catch_up: Latest, max_catch_up: 10, jitter_ms: 0 }
    Cron { schedule: "*/5 1-3 * * mon" in Asia/Shanghai, catch_up: All, max_catch_up: 10, jitter_ms: 0 }
    Startup
    Manual
    "#);
    assert!(!w.triggers[1].enabled);
}

#[test]
fn a_number_that_is_written_out_bounds_its_loop() {
    let bound = |text: &str| {
        let w = right_steps(&format!("  - {{id: a, loop: {text}, do: [{{id: b, delay: 1}}]}}"));
        let StepKind::Loop { max_iterations, .. } = step(&w, "a").kind else { panic!("no loop") };
        max_iterations
    };
    assert_eq!(bound("{times: 5}"), 1_000);
    assert_eq!(bound("{times: 5000}"), 5_000);
    assert_eq!(bound("{times: 5000, max_iterations: 10}"), 10);
    assert_eq!(bound("{while: 1 < 2}"), 1_000);
}

#[test]
fn aliases_and_block_texts_are_fine() {
    let w = right(
        "
workflow: w
description: |
  Two
  lines
defaults: {retry: &r {max_retries: 5}}
steps:
  - {id: a, plugin: http, retry: *r}
  - id: b
    condition: >-
      steps.a.status == 'succeeded'
      && 1 < 2
",
    );
    assert_eq!(w.description, "Two\nlines\n");
    assert_eq!(step(&w, "a").retry[0].max_retries, 5);
}

#[test]
fn nearly_every_construct_at_once() {
    let w = right(include_str!("pump-overheat.workflow.yaml"));
    let kinds: BTreeSet<&str> = w.steps.iter().map(|step| step.kind.key()).collect();
    assert_eq!(kinds.len(), 16, "{kinds:?}");
    assert_eq!(w.triggers.len(), 4);
    assert_snapshot!(flow(&w), @r"
    - list: >read/0(hot_enough) hot_enough/1(guard) guard/1(restart_ok) restart_ok/1(decide) decide/1(too_long) too_long/1()
    hot_enough list: >fine/0()
    guard list: >shut/0(cool) cool/1()
    shut list: >pump_off/0()
    pump_off list: >pump_on_again/0()
    shut list: >valves_close/0()
    valves_close list: >close/0()
    cool list: >wait_a_bit/0(count) count/1()
    guard list: >page/0(mark) mark/1()
    guard list: >tell/0()
    decide graph: >precheck/0(spin_up, notify_hmi) spin_up/1(confirm, fail leave) notify_hmi/1(confirm) confirm/2(done, fail leave) done/1() leave/2()
    decide list: >keep_off/0()
    too_long list: >bad/0()
    ");
}

#[test]
fn the_examples_of_the_documentation_are_right() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if let Some(workflow) = name.strip_suffix(".workflow.yaml") {
            let parsed = right(&std::fs::read_to_string(&path).unwrap());
            assert_eq!(parsed.name.as_str(), workflow, "the file is named as its workflow");
            names.push(name);
        }
    }
    assert!(names.len() >= 3, "{names:?}");
}

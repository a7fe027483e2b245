//! `openclaw workflow test`: what it says, writes and ends with.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Desk, err, json, out};

/// A document of the project.
pub(crate) fn document(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    std::fs::read_to_string(docs.join(name)).unwrap()
}

/// The `yaml` blocks of the documentation: definitions, and each with the scenarios after it.
pub(crate) fn documented() -> Vec<(String, Vec<String>)> {
    examples(&document("scenarios.md"))
}

fn examples(document: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for block in document.split("\n```yaml\n").skip(1) {
        let text = block.split("\n```\n").next().unwrap();
        if text.starts_with("workflow:") {
            found.push((text.to_owned(), Vec::new()));
        } else {
            assert!(text.starts_with("scenario: 1\n"), "neither workflow nor scenario:\n{text}");
            found.last_mut().unwrap().1.push(text.to_owned());
        }
    }
    found
}

fn write(desk: &Desk, name: &str, text: &str) {
    std::fs::write(desk.path().join(name), text).unwrap();
}

fn read_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_example_of_the_documentation_passes() {
    let all = documented();
    assert!(all.len() >= 5, "only {} definitions found", all.len());
    // What is the very same need not be played twice.
    assert_eq!(examples(&document("scenarios.zh-CN.md")), all, "docs/scenarios.zh-CN.md");
    for (definition, scenarios) in all {
        let desk = Desk::new();
        write(&desk, "d.yaml", &definition);
        assert!(!scenarios.is_empty(), "no scenario for\n{definition}");
        for scenario in &scenarios {
            write(&desk, "s.yaml", scenario);
            let done =
                desk.run(&["workflow", "test", "--definition", "d.yaml", "--scenario", "s.yaml"]);
            assert!(done.status.success(), "{scenario}\n{}{}", out(&done), err(&done));
        }
    }
}

#[test]
fn the_trace_is_the_one_in_the_documentation() {
    let (definition, scenarios) = documented().remove(0);
    let desk = Desk::new();
    write(&desk, "d.yaml", &definition);
    write(&desk, "s.yaml", &scenarios[0]);
    let args =
        ["workflow", "test", "-d", "d.yaml", "-s", "s.yaml", "--trace", "t.jsonl", "-o", "json"];
    let report = json(&desk.run(&args));
    assert_eq!(report["passed"], true);
    assert_eq!(report["scenarios"][0]["run"]["ms"], 11_200);
    let trace = read_lines(&desk.path().join("t.jsonl"));
    for name in ["scenarios.md", "scenarios.zh-CN.md"] {
        let document = document(name);
        let shown = document.split("\n```json\n").nth(1).unwrap().split("\n```").next().unwrap();
        let shown: Vec<Value> =
            shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(trace, shown, "docs/{name}");
    }
}

const TWO: &str = "
workflow: two
steps:
  - { id: a, plugin: p.one, retry: none }
  - { id: b, plugin: p.two, retry: none }
outputs: { n: '${ steps.b.output.n }' }
";

#[test]
fn what_is_not_as_expected_is_told_and_fails() {
    let desk = Desk::new();
    write(&desk, "d.yaml", TWO);
    let scenario = |expect: Value| {
        json!({
            "scenario": 1,
            "mocks": { "plugins": { "p.one": { "output": {} }, "p.two": { "output": { "n": 4 } } } },
            "expect": expect,
        })
    };
    for (expect, told) in [
        (json!({ "status": "failed" }), "status: expected \"failed\", is \"completed\""),
        (json!({ "outputs": { "n": 5, "m": 1 } }), "outputs.n: expected 5, is 4"),
        (json!({ "outputs": {} }), "outputs.n: not expected, is 4"),
        (json!({ "error": "timeout" }), "error: expected an error, there is none"),
        (json!({ "steps": [{ "path": "c" }] }), "c: did not settle; those that did: a, b"),
        (json!({ "steps": [{ "path": "a", "status": "absent" }] }), "a: expected not to settle"),
        (json!({ "steps": [{ "path": "a", "attempts": 2 }] }), "a.attempts: expected 2, is 1"),
        (json!({ "order": ["b", "a"] }), "order: a settled before"),
        (json!({ "exact_order": ["a"] }), "exact_order: is a, b"),
        (json!({ "calls": 3 }), "calls: expected 3, is 2"),
        (
            json!({ "calls": { "p.two": { "inputs": [{ "x": 1 }] } } }),
            "calls.p.two[0].x: expected 1",
        ),
        (json!({ "published": [{ "topic": "t" }] }), "published: expected 1 messages, there are 0"),
        (json!({ "logged": ["hello"] }), "logged[0]: was not said"),
        (json!({ "took": { "at_least": "1s" } }), "took: expected 1000 ms to any, is 0 ms"),
        (json!({ "runs": [{}, {}] }), "runs: expected 2, there are 1"),
        (json!({ "compensation": "complete" }), "compensation: none was run"),
        (json!({ "refused": "inputs.invalid" }), "refused: expected \"inputs.invalid\", is null"),
    ] {
        let text = scenario(expect.clone()).to_string();
        write(&desk, "s.json", &text);
        let done = desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "s.json"]);
        assert_eq!(done.status.code(), Some(1), "{expect}: {}", out(&done));
        assert!(out(&done).contains(told), "{expect}: {}", out(&done));
        assert!(out(&done).starts_with("FAIL s.json: completed after 0 ms, 2 steps"));
    }
}

#[test]
fn a_missing_mock_says_what_to_write() {
    let desk = Desk::new();
    write(&desk, "d.yaml", TWO);
    write(&desk, "s.yaml", "scenario: 1\nmocks: { plugins: { p.one: { output: {} } } }\n");
    let done = desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "s.yaml"]);
    assert_eq!(done.status.code(), Some(1));
    let said = out(&done);
    assert!(said.contains("step `b` calls plugin `p.two`, and the scenario has no mock"), "{said}");
    assert!(
        said.contains("mocks:\n           plugins:\n             p.two: { output: {} }"),
        "{said}"
    );
}

#[test]
fn a_run_that_does_not_end_fails() {
    let desk = Desk::new();
    write(&desk, "d.yaml", "workflow: w\nsteps: [{ id: s, wait: { signal: go } }]\n");
    write(&desk, "s.yaml", "scenario: 1\n");
    let done = desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "s.yaml"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(out(&done).contains("nothing more happens after 0 ms"), "{}", out(&done));
    assert!(out(&done).contains("`s` waits for signal"), "{}", out(&done));
    write(&desk, "d.yaml", "workflow: w\nsteps: [{ id: s, delay: 31d }]\n");
    let done = desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "s.yaml"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(out(&done).contains("the run has not ended within 2592000000 ms"), "{}", out(&done));
}

#[test]
fn documents_that_are_wrong_are_told_apart() {
    let desk = Desk::new();
    write(&desk, "d.yaml", TWO);
    write(&desk, "bad.yaml", "workflow: w\nsteps: [{ id: s, dely: 1s }]\n");
    write(&desk, "s.yaml", "scenario: 1\n");
    for (text, told) in [
        ("scenario: 2\n", "`scenario: 2` is not a version"),
        ("scenario: 1\nexpct: {}\n", "unknown field `expct`"),
        ("scenario: 1\nstimuli: [{ at: 1s }]\n", "exactly one of signal"),
        ("scenario: 1\nstimuli: [{ at: 1s, sginal: x }]\n", "`sginal` is no stimulus"),
        ("scenario: 1\nstimuli: [{ signal: x }]\n", "needs `at` or `after`"),
        (
            "scenario: 1\nmocks: { plugins: { p: {} } }\n",
            "mocks.plugins.p: an answer has exactly one",
        ),
        ("scenario: 1\ntrigger: t\n", "the definition has no `t`"),
        ("scenario: 1\ndevice: { clock: noon }\n", "`noon` is no RFC 3339 time"),
        ("scenario: 1\nuntil: soon\n", "is not a duration"),
    ] {
        write(&desk, "bad.scenario.yaml", text);
        let done = desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "bad.scenario.yaml"]);
        assert_eq!(done.status.code(), Some(6), "{text}: {}", err(&done));
        assert!(err(&done).contains(told), "{text}: {}", err(&done));
    }
    let done = desk.run(&["workflow", "test", "-d", "bad.yaml", "-s", "s.yaml"]);
    assert_eq!(done.status.code(), Some(6));
    assert!(err(&done).contains("did you mean `delay`"), "{}", err(&done));
    let done = desk.run(&["workflow", "test", "-s", "s.yaml"]);
    assert_eq!(done.status.code(), Some(2), "{}", err(&done));
}

#[test]
fn a_directory_stands_for_its_scenarios_and_they_may_name_their_definition() {
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path().join("tests/sub")).unwrap();
    write(
        &desk,
        "parent.yaml",
        "workflow: parent\nsteps: [{ id: c, call: two }]\noutputs: { n: '${ steps.c.output.n }' }\n",
    );
    write(&desk, "two.yaml", TWO);
    let scenario = |n: u32| {
        format!(
            "scenario: 1\ndefinition: ../parent.yaml\nwith: [../two.yaml]\n\
             mocks: {{ plugins: {{ p.one: {{ output: {{}} }}, p.two: {{ output: {{ n: 4 }}, latency: 1s }} }} }}\n\
             expect: {{ outputs: {{ n: {n} }} }}\n"
        )
    };
    write(&desk, "tests/b.scenario.yaml", &scenario(5));
    write(&desk, "tests/a.scenario.yml", &scenario(4));
    write(&desk, "tests/notes.yaml", "nothing: here\n");
    let done = desk.run(&["workflow", "test", "-s", "tests", "--trace", "t.jsonl"]);
    assert_eq!(done.status.code(), Some(1));
    let said = out(&done);
    assert!(said.starts_with("ok   tests/a.scenario.yml"), "{said}");
    assert!(said.contains("\nFAIL tests/b.scenario.yaml"), "{said}");
    assert!(err(&done).contains("1 of 2 scenarios failed"), "{}", err(&done));
    let trace = read_lines(&desk.path().join("t.jsonl"));
    let first: Vec<&Value> = trace.iter().take_while(|line| line.get("run").is_none()).collect();
    assert_eq!(first[0]["scenario"], "tests/a.scenario.yml");
    let of: Vec<bool> = first[1..].iter().map(|line| line.get("of").is_some()).collect();
    assert_eq!(of.iter().filter(|of| **of).count(), 2, "the called run's steps: {trace:?}");
    let empty = desk.run(&["workflow", "test", "-d", "two.yaml", "-s", "tests/sub"]);
    assert!(err(&empty).contains("has no scenarios"), "{}", err(&empty));
}

#[test]
fn crashes_change_nothing_that_is_promised() {
    let desk = Desk::new();
    write(&desk, "d.yaml", "
workflow: w
inputs: { n: { type: integer, default: 3 } }
steps:
  - id: each
    foreach: { in: 'lists.range(inputs.n)', as: i, concurrency: 2, collect: steps.work.output.got }
    do:
      - { id: work, plugin: p, with: { i: '${ i }' }, retry: { max_retries: 2, backoff: constant, delay: 5s } }
  - { id: pause, delay: 1m }
  - { id: last, plugin: q }
outputs: { items: '${ steps.each.output.items }' }
");
    let scenario = |stimuli: &[Value]| {
        json!({
            "scenario": 1,
            "mocks": { "plugins": {
                "p": { "answers": [{ "input": { "i": 1 }, "attempt": 1, "error": "plugin.error", "latency": "1s" }],
                       "default": { "compute": "{'got': input.i * 10}", "latency": "2s" } },
                "q": { "output": {}, "latency": "1s" },
            } },
            "stimuli": stimuli,
            "expect": {
                "status": "completed",
                "outputs": { "items": [0, 10, 20] },
                "steps": [{ "path": "each#1/work", "attempts": 2 }],
            },
        })
    };
    let run = |stimuli: &[Value]| {
        write(&desk, "s.json", &scenario(stimuli).to_string());
        let done = desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "s.json"]);
        assert!(done.status.success(), "{stimuli:?}: {}{}", out(&done), err(&done));
    };
    run(&[]);
    for at_ms in (0..12_000).step_by(700).chain([20_000, 70_000, 72_500]) {
        let at = format!("{at_ms}ms");
        run(&[json!({ "at": at, "crash": {} })]);
        run(&[json!({ "at": at, "power_cut": { "down": "40s" } })]);
        run(&[
            json!({ "at": at, "crash": { "clean": true, "down": "1s" } }),
            json!({ "at": at, "clock": { "by": "-1h" } }),
        ]);
    }
}

/// Definition, scenario.
type Pair<'a> = (&'a str, &'a str);

/// Plays each of them; all must pass.
fn all_pass(pairs: &[Pair<'_>]) {
    let desk = Desk::new();
    for (definition, scenario) in pairs {
        write(&desk, "d.yaml", definition);
        write(&desk, "s.yaml", &format!("scenario: 1\n{scenario}"));
        let done = desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "s.yaml"]);
        assert!(done.status.success(), "{definition}\n{scenario}\n{}{}", out(&done), err(&done));
    }
}

#[test]
fn every_kind_of_trigger_makes_the_run() {
    const CRON: &str = "workflow: c
triggers: [{ id: night, cron: { at: '0 3 * * *', tz: Europe/Berlin } }, { id: tick, interval: 1s }]
steps: [{ id: a, delay: 1s }]
outputs: { x: '${ trigger.slot }' }";
    const SET_OFF: &str = "workflow: c
triggers: [{ id: after, workflow: { name: other, status: [failed] } }]
steps: [{ id: a, delay: 1s }]
outputs: { code: '${ trigger.error.code }' }";
    const MQTT: &str = "workflow: c
mode: parallel
triggers: [{ id: m, mqtt: { topic: a/b }, throttle: 5s }, { id: slow, mqtt: { topic: a/b }, debounce: 5s }]
steps: [{ id: a, delay: 10s }]
outputs: { v: '${ trigger.payload }' }";
    all_pass(&[
        (
            CRON,
            "trigger: { id: night, data: { slot: '2026-03-03T02:00:00Z' } }
stimuli: [{ at: 1500ms, signal: x }]
expect: { outputs: { x: '2026-03-03T02:00:00Z' }, took: 1s }",
        ),
        (CRON, "trigger: night\nexpect: { outputs: { x: '2026-01-06T02:00:00Z' } }"),
        (CRON, "device: { clock: '2026-07-01T00:30:00Z' }\ntrigger: night\nexpect: { outputs: { x: '2026-07-01T01:00:00Z' } }"),
        ("workflow: c\ntriggers: [{ id: t, interval: 10s }]\nsteps: [{ id: a, delay: 3s }]", "trigger: t\nexpect: { took: 3s }"),
        (
            "workflow: c\ntriggers: [{ id: up, startup: {} }]\nsteps: [{ id: a, delay: 3s }]\noutputs: { u: '${ trigger.unclean }' }",
            "trigger: up
stimuli: [{ at: 1s, power_cut: { down: 10s } }]
expect: { outputs: { u: false }, took: 11s, runs: [{ status: completed }, { outputs: { u: true } }] }",
        ),
        (
            "workflow: c\ntriggers: [{ id: e, event: door.open, inputs: { n: '${ trigger.data.n }' } }]\ninputs: { n: { type: integer } }\nsteps: [{ id: w, wait: { event: link.down } }]\noutputs: { n: '${ inputs.n }' }",
            "trigger: { id: e, data: { data: { n: 4 } } }\nstimuli: [{ at: 4s, link: down }]\nexpect: { outputs: { n: 4 }, took: 4s }",
        ),
        (SET_OFF, "trigger: { id: after, data: { error: user.boo } }\nexpect: { outputs: { code: user.boo } }"),
        (SET_OFF, "trigger: { id: after, data: { outputs: {} } }\nexpect: { runs: [] }"),
        (
            MQTT,
            "trigger: { id: m, data: { payload: 1 } }
stimuli: [{ at: 3s, mqtt: { topic: a/b, payload: 2 } }, { at: 6s, mqtt: { topic: a/b, payload: 3 } }]
expect: { dropped: 1, runs: [{ outputs: { v: 1 } }, { outputs: { v: 3 } }] }",
        ),
        (
            MQTT,
            "trigger: { id: slow, data: { payload: 1 } }
stimuli: [{ at: 3s, mqtt: { topic: a/b, payload: 2 } }]
expect: { runs: [{ outputs: { v: 2 } }] }",
        ),
    ]);
}

#[test]
fn every_kind_of_stimulus_reaches_the_run() {
    const GUARDED: &str = "workflow: c
steps: [{ id: t, try: [{ id: a, plugin: p }], finally: [{ id: f, plugin: q }] }]";
    const MOCKS: &str = "mocks: { plugins: { p: { hang: true }, q: { output: 1, latency: 3s } } }";
    let cancelled = format!(
        "{MOCKS}\nstimuli: [{{ at: 2s, cancel: {{}} }}]\nexpect: {{ status: cancelled, took: 5s, order: [a, f, t] }}"
    );
    let forced = format!(
        "{MOCKS}\nstimuli: [{{ at: 2s, cancel: {{ force: true }} }}, {{ at: 10s, cancel: {{}}, refused: run.unknown }}]\nexpect: {{ status: cancelled, took: 2s, steps: [{{ path: f, status: absent }}] }}"
    );
    const UNTIL: &str = "workflow: c\nsteps: [{ id: k, delay: { until: '2026-01-05T10:00:00Z' } }]";
    all_pass(&[
        (GUARDED, &cancelled),
        (GUARDED, &forced),
        (
            "workflow: c\nsteps: [{ id: a, plugin: p, timeout: 5s, retry: none }]",
            "mocks: { plugins: { p: { hang: true, ignores_stop: true } } }\nexpect: { error: timeout, took: 15s }",
        ),
        (
            "workflow: c\nsteps: [{ id: w, wait: { signal: go, count: 2 } }]\noutputs: { m: '${ steps.w.output.messages.map(m, m.data) }' }",
            "stimuli: [{ at: 1s, signal: { name: go, data: 1 } }, { at: 6s, crash: { down: 3s } }, { at: 7s, signal: { name: go, data: 2 } }]
expect: { outputs: { m: [1, 2] }, took: 9s }",
        ),
        (UNTIL, "stimuli: [{ at: 10m, clock: { by: +1h } }]\nexpect: { took: 1h }"),
        (UNTIL, "stimuli: [{ at: 10m, clock: { by: -30m } }]\nexpect: { took: 2h30m }"),
        (
            UNTIL,
            "stimuli: [{ at: 10m, power_cut: { down: 1m, trust: unset } }, { at: 3h, clock: { right: true, trust: synced } }]\nexpect: { took: 3h }",
        ),
        (
            "workflow: c\nmode: restart\nsteps: [{ id: k, delay: 10s }]",
            "stimuli: [{ at: 4s, start: {} }]\nexpect: { status: cancelled, took: 4s, runs: [{}, { status: completed }] }",
        ),
        (
            "workflow: c
steps:
  - { id: k, publish: { topic: a/b, payload: hello, qos: 1, confirm: broker } }
  - id: par
    parallel:
      branches:
        l: [{ id: w, wait: { mqtt: x/+ }, timeout: 5s }]
        p: [{ id: pp, delay: 1s }, { id: q, publish: { topic: x/y, payload: { v: 1, w: 2 } } }]
outputs: { m: '${ steps.par.output.l.message.payload.v }' }",
            "device: { broker: down }
stimuli: [{ at: 1s, crash: {} }, { at: 2s, broker: up }]
expect:
  outputs: { m: 1 }
  took: 3s
  published: [{ topic: a/b, payload: hello, qos: 1 }, { topic: x/y, payload_contains: { v: 1 } }]",
        ),
        (
            "workflow: c\nsteps: [{ id: k, call: kid, with: { a: 1 }, retry: { max_retries: 1, backoff: constant, delay: 1s } }]\noutputs: { m: '${ steps.k.output.v }' }",
            "mocks: { workflows: { kid: [{ error: { code: user.no, message: nope }, latency: 10s }, { outputs: { v: 3 }, inputs: { a: 1 } }] } }
expect: { outputs: { m: 3 }, took: 11s, calls: 0, steps: [{ path: k, attempts: 2 }] }",
        ),
        (
            "workflow: c\nsteps: [{ id: l, log: 'agent ${ agent.id } ${ agent.labels.site }' }]",
            "device: { labels: { site: north } }\nexpect: { logged: [agent test-device north] }",
        ),
    ]);
}

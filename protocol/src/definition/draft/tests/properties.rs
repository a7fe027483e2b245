//! Whatever the text: no panic, and what is accepted survives its canonical form.

use proptest::prelude::*;

use super::super::parse;

/// A document with every kind and most keys.
const VALID: &str = "
workflow: w
version: 1.10
description: 'all kinds'
inputs: {device: {type: string, pattern: '^p-[0-9]+$'}, n: {type: integer, default: 80}}
vars: {tries: 0, deep: {a: [1, 2.5, null, 'x']}}
outputs: {result: '${ vars.tries }', other: {type: string, value: 'a ${ inputs.n }'}}
timeout: 6h
mode: parallel
max: 3
max_exceeded: drop_oldest
concurrency_key: inputs.device
secrets: [token]
compensation: {run_on: [failed]}
defaults: {timeout: 20s, retry: {max_retries: 1}}
triggers:
  - {id: tick, interval: 5s, inputs: {device: p-1}}
  - {id: night, cron: {at: '30 2 * * *', tz: Europe/Berlin}, inputs: {device: p-1}}
  - {id: hand, manual: {}}
  - {id: hot, mqtt: {topic: site/+/temp, qos: 1, retained: true}, when: trigger.payload > 80, inputs: {device: '${ trigger.topic }'}, debounce: 1s, throttle: 2s, dedupe: {key: trigger.topic, window: 10m}}
  - {id: down, event: link.down, inputs: {device: p-1}}
  - {id: after, workflow: {name: other, status: [failed]}, inputs: {device: p-1}}
steps:
  - {id: a, plugin: modbus.read@^1.2, with: {d: '${ inputs.device }', x: '$${ no }'}, on_failure: z, idempotency_key: execution.id, compensate: [{id: aa, plugin: modbus, with: {x: '${ output.c }'}}]}
  - {id: b, condition: steps.a.output.c >= inputs.n, else: [{id: c, set: {tries: '${ vars.tries + 1 }'}}]}
  - {id: d, parallel: {branches: {one: [{id: e, delay: '${ vars.tries }'}], two: [
      {id: f, plugin: http, next_steps: [g, {to: h, when: 1 < 2}]},
      {id: g, delay: 0, next_steps: [h]},
      {id: h, loop: {while: vars.tries < 3, every: 1s}, do: [{id: i, delay: 1500ms}], join: any}]}}}
  - {id: j, foreach: {in: [1, a], as: zone, index: at, concurrency: 2, mode: wait_all, tolerate: 10%, collect: steps.k.output}, do: [{id: k, plugin: valve, with: {z: '${ zone }', i: '${ at }'}}]}
  - {id: l, switch: vars.tries, cases: [{case: 1, do: [{id: m, log: one}]}, {when: vars.tries > 1, do: [{id: n, log: {level: warn, message: 'x ${ now }', fields: {a: 1}}}]}], default: [{id: o, fail: {code: user.none, message: no, details: {a: 1}}}]}
  - {id: p, try: [{id: q, wait: {mqtt: {topic: a/b, qos: 1}, when: message.payload == 1, count: 2, on_timeout: continue}, timeout: 5s}], catch: [{errors: [timeout, plugin.*], as: err, when: err.retryable, do: [{id: r, emit: {event: x.y, data: '${ err.code }'}}]}], finally: [{id: s, publish: {topic: a, qos: 1, retain: true, payload: {a: 1}, confirm: broker}}], finally_timeout: 5s}
  - {id: t, sequence: {steps: [{id: u, call: other, with: {a: 1}, detach: true, on_parent_close: abandon}], compensation: {run_on: [cancelled]}}}
  - {id: v, approval: {prompt: go?, roles: [operator], choices: [a, b], form: {n: {type: integer}}, remind: 1h, on_timeout: a}, timeout: 4h}
  - {id: w, wait: {until: vars.tries > 3, poll: 5s}, retry: [{errors: timeout, max_retries: 2, max_elapsed: 1m}, {max_retries: 0}]}
  - {id: x, delay: {until: 2027-01-01T00:00:00Z, require: synced}}
  - {id: xx, delay: {for: 5m, count_downtime: never}}
  - {id: ww, if: 1 > 2, succeed: {result: 1}}
  - {id: z, delay: 5m, priority: high, export: {tries: 1}}
on_failure: [{id: y, log: '${ error.code }'}]
";

/// Accepts or refuses; what is accepted must be the same after its canonical form.
fn check(text: &str) {
    let Ok(workflow) = parse(text) else { return };
    let again = parse(&workflow.canonical);
    let again = again.unwrap_or_else(|error| panic!("{error}\n{}", workflow.canonical));
    assert_eq!(again.canonical, workflow.canonical);
    assert_eq!(again.hash, workflow.hash);
    assert_eq!(format!("{again:?}"), format!("{workflow:?}"));
}

#[derive(Debug, Clone)]
enum Edit {
    Insert(String),
    Delete(usize),
    SwapLines(usize),
    CopyFrom(usize, usize),
}

fn edit() -> impl Strategy<Value = (prop::sample::Index, Edit)> {
    let edit = prop_oneof![
        "[ -~\n\t]{1,4}".prop_map(Edit::Insert),
        prop::sample::select(vec![
            "*x",
            "&x ",
            "null",
            "{}",
            "[]",
            "${",
            "}",
            "- ",
            ": ",
            "9999999999",
            "'",
            "\"",
            "a",
            "next_steps: [a]",
            "do: [x]",
            "item",
            "switch: ",
            "[{id: b, ",
            "\u{0}",
            "\u{feff}",
            "é",
            "!!str ",
            "---\n",
            "%",
            "|",
            ">",
            "-1",
        ])
        .prop_map(|text| Edit::Insert(text.to_owned())),
        (1_usize..30).prop_map(Edit::Delete),
        any::<usize>().prop_map(Edit::SwapLines),
        (any::<usize>(), 1_usize..80).prop_map(|(from, length)| Edit::CopyFrom(from, length)),
    ];
    (any::<prop::sample::Index>(), edit)
}

fn apply(text: &str, at: prop::sample::Index, edit: &Edit) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    if chars.is_empty() {
        return String::new();
    }
    let at = at.index(chars.len());
    match edit {
        Edit::Insert(more) => {
            chars.splice(at..at, more.chars());
        }
        Edit::Delete(length) => {
            let end = (at + length).min(chars.len());
            chars.drain(at..end);
        }
        Edit::CopyFrom(from, length) => {
            let from = from % chars.len();
            let part = chars[from..(from + length).min(chars.len())].to_vec();
            chars.splice(at..at, part);
        }
        Edit::SwapLines(other) => {
            let mut lines: Vec<&str> = text.lines().collect();
            let (one, other) = (at % lines.len(), other % lines.len());
            lines.swap(one, other);
            return lines.join("\n");
        }
    }
    chars.into_iter().collect()
}

#[test]
fn the_document_that_is_changed_is_right() {
    super::right(VALID);
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_steps_are_answered(text in "[a-z0-9{}\\[\\]:,'\"$&*|> \n-]{0,200}") {
        check(&format!("workflow: w\nsteps:\n{text}"));
    }

    #[test]
    fn a_changed_document_is_answered(edits in prop::collection::vec(edit(), 1..4)) {
        let changed = edits.iter().fold(VALID.to_owned(), |text, (at, edit)| apply(&text, *at, edit));
        check(&changed);
    }

    #[test]
    fn a_changed_canonical_form_is_answered(edits in prop::collection::vec(edit(), 1..3)) {
        let canonical = parse(VALID).unwrap().canonical;
        let changed = edits.iter().fold(canonical, |text, (at, edit)| apply(&text, *at, edit));
        check(&changed);
    }
}

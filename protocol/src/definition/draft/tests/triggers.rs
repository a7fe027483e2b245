//! Triggers that listen, what sorts their firings, and the keys of the document that say how runs
//! meet.

use insta::assert_snapshot;

use super::{right, wrong};
use crate::definition::model::*;
use crate::run::RunStatus;

fn canonical(workflow: &Workflow) -> String {
    let document: serde_json::Value = serde_json::from_str(&workflow.canonical).unwrap();
    let triggers = document["triggers"].as_array().unwrap().iter();
    triggers.map(|trigger| format!("{trigger}\n")).collect()
}

#[test]
fn triggers_that_listen() {
    let w = right(
        "
workflow: w
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, mqtt: site/+/temp}
  - {id: b, mqtt: {topic: 'site/#', qos: 1, retained: true}, when: trigger.payload.value > 80.0, debounce: 1s, throttle: 1m, dedupe: {key: trigger.topic, window: 10m}}
  - {id: c, event: link.down, dedupe: trigger.event}
  - {id: d, event: {name: door.open}}
  - {id: e, workflow: other}
  - {id: f, workflow: {name: other, status: [failed, completed, failed]}}
  - {id: g, workflow: {name: other, status: cancelled}}
  - {id: h, interval: 5s, when: trigger.kind == 'interval', throttle: 500ms}
",
    );
    assert_snapshot!(canonical(&w), @r#"
    {"id":"a","mqtt":{"topic":"site/+/temp"}}
    {"id":"b","mqtt":{"topic":"site/#","qos":1,"retained":true},"when":"trigger.payload.value > 80.0","debounce":1,"throttle":60,"dedupe":{"key":"trigger.topic","window":600}}
    {"id":"c","event":{"name":"link.down"},"dedupe":{"key":"trigger.event","window":86400}}
    {"id":"d","event":{"name":"door.open"}}
    {"id":"e","workflow":{"name":"other"}}
    {"id":"f","workflow":{"name":"other","status":["completed","failed"]}}
    {"id":"g","workflow":{"name":"other","status":["cancelled"]}}
    {"id":"h","interval":{"every":5},"when":"trigger.kind == 'interval'","throttle":"500ms"}
    "#);
    let TriggerKind::Workflow { status, .. } = &w.triggers[5].kind else { panic!("not so") };
    assert_eq!(status, &[RunStatus::Completed, RunStatus::Failed]);
}

#[test]
fn wrong_triggers_that_listen() {
    assert_snapshot!(wrong("
workflow: w
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, mqtt: {}}
  - {id: b, mqtt: 'a/#/b'}
  - {id: c, mqtt: {topic: '${ inputs.a }', qos: 3, retained: 1, retain: true}}
  - {id: d, event: a b}
  - {id: e, event: {event: x}}
  - {id: f, workflow: Other One}
  - {id: g, workflow: {name: other, status: [running]}}
  - {id: h, manual: {}, when: 1 < 2, debounce: 1s, dedupe: trigger.x}
  - {id: i, interval: 1m, when: '${ 1 < 2 }', debounce: 0, throttle: x, dedupe: {window: 1m}}
  - {id: j, interval: 1m, dedupe: {key: trigger.id, window: 0, of: 1}}
  - {id: k, event: x, mqtt: y}
  - {id: l, mqtt: [a]}
  - {id: m, mqqt: a}
"), @r"
    5:19: E_MISSING_KEY: `mqtt` has no `topic`; add `topic: site/+/temp`
    6:19: E_VALUE: `mqtt`: `#` stands at the end
    7:27: E_VALUE: `topic`: what a trigger listens to must be known before a run, without `${ }`
    7:49: E_VALUE: `qos` must be a whole number from 0 to 1, not 3
    7:62: E_TYPE: `retained` must be `true` or `false`, not a number
    7:65: E_UNKNOWN_KEY: `mqtt` has no key `retain`; did you mean `retained`?
    8:20: E_VALUE: `event` must be a name of 1 to 128 bytes without blanks
    9:20: E_MISSING_KEY: `event` has no `name`; add `name: link.down`
    9:21: E_UNKNOWN_KEY: `event` has no key `event`
    10:23: E_NAME: `Other One` is not a workflow name: use lower-case letters, digits and dashes
    11:46: E_VALUE: `status` must be one of `completed`, `failed`, `cancelled`, not `running`
    12:31: E_VALUE: a `manual` trigger never fires by itself, so that `when` says nothing; remove it
    12:48: E_VALUE: a `manual` trigger never fires by itself, so that `debounce` says nothing; remove it
    12:60: E_VALUE: a `manual` trigger never fires by itself, so that `dedupe` says nothing; remove it
    13:33: E_EXPR: `when` is always an expression and needs no `${ }`; write `1 < 2`
    13:57: E_VALUE: `debounce` must be longer than 0
    13:70: E_VALUE: `throttle`: `x` is not a duration: write seconds as a number, `500ms`, `5m`, `1h30m` or `PT5M`
    13:81: E_MISSING_KEY: `dedupe` has no `key`; add `key: trigger.topic`
    14:61: E_VALUE: `window` must be longer than 0
    14:64: E_UNKNOWN_KEY: `dedupe` has no key `of`
    15:5: E_KIND: a trigger has one kind, but this has `mqtt` and `event`; make two triggers of it
    16:19: E_TYPE: `mqtt` must be a text, not a list
    17:13: E_UNKNOWN_KEY: trigger `m` has no key `mqqt`; did you mean `mqtt`?
    ");
}

#[test]
fn how_runs_meet() {
    let w = right(
        "
workflow: w
mode: queued
max: 3
max_exceeded: drop_oldest
concurrency_key: inputs.device
compensation: {run_on: [cancelled]}
inputs: {device: {type: string}}
steps: [{id: a, delay: 1}]
",
    );
    assert_eq!((w.max, w.max_exceeded), (3, MaxExceeded::DropOldest));
    assert_eq!(w.concurrency_key.as_ref().map(|key| key.source()), Some("inputs.device"));
    assert_snapshot!(w.canonical, @r#"{"workflow":"w","language":1,"version":"1","max":3,"concurrency_key":"inputs.device","max_exceeded":"drop_oldest","compensation":{"run_on":["cancelled"]},"inputs":{"device":{"type":"string"}},"steps":[{"id":"a","type":"delay","config":{"for":1}}]}"#);
    assert_snapshot!(wrong("
workflow: w
max_exceeded: drop
concurrency_key: '${ inputs.device }'
compensation: failed
steps: [{id: a, delay: 1}]
"), @r"
    3:15: E_VALUE: `max_exceeded` must be one of `drop_newest`, `drop_oldest`, `fail`, not `drop`
    4:18: E_EXPR: `concurrency_key` is always an expression and needs no `${ }`; write `inputs.device`
    5:15: E_TYPE: `compensation` must be a map of keys and values, not a text
    ");
}

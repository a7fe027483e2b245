//! Triggers and keys of triggers that say more than when: rhythm, holding, requests.

use insta::assert_snapshot;

use super::{right, wrong};
use crate::definition::cron::Dst;
use crate::definition::model::*;

fn canonical(workflow: &Workflow) -> String {
    let document: serde_json::Value = serde_json::from_str(&workflow.canonical).unwrap();
    let triggers = document["triggers"].as_array().unwrap().iter();
    triggers.map(|trigger| format!("{trigger}\n")).collect()
}

#[test]
fn rhythms() {
    let w = right(
        "
workflow: w
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, interval: {every: 15m, align: clock, jitter: 90}}
  - {id: b, interval: {every: 15m, align: boot, jitter: 0}}
  - {id: c, cron: {at: '0 2 * * *', catch_up: all, max_catch_up: 100, dst: skip, jitter: 1h}}
  - {id: d, cron: {at: '0 2 * * *', catch_up: all, max_catch_up: 10, dst: run_after}}
  - {id: e, mqtt: a, when: trigger.payload > 80, for: 30s}
",
    );
    assert_snapshot!(canonical(&w), @r#"
    {"id":"a","interval":{"every":900,"align":"clock","jitter":90}}
    {"id":"b","interval":{"every":900}}
    {"id":"c","cron":{"at":"0 2 * * *","tz":"UTC","catch_up":"all","max_catch_up":100,"dst":"skip","jitter":3600}}
    {"id":"d","cron":{"at":"0 2 * * *","tz":"UTC","catch_up":"all"}}
    {"id":"e","mqtt":{"topic":"a"},"when":"trigger.payload > 80","for":30}
    "#);
    let TriggerKind::Cron { schedule, .. } = &w.triggers[2].kind else { panic!("not so") };
    assert_eq!(schedule.dst(), Dst::Skip);
    assert_eq!(w.triggers[4].hold_ms, Some(30_000));
}

#[test]
fn wrong_rhythms() {
    assert_snapshot!(wrong("
workflow: w
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, interval: {every: 1m, align: sun, jitter: 61}}
  - {id: b, interval: {every: 1m, jiter: 1}}
  - {id: c, cron: {at: '0 2 * * *', max_catch_up: 5, dst: later, jitter: 2h}}
  - {id: d, cron: {at: '0 2 * * *', catch_up: all, max_catch_up: 101}}
  - {id: e, mqtt: a, for: 30s}
  - {id: f, mqtt: a, when: 'true', for: 0}
  - {id: g, manual: {}, for: 1s}
"), @r"
    5:42: E_VALUE: `align` must be one of `boot`, `clock`, not `sun`
    5:55: E_VALUE: `jitter` must be at most the period
    6:35: E_UNKNOWN_KEY: `interval` has no key `jiter`; did you mean `jitter`?
    7:51: E_VALUE: `max_catch_up` bounds what is made up for, which only `catch_up: all` does; write `catch_up: all`, or remove it
    7:59: E_VALUE: `dst` must be one of `run_after`, `skip`, not `later`
    7:74: E_VALUE: `jitter` must be at most 1h
    8:66: E_VALUE: `max_catch_up` must be a whole number from 1 to 100, not 101
    9:27: E_MISSING_KEY: `for` says how long `when` must hold, but there is no `when`; add `when: trigger.payload > 80`
    10:41: E_VALUE: `for` must be longer than 0
    11:30: E_VALUE: a `manual` trigger never fires by itself, so that `for` says nothing; remove it
    ");
}

#[test]
fn requests() {
    let w = right(
        "
workflow: w
secrets: [key]
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, webhook: {path: /orders, hmac: key}}
  - {id: b, webhook: {path: /orders, methods: [PUT, PATCH, PUT], hmac: {secret: key, header: X-Signature}}}
  - {id: c, webhook: {path: /a/b-c.d, methods: POST, auth: none}}
",
    );
    assert_snapshot!(canonical(&w), @r#"
    {"id":"a","webhook":{"path":"/orders","hmac":{"secret":"key"}}}
    {"id":"b","webhook":{"path":"/orders","methods":["PATCH","PUT"],"hmac":{"secret":"key","header":"x-signature"}}}
    {"id":"c","webhook":{"path":"/a/b-c.d","auth":"none"}}
    "#);
}

#[test]
fn wrong_requests() {
    assert_snapshot!(wrong("
workflow: w
secrets: [key]
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, webhook: {path: /orders}}
  - {id: b, webhook: {path: orders, hmac: key}}
  - {id: c, webhook: {path: /a/../b, hmac: kex}}
  - {id: d, webhook: {path: /d, methods: [POST, HEAD], auth: none}}
  - {id: e, webhook: {path: /e, auth: basic}}
  - {id: f, webhook: {path: /f, auth: none, hmac: key}}
  - {id: g, webhook: {path: /g, hmac: {secret: key, header: 'x y'}}}
  - {id: h, webhook: {path: /h, auth: none}}
  - {id: i, webhook: {path: /h, methods: [GET, POST], auth: none}}
  - {id: j, webhook: /j}
  - {id: k, webhook: {path: /k, methods: [POST, GET], hmac: key}}
"), @r"
    6:22: E_MISSING_KEY: the webhook does not say who may call it; add `hmac: NAME_OF_A_SECRET`, or `auth: none` if anybody who reaches it may
    7:29: E_VALUE: `path` must be `/` and names of letters, digits and `-._~` with `/` between them, of 256 bytes at most; write it as `/orders/new`
    8:29: E_VALUE: `path` must be `/` and names of letters, digits and `-._~` with `/` between them, of 256 bytes at most; write it as `/orders/new`
    8:44: E_UNKNOWN_REF: there is no secret `kex`; declare it under `secrets`; did you mean `key`?
    9:49: E_VALUE: `methods` must be one of `DELETE`, `GET`, `PATCH`, `POST`, `PUT`, not `HEAD`
    10:39: E_VALUE: `auth` must be one of `none`, not `basic`
    11:39: E_VALUE: a webhook has `hmac` or `auth: none`, not both; remove one of them
    12:61: E_VALUE: `header` must be the name of a header, such as `X-Hub-Signature-256`
    14:5: E_VALUE: the webhook of trigger `h` listens to the same; give it another `path` or other `methods`
    15:22: E_TYPE: `webhook` must be a map of keys and values, not a text
    16:22: E_VALUE: GET has no body that `hmac` could be about; use POST, PUT or PATCH
    ");
}

#[test]
fn files() {
    let w = right(
        "
workflow: w
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, file: 'inbox/*.csv'}
  - {id: b, file: {path: 'inbox/**/x?.json', events: [deleted, created, deleted], settle: 0}}
  - {id: c, file: {path: inbox/a, events: modified, settle: 1500ms}}
  - {id: d, file: {path: inbox/a, events: [modified, created], settle: 2s}}
",
    );
    assert_snapshot!(canonical(&w), @r#"
    {"id":"a","file":{"path":"inbox/*.csv"}}
    {"id":"b","file":{"path":"inbox/**/x?.json","events":["created","deleted"],"settle":0}}
    {"id":"c","file":{"path":"inbox/a","events":["modified"],"settle":"1500ms"}}
    {"id":"d","file":{"path":"inbox/a"}}
    "#);
    assert_snapshot!(wrong(
        "
workflow: w
steps: [{id: a, delay: 1}]
triggers:
  - {id: a, file: {pth: inbox/a}}
  - {id: b, file: {path: inbox/a, events: [changed]}}
  - {id: c, file: {path: inbox/a, events: [modifyed]}}
  - {id: d, file: {path: inbox/a, events: []}}
  - {id: e, file: {path: 'inbox/${ x }', settle: soon}}
  - {id: f, file: 'inbox/[ab]'}
  - {id: g, fil: inbox/a}
"
    ), @r"
    5:19: E_MISSING_KEY: `file` has no `path`; add `path: inbox/*.csv`
    5:20: E_UNKNOWN_KEY: `file` has no key `pth`; did you mean `path`?
    6:44: E_VALUE: `events` must be one of `created`, `modified`, `deleted`, not `changed`
    7:44: E_VALUE: `events` must be one of `created`, `modified`, `deleted`, not `modifyed`; did you mean `modified`?
    8:43: E_TYPE: `events` must be a list such as `[created, modified]`, not a list
    9:26: E_VALUE: `path`: what a trigger watches must be known before a run, without `${ }`
    9:50: E_VALUE: `settle`: `soon` is not a duration: write seconds as a number, `500ms`, `5m`, `1h30m` or `PT5M`
    10:19: E_VALUE: `file`: of `[]{}` and backslashes nothing is known: use `*`, `?` and `**`
    11:13: E_UNKNOWN_KEY: trigger `g` has no key `fil`; did you mean `file`?
    ");
}

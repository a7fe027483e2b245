//! Kinds that reach beyond the run, and those that end it: wait, call, publish, emit, approval, log,
//! succeed, fail, delays until a point in time.

use insta::assert_snapshot;

use super::{canonical_steps, right_steps, wrong_steps};
use crate::definition::model::*;
use crate::limits;

fn step<'a>(workflow: &'a Workflow, id: &str) -> &'a Step {
    workflow.step_named(id).unwrap()
}

#[test]
fn waits_in_every_spelling() {
    let w = right_steps(
        "
  - {id: a, wait: {mqtt: site/+/state}}
  - {id: b, wait: {mqtt: {topic: 'site/${ inputs }/#', qos: 1}, when: message.payload == 'running', count: 3, on_timeout: continue}, timeout: 2m}
  - {id: c, wait: {event: link.up, when: event.data.ok}}
  - {id: d, wait: {signal: 'go-${ vars }', on_timeout: fail}}
  - {id: e, wait: {until: vars.ready}}
  - {id: f, wait: {until: vars.ready, poll: 1s}}
  - {id: g, set: {ready: true}}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"wait","config":{"mqtt":{"topic":"site/+/state"}}}
    {"id":"b","type":"wait","config":{"mqtt":{"topic":"site/${ inputs }/#","qos":1},"when":"message.payload == 'running'","count":3,"on_timeout":"continue"},"timeout":120}
    {"id":"c","type":"wait","config":{"event":"link.up","when":"event.data.ok"}}
    {"id":"d","type":"wait","config":{"signal":"go-${ vars }"}}
    {"id":"e","type":"wait","config":{"until":"vars.ready"}}
    {"id":"f","type":"wait","config":{"until":"vars.ready","poll":1}}
    {"id":"g","type":"set","config":{"ready":true}}
    "#);
    let StepKind::Wait(wait) = &step(&w, "e").kind else { panic!("not as written") };
    let WaitSource::Until { poll_ms, .. } = wait.source else { panic!("not as written") };
    assert_eq!((poll_ms, wait.count, wait.continue_on_timeout), (limits::POLL_MS, 1, false));
    assert_eq!(step(&w, "a").timeout_ms, None);
}

#[test]
fn wrong_waits() {
    assert_snapshot!(wrong_steps("
  - {id: a, wait: {}}
  - {id: b, wait: 5m}
  - {id: c, wait: {event: x, signal: y}}
  - {id: d, wait: {mqtt: {topic: 'a/#/b', qos: 2}}}
  - {id: e, wait: {mqtt: {qos: 0}}}
  - {id: f, wait: {until: 1 < 2, when: 1 < 2, count: 2, poll: 500ms}}
  - {id: g, wait: {event: x, poll: 5s, on_timeout: skip, count: 0}}
  - {id: h, wait: {signal: 'two words'}}
  - {id: i, wait: {signal: x, whn: message.data}}
  - {id: j, if: message.data, wait: {signal: x}}
  - {id: k, wait: {mqtt: a, when: '${ message }'}}
  - {id: l, wait: {event: ''}}
"), @r"
    4:19: E_MISSING_KEY: `wait` needs exactly one of `mqtt`, `event`, `signal` and `until`; wait for several at once with a `parallel` of mode `race`
    5:19: E_TYPE: `wait` must be a map of keys and values, not a text
    6:19: E_MISSING_KEY: `wait` needs exactly one of `mqtt`, `event`, `signal` and `until`; wait for several at once with a `parallel` of mode `race`
    7:34: E_VALUE: `topic`: `#` stands at the end
    7:48: E_VALUE: `qos` must be a whole number from 0 to 1, not 2
    8:26: E_MISSING_KEY: `mqtt` has no `topic`; add `topic: site/a/+/state`
    9:40: E_VALUE: `when` says nothing here: `until` waits for no message, but asks for itself; remove it
    9:54: E_VALUE: `count` says nothing here: `until` waits for no message, but asks for itself; remove it
    9:63: E_VALUE: `poll` is at least 1 s
    10:36: E_VALUE: `poll` says nothing here: only `until` is asked again and again; remove it
    10:52: E_VALUE: `on_timeout` must be one of `fail`, `continue`, not `skip`
    10:65: E_VALUE: `count` must be a whole number from 1 to 1000, not 0
    11:28: E_VALUE: `signal` must be a name of 1 to 128 bytes without blanks
    12:31: E_UNKNOWN_KEY: `wait` has no key `whn`; did you mean `when`?
    13:17: E_UNKNOWN_REF: `message` is known only in the `when` of a `wait`
    14:35: E_EXPR: `when` is always an expression and needs no `${ }`; write `message`
    15:27: E_VALUE: `event` must be a name of 1 to 128 bytes without blanks
    ");
}

#[test]
fn calls() {
    let w = right_steps(
        "
  - {id: a, call: pump-start}
  - {id: b, call: pump-start, with: {device: '${ inputs }'}, detach: true, on_parent_close: abandon, timeout: 10m}
  - {id: c, call: pump-start, with: '${ vars }', on_parent_close: cancel}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"call","config":{"call":"pump-start"}}
    {"id":"b","type":"call","config":{"call":"pump-start","with":{"device":"${ inputs }"},"detach":true,"on_parent_close":"abandon"},"timeout":600}
    {"id":"c","type":"call","config":{"call":"pump-start","with":"${ vars }"}}
    "#);
    assert_eq!((step(&w, "a").timeout_ms, step(&w, "a").retry.len()), (None, 0));
    assert_snapshot!(wrong_steps("
  - {id: a, call: Pump Start}
  - {id: b, call: pump, with: [1], detach: maybe, on_parent_close: stop}
  - {id: c, call: pump, wiht: {}}
  - {id: d, type: call, config: {with: {}}}
  - {id: e, call: [pump]}
"), @r"
    4:19: E_NAME: `Pump Start` is not a workflow name: use lower-case letters, digits and dashes
    5:31: E_TYPE: `with` must be a map of the workflow's inputs, not a list
    5:44: E_TYPE: `detach` must be `true` or `false`, not a text
    5:68: E_VALUE: `on_parent_close` must be one of `cancel`, `abandon`, not `stop`
    6:25: E_UNKNOWN_KEY: step `c` has no key `wiht`; did you mean `with`?
    7:33: E_MISSING_KEY: `config` has no `call`; add `call: some-workflow`
    8:19: E_TYPE: `call` must be a text, not a list
    ");
}

#[test]
fn messages_and_events_go_out() {
    let w = right_steps(
        "
  - {id: a, publish: {topic: site/a}}
  - {id: b, publish: {topic: 'site/${ inputs }/event', qos: 1, retain: true, payload: {run: '${ execution.id }'}, confirm: broker}}
  - {id: c, publish: {topic: a, payload: null, confirm: stored}}
  - {id: d, publish: {topic: a, confirm: broker}, timeout: none}
  - {id: e, publish: {topic: a, confirm: broker}, timeout: 5s}
  - {id: f, emit: door.open}
  - {id: g, emit: {event: 'door.${ vars }', data: [1, '${ inputs }']}}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"publish","config":{"topic":"site/a"}}
    {"id":"b","type":"publish","config":{"topic":"site/${ inputs }/event","qos":1,"retain":true,"payload":{"run":"${ execution.id }"},"confirm":"broker"}}
    {"id":"c","type":"publish","config":{"topic":"a","payload":null}}
    {"id":"d","type":"publish","config":{"topic":"a","confirm":"broker"},"timeout":"none"}
    {"id":"e","type":"publish","config":{"topic":"a","confirm":"broker"},"timeout":5}
    {"id":"f","type":"emit","config":{"event":"door.open"}}
    {"id":"g","type":"emit","config":{"event":"door.${ vars }","data":[1,"${ inputs }"]}}
    "#);
    let timeout = |id: &str| step(&w, id).timeout_ms;
    assert_eq!((timeout("a"), timeout("b")), (None, Some(limits::ATTEMPT_TIMEOUT_MS)));
    assert_eq!((timeout("d"), timeout("e")), (None, Some(5_000)));
    assert_snapshot!(wrong_steps("
  - {id: a, publish: site/a}
  - {id: b, publish: {payload: 1}}
  - {id: c, publish: {topic: site/+, qos: 2, retain: 1, confirm: both, expiry: 5s}}
  - {id: d, publish: {topic: [a]}}
  - {id: e, emit: }
  - {id: f, emit: {data: 1}}
  - {id: g, emit: {event: 'a b', date: 1}}
"), @r"
    4:22: E_TYPE: `publish` must be a map of keys and values, not a text
    5:22: E_MISSING_KEY: `publish` has no `topic`; add `topic: site/a/state`
    6:30: E_VALUE: `topic`: a topic that is published to has no `+` and no `#`
    6:43: E_VALUE: `qos` must be a whole number from 0 to 1, not 2
    6:54: E_TYPE: `retain` must be `true` or `false`, not a number
    6:66: E_VALUE: `confirm` must be one of `stored`, `broker`, not `both`
    6:72: E_UNKNOWN_KEY: `publish` has no key `expiry`
    7:30: E_TYPE: `topic` must be a text, not a list
    8:17: E_TYPE: `emit` is empty; it must be a text
    9:19: E_MISSING_KEY: `emit` has no `event`; add `event: some.name`
    10:27: E_VALUE: `event` must be a name of 1 to 128 bytes without blanks
    10:34: E_UNKNOWN_KEY: `emit` has no key `date`; did you mean `data`?
    ");
}

#[test]
fn approvals() {
    let w = right_steps(
        "
  - {id: a, approval: 'Restart ${ inputs }?'}
  - id: b
    approval:
      prompt: Restart?
      roles: [operator]
      choices: [restart, leave_off]
      form: {note: {type: string, optional: true}, hours: {type: integer, default: 4, maximum: 9}}
      remind: 1h
      on_timeout: leave_off
    timeout: 4h
  - {id: c, approval: {prompt: Go?, on_timeout: reject}}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"approval","config":{"prompt":"Restart ${ inputs }?"}}
    {"id":"b","type":"approval","config":{"prompt":"Restart?","roles":["operator"],"choices":["restart","leave_off"],"form":{"hours":{"type":"integer","default":4,"maximum":9},"note":{"type":"string","optional":true}},"remind":3600,"on_timeout":"leave_off"},"timeout":14400}
    {"id":"c","type":"approval","config":{"prompt":"Go?","on_timeout":"reject"}}
    "#);
    let StepKind::Approval(asked) = &step(&w, "c").kind else { panic!("not as written") };
    assert_eq!(asked.choices, ["approve", "reject"]);
    assert!(asked.roles.is_empty() && asked.form.is_empty());
    assert_snapshot!(wrong_steps("
  - {id: a, approval: {}}
  - {id: b, approval: {prompt: x, choices: []}}
  - {id: c, approval: {prompt: x, choices: [a, a]}}
  - {id: d, approval: {prompt: x, choices: ['']}}
  - {id: e, approval: {prompt: x, on_timeout: aprove}}
  - {id: f, approval: {prompt: x, form: {note: string, n: {type: integer, default: x}}, remind: 0}}
  - {id: g, approval: {prompt: [x], roles: {a: 1}, choises: [a]}}
  - {id: h, approval: }
"), @r"
    4:23: E_MISSING_KEY: `approval` has no `prompt`; add `prompt: Restart the pump?`
    5:44: E_LIMIT: `choices` takes 1 to 16, not 0
    6:48: E_VALUE: the answer `a` is here twice; remove one
    7:45: E_VALUE: an answer has 1 to 64 bytes
    8:47: E_VALUE: `on_timeout` must be one of `approve`, `reject`, not `aprove`; did you mean `approve`?
    9:48: E_TYPE: field `note` must be a schema, not a text; write `{type: string}`
    9:84: E_VALUE: the default of field `n` must be of type integer, not string
    9:97: E_VALUE: `remind` must be longer than 0
    10:32: E_TYPE: `prompt` must be a text, not a list
    10:44: E_TYPE: `roles` must be a text, not a map
    10:52: E_UNKNOWN_KEY: `approval` has no key `choises`; did you mean `choices`?
    11:21: E_TYPE: `approval` is empty; it must be a text
    ");
}

#[test]
fn logs_and_ends() {
    let w = right_steps(
        "
  - {id: a, log: 'it is ${ 6 * 7 }'}
  - {id: b, log: {level: warn, message: hot, fields: {celsius: '${ vars }'}}}
  - {id: c, log: {message: 5, fields: '${ inputs }'}}
  - {id: d, if: 1 > 2, succeed: {}}
  - {id: e, if: 1 > 2, succeed: }
  - {id: f, if: 1 > 2, succeed: {result: '${ vars }', n: 1}}
  - {id: g, if: 1 > 2, succeed: '${ vars }'}
  - {id: h, if: 1 > 2, fail: {code: user.no_outcome}}
  - {id: i, if: 1 > 2, fail: {code: 'user.${ vars }', message: 'no ${ inputs }', details: {n: [1]}}}
  - {id: j, fail: {code: '${ steps.a.error.code }'}}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"log","config":{"message":"it is ${ 6 * 7 }"}}
    {"id":"b","type":"log","config":{"level":"warn","message":"hot","fields":{"celsius":"${ vars }"}}}
    {"id":"c","type":"log","config":{"message":"5","fields":"${ inputs }"}}
    {"id":"d","type":"succeed","if":"1 > 2","config":{}}
    {"id":"e","type":"succeed","if":"1 > 2","config":{}}
    {"id":"f","type":"succeed","if":"1 > 2","config":{"result":"${ vars }","n":1}}
    {"id":"g","type":"succeed","if":"1 > 2","config":"${ vars }"}
    {"id":"h","type":"fail","if":"1 > 2","config":{"code":"user.no_outcome"}}
    {"id":"i","type":"fail","if":"1 > 2","config":{"code":"user.${ vars }","message":"no ${ inputs }","details":{"n":[1]}}}
    {"id":"j","type":"fail","config":{"code":"${ steps.a.error.code }"}}
    "#);
    assert_snapshot!(wrong_steps("
  - {id: a, log: }
  - {id: b, log: {level: loud, massage: x}}
  - {id: c, log: {message: x, fields: [1]}}
  - {id: d, succeed: [1]}
  - {id: e, succeed: done}
  - {id: f, fail: no outcome}
  - {id: g, fail: {code: no_outcome}}
  - {id: h, fail: {code: user.}}
  - {id: i, fail: {code: 'user.a b', mesage: x}}
  - {id: j, fail: {message: x}}
  - {id: k, fail: {code: 'users.${ vars }'}}
"), @r"
    4:16: E_TYPE: `log` is empty; it must be a text
    5:18: E_MISSING_KEY: `log` has no `message`; add `message: what happened`
    5:26: E_VALUE: `level` must be one of `debug`, `info`, `warn`, `error`, not `loud`
    5:32: E_UNKNOWN_KEY: `log` has no key `massage`; did you mean `message`?
    6:39: E_TYPE: `fields` must be a map of what goes with the message, not a list
    7:22: E_TYPE: `succeed` must be a map of the run's outputs, not a list
    8:22: E_TYPE: `succeed` must be a map of the run's outputs, not a text
    9:19: E_TYPE: `fail` must be a map of keys and values, not a text
    10:26: E_VALUE: `no_outcome` is no code of an author: it begins with `user.` and goes on with letters, digits, dots and underscores; write for example `user.no_answer`
    11:26: E_VALUE: `user.` is no code of an author: it begins with `user.` and goes on with letters, digits, dots and underscores; write for example `user.no_answer`
    12:26: E_VALUE: `user.a b` is no code of an author: it begins with `user.` and goes on with letters, digits, dots and underscores; write for example `user.no_answer`
    12:38: E_UNKNOWN_KEY: `fail` has no key `mesage`; did you mean `message`?
    13:19: E_MISSING_KEY: `fail` has no `code`; add `code: user.some_reason`
    14:26: E_VALUE: `users.${ vars }` is no code of an author: it begins with `user.` and goes on with letters, digits, dots and underscores; write for example `user.no_answer`
    ");
}

#[test]
fn delays_until_a_point_in_time() {
    let w = right_steps(
        "
  - {id: a, delay: {until: vars.at}}
  - {id: b, delay: {until: 2027-01-31T12:30:00+01:00, require: synced}}
  - {id: c, delay: {until: now + duration('5m'), require: estimated}}
  - {id: d, delay: {for: 5m, count_downtime: never}}
  - {id: e, delay: {for: '${ vars.at }', count_downtime: always}}
  - {id: f, delay: {for: 1, count_downtime: auto}}
  - {id: g, set: {at: 1}}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"delay","config":{"until":"vars.at"}}
    {"id":"b","type":"delay","config":{"until":"timestamp(\"2027-01-31T12:30:00+01:00\")","require":"synced"}}
    {"id":"c","type":"delay","config":{"until":"now + duration('5m')"}}
    {"id":"d","type":"delay","config":{"for":300,"count_downtime":"never"}}
    {"id":"e","type":"delay","config":{"for":"${ vars.at }","count_downtime":"always"}}
    {"id":"f","type":"delay","config":{"for":1}}
    {"id":"g","type":"set","config":{"at":1}}
    "#);
    assert_snapshot!(wrong_steps("
  - {id: a, delay: {until: 2027-02-31T12:30:00Z}}
  - {id: b, delay: {until: '${ now }'}}
  - {id: c, delay: {until: now, for: 5m, count_downtime: never, require: certain}}
  - {id: d, delay: {for: 5m, require: synced, count_downtime: maybe}}
  - {id: e, delay: {until: }}
  - {id: f, delay: {untill: now}}
"), @r"
    4:28: E_VALUE: `2027-02-31T12:30:00Z` is no point in time; write it with its zone, as 2026-01-31T12:30:00+01:00
    5:28: E_EXPR: `until` is always an expression and needs no `${ }`; write `now`
    6:38: E_VALUE: `for` says nothing here: `until` says when already; remove it
    6:58: E_VALUE: `count_downtime` says nothing here: a point in time comes when it comes, with power or without; remove it
    6:74: E_VALUE: `require` must be one of `estimated`, `synced`, not `certain`
    7:39: E_VALUE: `require` says nothing here: only `until` asks for the clock; remove it
    7:63: E_VALUE: `count_downtime` must be one of `auto`, `always`, `never`, not `maybe`
    8:20: E_MISSING_KEY: `delay` has no `for`; add `for: 5m`
    9:20: E_MISSING_KEY: `delay` has no `for`; add `for: 5m`
    9:21: E_UNKNOWN_KEY: `delay` has no key `untill`; did you mean `until`?
    ");
}

#[test]
fn keys_of_plugin_steps_are_of_no_other_kind() {
    let w = right_steps(
        "
  - {id: a, plugin: p, idempotency_key: execution.id + '/a'}
  - {id: b, type: plugin, config: {plugin: p}, idempotency_key: \"'k'\"}
  - {id: c, plugin: p, trace: effects}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"plugin","config":{"plugin":"p.execute@*"},"idempotency_key":"execution.id + '/a'"}
    {"id":"b","type":"plugin","config":{"plugin":"p.execute@*"},"idempotency_key":"'k'"}
    {"id":"c","type":"plugin","config":{"plugin":"p.execute@*"},"trace":"effects"}
    "#);
    assert_snapshot!(wrong_steps("
  - {id: a, call: b, idempotency_key: x, effects: pure}
  - {id: b, plugin: p, idempotency_key: '${ execution.id }'}
  - {id: c, log: x, detach: true, do: []}
  - {id: d, plugin: p, trace: everything}
"), @r"
    4:22: E_UNKNOWN_KEY: step `a` has no key `idempotency_key`
    4:42: E_UNKNOWN_KEY: step `a` has no key `effects`
    5:41: E_EXPR: `idempotency_key` is always an expression and needs no `${ }`; write `execution.id`
    6:21: E_UNKNOWN_KEY: step `c` has no key `detach`
    6:35: E_UNKNOWN_KEY: step `c` has no key `do`
    7:31: E_VALUE: `trace` must be one of `effects`, not `everything`
    ");
}

#[test]
fn what_begins_like_a_date_may_be_anything() {
    // Found by fuzzing: half of a character stands where the hyphen would be.
    assert!(wrong_steps("  - {id: a, delay: {until: 2027é-01T00:00:00Z}}").contains("E_EXPR"));
    assert!(wrong_steps("  - {id: a, delay: {until: 2027-é}}").contains("no point in time"));
}

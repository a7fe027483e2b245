//! Names by the place where an expression stands, and secrets.

use insta::assert_snapshot;

use super::{right, wrong};

#[test]
fn names_are_known_where_something_gives_them() {
    right(
        "
workflow: w
concurrency_key: inputs.device + trigger.kind
inputs: {device: {type: string, default: a}}
steps:
  - id: read
    plugin: p
    output: {c: '${ output.celsius }'}
    export: {last: '${ output.c }'}
    compensate: [{id: undo, plugin: p, with: {was: '${ output.c }'}}]
  - {id: round, loop: {until: loop.last}, do: [{id: in_loop, log: '${ loop.index }'}]}
  - {id: site, log: '${ agent.id } ${ agent.labels.site } ${ agent.labels }'}
  - {id: guard, try: [{id: t, delay: 1}], catch: [{as: e, when: e.retryable, do: [{id: c, log: '${ e.code } ${ agent }'}]}]}
  - {id: hear, wait: {event: x, when: message.data == event.data}}
on_failure: [{id: tell, log: '${ error.code }'}]
triggers:
  - {id: m, mqtt: a, when: trigger.payload > 1, dedupe: trigger.topic, inputs: {device: '${ trigger.topic }'}}
outputs: {last: '${ vars.last }'}
",
    );
}

#[test]
fn names_elsewhere_are_told_with_their_place() {
    assert_snapshot!(wrong("
workflow: w
concurrency_key: vars.a
inputs: {device: {type: string, default: a}}
vars: {last: 1}
steps:
  - {id: read, if: output.x, plugin: p, with: {a: '${ loop.index }', b: '${ error.code }'}}
  - {id: round, loop: {times: 3}, do: [{id: in_loop, delay: '${ message }'}]}
  - {id: bare, log: '${ device } ${ last } ${ read } ${ inptus.device }'}
  - {id: label, log: '${ agent.lables }'}
triggers:
  - {id: m, mqtt: a, when: inputs.device == 'a', inputs: {device: '${ now }'}}
outputs: {error: '${ error }', event: '${ event.data }'}
"), @r"
    3:18: E_UNKNOWN_REF: there is no name `vars` here; expressions see inputs, trigger
    7:20: E_UNKNOWN_REF: `output` is known only in a step's `output`, `export` and `compensate`
    7:55: E_UNKNOWN_REF: `loop` is known only inside a `loop`
    7:77: E_UNKNOWN_REF: `error` is known only in the workflow's `on_failure` and in a `catch`
    8:65: E_UNKNOWN_REF: `message` is known only in the `when` of a `wait`
    9:25: E_UNKNOWN_REF: there is no name `device` here; expressions see inputs, vars, steps, trigger, execution, workflow, agent, now; did you mean `inputs.device`?
    9:37: E_UNKNOWN_REF: there is no name `last` here; expressions see inputs, vars, steps, trigger, execution, workflow, agent, now; did you mean `vars.last`?
    9:47: E_UNKNOWN_REF: there is no name `read` here; expressions see inputs, vars, steps, trigger, execution, workflow, agent, now; did you mean `steps.read.output`?
    9:57: E_UNKNOWN_REF: there is no name `inptus` here; expressions see inputs, vars, steps, trigger, execution, workflow, agent, now; did you mean `inputs`?
    10:26: E_UNKNOWN_REF: an agent has no `lables`; it has `id` and `labels`; did you mean `labels`?
    12:28: E_UNKNOWN_REF: there is no name `inputs` here; expressions see trigger
    12:71: E_UNKNOWN_REF: there is no name `now` here; expressions see trigger
    13:22: E_UNKNOWN_REF: `error` is known only in the workflow's `on_failure` and in a `catch`
    13:43: E_UNKNOWN_REF: `event` is known only in the `when` of a `wait`
    ");
}

#[test]
fn secrets_go_into_the_input_of_a_plugin_only() {
    assert_snapshot!(wrong(r#"
workflow: w
secrets: [token, other]
vars: {a: 1}
steps:
  - {id: a, plugin: p, with: {header: "Bearer ${ secret('token') }", deep: [{x: "${ secret('tokn') }"}]}}
  - {id: b, set: {a: "${ secret('token') }"}}
  - {id: c, condition: secret('token') == 'x'}
  - {id: d, publish: {topic: a, payload: "${ secret('token') }"}}
  - {id: e, log: "${ secret('token') }"}
  - {id: f, call: other, with: {t: "${ secret('token') }"}}
  - {id: g, plugin: p, export: {t: "${ secret('token') }"}}
outputs: {t: "${ secret('token') }"}
"#), @r"
    6:81: E_SECRET: there is no secret `tokn`; declare it under `secrets`; did you mean `token`?
    7:22: E_SECRET: `secret('token')` must not stand in `set`; a secret goes into the `with` of a `plugin` step and nowhere else
    8:24: E_EXPR: a secret can be joined with text (`'Bearer ' + secret('name')`), and nothing else
    8:24: E_SECRET: `secret('token')` must not stand in `condition`; a secret goes into the `with` of a `plugin` step and nowhere else
    9:42: E_SECRET: `secret('token')` must not stand in `payload`; a secret goes into the `with` of a `plugin` step and nowhere else
    10:18: E_SECRET: `secret('token')` must not stand in `log`; a secret goes into the `with` of a `plugin` step and nowhere else
    11:36: E_SECRET: `secret('token')` must not stand in `with`; a secret goes into the `with` of a `plugin` step and nowhere else
    12:36: E_SECRET: `secret('token')` must not stand in `export`; a secret goes into the `with` of a `plugin` step and nowhere else
    13:14: E_SECRET: `secret('token')` must not stand in `outputs`; a secret goes into the `with` of a `plugin` step and nowhere else
    ");
    assert_snapshot!(wrong(r#"
workflow: w
secrets: [token]
steps:
  - {id: a, plugin: p, with: {x: {$secret: token}, y: [{$join: [a]}], z: "${ secret('token').size() }"}}
"#), @r"
    5:35: E_SECRET: the key `$secret` is reserved; write `${ secret('name') }` where the secret shall stand
    5:57: E_SECRET: the key `$join` is reserved; write `${ secret('name') }` where the secret shall stand
    5:74: E_EXPR: a secret can be joined with text (`'Bearer ' + secret('name')`), and nothing else
    ");
    let parsed = right(
        "
workflow: w
secrets: [user, token]
steps:
  - id: a
    plugin: p
    with:
      header: \"Bearer ${ secret('token') }\"
      deep: [{login: \"${ secret('user') + ':' + secret('token') }\"}]
    compensate: [{id: undo, plugin: p, with: {k: \"${ secret('token') }\"}}]
",
    );
    assert_eq!(parsed.secrets, ["user", "token"]);
    assert_snapshot!(wrong("
workflow: w
secrets: [a, a b, a, [x]]
steps: [{id: s, delay: 1}]
"), @r"
    3:14: E_NAME: `a b` is no name for a secret: use letters, digits and underscores, beginning with a letter, so that expressions can name it
    3:19: E_VALUE: the secret `a` is here twice; remove one
    3:22: E_TYPE: `secrets` must be a text, not a list
    ");
    assert_snapshot!(wrong("
workflow: w
secrets: token
steps: [{id: s, delay: 1}]
"), @"3:10: E_TYPE: `secrets` must be a list of names, not a text");
    let many = vec!["x"; 65].join(", ");
    let told = wrong(&format!("workflow: w\nsecrets: [{many}]\nsteps: [{{id: s, delay: 1}}]"));
    assert_snapshot!(told, @"2:10: E_LIMIT: more than 64 secrets");
    let declared = right("workflow: w\nsecrets: [b, a]\nsteps: [{id: s, delay: 1}]\n");
    assert_eq!(declared.secrets, ["b", "a"]);
}

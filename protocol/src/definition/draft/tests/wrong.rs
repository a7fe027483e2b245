//! What is said about wrong documents, word for word.

use insta::assert_snapshot;

use super::{wrong, wrong_steps};

#[test]
fn unknown_keys_are_told_with_what_was_meant() {
    assert_snapshot!(wrong("
workflow: w
triger: []
steps:
  - {id: a, dealy: 5m}
  - {id: b, delay: 5m, timout: 3s}
  - {id: c, plugin: http, with: {}, wiht: {}}
  - {id: d, condition: 1 < 2, them: [a]}
  - {id: e, delay: {fro: 5m}}
"), @r"
    3:1: E_UNKNOWN_KEY: a workflow has no key `triger`; did you mean `triggers`?
    5:13: E_UNKNOWN_KEY: step `a` has no key `dealy`; did you mean `delay`?
    6:24: E_UNKNOWN_KEY: step `b` has no key `timout`; did you mean `timeout`?
    7:37: E_UNKNOWN_KEY: step `c` has no key `wiht`; did you mean `with`?
    8:31: E_UNKNOWN_KEY: step `d` has no key `them`; did you mean `then`?
    9:20: E_MISSING_KEY: `delay` has no `for`; add `for: 5m`
    9:21: E_UNKNOWN_KEY: `delay` has no key `fro`; did you mean `for`?
    ");
}

#[test]
fn kinds_that_are_not_there() {
    assert_snapshot!(wrong("
workflow: w
on_update: migrat
finally: []
finally_timeout: 5s
steps:
  - {id: a, with: {}, start: true, then: []}
  - {id: c, delay: 5m, plugin: http}
  - {id: e, type: plugn, config: {}}
  - {id: f, foreech: {in: inputs}, do: []}
  - {id: g, delay: 1, trace: effects}
triggers:
  - {id: n, file: {path: /a}}
  - {id: o, intervall: 5s}
  - {id: p}
"), @r"
    3:12: E_VALUE: `on_update` must be one of `pin`, `migrate`, `restart`, not `migrat`; did you mean `migrate`?
    4:10: E_VALUE: `finally` has no steps
    7:5: E_KIND: the step has no kind: one of `plugin`, `condition`, `switch`, `set`, `delay`, `parallel`, `loop`, `foreach`, `try`, `sequence`, `wait`, `call`, `publish`, `emit`, `approval`, `log`, `succeed`, `fail`; say what it does, for example `delay: 5m`
    8:5: E_KIND: a step does one thing, but this has `plugin` and `delay`; make two steps of it
    9:19: E_KIND: `plugn` is no kind of step; did you mean `plugin`?
    10:13: E_UNKNOWN_KEY: step `f` has no key `foreech`; did you mean `foreach`?
    11:23: E_UNKNOWN_KEY: step `g` has no key `trace`
    13:26: E_VALUE: `path`: it begins with the name of one of the device's directories, as in `inbox/*.csv`
    14:13: E_UNKNOWN_KEY: trigger `o` has no key `intervall`; did you mean `interval`?
    15:5: E_KIND: the trigger has no kind: one of `interval`, `cron`, `startup`, `manual`, `mqtt`, `event`, `workflow`, `webhook`, `file`; say when it fires, for example `interval: 5m`
    ");
}

#[test]
fn circles() {
    assert_snapshot!(wrong_steps("
  - {id: start, delay: 1, next_steps: [a]}
  - {id: a, delay: 1, next_steps: [b]}
  - {id: b, delay: 1, next_steps: [c, out]}
  - {id: c, delay: 1, next_steps: a}
  - {id: out, delay: 1}
"), @"5:10: E_CYCLE: the steps lead in a circle: `a` → `b` → `c` → `a`; use a `loop` step to repeat");
    assert_snapshot!(wrong_steps("  - {id: a, delay: 1, on_failure: a}"), @"3:10: E_CYCLE: the steps lead in a circle: `a` → `a`; use a `loop` step to repeat");
}

#[test]
fn where_to_start() {
    assert_snapshot!(wrong_steps("
  - {id: a, delay: 1, next_steps: [b]}
  - {id: b, delay: 1}
  - {id: c, delay: 1}
"), @"6:10: E_START: it is not clear where to start: nothing leads to `a`, `c`; lead to them with `next_steps`, or say `start: true` on each that shall start at once");
    assert_snapshot!(wrong_steps("
  - {id: a, delay: 1, start: true, next_steps: [b]}
  - {id: b, delay: 1, start: true}
  - {id: lost, delay: 1}
"), @r"
    5:30: E_START: `b` cannot say `start: true`: other steps lead to it; remove `start`
    6:10: E_UNREACHABLE: nothing leads to `lost`; lead to it with `next_steps`, or say `start: true`
    ");
    assert_snapshot!(wrong_steps("
  - {id: a, delay: 1}
  - {id: b, delay: 1, start: true}
"), @"5:30: E_START: without `next_steps` a list starts with its first step; remove `start`");
}

#[test]
fn edges_to_nowhere_and_into_other_lists() {
    assert_snapshot!(wrong_steps("
  - {id: first, delay: 1, next_steps: [secnd]}
  - id: second
    parallel:
      branches:
        one: [{id: inner, delay: 1, on_failure: first}]
  - {id: third, condition: 1 < 2, then: inner, else: nowhere}
"), @r"
    4:40: E_UNKNOWN_TARGET: `first` leads to `secnd`, and there is no such step here; did you mean `second`?
    8:49: E_CROSS_SCOPE: `inner` leads to `first`, which is in another list of steps (line 4); an edge stays in its list
    9:41: E_CROSS_SCOPE: `third` leads to `inner`, which is in another list of steps (line 8); an edge stays in its list
    9:54: E_UNKNOWN_TARGET: `third` leads to `nowhere`, and there is no such step here
    ");
}

#[test]
fn ids() {
    assert_snapshot!(wrong("
workflow: My Workflow
vars: {a-b: 1}
steps:
  - {id: a, delay: 1}
  - {id: a, delay: 1}
  - {id: 1st, delay: 1}
  - {delay: 1}
  - {id: c, set: {x y: 1}}
  - {id: d, plugin: My_Plugin@1}
"), @r"
    2:11: E_NAME: `My Workflow` is not a workflow name: use lower-case letters, digits and dashes
    3:8: E_NAME: `a-b` is no name for a variable: use letters, digits and underscores, beginning with a letter, so that expressions can name it
    6:10: E_DUP_ID: the step id `a` is taken (line 5)
    7:10: E_NAME: `1st` is not a step id: use letters, digits and underscores, beginning with a letter, so that expressions can name it
    8:5: E_MISSING_KEY: a step has no `id`; add `id: some_name`
    9:19: E_NAME: `x y` is no name for a variable: use letters, digits and underscores, beginning with a letter, so that expressions can name it
    10:21: E_NAME: `My_Plugin` is not a plugin name: use lower-case letters, digits and dashes; write `name.action@^1.2`
    ");
}

#[test]
fn expressions_are_placed_in_their_line() {
    assert_snapshot!(wrong_steps("
  - {id: a, condition: 1 + * 2}
  - {id: b, condition: \"1 + * 2\"}
  - {id: c, if: '${ 1 < 2 }', delay: 1}
  - id: d
    plugin: http
    with:
      body: [\"x\", {deep: \"say ${ 1 + } now\"}]
  - {id: e, set: {a: '${ nofun(1) }', b: '${ 1'}}
  - {id: f, condition: [1]}
  - {id: g, set: {a: 1}}
  - id: h
    condition: >
      1 < 2 &&
      && 2 < 3
"), @r"
    4:28: E_EXPR: expected a value, found `*`
    5:29: E_EXPR: expected a value, found `*`
    6:17: E_EXPR: `if` is always an expression and needs no `${ }`; write `1 < 2`
    10:38: E_EXPR: expected a value, found the end
    11:22: E_EXPR: unknown function `nofun`
    11:45: E_EXPR: `${` is never closed by `}`
    12:24: E_TYPE: `condition` must be an expression, not a list
    16:7: E_EXPR: expected a value, found `&&`
    ");
}

#[test]
fn names_in_expressions_must_be_there() {
    assert_snapshot!(wrong("
workflow: w
inputs: {device: {type: string}}
vars: {tries: 0}
steps:
  - {id: read, plugin: http, with: {url: '${ inputs.devise }'}}
  - {id: a, condition: steps.raed.output > 1 && vars.trys < 3}
  - {id: b, condition: step.read.output > 1}
  - {id: c, condition: steps.read.outptu > 1}
  - {id: d, condition: agent.id == 'x' && agent.lables.site == 'y'}
  - {id: e, set: {made: 1}}
  - {id: f, condition: vars.made == 1 && steps.e.status == 'succeeded' && type(1) == int}
"), @r"
    6:46: E_UNKNOWN_REF: there is no input `devise`; declare it under `inputs`; did you mean `device`?
    7:24: E_UNKNOWN_REF: there is no step `raed`; did you mean `read`?
    7:49: E_UNKNOWN_REF: nothing sets a variable `trys`; declare it under `vars`; did you mean `tries`?
    8:24: E_UNKNOWN_REF: there is no name `step` here; expressions see inputs, vars, steps, trigger, execution, workflow, agent, now; did you mean `steps`?
    9:24: E_UNKNOWN_REF: a step has no `outptu`; it has output, status, error, attempts; did you mean `output`?
    10:43: E_UNKNOWN_REF: an agent has no `lables`; it has `id` and `labels`; did you mean `labels`?
    ");
}

#[test]
fn a_call_of_a_plugin_is_always_bounded() {
    assert_snapshot!(wrong("
workflow: w
defaults: {timeout: none}
steps:
  - {id: a, plugin: http, timeout: none}
  - {id: b, parallel: {branches: [[{id: c, delay: 1, timeout: none}]]}, timeout: none}
"), @r"
    3:21: E_VALUE: a call of a plugin is always bounded: `timeout` cannot be `none`; write the longest that it may take, such as `timeout: 1h`
    5:36: E_VALUE: a call of a plugin is always bounded: `timeout` cannot be `none`; write the longest that it may take, such as `timeout: 1h`
    ");
}

#[test]
fn types_and_values() {
    assert_snapshot!(wrong("
workflow: w
language: 2
mode: queud
max: 0
timeout: 0
priority: urgent
tags: {a: 1}
vars: {a: '${ 1 }'}
outputs: [1]
defaults: {timeout: [5], retry: {max_retries: many}}
steps:
  - {id: a, delay: soon}
  - {id: b, delay: -5}
  - {id: c, delay: 20y, timeout: 5x}
  - {id: d, delay: '${ 1 }m'}
  - {id: e, set: {}}
  - {id: f, plugin: http, with: [1], effects: twice, retry: 3}
  - {id: g, plugin: http.get@latest, retry: {factor: 0, max_elapsed: 5s, delya: 1}}
  - {id: h, parallel: {branches: {}}}
  - {id: i, parallel: {need: 2, branches: [[{id: j, delay: 1}]]}}
  - {id: k, parallel: {mode: fast, branches: [[{id: l, delay: 1}]]}}
  - {id: m, loop: {while: a, times: 3}, do: []}
  - {id: n, loop: {times: -1}}
  - {id: o, condition: 1 < 2, then: [a, {id: p, delay: 1}], else: {id: q, delay: 1}}
  - {id: r, delay: 1, join: some, effects: pure, continue_on_error: 1, on_failure: []}
  - {id: s, delay: 1, join: {at_least: 3}, priority: 5}
on_failure: s
"), @r"
    3:11: E_VALUE: this version knows only `language: 1`
    4:7: E_VALUE: `mode` must be one of `single`, `restart`, `queued`, `parallel`, not `queud`; did you mean `queued`?
    5:6: E_VALUE: `max` must be a whole number from 1 to 1000, not 0
    6:10: E_VALUE: `timeout` must be longer than 0
    7:11: E_VALUE: `priority` must be one of `low`, `normal`, `high`, `critical`, not `urgent`
    8:7: E_TYPE: `tags` must be a text, not a map
    9:11: E_VALUE: first values of variables are plain, without `${ }`; compute it in a `set` step
    10:10: E_TYPE: `outputs` must be a map from output names to `{type, value}`, not a list
    11:21: E_TYPE: `timeout` must be a duration such as `5m`, or seconds as a number, not a list
    11:47: E_TYPE: `max_retries` must be a whole number from 0 to 1000, not a text
    13:20: E_VALUE: `delay`: `soon` is not a duration: write seconds as a number, `500ms`, `5m`, `1h30m` or `PT5M`
    14:20: E_VALUE: `delay` must be a duration from 0 to ten years
    15:20: E_VALUE: `delay`: `20y` is not a duration: write seconds as a number, `500ms`, `5m`, `1h30m` or `PT5M`
    15:34: E_VALUE: `timeout`: `5x` is not a duration: write seconds as a number, `500ms`, `5m`, `1h30m` or `PT5M`
    16:20: E_VALUE: `delay` must be a duration or exactly one `${ }`; join texts inside it: `${ string(vars.n) + 'm' }`
    17:18: E_VALUE: `set` sets no variable
    18:33: E_TYPE: `with` must be a map of the plugin's inputs, not a list
    18:47: E_VALUE: `effects` must be one of `pure`, `idempotent`, `at_most_once`, not `twice`
    18:61: E_TYPE: `retry` must be `none`, a map such as `{max_retries: 3}` or a list of such maps, not a number
    19:21: E_VALUE: `latest` is no range of versions: unexpected character 'l' while parsing major version number; write `name.action@^1.2`
    19:54: E_VALUE: `factor` must be from 1 to 100, not 0
    20:34: E_LIMIT: `parallel` takes 1 to 64 branches, not 0
    21:30: E_VALUE: `need` is 2, but there are 1 branches
    22:30: E_VALUE: `mode` must be one of `fail_fast`, `wait_all`, `race`, not `fast`
    23:19: E_MISSING_KEY: `loop` needs exactly one of `while`, `until` and `times`
    23:45: E_VALUE: `do` has no steps
    24:5: E_MISSING_KEY: step `n` has no `do`; add `do: [...]`
    24:27: E_VALUE: `times` must be a whole number from 0 to 100000, not -1
    25:37: E_TYPE: `then` mixes ids and steps; it holds either
    25:67: E_TYPE: `else` must be a list of steps, not a map; put `- ` before each step
    26:29: E_VALUE: `join` must be one of `all`, `every`, `any`, not `some`
    26:35: E_UNKNOWN_KEY: step `r` has no key `effects`
    26:69: E_TYPE: `continue_on_error` must be `true` or `false`, not a number
    26:84: E_TYPE: a step's `on_failure` is the id of another step in this list
    27:10: E_VALUE: `s` waits for 3 edges, but only 1 lead to it; it could never run
    27:54: E_TYPE: `priority` must be one of `low`, `normal`, `high`, `critical`, not a number
    28:13: E_TYPE: the workflow's `on_failure` is a list of steps, not a step's id
    ");
}

#[test]
fn inputs_and_triggers() {
    assert_snapshot!(wrong("
workflow: w
inputs:
  a: string
  b: {type: strng}
  c: {type: [string, number]}
  d: {type: integer, default: 1.5}
  e: {type: number, minimum: low, multipleOf: 2}
  f: {type: string, pattern: '('}
  g: {type: array, items: {type: object, properties: {x: {type: nmber}}}}
  h: {type: string}
steps: [{id: s, delay: 1}]
triggers:
  - {id: a, interval: 0}
  - {id: a, interval: {evry: 5}, inputs: {h: x}}
  - {id: b, cron: '61 * * * *', inputs: {h: x}}
  - {id: c, cron: {at: '0 0 30 2 *', tz: Europe/Berlinn, catch_up: some}, inputs: {hh: x, h: '${ 1 + }'}}
  - {id: d, startup: soon}
  - {id: e, startup: {}, manual: {}}
  - {id: f, startup: {}}
"), @r"
    4:6: E_TYPE: input `a` must be a schema, not a text; write `{type: string}`
    5:13: E_VALUE: `strng` is no type: use string, number, integer, boolean, array, object; did you mean `string`?
    6:13: E_KIND: `type` must be one name; several are not part of this version
    7:31: E_VALUE: the default of input `d` must be of type integer, not number
    8:30: E_TYPE: `minimum` must be a number, not a text
    8:35: E_UNKNOWN_KEY: input `e` has the keyword `multipleOf`, which is not one of those that are enforced: type, enum, const, minimum, maximum, exclusiveMinimum, exclusiveMaximum, minLength, maxLength, pattern, minItems, maxItems, items, properties, required, additionalProperties
    9:30: E_VALUE: `pattern` is no regular expression that this language knows
    10:65: E_VALUE: `nmber` is no type: use string, number, integer, boolean, array, object; did you mean `number`?
    14:23: E_VALUE: an interval is at least 100 ms
    15:23: E_MISSING_KEY: `interval` has no `every`; add `every: 5m`
    15:24: E_UNKNOWN_KEY: `interval` has no key `evry`; did you mean `every`?
    16:19: E_VALUE: `61 * * * *` is no cron expression: `61` is no minute: use 0 to 59, `*`, `a-b`, `/step`; write minute, hour, day, month and weekday: `30 2 * * *`
    17:24: E_VALUE: `0 0 30 2 *` is no cron expression: there is no such day; write minute, hour, day, month and weekday: `30 2 * * *`
    17:42: E_VALUE: there is no time zone `Europe/Berlinn`; use a name of the IANA database, such as `Europe/Berlin`
    17:68: E_VALUE: `catch_up` must be one of `skip`, `latest`, `all`, not `some`
    17:84: E_UNKNOWN_REF: the workflow has no input `hh`
    17:102: E_EXPR: expected a value, found the end
    18:22: E_TYPE: `startup` must be an empty map, `{}`, not a text
    19:5: E_KIND: a trigger has one kind, but this has `startup` and `manual`; make two triggers of it
    20:5: E_MISSING_KEY: the trigger gives no value to the input `h`; add `inputs: {h: ...}`, or a default to the input
    ");
}

#[test]
fn yaml_that_is_none() {
    assert_snapshot!(wrong("workflow: w\nsteps: [\n  {id: a, delay: 1"), @"3:3: E_YAML: unclosed bracket '{'");
    assert_snapshot!(wrong("workflow: w\n\tsteps: []"), @"1:11: E_YAML: while scanning a plain scalar, found a tab");
    assert_snapshot!(wrong("workflow: w\nworkflow: v\nsteps: !!seq []\n"), @r"
    2:1: E_YAML: the key `workflow` is here twice; remove one
    3:14: E_YAML: tags (`!name`) are not part of the language; remove it
    3:14: E_VALUE: `steps` has no steps
    ");
    assert_snapshot!(wrong("- a\n- b\n"), @"1:1: E_TYPE: a workflow must be a map of keys and values, not a list");
    assert_snapshot!(wrong("{\"workflow\": \"w\", \"steps\": [{\"id\": \"a\", \"type\": \"delay\", \"confg\": {}}]}"), @r"
    1:29: E_MISSING_KEY: step `a` has no `config`; add `config: {...}`
    1:58: E_UNKNOWN_KEY: step `a` has no key `confg`; did you mean `config`?
    ");
    assert_snapshot!(wrong("workflow: w\n"), @"1:1: E_MISSING_KEY: a workflow has no `steps`; add `steps: [...]`");
}

#[test]
fn limits() {
    let nested = (0..16).rev().fold("[{id: inner, delay: 1}]".to_owned(), |inside, n| {
        format!("[{{id: s{n}, condition: 1 < 2, then: {inside}}}]")
    });
    assert_snapshot!(wrong(&format!("workflow: w\nsteps: {nested}")), @"2:558: E_LIMIT: steps are nested more than 16 deep");
    let many: String = (0..1_001).map(|n| format!("  - {{id: s{n}, delay: 1}}\n")).collect();
    assert_snapshot!(wrong_steps(&many), @"1003:5: E_LIMIT: more than 1000 steps; split the workflow");
    let branches: String = (0..65).map(|n| format!("[{{id: s{n}, delay: 1}}],")).collect();
    assert_snapshot!(wrong_steps(&format!("  - {{id: p, parallel: {{branches: [{branches}]}}}}")), @"3:34: E_LIMIT: `parallel` takes 1 to 64 branches, not 65");
    let triggers: String = (0..33).map(|n| format!("{{id: t{n}, manual: }},")).collect();
    assert_snapshot!(wrong(&format!("workflow: w\nsteps: [{{id: a, delay: 1}}]\ntriggers: [{triggers}]")), @"3:11: E_LIMIT: more than 32 triggers");
    let problems: String = (0..600).map(|n| format!("  - {{id: s{n}, dealy: 1}}\n")).collect();
    let told = wrong_steps(&problems);
    assert_eq!(told.lines().count(), 51);
    assert!(told.ends_with("\nand 550 more"), "{told}");
}

#[test]
fn a_canonical_form_that_outgrows_the_limit_is_refused() {
    let long = "x".repeat(10_000);
    let steps: String = (0..30).map(|n| format!("  - {{id: s{n}, set: {{v: *long}}}}\n")).collect();
    let text = format!("workflow: w\nvars: {{a: &long {long}}}\nsteps:\n{steps}");
    assert!(text.len() < 20_000);
    let error = wrong(&text);
    assert!(error.contains("E_LIMIT: the workflow has 3") && error.contains("bytes"), "{error}");
}

//! Kinds with scopes inside: switch, loop, foreach, try, sequence, compensation; what they mean
//! and what is said where they are wrong.

use insta::assert_snapshot;

use super::{canonical_steps, right, right_steps, wrong, wrong_steps};
use crate::definition::model::*;
use crate::limits;

fn step<'a>(workflow: &'a Workflow, id: &str) -> &'a Step {
    workflow.step_named(id).unwrap()
}

#[test]
fn a_switch_has_cases_with_steps_or_ids() {
    let w = right_steps(
        "
  - id: inline
    switch: inputs
    cases:
      - {case: a, do: [{id: a, delay: 1}]}
      - {case: {n: [1, '${ vars }']}, do: [{id: b, delay: 1}, {id: c, delay: 1}]}
      - {case: null, do: [{id: d, delay: 1}]}
      - {when: 1 < 2, do: [{id: e, delay: 1}]}
    default: [{id: f, delay: 1}]
  - {id: open, switch: , cases: [{when: 1 < 2, do: [{id: g, delay: 1}]}]}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"inline","type":"switch","config":{"switch":"inputs","cases":[{"case":"a","do":[{"id":"a","type":"delay","config":{"for":1}}]},{"case":{"n":[1,"${ vars }"]},"do":[{"id":"b","type":"delay","config":{"for":1}},{"id":"c","type":"delay","config":{"for":1}}]},{"case":null,"do":[{"id":"d","type":"delay","config":{"for":1}}]},{"when":"1 < 2","do":[{"id":"e","type":"delay","config":{"for":1}}]}],"default":[{"id":"f","type":"delay","config":{"for":1}}]}}
    {"id":"open","type":"switch","config":{"cases":[{"when":"1 < 2","do":[{"id":"g","type":"delay","config":{"for":1}}]}]}}
    "#);
    let StepKind::Switch { subject: Some(_), cases, default: Some(_), has_default: true } =
        &step(&w, "inline").kind
    else {
        panic!("not as written")
    };
    assert!(cases.iter().all(|case| case.body.is_some()));
    assert!(!w.scope(w.root).graph);
}

#[test]
fn ids_in_a_switch_make_a_graph() {
    let w = right_steps(
        "
  - {id: s, switch: '1', cases: [{case: 1, do: a}, {case: 2, do: [b, c]}, {when: 1 < 2, do: [{id: in, delay: 1}]}], default: c}
  - {id: a, delay: 1}
  - {id: b, delay: 1}
  - {id: c, delay: 1}
",
    );
    assert!(w.scope(w.root).graph);
    let edges: Vec<String> = step(&w, "s")
        .edges
        .iter()
        .map(|edge| format!("{:?} {}", edge.kind, w.step(edge.to).id))
        .collect();
    assert_snapshot!(edges.join(", "), @"Case(Some(0)) a, Case(Some(1)) b, Case(Some(1)) c, Case(None) c");
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"s","type":"switch","config":{"switch":"1","cases":[{"case":1,"do":["a"]},{"case":2,"do":["b","c"]},{"when":"1 < 2","do":[{"id":"in","type":"delay","config":{"for":1}}]}],"default":["c"]}}
    {"id":"a","type":"delay","config":{"for":1}}
    {"id":"b","type":"delay","config":{"for":1}}
    {"id":"c","type":"delay","config":{"for":1}}
    "#);
    let StepKind::Switch { cases, default: None, has_default: true, .. } = &step(&w, "s").kind
    else {
        panic!("not as written")
    };
    assert_eq!(cases.iter().filter(|case| case.body.is_some()).count(), 1);
}

#[test]
fn wrong_switches() {
    assert_snapshot!(wrong_steps("
  - {id: a, switch: '1'}
  - {id: b, switch: '1', cases: {}}
  - {id: c, switch: '1', cases: []}
  - {id: d, switch: '1', cases: [{do: [{id: d1, delay: 1}]}, {case: 1, when: 1 < 2, do: [{id: d2, delay: 1}]}]}
  - {id: e, switch: , cases: [{case: 1, do: [{id: e1, delay: 1}]}]}
  - {id: f, switch: '1', cases: [{case: 1}, {case: 2, do: []}, {case: 3, do: [a, {id: f1, delay: 1}]}]}
  - {id: g, switch: '1', cases: [{case: 1, do: [{id: g1, delay: 1}]}, {case: 1, do: [{id: g2, delay: 1}]}]}
  - {id: h, switch: '1', cases: [{case: 1, do: [{id: h1, delay: 1}], the: 1}], defalt: []}
  - {id: i, switch: '${ vars }', cases: [5, {when: '${ 1 < 2 }', do: [{id: i1, delay: 1}]}]}
"), @r"
    4:5: E_MISSING_KEY: step `a` has no `cases`; add `cases: [{case: a, do: [...]}]`
    5:33: E_TYPE: `cases` must be a list of cases, not a map
    6:33: E_LIMIT: `cases` takes 1 to 256, not 0
    7:34: E_MISSING_KEY: a case needs exactly one of `case` and `when`
    7:62: E_MISSING_KEY: a case needs exactly one of `case` and `when`
    8:38: E_VALUE: `case` compares with what `switch` says, and this one says nothing; write an expression after `switch:`, or `when` in the case
    9:34: E_MISSING_KEY: a case has no `do`; add `do: [...]`
    9:59: E_VALUE: `do` has no steps
    9:78: E_TYPE: `do` mixes ids and steps; it holds either
    10:71: E_VALUE: an earlier case is for the same value, so that this is never taken; remove it
    11:70: E_UNKNOWN_KEY: a case has no key `the`
    11:80: E_UNKNOWN_KEY: step `h` has no key `defalt`; did you mean `default`?
    12:21: E_EXPR: `switch` is always an expression and needs no `${ }`; write `vars`
    12:42: E_TYPE: a case must be a map of keys and values, not a number
    12:52: E_EXPR: `when` is always an expression and needs no `${ }`; write `1 < 2`
    ");
    assert_snapshot!(wrong_steps("
  - {id: a, switch: '1', cases: [{case: 1, do: nowhere}, {case: 2, do: inner}], default: a}
  - {id: b, sequence: [{id: inner, delay: 1}]}
"), @r"
    4:48: E_UNKNOWN_TARGET: `a` leads to `nowhere`, and there is no such step here
    4:72: E_CROSS_SCOPE: `a` leads to `inner`, which is in another list of steps (line 5); an edge stays in its list
    ");
}

#[test]
fn loops_have_a_pace() {
    let w = right_steps(
        "
  - {id: a, loop: {times: 3, every: 1500ms, max_iterations: 7, collect: loop.index}, do: [{id: b, delay: 1}]}
  - {id: c, loop: {while: loop.index < 3, do: [{id: d, if: loop.first, delay: 1}]}}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"loop","config":{"times":"3","max_iterations":7,"every":"1500ms","collect":"loop.index","do":[{"id":"b","type":"delay","config":{"for":1}}]}}
    {"id":"c","type":"loop","config":{"while":"loop.index < 3","do":[{"id":"d","type":"delay","if":"loop.first","config":{"for":1}}]}}
    "#);
    assert_snapshot!(wrong_steps("
  - {id: a, loop: {times: 3, every: 0}, do: [{id: b, delay: 1}]}
  - {id: c, loop: {times: loop.index}, do: [{id: d, delay: 1}]}
  - {id: e, loop: {times: 3, max_iterations: 0, collect: [1]}}
"), @r"
    4:37: E_VALUE: `every` must be longer than 0
    5:27: E_UNKNOWN_REF: `loop` is known only inside a `loop`
    6:5: E_MISSING_KEY: step `e` has no `do`; add `do: [...]`
    6:46: E_VALUE: `max_iterations` must be a whole number from 1 to 100000, not 0
    6:58: E_TYPE: `collect` must be an expression, not a list
    ");
}

#[test]
fn foreach_over_lists_and_maps() {
    let w = right_steps(
        "
  - {id: a, foreach: {in: inputs}, do: [{id: b, set: {last: '${ item.value }'}}]}
  - id: c
    foreach:
      in: [north, 2, {deep: true}]
      as: zone
      index: n
      concurrency: 64
      mode: wait_all
      tolerate: 10%
      collect: steps.d.output.zone
      do: [{id: d, plugin: valve, with: {zone: '${ zone }', n: '${ n }'}}]
  - {id: e, foreach: {in: {a: 1, b: 2}, tolerate: 3}, do: [{id: f, foreach: {in: item}, do: [{id: g, log: '${ item }'}]}]}
  - {id: h, foreach: vars.last, do: [{id: i, log: '${ item }'}]}
  - {id: j, foreach: [1, 2], do: [{id: k, log: '${ item }'}]}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"foreach","config":{"in":"inputs","do":[{"id":"b","type":"set","config":{"last":"${ item.value }"}}]}}
    {"id":"c","type":"foreach","config":{"in":"[\"north\",2,{\"deep\":true}]","as":"zone","index":"n","concurrency":64,"mode":"wait_all","tolerate":"10%","collect":"steps.d.output.zone","do":[{"id":"d","type":"plugin","config":{"plugin":"valve.execute@*","with":{"zone":"${ zone }","n":"${ n }"}}}]}}
    {"id":"e","type":"foreach","config":{"in":"{\"a\":1,\"b\":2}","tolerate":3,"do":[{"id":"f","type":"foreach","config":{"in":"item","do":[{"id":"g","type":"log","config":{"message":"${ item }"}}]}}]}}
    {"id":"h","type":"foreach","config":{"in":"vars.last","do":[{"id":"i","type":"log","config":{"message":"${ item }"}}]}}
    {"id":"j","type":"foreach","config":{"in":"[1,2]","do":[{"id":"k","type":"log","config":{"message":"${ item }"}}]}}
    "#);
    let StepKind::Foreach(each) = &step(&w, "c").kind else { panic!("not as written") };
    assert_eq!((each.item.as_str(), each.index.as_deref()), ("zone", Some("n")));
    assert_eq!((each.concurrency, each.fail_fast), (64, false));
    assert_eq!(each.tolerate, Tolerate::Percent(10));
}

#[test]
fn wrong_foreach() {
    let items: Vec<String> = (0..2_000).map(|n| n.to_string()).collect();
    let long = items.join(", ");
    assert_snapshot!(wrong_steps("
  - {id: a, foreach: {}}
  - {id: b, foreach: , do: [{id: b1, delay: 1}]}
  - {id: c, foreach: {in: ['${ vars }']}, do: [{id: c1, delay: 1}]}
  - {id: d, foreach: {in: inputs, as: inputs}, do: [{id: d1, delay: 1}]}
  - {id: e, foreach: {in: inputs, as: in, index: true}, do: [{id: e1, delay: 1}]}
  - {id: f, foreach: {in: inputs, as: 'a b', index: message}, do: [{id: f1, log: '${ inputs }'}]}
  - {id: g, foreach: {in: inputs, as: x, index: x}, do: [{id: g1, delay: 1}]}
  - {id: h, foreach: {in: inputs, concurrency: 65, mode: race, tolerate: 101%}, do: [{id: h1, delay: 1}]}
  - {id: i, foreach: {in: inputs, tolerate: some, collect: '${ item }', of: 1}, do: [{id: i1, delay: 1}]}
  - {id: j, foreach: {in: inputs, as: int}, do: [{id: j1, log: '${ int }'}]}
"), @r"
    4:5: E_MISSING_KEY: step `a` has no `do`; add `do: [...]`
    4:22: E_MISSING_KEY: `foreach` has no `in`; add `in: inputs.list`
    5:20: E_TYPE: `in` is empty; it must be an expression
    6:27: E_VALUE: `in` is an expression; a list that is written out has plain values only; write it as an expression, such as `in: '[inputs.a, 2]'`
    7:39: E_NAME: `inputs` has a meaning of its own in expressions; give `as` another name
    8:39: E_NAME: `in` has a meaning of its own in expressions; give `as` another name
    8:50: E_NAME: `true` has a meaning of its own in expressions; give `index` another name
    9:39: E_NAME: `a b` is no name for an item: use letters, digits and underscores, beginning with a letter, so that expressions can name it
    9:53: E_NAME: `message` has a meaning of its own in expressions; give `index` another name
    10:49: E_NAME: `x` is the name of the item already; give `index` another name
    11:48: E_VALUE: `concurrency` must be a whole number from 1 to 64, not 65
    11:58: E_VALUE: `mode` must be one of `fail_fast`, `wait_all`, not `race`
    11:74: E_VALUE: `tolerate` must be a number of items, or 0% to 100% of them
    12:45: E_TYPE: `tolerate` must be a whole number from 0 to 10000, not a text
    12:60: E_EXPR: `collect` is always an expression and needs no `${ }`; write `item`
    12:73: E_UNKNOWN_KEY: `foreach` has no key `of`
    13:39: E_NAME: `int` has a meaning of its own in expressions; give `as` another name
    ");
    let told = wrong_steps(&format!(
        "  - {{id: a, foreach: {{in: [{long}]}}, do: [{{id: b, delay: 1}}]}}"
    ));
    assert!(told.contains("E_EXPR: `in` cannot hold this list"), "{told}");
}

#[test]
fn names_of_a_foreach_are_known_inside_and_only_there() {
    assert_snapshot!(wrong("
workflow: w
vars: {zones: [a], index: 5}
steps:
  - {id: before, log: '${ item }'}
  - id: each
    foreach: {in: item, as: zone, index: n, collect: steps.close.output + n}
    do:
      - {id: close, plugin: valve, with: {zone: '${ zone }', wrong: '${ item }'}}
      - {id: inner, foreach: {in: zone, collect: steps.deep.output}, do: [{id: deep, log: '${ item + zone }'}]}
      - {id: behind, log: '${ steps.deep.output }'}
  - {id: after, log: '${ zone } ${ n } ${ steps.close.output } ${ steps.inner.status } ${ index }'}
outputs: {last: '${ steps.close.output }', each: '${ steps.each.output.items }'}
"), @r"
    5:27: E_UNKNOWN_REF: `item` is known only inside a `foreach`
    7:19: E_UNKNOWN_REF: `item` is known only inside a `foreach`
    9:73: E_UNKNOWN_REF: `item` is known only inside a `foreach`; did you mean `zone`?
    11:31: E_UNKNOWN_REF: `deep` runs once for each item of a `foreach`; its results are known only inside; hand them out with the `collect` of the `foreach`
    12:26: E_UNKNOWN_REF: `zone` is known only inside the step that binds it (line 7)
    12:36: E_UNKNOWN_REF: `n` is known only inside the step that binds it (line 7)
    12:43: E_UNKNOWN_REF: `close` runs once for each item of a `foreach`; its results are known only inside; hand them out with the `collect` of the `foreach`
    12:67: E_UNKNOWN_REF: `inner` runs once for each item of a `foreach`; its results are known only inside; hand them out with the `collect` of the `foreach`
    12:91: E_UNKNOWN_REF: there is no name `index` here; expressions see inputs, vars, steps, trigger, execution, workflow, agent, now; did you mean `vars.index`?
    13:21: E_UNKNOWN_REF: `close` runs once for each item of a `foreach`; its results are known only inside; hand them out with the `collect` of the `foreach`
    ");
}

#[test]
fn errors_are_caught_by_name() {
    let w = right_steps(
        "
  - id: guard
    try: [{id: a, delay: 1}]
    catch:
      - {errors: [timeout, 'plugin.*'], when: err.retryable, as: err, do: [{id: b, log: '${ err.message }'}]}
      - {do: [{id: c, log: '${ error.code }'}]}
    finally: [{id: d, delay: 1}]
    finally_timeout: 5s
  - {id: short, try: [{id: e, delay: 1}], catch: {errors: timeout, as: error, do: [{id: f, delay: 1}]}}
  - {id: clean, try: [{id: g, delay: 1}], finally: [{id: h, delay: 1}], finally_timeout: 30}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"guard","type":"try","config":{"try":[{"id":"a","type":"delay","config":{"for":1}}],"catch":[{"errors":["timeout","plugin.*"],"when":"err.retryable","as":"err","do":[{"id":"b","type":"log","config":{"message":"${ err.message }"}}]},{"do":[{"id":"c","type":"log","config":{"message":"${ error.code }"}}]}],"finally":[{"id":"d","type":"delay","config":{"for":1}}],"finally_timeout":5}}
    {"id":"short","type":"try","config":{"try":[{"id":"e","type":"delay","config":{"for":1}}],"catch":[{"errors":["timeout"],"do":[{"id":"f","type":"delay","config":{"for":1}}]}]}}
    {"id":"clean","type":"try","config":{"try":[{"id":"g","type":"delay","config":{"for":1}}],"finally":[{"id":"h","type":"delay","config":{"for":1}}]}}
    "#);
    let StepKind::Try { catches, finally: None, finally_timeout_ms, .. } = &step(&w, "short").kind
    else {
        panic!("not as written")
    };
    assert_eq!((catches.len(), catches[0].name.as_str()), (1, "error"));
    assert_eq!(*finally_timeout_ms, limits::FINALLY_TIMEOUT_MS);
}

#[test]
fn wrong_tries() {
    assert_snapshot!(wrong_steps("
  - {id: a, try: [{id: a1, delay: 1}]}
  - {id: b, try: {}, finally: [{id: b1, delay: 1}]}
  - {id: c, try: [{id: c1, delay: 1}], catch: [], finally: [{id: c2, delay: 1}]}
  - {id: d, try: [{id: d1, delay: 1}], catch: [{errors: [a b, 'plug*', '']}]}
  - {id: e, try: [{id: e1, delay: 1}], catch: [{as: output, do: [{id: e2, delay: 1}]}]}
  - {id: f, try: [{id: f1, delay: 1}], catch: [{as: err, do: [{id: f2, log: '${ error.code }'}]}]}
  - {id: g, try: [{id: g1, delay: 1}], catch: [{do: [{id: g2, delay: 1}]}], finally_timeout: 5s}
  - {id: h, try: [{id: h1, log: '${ error.code }'}], cacth: [{do: [{id: h2, delay: 1}]}], finally: [{id: h3, log: '${ err }'}]}
  - {id: i, try: [{id: i1, delay: 1}], catch: later, finally: [{id: i2, delay: 1}]}
"), @r"
    4:18: E_MISSING_KEY: a `try` without `catch` and `finally` does nothing of its own; add one of them, or use `sequence`
    5:18: E_TYPE: `try` must be a list of steps, not a map; put `- ` before each step
    6:47: E_LIMIT: `catch` takes 1 to 256, not 0
    7:48: E_MISSING_KEY: a `catch` has no `do`; add `do: [...]`
    7:57: E_VALUE: `a b` can match no error; write a code such as `plugin.error`, a family such as `plugin.*`, or `*`
    8:53: E_NAME: `output` has a meaning of its own in expressions; give `as` another name
    9:81: E_UNKNOWN_REF: `error` is known only in the workflow's `on_failure` and in a `catch`; did you mean `err`?
    10:94: E_VALUE: `finally_timeout` bounds a `finally`, and there is none
    11:37: E_UNKNOWN_REF: `error` is known only in the workflow's `on_failure` and in a `catch`
    11:54: E_UNKNOWN_KEY: step `h` has no key `cacth`; did you mean `catch`?
    11:119: E_UNKNOWN_REF: `err` is known only inside the step that binds it (line 9)
    12:47: E_TYPE: `catch` must be a list of maps with `do`, not a text
    ");
}

#[test]
fn sequences_and_sagas() {
    let w = right(
        "
workflow: w
compensation: {run_on: [failed]}
steps:
  - {id: plain, sequence: [{id: a, delay: 1}, {id: b, delay: 1}]}
  - id: saga
    sequence:
      steps:
        - id: book
          plugin: shop.book
          compensate:
            - {id: unbook, plugin: shop.unbook, with: {booking: '${ output.id }'}}
            - {id: undo_once, plugin: shop.unbook, effects: at_most_once}
            - {id: undo_mine, plugin: shop.unbook, retry: {max_retries: 1}}
            - {id: inner, sequence: [{id: deep, plugin: shop.unbook}]}
        - {id: later, plugin: shop.book}
      compensation: {}
  - {id: beside, sequence: [{id: c, delay: 1}], compensation: {run_on: cancelled}}
  - {id: never, sequence: {steps: [{id: d, delay: 1}], compensation: {run_on: []}}}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"plain","type":"sequence","config":{"steps":[{"id":"a","type":"delay","config":{"for":1}},{"id":"b","type":"delay","config":{"for":1}}]}}
    {"id":"saga","type":"sequence","config":{"steps":[{"id":"book","type":"plugin","config":{"plugin":"shop.book@*"},"compensate":[{"id":"unbook","type":"plugin","config":{"plugin":"shop.unbook@*","with":{"booking":"${ output.id }"}}},{"id":"undo_once","type":"plugin","config":{"plugin":"shop.unbook@*"},"effects":"at_most_once"},{"id":"undo_mine","type":"plugin","config":{"plugin":"shop.unbook@*"},"retry":{"max_retries":1,"delay":60}},{"id":"inner","type":"sequence","config":{"steps":[{"id":"deep","type":"plugin","config":{"plugin":"shop.unbook@*"}}]}}]},{"id":"later","type":"plugin","config":{"plugin":"shop.book@*"}}],"compensation":{"run_on":["failed","cancelled"]}}}
    {"id":"beside","type":"sequence","config":{"steps":[{"id":"c","type":"delay","config":{"for":1}}],"compensation":{"run_on":["cancelled"]}}}
    {"id":"never","type":"sequence","config":{"steps":[{"id":"d","type":"delay","config":{"for":1}}],"compensation":{"run_on":[]}}}
    "#);
    assert_eq!(w.compensation, Compensation { on_failed: true, on_cancelled: false });
    let retry = |id: &str| step(&w, id).retry.clone();
    assert_eq!(retry("unbook"), [Retry::compensation()]);
    assert_eq!(retry("deep"), [Retry::compensation()]);
    assert_eq!(retry("undo_once"), []);
    assert_eq!(retry("undo_mine"), [Retry { max_retries: 1, ..Retry::plugin() }]);
    assert_eq!(retry("later"), [Retry::plugin()]);
    let undo = w.scope(step(&w, "book").compensate.unwrap());
    assert_eq!((undo.owner, undo.steps.len()), (Some(StepIx(4)), 4));
}

#[test]
fn what_undoes_tries_harder_than_the_defaults() {
    let w = right(
        "
workflow: w
defaults: {retry: none}
steps:
  - {id: a, plugin: shop, compensate: [{id: b, plugin: shop}]}
",
    );
    assert_eq!(step(&w, "a").retry, []);
    assert_eq!(step(&w, "b").retry, [Retry::compensation()]);
}

#[test]
fn wrong_sequences() {
    assert_snapshot!(wrong("
workflow: w
compensation: {run_on: [completed]}
steps:
  - {id: a, sequence: {}}
  - {id: b, sequence: [], compensation: none}
  - {id: c, delay: 1, compensation: {run_on: failed}}
  - {id: d, delay: 1, compensate: {id: d1, delay: 1}}
  - {id: e, delay: 1, compensate: [{id: e1, delay: 1, compensate: [{id: e2, delay: 1}]}]}
  - {id: f, if: output > 1, delay: 1, compensate: [{id: f1, if: output > 1, delay: 1, next_steps: f}]}
  - {id: g, sequence: {steps: [{id: g1, delay: 1}], compensation: {run_at: 1}}}
"), @r"
    3:25: E_VALUE: `run_on` must be one of `failed`, `cancelled`, not `completed`
    5:23: E_MISSING_KEY: `sequence` has no `steps`; add `steps: [...]`
    6:23: E_VALUE: `sequence` has no steps
    6:41: E_TYPE: `compensation` must be a map of keys and values, not a text
    7:23: E_UNKNOWN_KEY: step `c` has no key `compensation`; did you mean `compensate`?
    8:35: E_TYPE: `compensate` must be a list of steps, not a map; put `- ` before each step
    9:67: E_VALUE: what undoes a step is not undone itself; remove `compensate`
    10:17: E_UNKNOWN_REF: `output` is known only in a step's `output`, `export` and `compensate`
    10:99: E_CROSS_SCOPE: `f1` leads to `f`, which is in another list of steps (line 10); an edge stays in its list
    11:68: E_UNKNOWN_KEY: `compensation` has no key `run_at`; did you mean `run_on`?
    ");
}

#[test]
fn retries_are_a_policy_or_several() {
    let w = right(
        "
workflow: w
defaults: {retry: [{errors: timeout, max_retries: 9}, {errors: 'plugin.*'}]}
steps:
  - {id: a, plugin: p}
  - {id: b, plugin: p, retry: [{errors: [http.status], max_retries: 0}, {max_retries: 2, max_elapsed: 90s, backoff: constant}]}
  - {id: c, plugin: p, retry: []}
  - {id: d, plugin: p, retry: [none]}
  - {id: e, plugin: p, retry: [{max_retries: 3}]}
  - {id: f, parallel: {branches: [[{id: g, delay: 1}]]}, retry: {max_retries: 1, delay: 0}}
",
    );
    assert_snapshot!(canonical_steps(&w), @r#"
    {"id":"a","type":"plugin","config":{"plugin":"p.execute@*"},"retry":[{"max_retries":9,"delay":60,"errors":["timeout"]},{"max_retries":3,"delay":60,"errors":["plugin.*"]}]}
    {"id":"b","type":"plugin","config":{"plugin":"p.execute@*"},"retry":[{"max_retries":0,"delay":60,"errors":["http.status"]},{"max_retries":2,"backoff":"constant","delay":60,"max_elapsed":90}]}
    {"id":"c","type":"plugin","config":{"plugin":"p.execute@*"},"retry":"none"}
    {"id":"d","type":"plugin","config":{"plugin":"p.execute@*"},"retry":"none"}
    {"id":"e","type":"plugin","config":{"plugin":"p.execute@*"}}
    {"id":"f","type":"parallel","config":{"branches":[[{"id":"g","type":"delay","config":{"for":1}}]]},"retry":{"max_retries":1,"delay":0}}
    "#);
    assert_eq!(step(&w, "b").retry[1].max_elapsed_ms, Some(90_000));
    let many = vec!["{max_retries: 1}"; 17].join(", ");
    let told = wrong_steps(&format!(
        "
  - {{id: a, plugin: p, retry: [{many}]}}
  - {{id: b, plugin: p, retry: [none, none]}}
  - {{id: c, plugin: p, retry: {{max_elapsed: 0}}}}
  - {{id: d, plugin: p, retry: {{errors: ['*.x']}}}}
"
    ));
    assert_snapshot!(told, @r"
    4:31: E_LIMIT: `retry` takes at most 16 policies, not 17
    5:32: E_TYPE: `retry` must be `none`, a map such as `{max_retries: 3}` or a list of such maps, not a text
    5:38: E_TYPE: `retry` must be `none`, a map such as `{max_retries: 3}` or a list of such maps, not a text
    6:45: E_VALUE: `max_elapsed` must be longer than 0
    7:40: E_VALUE: `*.x` can match no error; write a code such as `plugin.error`, a family such as `plugin.*`, or `*`
    ");
}

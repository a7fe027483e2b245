//! What follows from the order of steps: unknown references, doubtful ones, races.

use super::*;

#[test]
fn what_settles_later_is_unknown() {
    fires(
        &steps("- { id: a, log: '${ steps.b.output }' }\n- { id: b, plugin: p@1 }\n"),
        &["3:21 E_UNKNOWN_REF"],
    );
    quiet(&steps("- { id: a, plugin: p@1 }\n- { id: b, log: '${ steps.a.output }' }\n"));
}

#[test]
fn a_step_does_not_know_itself_before_it_has_settled() {
    fires(
        &steps("- { id: a, plugin: p@1, with: { x: '${ steps.a.output }' } }\n"),
        &["3:40 E_UNKNOWN_REF"],
    );
    quiet(&steps("- { id: a, plugin: p@1, output: '${ steps.a.output.x }' }\n"));
}

#[test]
fn a_step_does_not_know_what_is_around_it() {
    fires(
        &steps("- id: a\n  sequence:\n    - { id: b, log: '${ steps.a.output }' }\n"),
        &["5:25 E_UNKNOWN_REF"],
    );
}

#[test]
fn another_way_never_runs() {
    let text = "- id: c\n  condition: agent.id == 'x'\n  then: [{ id: a, plugin: p@1 }]\n  \
                else: [{ id: b, log: '${ steps.a.output }' }]\n";
    fires(&steps(text), &["6:28 E_UNKNOWN_REF"]);
    let text = "- { id: c, condition: agent.id == 'x', then: a, else: b }\n\
                - { id: a, plugin: p@1 }\n\
                - { id: b, log: '${ steps.a.output }' }\n";
    fires(&steps(text), &["5:21 E_UNKNOWN_REF"]);
    // That it was skipped is known.
    quiet(&steps(&text.replace("steps.a.output", "steps.a.status")));
    quiet(&steps(&text.replace("steps.a.output", "steps.a.error == null ? 1 : steps.a.output")));
}

#[test]
fn branches_do_not_see_one_another() {
    let text = "- id: both\n  parallel:\n    branches:\n      one: [{ id: a, plugin: p@1 }]\n      \
                two: [{ id: b, log: '${ steps.a.output }' }]\n- { id: c, log: '${ steps.a.output }' }\n";
    fires(&steps(text), &["7:31 E_UNKNOWN_REF"]);
}

#[test]
fn what_nothing_orders_is_known_by_chance_only() {
    let text = "- { id: a, start: true, plugin: p@1, next_steps: [c] }\n\
                - { id: b, start: true, log: '${ steps.a.output }', next_steps: [c] }\n\
                - { id: c, delay: 1 }\n";
    fires(&steps(text), &["4:34 E_UNKNOWN_REF"]);
    let asked = text.replace("steps.a.output }", "has(steps.a.output) ? 1 : 2 }");
    quiet(&steps(&asked));
}

#[test]
fn a_wait_may_ask_for_what_runs_beside_it() {
    let text = "- { id: a, start: true, plugin: p@1, next_steps: [c] }\n\
                - { id: b, start: true, wait: { until: 'COND' }, timeout: 1m, next_steps: [c] }\n\
                - { id: c, delay: 1 }\n";
    quiet(&steps(&text.replace("COND", "has(steps.a.status)")));
    fires(&steps(&text.replace("COND", "steps.a.attempts > 1")), &["4:41 W_MAYBE_SKIPPED"]);
}

#[test]
fn a_loop_knows_the_round_before() {
    let text = "- id: l\n  loop: { times: 3 }\n  do:\n    - { id: a, log: '${ steps.b.output }' }\n    \
                - { id: b, plugin: p@1 }\n";
    fires(&steps(text), &["6:25 W_MAYBE_SKIPPED"]);
    quiet(&steps(&text.replace("steps.b.output", "has(steps.b) ? steps.b.output : 0")));
    // So does what is tried again as a whole.
    let again = text.replace("loop: { times: 3 }\n  do:", "retry: { max_retries: 1 }\n  sequence:");
    fires(&steps(&again), &["6:25 W_MAYBE_SKIPPED"]);
}

#[test]
fn a_loop_asks_about_its_body() {
    let text =
        "- id: l\n  loop: { TEST, collect: steps.a.output.x }\n  do: [{ id: a, plugin: p@1 }]\n";
    quiet(&steps(&text.replace("TEST", "until: steps.a.output.done")));
    quiet(&steps(&text.replace("TEST", "while: loop.index == 0 || !has(steps.a.output.done)")));
    fires(&steps(&text.replace("TEST", "while: steps.a.output.more")), &["4:18 W_MAYBE_SKIPPED"]);
    fires(&steps(&text.replace("TEST", "times: steps.a.output.n")), &["4:18 E_UNKNOWN_REF"]);
}

#[test]
fn a_skipped_step_has_no_output() {
    let text = "- { id: c, condition: agent.id == 'x', then: a, else: b }\n\
                - { id: a, plugin: p@1, next_steps: [d] }\n\
                - { id: b, plugin: p@1, next_steps: [d] }\n\
                - { id: d, log: \"TEXT\" }\n";
    let with = |what: &str| steps(&text.replace("TEXT", what));
    fires(&with("${ steps.a.output.x }"), &["6:21 W_MAYBE_SKIPPED"]);
    quiet(&with("${ steps.c.output.result }"));
    quiet(&with("${ steps.a.status }"));
    quiet(&with("${ steps.a.status == 'succeeded' ? steps.a.output : 0 }"));
    assert!(words(&with("${ steps.a.output.x }")).contains("`a` may be skipped"));
}

#[test]
fn one_way_only_is_certain_where_the_other_ends_the_run() {
    let text = "- id: c\n  condition: agent.id == 'x'\n  then: [{ id: a, plugin: p@1 }]\n  \
                else: [{ id: b, END }]\n- { id: d, log: '${ steps.a.output }' }\n";
    fires(&steps(&text.replace("END", "delay: 1")), &["7:21 W_MAYBE_SKIPPED"]);
    quiet(&steps(&text.replace("END", "fail: { code: user.x }")));
    quiet(&steps(&text.replace("END", "succeed: {}")));
    quiet(&steps(
        &text.replace("END", "delay: 1").replace("${ steps.a", "${ has(steps.a) ? 1 : steps.a"),
    ));
}

#[test]
fn both_ways_of_a_diamond_come_to_the_join() {
    let text = "- { id: a, plugin: p@1, next_steps: [b, c] }\n\
                - { id: b, plugin: p@1, next_steps: [d] }\n\
                - { id: c, plugin: p@1, next_steps: [d] }\n\
                - { id: d, JOIN, log: '${ steps.b.output + steps.c.output }' }\n";
    quiet(&steps(&text.replace("JOIN", "join: all")));
    quiet(&steps(&text.replace("JOIN", "join: every")));
    fires(
        &steps(&text.replace("JOIN", "join: any")),
        &["6:32 W_MAYBE_SKIPPED", "6:49 W_MAYBE_SKIPPED"],
    );
    let asked = text.replace("[b, c]", "[b, {to: c, when: agent.id == 'x'}]");
    fires(&steps(&asked.replace("JOIN", "join: all")), &["6:49 W_MAYBE_SKIPPED"]);
    quiet(&steps(&asked.replace("JOIN", "join: every")));
}

#[test]
fn what_may_have_failed_has_no_output() {
    let text = "- { id: a, plugin: p@1, on_failure: note }\n\
                - { id: b, log: '${ steps.a.output }' }\n\
                - { id: note, log: '${ steps.a.error.code }' }\n";
    quiet(&steps(text));
    fires(&steps(&text.replace("error.code", "output.x")), &["5:24 W_MAYBE_SKIPPED"]);
    let forgiven = "- { id: a, plugin: p@1, continue_on_error: true }\n\
                    - { id: b, log: '${ steps.a.output }' }\n";
    fires(&steps(forgiven), &["4:21 W_MAYBE_SKIPPED"]);
    quiet(&steps(&forgiven.replace("{ id: b,", "{ id: b, if: steps.a.error == null,")));
    let bypassed = forgiven.replace("continue_on_error: true", "if: agent.id == 'x'");
    fires(&steps(&bypassed), &["4:21 W_MAYBE_SKIPPED"]);
}

#[test]
fn catch_and_finally_do_not_know_how_far_it_came() {
    let text = "- id: t\n  try: [{ id: a, plugin: p@1 }]\n  catch: { do: [{ id: b, log: 'B' }] }\n  \
                finally: [{ id: c, log: 'C' }]\n- { id: d, log: 'D' }\n";
    quiet(&steps(text));
    let output = "'${ steps.a.output }'";
    fires(&steps(&text.replace("'B'", output)), &["5:35 W_MAYBE_SKIPPED"]);
    fires(&steps(&text.replace("'C'", output)), &["6:31 W_MAYBE_SKIPPED"]);
    fires(&steps(&text.replace("'D'", output)), &["7:21 W_MAYBE_SKIPPED"]);
    let no_catch = text.replace("  catch: { do: [{ id: b, log: 'B' }] }\n", "");
    quiet(&steps(&no_catch.replace("'D'", output)));
    fires(
        &steps(&text.replace("plugin: p@1", "log: '${ steps.b.output }'")),
        &["4:27 E_UNKNOWN_REF"],
    );
}

#[test]
fn a_lost_race_leaves_nothing() {
    let text = "- id: first\n  parallel:\n    mode: MODE\n    branches:\n      \
                one: [{ id: a, plugin: p@1 }]\n      two: [{ id: b, plugin: p@1 }]\n\
                - { id: c, log: '${ steps.a.output }' }\n";
    quiet(&steps(&text.replace("MODE", "wait_all")));
    fires(&steps(&text.replace("MODE", "race")), &["9:21 W_MAYBE_SKIPPED"]);
}

#[test]
fn outputs_and_the_end() {
    let with = |steps: &str| {
        format!("workflow: w\noutputs: {{ x: '${{ steps.a.output }}' }}\nsteps:\n{steps}")
    };
    quiet(&with("- { id: a, plugin: p@1 }\n"));
    fires(
        &with("- { id: gate, condition: agent.id == 'x' }\n- { id: a, plugin: p@1 }\n"),
        &["2:19 W_MAYBE_SKIPPED"],
    );
    fires(
        &with("- { id: b, plugin: p@1 }\non_failure: [{ id: a, log: x }]\n"),
        &["2:19 E_UNKNOWN_REF"],
    );
    let on_failure = "workflow: w\nsteps: [{ id: a, plugin: p@1 }]\n\
                      on_failure: [{ id: b, log: '${ steps.a.output }' }]\n";
    fires(on_failure, &["3:32 W_MAYBE_SKIPPED"]);
}

#[test]
fn what_undoes_a_step_knows_what_came_before_it() {
    let text = "- { id: a, plugin: p@1 }\n- id: b\n  plugin: p@1\n  compensate:\n    \
                - { id: u, plugin: p@1, with: { x: '${ steps.WHAT.output }' } }\n\
                - { id: c, plugin: p@1 }\n";
    quiet(&steps(&text.replace("WHAT", "a")));
    quiet(&steps(&text.replace("WHAT", "b")));
    fires(&steps(&text.replace("WHAT", "c")), &["7:44 W_MAYBE_SKIPPED"]);
}

#[test]
fn races() {
    let text = "- { id: a, start: true, set: { x: 1 }, next_steps: [c] }\n\
                - { id: b, start: true, set: { x: 2 }, next_steps: [c] }\n\
                - { id: c, log: '${ vars.x }' }\n";
    fires(&steps(text), &["4:32 W_RACE"]);
    quiet(&steps(&text.replace("x: 2", "z: 2").replace("vars.x", "vars.x + vars.z")));
    // One before the other, or never both.
    quiet(&steps(
        &text.replace("next_steps: [c] }\n- { id: b, start: true", "next_steps: [b] }\n- { id: b"),
    ));
    let either = text.replace("start: true, ", "");
    let choice = format!("- {{ id: q, condition: agent.id == 'x', then: a, else: b }}\n{either}");
    quiet(&steps(&choice));
    // Deep inside counts as well.
    let deep = text.replace("set: { x: 2 }", "sequence: [{ id: in, set: { x: 2 } }]");
    fires(&steps(&deep), &["4:53 W_RACE"]);
}

#[test]
fn branches_that_export_the_same() {
    let text = "- id: p\n  parallel:\n    mode: MODE\n    branches:\n      \
                one: [{ id: a, plugin: p@1, export: { x: 1 } }]\n      \
                two: [{ id: b, plugin: p@1, export: { x: 2 } }]\n- { id: c, log: '${ vars.x }' }\n";
    fires(&steps(&text.replace("MODE", "fail_fast")), &["8:45 W_RACE"]);
    quiet(&steps(&text.replace("MODE", "race")));
    // What is set in a branch ends with it.
    let set = text.replace("plugin: p@1, export", "set").replace("MODE", "wait_all");
    quiet(&steps(&set));
    let each = "- id: f\n  foreach: { in: '[1, 2]', concurrency: 2 }\n  \
                do: [{ id: a, plugin: p@1, export: { x: 1 } }]\n- { id: c, log: '${ vars.x }' }\n";
    fires(&steps(each), &["5:40 W_RACE"]);
    quiet(&steps(&each.replace("concurrency: 2", "concurrency: 1")));
}

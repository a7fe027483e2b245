//! Edges, joins, failures and how they travel.

use super::{World, seconds};

#[test]
fn a_diamond_with_a_dead_side_goes_on() {
    let mut world = World::new(
        "
workflow: w
inputs: { x: { type: boolean } }
steps:
  - { id: a, condition: inputs.x, then: [b], else: [c] }
  - { id: b, set: { way: b }, next_steps: [d] }
  - { id: c, set: { way: c }, next_steps: [d] }
  - { id: d, set: { done: true } }
",
    );
    world.start(r#"{"x":true}"#);
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; settled
      told 1 accepted manual {"x":true}; answer 1; 2 began; 3 a started condition(1); 4 a succeeded(1) {"result":true}; 5 c skipped(0); 6 b started set(1); 7 b succeeded(1); 8 d started set(1); 9 d succeeded(1); 10 Completed {}; result Completed
    "#);
}

/// Two steps lead to a third; the first fails for good and goes on by `on_failure`.
fn joined(join: &str) -> World {
    World::new(&format!(
        "
workflow: w
steps:
  - {{ id: s, set: {{ x: 1 }}, next_steps: [a, b] }}
  - {{ id: a, plugin: p@1, retry: none, next_steps: [j], on_failure: f }}
  - {{ id: b, plugin: p@1, retry: none, next_steps: [j] }}
  - {{ id: f, set: {{ failed: true }} }}
  - {{ id: j, {join} set: {{ joined: true }} }}
"
    ))
}

#[test]
fn join_all_needs_one_taken() {
    let mut world = joined("");
    world.start("{}").transcript();
    world.err("a", "x").ok("b", "1");
    insta::assert_snapshot!(world.transcript(), @r"
    > err a x
      fact end a(1) x
      told 9 a failed(1) x; 10 f started set(1); 11 f succeeded(1)
    > ok b
      fact end b(1) ok; settled
      told 12 b succeeded(1) 1; 13 j started set(1); 14 j succeeded(1); 15 Completed {}; result Completed
    ");
}

#[test]
fn join_every_is_skipped_by_one_dead_edge() {
    let mut world = joined("join: every,");
    world.start("{}").transcript();
    world.err("a", "x").ok("b", "1");
    insta::assert_snapshot!(world.transcript(), @r"
    > err a x
      fact end a(1) x
      told 9 a failed(1) x; 10 j skipped(0); 11 f started set(1); 12 f succeeded(1)
    > ok b
      fact end b(1) ok; settled
      told 13 b succeeded(1) 1; 14 Completed {}; result Completed
    ");
}

#[test]
fn join_any_runs_at_the_first() {
    let mut world = joined("join: any,");
    world.start("{}").transcript();
    world.ok("b", "1").ok("a", "1");
    insta::assert_snapshot!(world.transcript(), @r"
    > ok b
      fact end b(1) ok
      told 9 b succeeded(1) 1; 10 j started set(1); 11 j succeeded(1)
    > ok a
      fact end a(1) ok; settled
      told 12 a succeeded(1) 1; 13 f skipped(0); 14 Completed {}; result Completed
    ");
}

#[test]
fn join_at_least_is_skipped_once_it_cannot_be() {
    let mut world = joined("join: { at_least: 2 },");
    world.start("{}").transcript();
    world.err("a", "x");
    insta::assert_snapshot!(world.transcript(), @r"
    > err a x
      fact end a(1) x
      told 9 a failed(1) x; 10 j skipped(0); 11 f started set(1); 12 f succeeded(1)
    ");
}

#[test]
fn edges_may_have_conditions() {
    let mut world = World::new(
        "
workflow: w
inputs: { n: { type: integer } }
steps:
  - id: a
    set: { x: 1 }
    next_steps: [{ to: odd, when: inputs.n % 2 == 1 }, { to: big, when: inputs.n > 10 }]
  - { id: odd, set: { odd: true } }
  - { id: big, set: { big: true } }
",
    );
    world.start(r#"{"n":11}"#).start(r#"{"n":12}"#).start(r#"{"n":2}"#);
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; settled
      told 1 accepted manual {"n":11}; answer 1; 2 began; 3 a started set(1); 4 a succeeded(1); 5 odd started set(1); 6 odd succeeded(1); 7 big started set(1); 8 big succeeded(1); 9 Completed {}; result Completed
    > start
      fact accepted; began; settled
      told 1 accepted manual {"n":12}; answer 2; 2 began; 3 a started set(1); 4 a succeeded(1); 5 odd skipped(0); 6 big started set(1); 7 big succeeded(1); 8 Completed {}; result Completed
    > start
      fact accepted; began; settled
      told 1 accepted manual {"n":2}; answer 3; 2 began; 3 a started set(1); 4 a succeeded(1); 5 big skipped(0); 6 odd skipped(0); 7 Completed {}; result Completed
    "#);
}

#[test]
fn a_step_that_is_switched_off_lets_the_rest_run() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: a, if: 'false', plugin: p@1 }
  - { id: b, set: { status: '${ steps.a.status }' } }
outputs: { status: { value: '${ vars.status }' } }
",
    );
    world.start("{}");
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; settled
      told 1 accepted manual {}; answer 1; 2 began; 3 a bypassed(0); 4 b started set(1); 5 b succeeded(1); 6 Completed {"status":"bypassed"}; result Completed
    "#);
}

#[test]
fn a_failure_ends_its_scope_and_reaches_the_workflows_on_failure() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: outer
    condition: 'true'
    then:
      - { id: a, plugin: p@1, retry: none }
      - { id: never, set: { x: 1 } }
on_failure:
  - { id: tell, plugin: p@1, with: { code: '${ error.code }', step: '${ error.step }' } }
",
    );
    world.start("{}").err("outer/a", "plugin.error").ok("tell", "null");
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; start outer/a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 outer started condition(1); 4 outer/a queued(1); 5 outer/a started plugin(1)
      do   call outer/a(1) {}
    > err outer/a plugin.error
      fact end outer/a(1) plugin.error; start tell(1)
      told 6 outer/a failed(1) plugin.error; 7 outer/never cancelled(0); 8 outer failed(1) plugin.error; 9 tell queued(1); 10 tell started plugin(1)
      do   call tell(1) {"code":"plugin.error","step":"outer/a"}
    > ok tell
      fact end tell(1) ok; settled
      told 11 tell succeeded(1) null; 12 Failed {} plugin.error: it did not work; result Failed
    "#);
}

#[test]
fn continue_on_error_takes_the_normal_way() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: a, plugin: p@1, retry: none, continue_on_error: true }
  - { id: b, set: { code: '${ steps.a.error.code }' } }
outputs: { code: { value: '${ vars.code }' } }
",
    );
    world.start("{}").err("a", "plugin.error");
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; start a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    > err a plugin.error
      fact end a(1) plugin.error; settled
      told 5 a failed(1) plugin.error; 6 b started set(1); 7 b succeeded(1); 8 Completed {"code":"plugin.error"}; result Completed
    "#);
}

#[test]
fn cancel_stops_what_runs_and_settles() {
    let text = "
workflow: w
steps:
  - { id: s, set: { x: 1 }, next_steps: [a, d] }
  - { id: a, plugin: p@1, next_steps: [z] }
  - { id: d, delay: 1h }
  - { id: z, set: { x: 2 } }
";
    let mut world = World::new(text);
    world.start("{}").transcript();
    world.cancel(1, false).cancel(1, false).pass(seconds(10) - 1).pass(1);
    insta::assert_snapshot!(world.transcript(), @r"
    > cancel
      fact cancel
      told 9 cancel; 10 d cancelled(1); 11 z cancelled(0); answer 1
      do   stop a(1) Cancelled
    > cancel
      told answer 1
    > +9999ms
    > +1ms
      fact timer a grace; settled
      told 12 a cancelled(1); 13 Cancelled {}; result Cancelled
    ");
    world.start("{}").transcript();
    world.cancel(2, true).cancel(2, true);
    insta::assert_snapshot!(world.transcript(), @r"
    > cancel force
      fact cancel force; settled
      told 9 cancel; 10 d cancelled(1); 11 z cancelled(0); 12 a cancelled(1); 13 Cancelled {}; result Cancelled; answer 2
      do   stop a(1) Cancelled
    > cancel force
      told refused run.unknown
    ");
}

#[test]
fn a_success_in_time_counts_although_cancelled() {
    let mut world =
        World::new("{workflow: w, steps: [{id: a, plugin: p@1}, {id: b, plugin: p@1}]}");
    world.start("{}").transcript();
    world.cancel(1, false).ok("a", "1");
    insta::assert_snapshot!(world.transcript(), @r"
    > cancel
      fact cancel
      told 5 cancel; 6 b cancelled(0); answer 1
      do   stop a(1) Cancelled
    > ok a
      fact end a(1) ok; settled
      told 7 a succeeded(1) 1; 8 Cancelled {}; result Cancelled
    ");
}

#[test]
fn late_and_repeated_answers_change_nothing() {
    let mut world =
        World::new("{workflow: w, steps: [{id: a, plugin: p@1}, {id: b, plugin: p@1}]}");
    world.start("{}");
    let first = world.calls[0].attempt.clone();
    world.ok("a", "1").transcript();
    let outcome = crate::AttemptOutcome::Failed { error: super::world::error("late") };
    world.input("late", crate::Input::Settled { attempt: first, outcome: outcome.clone() });
    let mut future = world.calls[0].attempt.clone();
    future.attempt = 2;
    world.input("future", crate::Input::Settled { attempt: future, outcome });
    insta::assert_snapshot!(world.transcript(), @r"
    > late
    > future
    ");
}

//! The kinds of steps, and what an attempt's end leads to.

use super::World;

#[test]
fn a_sequence_costs_one_commit_a_step() {
    let mut world = World::new(
        "
workflow: w
vars: { seen: 0 }
outputs: { seen: { type: integer, value: '${ vars.seen }' } }
steps:
  - { id: a, plugin: p@1, with: { n: 1 } }
  - { id: count, set: { seen: '${ vars.seen + 1 }' } }
  - { id: b, plugin: p.go@1, with: { from: '${ steps.a.output.x }', text: 'n=${ vars.seen }' } }
",
    );
    let before = world.commits;
    world.start("{}").ok("a", r#"{"x":5}"#).ok("b", "null");
    assert_eq!(world.commits - before, 3);
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; start a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {"n":1}
    > ok a
      fact end a(1) ok; start b(1)
      told 5 a succeeded(1) {"x":5}; 6 count started set(1); 7 count succeeded(1); 8 b queued(1); 9 b started plugin(1)
      do   call b(1) {"from":5,"text":"n=1"}
    > ok b
      fact end b(1) ok; settled
      told 10 b succeeded(1) null; 11 Completed {"seen":1}; result Completed
    "#);
}

#[test]
fn conditions_take_one_way() {
    let text = "
workflow: w
inputs: { x: { type: number } }
steps:
  - id: ask
    condition: inputs.x > 1.0
    then: [{ id: big, set: { size: big } }]
    else: [{ id: small, set: { size: small } }]
  - { id: gate, condition: 'vars.size == \"big\"' }
  - { id: after, set: { done: true } }
outputs: { size: { value: '${ vars.size }' } }
";
    let mut world = World::new(text);
    world.start(r#"{"x":2}"#);
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; settled
      told 1 accepted manual {"x":2}; answer 1; 2 began; 3 ask started condition(1); 4 ask/big started set(1); 5 ask/big succeeded(1); 6 ask succeeded(1) {"result":true}; 7 gate started condition(1); 8 gate succeeded(1) {"result":true}; 9 after started set(1); 10 after succeeded(1); 11 Completed {"size":"big"}; result Completed
    "#);
    world.start(r#"{"x":1}"#);
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; settled
      told 1 accepted manual {"x":1}; answer 2; 2 began; 3 ask started condition(1); 4 ask/small started set(1); 5 ask/small succeeded(1); 6 ask succeeded(1) {"result":false}; 7 gate started condition(1); 8 gate succeeded(1) {"result":false}; 9 after skipped(0); 10 Completed {"size":"small"}; result Completed
    "#);
}

#[test]
fn a_condition_that_is_not_a_truth_value_fails() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: ask, condition: '1 + 1' }
",
    );
    world.start("{}");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; settled
      told 1 accepted manual {}; answer 1; 2 began; 3 ask started condition(1); 4 ask failed(1) expr.type; 5 Failed {} expr.type: condition: `1 + 1` is int, not true or false; compare it; result Failed
    ");
}

#[test]
fn retries_wait_longer_each_time_and_then_the_run_fails() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: a, plugin: p@1, retry: { max_retries: 2, backoff: linear, delay: 10s } }
",
    );
    world.start("{}").err("a", "plugin.error").pass(9_999).pass(1);
    world.err("a", "plugin.error").sleep(30_000).err("a", "plugin.error");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; start a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    > err a plugin.error
      fact end a(1) plugin.error
      told 5 a delayed(1) 10000ms after plugin.error
    > +9999ms
    > +1ms
      fact timer a retry; start a(2)
      told 6 a queued(2); 7 a started plugin(2)
      do   call a(2) {}; (lazily)
    > err a plugin.error
      fact end a(2) plugin.error
      told 8 a delayed(2) 20000ms after plugin.error
    > +20000ms
      fact timer a retry; start a(3)
      told 9 a queued(3); 10 a started plugin(3)
      do   call a(3) {}; (lazily)
    > +10000ms
    > err a plugin.error
      fact end a(3) plugin.error; settled
      told 11 a failed(3) plugin.error; 12 Failed {} plugin.error: it did not work; result Failed
    ");
}

#[test]
fn errors_that_do_not_match_are_not_retried() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: a
    plugin: p@1
    retry: { max_retries: 2, delay: 1s, errors: ['http.*'], not_errors: [http.status] }
    continue_on_error: true
  - { id: b, plugin: p@1, retry: { max_retries: 2, delay: 1s, errors: ['http.*'] } }
",
    );
    world.start("{}").err("a", "http.status").err("b", "http.connect");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; start a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    > err a http.status
      fact end a(1) http.status; start b(1)
      told 5 a failed(1) http.status; 6 b queued(1); 7 b started plugin(1)
      do   call b(1) {}
    > err b http.connect
      fact end b(1) http.connect
      told 8 b delayed(1) 1000ms after http.connect
    ");
}

#[test]
fn output_reshapes_and_export_sets() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: a
    plugin: p@1
    output: { celsius: '${ (output.f - 32.0) / 1.8 }' }
    export: { warm: '${ output.celsius > 20.0 }' }
  - { id: b, plugin: p@1, with: { warm: '${ vars.warm }', all: '${ steps.a.output }' } }
",
    );
    world.start("{}").ok("a", r#"{"f":212}"#);
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; start a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    > ok a
      fact end a(1) ok; start b(1)
      told 5 a succeeded(1) {"celsius":100}; 6 b queued(1); 7 b started plugin(1)
      do   call b(1) {"warm":true,"all":{"celsius":100}}
    "#);
}

#[test]
fn a_loop_repeats_and_collects() {
    let mut world = World::new(
        "
workflow: w
vars: { n: 0 }
steps:
  - id: l
    loop: { while: vars.n < 3, collect: vars.n * 10 }
    do:
      - { id: inc, set: { n: '${ vars.n + 1 }' } }
  - id: t
    loop: { times: 2, collect: '[loop.index, loop.first, loop.last]' }
    do:
      - { id: call, plugin: p@1, with: { i: '${ loop.index }' } }
outputs: { l: { value: '${ steps.l.output }' }, t: { value: '${ steps.t.output }' } }
",
    );
    world.start("{}").ok("t#0/call", "1").ok("t#1/call", "2");
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; start t#0/call(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 l started loop(1); 4 l#0/inc started set(1); 5 l#0/inc succeeded(1); 6 l#1/inc started set(1); 7 l#1/inc succeeded(1); 8 l#2/inc started set(1); 9 l#2/inc succeeded(1); 10 l succeeded(1) {"iterations":3,"items":[10,20,30]}; 11 t started loop(1); 12 t#0/call queued(1); 13 t#0/call started plugin(1)
      do   call t#0/call(1) {"i":0}
    > ok t#0/call
      fact end t#0/call(1) ok; start t#1/call(1)
      told 14 t#0/call succeeded(1) 1; 15 t#1/call queued(1); 16 t#1/call started plugin(1)
      do   call t#1/call(1) {"i":1}
    > ok t#1/call
      fact end t#1/call(1) ok; settled
      told 17 t#1/call succeeded(1) 2; 18 t succeeded(1) {"iterations":2,"items":[[0,true,false],[1,false,true]]}; 19 Completed {"l":{"iterations":3,"items":[10,20,30]},"t":{"iterations":2,"items":[[0,true,false],[1,false,true]]}}; result Completed
    "#);
}

#[test]
fn a_loop_has_a_bound() {
    let mut world = World::new(
        "
workflow: w
vars: { n: 0 }
steps:
  - id: l
    loop: { until: 'false', max_iterations: 2 }
    do:
      - { id: inc, set: { n: '${ vars.n + 1 }' } }
",
    );
    world.start("{}");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; settled
      told 1 accepted manual {}; answer 1; 2 began; 3 l started loop(1); 4 l#0/inc started set(1); 5 l#0/inc succeeded(1); 6 l#1/inc started set(1); 7 l#1/inc succeeded(1); 8 l failed(1) loop.limit; 9 Failed {} loop.limit: the loop is not done after 2 iterations; raise max_iterations or check its test; result Failed
    ");
}

#[test]
fn a_loop_of_pure_steps_goes_on_in_the_next_decision() {
    let mut world = World::new(
        "
workflow: w
vars: { n: 0 }
outputs: { n: { value: '${ vars.n }' } }
steps:
  - id: l
    loop: { while: vars.n < 2500, max_iterations: 5000 }
    do:
      - { id: inc, set: { n: '${ vars.n + 1 }' } }
",
    );
    world.start("{}");
    assert!(world.engine.next_deadline().is_some_and(|(due, _)| due == world.now.boot_ms));
    let mut decisions = 0;
    while world.engine.runs().next().is_some() {
        world.pass(0);
        decisions += 1;
        assert!(decisions < 10, "it does not end");
    }
    assert!(decisions >= 4, "2,500 iterations are more than one decision's work");
    let last = world.transcript();
    assert!(last.contains(r#"Completed {"n":2500}"#), "{last}");
}

#[test]
fn a_run_may_settle_only_so_many_steps() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: l
    loop: { while: 'true', max_iterations: 100000 }
    do:
      - { id: inc, set: { n: 1 } }
",
    );
    world.start("{}");
    for _ in 0..200 {
        world.pass(0);
    }
    let transcript = world.transcript();
    assert_eq!(world.engine.runs().count(), 0);
    assert!(
        transcript.contains("Failed {} limit.history"),
        "{}",
        &transcript[transcript.len() - 500..]
    );
}

#[test]
fn parallel_branches_have_their_own_variables() {
    let mut world = World::new(
        "
workflow: w
vars: { n: 1 }
outputs: { n: { value: '${ vars.n }' }, x: { value: '${ vars.x }' }, both: { value: '${ steps.both.output }' } }
steps:
  - id: both
    parallel:
      branches:
        left:
          - { id: l1, set: { n: 2 } }
          - { id: l2, plugin: p@1, with: { n: '${ vars.n }' }, export: { x: '${ output }' } }
        right:
          - { id: r, plugin: p@1, with: { n: '${ vars.n }' } }
",
    );
    world.start("{}").ok("both[right]/r", r#""R""#).ok("both[left]/l2", r#""L""#);
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; start both[right]/r(1); start both[left]/l2(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 both started parallel(1); 4 both[left]/l1 started set(1); 5 both[left]/l1 succeeded(1); 6 both[right]/r queued(1); 7 both[left]/l2 queued(1); 8 both[right]/r started plugin(1); 9 both[left]/l2 started plugin(1)
      do   call both[right]/r(1) {"n":1}; call both[left]/l2(1) {"n":2}
    > ok both[right]/r
      fact end both[right]/r(1) ok
      told 10 both[right]/r succeeded(1) "R"
    > ok both[left]/l2
      fact end both[left]/l2(1) ok; settled
      told 11 both[left]/l2 succeeded(1) "L"; 12 both succeeded(1) {"left":"L","right":"R"}; 13 Completed {"both":{"left":"L","right":"R"},"n":1,"x":"L"}; result Completed
    "#);
}

#[test]
fn fail_fast_stops_the_others_and_waits_for_them() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: both
    parallel:
      branches:
        - [{ id: a, plugin: p@1, retry: none }]
        - [{ id: b, plugin: p@1 }]
        - [{ id: d, delay: 1h }]
",
    );
    world.start("{}").err("both[0]/a", "plugin.error").err("both[1]/b", "cancelled");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; start both[0]/a(1); start both[1]/b(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 both started parallel(1); 4 both[0]/a queued(1); 5 both[1]/b queued(1); 6 both[2]/d started delay(1); 7 both[2]/d delayed(0) 3600000ms; 8 both[0]/a started plugin(1); 9 both[1]/b started plugin(1)
      do   call both[0]/a(1) {}; call both[1]/b(1) {}
    > err both[0]/a plugin.error
      fact end both[0]/a(1) plugin.error
      told 10 both[0]/a failed(1) plugin.error; 11 both[2]/d cancelled(1)
      do   stop both[1]/b(1) Cancelled
    > err both[1]/b cancelled
      fact end both[1]/b(1) cancelled; settled
      told 12 both[1]/b cancelled(1); 13 both failed(1) plugin.error; 14 Failed {} plugin.error: it did not work; result Failed
    ");
}

#[test]
fn a_race_has_one_winner() {
    let mut world = World::new(
        "
workflow: w
outputs: { r: { value: '${ steps.r.output }' } }
steps:
  - id: r
    parallel:
      mode: race
      branches:
        a: [{ id: a, plugin: p@1, retry: none }]
        b: [{ id: b, plugin: p@1 }]
        c: [{ id: c, delay: 1h }]
",
    );
    world.start("{}").err("r[a]/a", "plugin.error").ok("r[b]/b", "7");
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; start r[a]/a(1); start r[b]/b(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 r started parallel(1); 4 r[a]/a queued(1); 5 r[b]/b queued(1); 6 r[c]/c started delay(1); 7 r[c]/c delayed(0) 3600000ms; 8 r[a]/a started plugin(1); 9 r[b]/b started plugin(1)
      do   call r[a]/a(1) {}; call r[b]/b(1) {}
    > err r[a]/a plugin.error
      fact end r[a]/a(1) plugin.error
      told 10 r[a]/a failed(1) plugin.error
    > ok r[b]/b
      fact end r[b]/b(1) ok; settled
      told 11 r[b]/b succeeded(1) 7; 12 r[c]/c cancelled(1); 13 r succeeded(1) {"b":7}; 14 Completed {"r":{"b":7}}; result Completed
    "#);
}

#[test]
fn a_quorum_is_lost_when_it_cannot_be_reached() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: q
    parallel:
      need: 2
      branches:
        a: [{ id: a, plugin: p@1, retry: none }]
        b: [{ id: b, plugin: p@1, retry: none }]
        c: [{ id: c, plugin: p@1, retry: none }]
",
    );
    world.start("{}").err("q[a]/a", "one").ok("q[b]/b", "1").err("q[c]/c", "three");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; start q[a]/a(1); start q[b]/b(1); start q[c]/c(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 q started parallel(1); 4 q[a]/a queued(1); 5 q[b]/b queued(1); 6 q[c]/c queued(1); 7 q[a]/a started plugin(1); 8 q[b]/b started plugin(1); 9 q[c]/c started plugin(1)
      do   call q[a]/a(1) {}; call q[b]/b(1) {}; call q[c]/c(1) {}
    > err q[a]/a one
      fact end q[a]/a(1) one
      told 10 q[a]/a failed(1) one
    > ok q[b]/b
      fact end q[b]/b(1) ok
      told 11 q[b]/b succeeded(1) 1
    > err q[c]/c three
      fact end q[c]/c(1) three; settled
      told 12 q[c]/c failed(1) three; 13 q failed(1) one; 14 Failed {} one: it did not work; result Failed
    ");
}

#[test]
fn wait_all_lets_all_end_and_concurrency_bounds_them() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: p
    parallel:
      mode: wait_all
      concurrency: 1
      branches:
        a: [{ id: a, plugin: p@1, retry: none }]
        b: [{ id: b, plugin: p@1, retry: none }]
",
    );
    world.start("{}").err("p[a]/a", "one").ok("p[b]/b", "2");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; start p[a]/a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 p started parallel(1); 4 p[a]/a queued(1); 5 p[a]/a started plugin(1)
      do   call p[a]/a(1) {}
    > err p[a]/a one
      fact end p[a]/a(1) one; start p[b]/b(1)
      told 6 p[a]/a failed(1) one; 7 p[b]/b queued(1); 8 p[b]/b started plugin(1)
      do   call p[b]/b(1) {}
    > ok p[b]/b
      fact end p[b]/b(1) ok; settled
      told 9 p[b]/b succeeded(1) 2; 10 p failed(1) one; 11 Failed {} one: it did not work; result Failed
    ");
}

#[test]
fn a_retried_composite_runs_all_of_it_again_under_new_names() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: p
    parallel: { branches: { a: [{ id: a, plugin: p@1, retry: none }] } }
    retry: { max_retries: 1, backoff: constant, delay: 1s }
",
    );
    world.start("{}");
    let first = world.calls[0].idempotency_key.clone();
    world.err("p[a]/a", "plugin.error").pass(1_000);
    assert_ne!(world.calls[0].idempotency_key, first);
    world.ok("p~2[a]/a", "1");
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began; start p[a]/a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 p started parallel(1); 4 p[a]/a queued(1); 5 p[a]/a started plugin(1)
      do   call p[a]/a(1) {}
    > err p[a]/a plugin.error
      fact end p[a]/a(1) plugin.error
      told 6 p[a]/a failed(1) plugin.error; 7 p delayed(1) 1000ms after plugin.error
    > +1000ms
      fact timer p retry; start p~2[a]/a(1)
      told 8 p started parallel(2); 9 p~2[a]/a queued(1); 10 p~2[a]/a started plugin(1)
      do   call p~2[a]/a(1) {}
    > ok p~2[a]/a
      fact end p~2[a]/a(1) ok; settled
      told 11 p~2[a]/a succeeded(1) 1; 12 p succeeded(2) {"a":1}; 13 Completed {}; result Completed
    "#);
}

#[test]
fn an_action_or_plugin_that_is_not_there_fails_the_step() {
    let mut world = World::new("{workflow: w, steps: [{id: a, plugin: p@1}]}");
    let mut bare = super::world::deployed(&world.workflows[0]);
    bare.pins.clear();
    world.input("", crate::Input::Deploy(vec![bare]));
    world.start("{}");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; settled
      told 1 accepted manual {}; answer 1; 2 began; 3 a started plugin(1); 4 a failed(1) plugin.missing; 5 Failed {} plugin.missing: no version of plugin `p` is pinned here; deploy the workflow again; result Failed
    ");
}

#[test]
fn an_output_above_the_bound_fails_the_step() {
    let mut world = World::new("{workflow: w, steps: [{id: a, plugin: p@1}]}");
    world.start("{}").transcript();
    world.ok("a", &format!("\"{}\"", "x".repeat(70_000)));
    insta::assert_snapshot!(world.transcript(), @r"
    > ok a
      fact end a(1) limit.payload; settled
      told 5 a failed(1) limit.payload; 6 Failed {} limit.payload: the plugin's output has 70002 bytes; the most is 65536: keep less of it; result Failed
    ");
}

#[test]
fn what_was_cancelled_before_it_got_a_slot_is_not_called() {
    // Both begin in one fact, and the failure of one ends the other before there is a slot.
    let mut world = World::with(
        &["
workflow: w
steps:
  - { id: a, start: true, plugin: p@1, with: { of: a }, next_steps: [] }
  - { id: b, start: true, fail: { code: user.no, message: none }, next_steps: [] }
on_failure:
  - { id: c, plugin: p@1, with: { of: c } }
"],
        1,
    );
    world.start("{}");
    let called: Vec<&str> = world.calls.iter().map(|call| call.attempt.step.0.as_str()).collect();
    assert_eq!(called, ["c"]);
    assert_eq!(world.calls[0].input.as_str(), r#"{"of":"c"}"#);
    world.ok("c", "1");
    assert!(world.engine.runs.is_empty());
}

//! What random lives have found, each as small as it can be said.

use super::{World, seconds};

/// The end of the only run, from its transcript.
fn ends_with(world: &mut World, end: &str) {
    let transcript = world.transcript();
    assert!(transcript.contains(end), "{transcript}");
}

fn at_once(steps: &str, end: &str) {
    let text = format!(
        "{{workflow: w, vars: {{x: 0, y: 0}}, steps: {steps},
          outputs: {{x: {{value: '${{ vars.x }}'}}, y: {{value: '${{ vars.y }}'}}}}}}"
    );
    let mut world = World::new(&text);
    world.start("{}");
    ends_with(&mut world, end);
}

#[test]
fn deaths_under_a_boot_that_is_over_do_not_count() {
    let mut world = World::new("{workflow: w, steps: [{id: a, plugin: p@1}]}");
    world.start("{}");
    for _ in 0..4 {
        world.restart(true).restart(true).reboot(seconds(1));
    }
    world.ok("a", "1");
    ends_with(&mut world, "Completed");
}

/// Also where the attempt waits for its slot when the power goes.
#[test]
fn deaths_are_forgotten_by_what_waits_for_its_slot() {
    let text = "{workflow: w, steps: [{id: p, parallel: {branches: [
        [{id: a, plugin: p@1, priority: low}],
        [{id: d, delay: 1s}, {id: b, plugin: p@1, priority: critical}]]}}]}";
    let mut world = World::with(&[text], 1);
    world.start("{}").pass(seconds(1)).restart(true).reboot(seconds(1));
    world.ok("p[1]/b", "1").restart(true).restart(true).ok("p[0]/a", "1");
    ends_with(&mut world, "Completed");
}

#[test]
fn a_set_that_is_given_a_result_has_one() {
    let steps = "[{id: s, sequence: [{id: a, set: {x: 1}, output: {n: 5}}, {id: b, set: {y: 1}}],
        export: {y: '${ output.n }'}}]";
    at_once(steps, r#"Completed {"x":1,"y":5}"#);
}

#[test]
fn the_questions_of_a_loop_see_the_item_around_it() {
    let steps = "[{id: f, foreach: {in: [2], collect: steps.l.output.items}, do: [
        {id: l, loop: {while: loop.index < item, collect: 'item * 10 + loop.index'},
         do: [{id: s, set: {x: 1}}]}]}, {id: t, set: {y: '${ steps.f.output.items }'}}]";
    at_once(steps, r#"Completed {"x":0,"y":[[20,21]]}"#);
}

#[test]
fn what_a_foreach_collects_sees_the_loop_around_it() {
    let steps = "[{id: l, loop: {times: 2, collect: steps.f.output.items}, do: [
        {id: f, foreach: {in: [7], collect: 'item * 10 + loop.index'}, do: [{id: s, set: {x: 1}}]}]},
        {id: t, set: {y: '${ steps.l.output.items }'}}]";
    at_once(steps, r#"Completed {"x":0,"y":[[70],[71]]}"#);
}

/// As those of the branches of a `parallel` that ended well.
#[test]
fn exports_of_iterations_that_ended_well_are_kept_where_others_fail() {
    let steps = "[{id: f, continue_on_error: true, foreach: {in: [1, 2], mode: wait_all}, do: [
        {id: a, condition: 'true', export: {x: '${ item }'}},
        {id: b, if: 'item == 2', fail: {code: user.no, message: no}}]}]";
    at_once(steps, r#"Completed {"x":1,"y":0}"#);
}

#[test]
fn a_finally_sees_what_ended_the_run() {
    let steps = "[{id: t, try: [{id: s, succeed: {}}],
        finally: [{id: f, set: {x: '${ steps.s.status }'}}]}]";
    at_once(steps, r#"Completed {"x":"succeeded","y":0}"#);
}

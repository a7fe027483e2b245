//! The document's `finally`: after the steps, however they have ended.

use openclaw_protocol::run::RunStatus;

use super::snapshots::check_all;
use super::{World, seconds};

/// A document of these steps, with a `finally` of these.
fn document(more: &str, steps: &str, finally: &str) -> String {
    format!("{{workflow: w, {more} vars: {{n: 0}}, steps: [{steps}], finally: [{finally}]}}")
}

/// How the first run has ended, as it was told.
fn end(world: &mut World) -> String {
    check_all(world, true).unwrap();
    let told = world.transcript();
    let line =
        told.lines().rev().find(|line| line.contains("result")).unwrap_or_else(|| panic!("{told}"));
    line.rsplit("; ").nth(1).unwrap().split_once(' ').unwrap().1.to_owned()
}

const A: &str = "{id: a, plugin: p@1, retry: none}";
const Z: &str = "{id: z, plugin: p@1, retry: none}";

#[test]
fn it_runs_after_successes_and_failures_and_its_error_counts_where_there_was_none() {
    for (a, z, expected) in [
        (true, true, "Completed {}"),
        (false, true, "Failed {} plugin.error"),
        (true, false, "Failed {} user.z"),
        (false, false, "Failed {} plugin.error"),
    ] {
        let mut world = World::new(&document("", A, Z));
        world.start("{}");
        if a {
            world.ok("a", "1")
        } else {
            world.err("a", "plugin.error")
        };
        assert_eq!(world.calls.len(), 1, "`finally` is under way");
        world.restart(true);
        if z {
            world.ok("z", "1")
        } else {
            world.err("z", "user.z")
        };
        let told = end(&mut world);
        assert!(told.starts_with(expected), "{told}");
        // What it failed with is beside what had failed before.
        let error = match world.disk.told.last() {
            Some(crate::Told::Result(result)) => result.error.clone(),
            other => panic!("{other:?}"),
        };
        let causes = error.map_or(0, |error| error.causes.len());
        assert_eq!(causes, usize::from(!a && !z));
    }
}

#[test]
fn a_cancellation_leaves_it_alone_and_force_leaves_it_out() {
    let mut world = World::new(&document("", A, Z));
    world.start("{}").cancel(1, false).err("a", "cancelled");
    assert_eq!(world.calls[0].attempt.step.0, "z");
    world.cancel(1, false).ok("z", "1");
    assert_eq!(world.results(), [(1, RunStatus::Cancelled)]);

    // A success that is cancelled while it tidies up is none, as with `try`.
    let mut world = World::new(&document("", A, Z));
    world.start("{}").ok("a", "1").cancel(1, false).ok("z", "1");
    assert_eq!(world.results(), [(1, RunStatus::Cancelled)]);

    let mut world = World::new(&document("", A, Z));
    world.start("{}").cancel(1, true);
    assert_eq!(world.results(), [(1, RunStatus::Cancelled)]);
    let mut world = World::new(&document("", A, Z));
    world.start("{}").ok("a", "1").cancel(1, true);
    assert_eq!(world.results(), [(1, RunStatus::Cancelled)]);
}

#[test]
fn its_own_bound_counts_and_that_of_the_run_does_not() {
    let mut world = World::new(&document("timeout: 10s,", A, Z));
    world.start("{}").sleep(seconds(10));
    world.err("a", "cancelled");
    assert_eq!(world.calls[0].attempt.step.0, "z");
    world.sleep(seconds(29));
    assert!(world.results().is_empty());
    world.sleep(seconds(1)).err("z", "cancelled");
    let told = end(&mut world);
    assert!(told.starts_with("Failed {} timeout"), "{told}");

    let bounded = document("finally_timeout: 2s,", A, "{id: z, delay: 1h}");
    let mut world = World::new(&bounded);
    world.start("{}").ok("a", "1").sleep(seconds(3));
    assert_eq!(world.results(), [(1, RunStatus::Failed)]);
}

#[test]
fn it_comes_before_what_undoes_and_before_on_failure() {
    let steps =
        "{id: a, plugin: p@1, compensate: [{id: u, plugin: p@1}]}, {id: f, fail: {code: user.no}}";
    let text = document("on_failure: [{id: last, plugin: p@1}],", steps, Z);
    let mut world = World::new(&text);
    world.start("{}");
    for step in ["a", "z", "a[undo]/u", "last"] {
        assert_eq!(world.calls[0].attempt.step.0, step);
        world.ok(step, "1");
    }
    let told = end(&mut world);
    assert!(told.starts_with("Failed {} user.no"), "{told}");
}

#[test]
fn outputs_see_it_and_a_succeed_before_it_holds_unless_it_fails() {
    let outputs = "outputs: {n: '${ vars.n }'},";
    let mut world = World::new(&document(
        outputs,
        "{id: a, set: {n: 1}}",
        "{id: z, set: {n: '${ vars.n + 1 }'}}",
    ));
    world.start("{}");
    let told = end(&mut world);
    assert!(told.starts_with("Completed {\"n\":2}"), "{told}");
    for (finally, expected) in [
        ("{id: z, set: {n: 3}}", "Completed {\"x\":9}"),
        ("{id: z, fail: {code: user.z}}", "Failed {} user.z"),
        ("{id: z, succeed: {x: 8}}", "Completed {\"x\":9}"),
    ] {
        let mut world = World::new(&document(outputs, "{id: a, succeed: {x: 9}}", finally));
        world.start("{}");
        let told = end(&mut world);
        assert!(told.starts_with(expected), "{told}");
    }
    // In it, it ends a run that has not failed, and nothing else.
    for (steps, expected) in [
        ("{id: a, set: {n: 1}}", "Completed {\"x\":8}"),
        ("{id: a, fail: {code: user.a}}", "Failed {} user.a"),
    ] {
        let mut world = World::new(&document("", steps, "{id: z, succeed: {x: 8}}"));
        world.start("{}");
        let told = end(&mut world);
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn what_was_cancelled_elsewhere_is_an_error_of_it() {
    let child = "{workflow: child, steps: [{id: c, plugin: p@1}]}";
    let last = "{id: z, call: child, retry: none}";
    for (steps, expected) in [
        ("{id: a, set: {n: 1}}", "Failed {} cancelled"),
        ("{id: a, succeed: {x: 9}}", "Failed {} cancelled"),
        ("{id: a, fail: {code: user.a}}", "Failed {} user.a"),
    ] {
        let mut world = World::with(&[&document("", steps, last), child], 4);
        world.start("{}").cancel(2, false).err("c", "cancelled");
        let told = end(&mut world);
        assert!(told.starts_with(expected), "{told}");
    }
    // A run that is cancelled itself is no failure for that.
    let mut world = World::with(&[&document("", "{id: a, set: {n: 1}}", last), child], 4);
    world.start("{}").cancel(1, true).err("c", "cancelled");
    assert!(world.results().contains(&(1, RunStatus::Cancelled)), "{:?}", world.results());
}

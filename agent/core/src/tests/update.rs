//! `on_update`: runs under way when another definition comes into force.

use super::world::workflow;
use super::{World, seconds};

/// A definition with as many steps as its version says.
fn version(steps: usize, more: &str) -> String {
    let list: Vec<String> = (0..steps).map(|n| format!("{{id: s{n}, plugin: p@1}}")).collect();
    format!(
        "{{workflow: w, version: v{steps}, {more} inputs: {{n: {{type: integer, default: 7}}}},
          steps: [{}], outputs: {{n: {{value: '${{ inputs.n }}'}}}}}}",
        list.join(", ")
    )
}

/// Another definition comes into force; those before are still known.
fn update(world: &mut World, text: &str) {
    world.workflows.push(workflow(text));
    world.deploy();
}

fn calls(world: &World) -> Vec<String> {
    let calls = world.calls.iter();
    calls.map(|call| format!("{} {}", call.attempt.run, call.attempt.step)).collect()
}

#[test]
fn restart_begins_anew_what_is_under_way_and_what_waits() {
    for mode in ["", "mode: single,", "mode: restart,", "mode: parallel, max: 2,"] {
        let mut world = World::new(&version(1, mode));
        world.start("{\"n\": 1}");
        if mode.is_empty() || mode.contains("parallel") {
            world.start("{\"n\": 2}");
        }
        let count = world.engine.runs().count();
        world.transcript();
        update(&mut world, &version(2, &format!("{mode} on_update: restart,")));
        world.pass(0);
        assert!(world.results().len() <= 1, "{mode}");
        // Those that were running are told to stop, and end.
        while world.results().len() < count {
            world.err("s0", "cancelled");
        }
        assert_eq!(world.engine.runs().count(), count, "{mode}: as many as before");
        while !world.calls.is_empty() {
            let step = world.calls[0].attempt.step.0.clone();
            world.ok(&step, "1");
        }
        let told = world.transcript();
        for n in 1..=count {
            assert!(told.contains(&format!("Completed {{\"n\":{n}}}")), "{mode}: {told}");
        }
        assert_eq!(world.results().len(), 2 * count, "{mode}");
        // Once.
        world.deploy();
        world.restart(true);
        assert!(world.calls.is_empty() && world.engine.runs().next().is_none(), "{mode}");
    }
}

#[test]
fn what_comes_into_force_while_the_agent_is_down_counts_too_and_once() {
    let mut world = World::new(&version(1, ""));
    world.start("{\"n\": 3}");
    world.lose();
    world.workflows.push(workflow(&version(2, "on_update: restart,")));
    world.revive(true);
    let known = |world: &World| world.results().len() + world.engine.runs().count();
    assert_eq!(known(&world), 2, "one goes, one comes");
    world.restart(true);
    assert_eq!(known(&world), 2, "{:?}", calls(&world));
    world.sleep(seconds(60));
    assert_eq!(world.engine.runs().count(), 1, "{:?}", calls(&world));
    world.ok("s0", "1").ok("s1", "1");
    assert_eq!(world.results().len(), 2);
}

#[test]
fn what_is_pinned_or_called_or_does_not_fit_goes_on() {
    // `pin` is the usual.
    let mut world = World::new(&version(1, ""));
    world.start("{}");
    update(&mut world, &version(2, ""));
    world.ok("s0", "1");
    assert_eq!(world.results().len(), 1);

    // Its inputs are nothing for the new one.
    let mut world = World::new(&version(1, ""));
    world.start("{}").transcript();
    let text =
        version(2, "on_update: restart,").replace("type: integer, default: 7", "type: array");
    world.workflows.push(workflow(&text));
    let all = world.workflows.iter().map(super::world::deployed).collect();
    world.input("update", crate::Input::Deploy(all));
    assert!(world.transcript().contains("dropped inputs.invalid"));
    world.ok("s0", "1");
    assert_eq!(world.results().len(), 1);

    // Somebody waits for it.
    let caller = "{workflow: caller, steps: [{id: c, call: w}]}";
    let mut world = World::with(&[caller, &version(1, "")], 4);
    world.start("{}");
    update(&mut world, &version(2, "on_update: restart,"));
    world.ok("s0", "1");
    assert_eq!(world.results().len(), 2, "both have ended");
}

#[test]
fn many_are_restarted_a_part_after_the_other() {
    let mut world = World::new(&version(1, "max: 1000,"));
    for _ in 0..600 {
        world.start("{}");
    }
    update(&mut world, &version(2, "max: 1000, on_update: restart,"));
    let hash = world.workflows[1].hash.clone();
    let of_new = |world: &World| {
        let is_new = |facts: &[crate::FactRecord]| matches!(&facts[0].fact, crate::Fact::Accepted { definition, .. } if *definition == hash);
        world.disk.runs.values().filter(|(_, facts)| is_new(facts)).count()
    };
    for expected in [256, 512] {
        assert_eq!(of_new(&world), expected);
        assert_eq!(world.engine.next_deadline().unwrap().0, world.now.boot_ms);
        world.pass(0);
    }
    assert_eq!(of_new(&world), 600);
    world.err("s0", "cancelled");
    assert_eq!(world.engine.runs().count(), 600);
}

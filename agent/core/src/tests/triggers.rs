//! What fires when.

use openclaw_protocol::time::ClockTrust;

use super::{World, minutes, seconds};

#[test]
fn startup_fires_once_in_each_boot() {
    let text = "
workflow: w
triggers: [{ id: boot, startup: {}, inputs: { unclean: '${ trigger.unclean }' } }]
inputs: { unclean: { type: boolean } }
steps: [{ id: a, set: { x: 1 } }]
";
    let mut world = World::new(text);
    assert_eq!(world.results().len(), 1);
    world.restart(true);
    assert_eq!(world.results().len(), 1);
    world.transcript();
    world.reboot(seconds(30));
    insta::assert_snapshot!(world.transcript(), @r#"
    > restarted unclean
      fact accepted; began; settled
      told 1 accepted boot {"unclean":true}; 2 began; 3 a started set(1); 4 a succeeded(1); 5 Completed {}; result Completed
    "#);
}

const INTERVAL: &str =
    "{workflow: w, triggers: [{id: t, interval: 10s}], steps: [{id: a, set: {x: 1}}]}";

#[test]
fn an_interval_keeps_its_beat() {
    let mut world = World::new(INTERVAL);
    let begin = world.now.boot_ms;
    assert_eq!(world.engine.next_deadline(), Some((begin + seconds(10), "trigger")));
    world.sleep(seconds(35));
    assert_eq!(world.results().len(), 3);
    // Late by more than one beat: fires once, and the beat stays.
    world.pass(seconds(28));
    assert_eq!(world.results().len(), 4);
    assert_eq!(world.engine.next_deadline().unwrap().0, begin + seconds(70));
    // The agent restarts; the beat goes on.
    world.restart(true);
    assert_eq!(world.engine.next_deadline().unwrap().0, begin + seconds(70));
    // A new revision of the same workflow does not disturb it.
    world.pass(seconds(3));
    let due = world.engine.next_deadline();
    world.deploy();
    world.pass(0);
    assert_eq!(world.engine.next_deadline(), due);
}

#[test]
fn a_trigger_that_is_switched_off_never_fires() {
    let mut world = World::new(INTERVAL);
    let mut quiet = super::world::deployed(&world.workflows[0]);
    quiet.triggers_enabled = false;
    world.input("", crate::Input::Deploy(vec![quiet]));
    world.sleep(minutes(5));
    assert_eq!(world.results().len(), 0);
    assert_eq!(world.engine.next_deadline(), None);
}

#[test]
fn a_dropped_trigger_is_told() {
    let mut world = World::new(
        "
workflow: w
mode: single
triggers: [{ id: t, interval: 10s }]
steps: [{ id: d, delay: 15s }]
",
    );
    world.pass(seconds(10)).transcript();
    world.pass(seconds(10));
    insta::assert_snapshot!(world.transcript(), @r"
    > +10000ms
      told dropped single
    ");
}

/// `catch_up` as given; the first slots are at 10:05, 10:10, ...
fn cron(catch_up: &str) -> World {
    cron_at("*/5 * * * *", catch_up)
}

fn cron_at(at: &str, catch_up: &str) -> World {
    World::new(&format!(
        "
workflow: w
max: 100
triggers: [{{ id: t, cron: {{ at: '{at}', tz: UTC, catch_up: {catch_up} }} }}]
steps: [{{ id: a, set: {{ at: '${{ trigger.slot }}' }} }}]
outputs: {{ at: {{ value: '${{ string(vars.at) }}' }} }}
"
    ))
}

fn slots(world: &mut World) -> Vec<String> {
    let transcript = world.transcript();
    let found = transcript.split("Completed {\"at\":\"").skip(1);
    found.map(|rest| rest[11..16].to_owned()).collect()
}

#[test]
fn cron_fires_at_its_slots() {
    let mut world = cron("latest");
    world.sleep(minutes(16));
    assert_eq!(slots(&mut world), ["10:05", "10:10", "10:15"]);
}

#[test]
fn what_a_document_may_say_is_what_a_device_keeps_to() {
    let mut world = cron_at("15,45 */2 * * * *", "latest");
    world.sleep(minutes(3));
    assert_eq!(slots(&mut world), ["10:00", "10:00", "10:02", "10:02"], "seconds in front");
    for last in ["7 4 L * *", "0 7 4 L * *", "7 4 * * 5L"] {
        let mut world = cron_at(last, "all");
        world.reboot(minutes(92 * 24 * 60));
        assert_eq!(slots(&mut world), ["04:07", "04:07", "04:07"], "{last}");
    }
}

#[test]
fn slots_that_passed_unseen() {
    for (catch_up, expected) in [
        ("skip", vec![]),
        ("latest", vec!["10:30"]),
        ("all", vec!["10:05", "10:10", "10:15", "10:20", "10:25", "10:30"]),
    ] {
        let mut world = cron(catch_up);
        world.reboot(minutes(32));
        assert_eq!(slots(&mut world), expected, "{catch_up}");
        world.reboot(minutes(1));
        assert!(slots(&mut world).is_empty(), "none twice: {catch_up}");
    }
    let mut world = cron("all");
    world.reboot(minutes(60 * 24));
    assert_eq!(slots(&mut world).len(), 10, "bounded");
}

#[test]
fn a_clock_that_steps_back_fires_nothing_twice() {
    let mut world = cron("latest");
    world.sleep(minutes(11));
    assert_eq!(slots(&mut world), ["10:05", "10:10"]);
    world.now.wall_ms -= 600_000;
    world.sleep(minutes(9));
    assert!(slots(&mut world).is_empty());
    world.sleep(minutes(6));
    assert_eq!(slots(&mut world), ["10:15"]);
}

#[test]
fn a_clock_that_steps_forward_is_noticed_within_a_minute() {
    let mut world = cron("latest");
    world.now.wall_ms += 3_600_000;
    world.sleep(minutes(1));
    assert_eq!(slots(&mut world), ["11:00"]);
}

#[test]
fn no_cron_while_the_clock_is_certainly_wrong() {
    let mut world = cron("all");
    world.now.trust = ClockTrust::Unset;
    world.sleep(minutes(20));
    assert!(slots(&mut world).is_empty());
    world.now.trust = ClockTrust::Estimated;
    world.pass(0);
    assert_eq!(slots(&mut world), ["10:05", "10:10", "10:15", "10:20"]);
}

#[test]
fn a_clock_that_was_far_ahead_does_not_silence_cron_for_ever() {
    let mut world = cron("latest");
    world.now.trust = ClockTrust::Estimated;
    world.now.wall_ms += 1_000 * 86_400_000;
    world.sleep(minutes(6));
    assert_eq!(slots(&mut world).len(), 2);
    world.now.trust = ClockTrust::Synced;
    world.now.wall_ms -= 1_000 * 86_400_000;
    world.sleep(minutes(6));
    assert_eq!(slots(&mut world), ["10:10"]);
}

#[test]
fn as_many_slots_are_made_up_for_as_the_author_says() {
    let mut world = cron("all, max_catch_up: 2");
    world.reboot(minutes(32));
    assert_eq!(slots(&mut world), ["10:25", "10:30"]);
    let mut world = cron("all, max_catch_up: 100");
    world.reboot(minutes(60 * 24));
    assert_eq!(slots(&mut world).len(), 100);
}

/// When each run was accepted, in milliseconds after ten o'clock.
fn accepted_at(world: &mut World, most_ms: u64) -> Vec<i64> {
    let mut found = Vec::new();
    let until = world.now.boot_ms + most_ms;
    while let Some((due_ms, _)) = world.engine.next_deadline().filter(|(due, _)| *due <= until) {
        let before = world.results().len();
        let wait = due_ms - world.now.boot_ms;
        world.pass(wait);
        if world.results().len() > before {
            found.push(world.now.wall_ms - super::world::MONDAY_MS);
        }
    }
    found
}

fn on_device(id: &str, triggers: &str) -> World {
    let steps = "steps: [{id: a, set: {x: 1}}]";
    let mut world = World::new(&format!("{{workflow: w, {steps}}}"));
    let agent = serde_json::json!({ "id": id, "labels": {} });
    world.engine.set_agent(openclaw_protocol::json::JsonText::of(&agent));
    let text = format!("{{workflow: w, max: 100, triggers: [{triggers}], {steps}}}");
    world.workflows = vec![super::world::workflow(&text)];
    world.deploy();
    world.pass(0);
    world
}

#[test]
fn jitter_spreads_devices_and_is_the_same_each_time() {
    let cron = "{id: t, cron: {at: '*/10 * * * *', jitter: 5m}}";
    let one = accepted_at(&mut on_device("one", cron), minutes(60));
    assert_eq!(one, accepted_at(&mut on_device("one", cron), minutes(60)));
    let other = accepted_at(&mut on_device("other", cron), minutes(60));
    assert_ne!(one, other);
    for found in [&one, &other] {
        assert!(found.len() >= 5, "{found:?}");
        for (n, at) in (1..).zip(found.iter()) {
            assert!((n * 600_000..=n * 600_000 + 300_000).contains(at), "{found:?}");
        }
    }
    let late: std::collections::BTreeSet<i64> = one.iter().map(|at| at % 600_000).collect();
    assert!(late.len() > 3, "each slot has its own: {one:?}");
}

#[test]
fn a_slot_that_its_jitter_holds_back_is_not_lost() {
    // Three slots pass while the device is off; the last of them, or some, may be due only later.
    let text = "{id: t, cron: {at: '*/10 * * * *', catch_up: all, jitter: 1h}}";
    for device in ["a", "b", "c", "d"] {
        let mut world = on_device(device, text);
        world.reboot(minutes(35));
        world.sleep(minutes(180));
        // 10:10 to 12:30 have come for certain, those after may have; none came twice.
        let count = world.results().len();
        assert!((15..=21).contains(&count), "{device}: {count}");
    }
}

#[test]
fn each_slot_comes_before_the_next_however_long_the_jitter() {
    for (at, step_ms) in [("*/10 * * * *", 600_000_u64), ("*/2 * * * * *", 2_000)] {
        for device in ["a", "b", "c"] {
            let text = format!("{{id: t, cron: {{at: '{at}', catch_up: latest, jitter: 1h}}}}");
            let found = accepted_at(&mut on_device(device, &text), 20 * step_ms);
            let step = i64::try_from(step_ms).unwrap();
            let slots: Vec<i64> = found.iter().map(|at| at / step).collect();
            let expected: Vec<i64> = (1..).take(found.len()).collect();
            assert_eq!(slots, expected, "{at} on {device}: {found:?}");
            assert!(found.len() >= 19, "{at} on {device}: {found:?}");
        }
    }
}

#[test]
fn a_jittered_beat_keeps_its_period() {
    let found =
        accepted_at(&mut on_device("x", "{id: t, interval: {every: 1m, jitter: 1m}}"), minutes(10));
    assert!(found.len() >= 9, "{found:?}");
    for (n, at) in (1..).zip(found) {
        assert!((n * 60_000..=(n + 1) * 60_000).contains(&at), "beat {n} came at {at}");
    }
}

#[test]
fn an_aligned_interval_goes_by_the_wall_clock() {
    let aligned = "{id: t, interval: {every: 15m, align: clock}}";
    let mut world = on_device("x", aligned);
    world.pass(minutes(7));
    assert_eq!(accepted_at(&mut world, minutes(40)), [15, 30, 45].map(|n| n * 60_000));
    // Steps back: no beat twice. Forward: what was passed over is not made up for.
    world.now.wall_ms -= 1_800_000;
    assert_eq!(accepted_at(&mut world, minutes(40)), Vec::<i64>::new());
    world.now.wall_ms += 3_600_000 + 300_000;
    let next = accepted_at(&mut world, minutes(20));
    assert_eq!(next.len(), 1);
    assert_eq!(next[0] % 900_000, 0, "{next:?}");
    // Off over a beat.
    let count = world.results().len();
    world.reboot(minutes(22));
    assert_eq!(world.results().len(), count);
    world.now.trust = ClockTrust::Unset;
    world.sleep(minutes(40));
    assert_eq!(world.results().len(), count, "not while the clock is certainly wrong");
}

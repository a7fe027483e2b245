//! `for`: a condition that must hold.

use openclaw_protocol::json::JsonText;

use super::{World, minutes, seconds};
use crate::{Input, Message};

const HOT: &str = "
workflow: w
max: 100
triggers:
  - id: hot
    mqtt: site/+/temp
    when: trigger.payload > 80
    for: 30s
    inputs: { from: '${ trigger.topic }', temp: '${ trigger.payload }' }
inputs: { from: { type: string }, temp: { type: number } }
steps: [{ id: a, set: { x: 1 } }]
outputs: { from: { value: '${ inputs.from }' }, temp: { value: '${ inputs.temp }' } }
";

fn say(world: &mut World, topic: &str, payload: &str) {
    let payload = JsonText::parse(payload).unwrap();
    let topic = topic.to_owned();
    world.input("", Input::Message(Message { topic, payload, qos: 0, retained: false }));
}

fn runs(world: &World) -> usize {
    world.results().len()
}

#[test]
fn it_fires_once_the_condition_has_held_with_what_was_said_last() {
    let mut world = World::new(HOT);
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(20));
    say(&mut world, "site/a/temp", "85");
    world.sleep(seconds(9));
    assert_eq!(runs(&world), 0);
    world.transcript();
    world.pass(seconds(1));
    let told = world.transcript();
    assert!(told.contains(r#"Completed {"from":"site/a/temp","temp":85}"#), "{told}");
    // It still holds: nothing new.
    say(&mut world, "site/a/temp", "90");
    world.sleep(minutes(5));
    assert_eq!(runs(&world), 1);
    // It has not, and does again.
    say(&mut world, "site/a/temp", "70");
    say(&mut world, "site/a/temp", "90");
    world.sleep(minutes(1));
    assert_eq!(runs(&world), 2);
}

#[test]
fn one_break_begins_it_anew() {
    let mut world = World::new(HOT);
    for _ in 0..5 {
        say(&mut world, "site/a/temp", "81");
        world.sleep(seconds(29));
        say(&mut world, "site/a/temp", "80");
        world.sleep(seconds(29));
    }
    assert_eq!(runs(&world), 0);
    // What cannot be told is a break as well.
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(20));
    say(&mut world, "site/a/temp", "\"broken\"");
    world.sleep(minutes(5));
    assert_eq!(runs(&world), 0);
}

#[test]
fn each_topic_counts_for_itself() {
    let mut world = World::new(HOT);
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(20));
    say(&mut world, "site/b/temp", "81");
    say(&mut world, "site/b/temp", "10");
    say(&mut world, "site/c/temp", "99");
    world.sleep(seconds(10));
    assert_eq!(runs(&world), 1, "a");
    world.sleep(seconds(20));
    assert_eq!(runs(&world), 2, "c");
    world.sleep(minutes(5));
    assert_eq!(runs(&world), 2);
}

#[test]
fn while_the_broker_is_lost_nothing_counts() {
    let mut world = World::new(HOT);
    say(&mut world, "site/a/temp", "81");
    say(&mut world, "site/b/temp", "81");
    world.sleep(seconds(20));
    world.input("", Input::Unheard);
    world.sleep(seconds(25));
    assert_eq!(runs(&world), 0, "nobody has heard that it is still so");
    // Heard in time, it goes on with what it had.
    say(&mut world, "site/a/temp", "82");
    world.sleep(seconds(9));
    assert_eq!(runs(&world), 0);
    world.sleep(seconds(1));
    assert_eq!(runs(&world), 1);
    // Nobody has spoken for the other.
    world.sleep(minutes(10));
    assert_eq!(runs(&world), 1);
}

#[test]
fn after_a_restart_nothing_fires_on_what_nobody_has_seen() {
    for reboot in [false, true] {
        let mut world = World::new(HOT);
        say(&mut world, "site/a/temp", "81");
        world.sleep(seconds(20));
        world.sync();
        world.alive = Some(world.now);
        if reboot {
            world.reboot(minutes(60));
        } else {
            world.restart(true);
        }
        world.sleep(minutes(10));
        assert_eq!(runs(&world), 0, "reboot: {reboot}");
        // It has lapsed meanwhile, and begins anew.
        say(&mut world, "site/a/temp", "81");
        world.sleep(seconds(29));
        assert_eq!(runs(&world), 0);
        world.sleep(seconds(1));
        assert_eq!(runs(&world), 1);
    }
}

#[test]
fn a_fresh_message_confirms_what_was_counted_before_and_not_the_time_between() {
    let mut world = World::new(HOT);
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(20));
    world.sync();
    world.alive = Some(world.now);
    world.reboot(minutes(60));
    world.pass(seconds(5));
    say(&mut world, "site/a/temp", "82");
    world.sleep(seconds(9));
    assert_eq!(runs(&world), 0, "29 s were seen");
    world.sleep(seconds(1));
    assert_eq!(runs(&world), 1);
    // That it has fired is not forgotten either.
    world.alive = Some(world.now);
    world.restart(true);
    say(&mut world, "site/a/temp", "83");
    world.sleep(minutes(5));
    assert_eq!(runs(&world), 1);
}

#[test]
fn a_break_before_a_power_cut_is_known_after_it() {
    let mut world = World::new(HOT);
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(20));
    say(&mut world, "site/a/temp", "20");
    world.alive = Some(world.now);
    world.reboot(minutes(1));
    say(&mut world, "site/a/temp", "82");
    world.sleep(seconds(29));
    assert_eq!(runs(&world), 0);
    world.sleep(seconds(1));
    assert_eq!(runs(&world), 1);
}

#[test]
fn another_condition_begins_anew_and_the_same_one_goes_on() {
    let mut world = World::new(HOT);
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(20));
    world.deploy();
    world.sleep(seconds(10));
    assert_eq!(runs(&world), 1, "a new revision with the same condition");
    say(&mut world, "site/a/temp", "70");
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(20));
    world.workflows = vec![super::world::workflow(&HOT.replace("> 80", "> 79"))];
    world.deploy();
    world.sleep(minutes(5));
    assert_eq!(runs(&world), 1);
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(30));
    assert_eq!(runs(&world), 2);
}

#[test]
fn there_is_room_for_so_many_topics() {
    let mut world = World::new(HOT);
    for n in 0..openclaw_protocol::limits::HOLDS {
        say(&mut world, &format!("site/{n}/temp"), "81");
    }
    world.transcript();
    let text = JsonText::parse("99").unwrap();
    let message =
        Message { topic: "site/one-more/temp".into(), payload: text, qos: 0, retained: false };
    world.input("one more", Input::Message(message));
    assert_eq!(world.transcript(), "> one more\n  told dropped hold.full\n");
}

#[test]
fn a_topic_that_has_fired_keeps_no_place_from_another() {
    let mut world = World::new(HOT);
    let most = openclaw_protocol::limits::HOLDS;
    for n in 0..most {
        say(&mut world, &format!("site/{n}/temp"), "81");
        world.pass(1);
    }
    world.sleep(seconds(40));
    // All have fired. The first is heard of again, so the second goes.
    say(&mut world, "site/0/temp", "82");
    let before = runs(&world);
    say(&mut world, "site/one-more/temp", "81");
    world.sleep(seconds(30));
    assert_eq!(runs(&world), before + 1);
    say(&mut world, "site/0/temp", "83");
    world.sleep(seconds(40));
    assert_eq!(runs(&world), before + 1, "it still holds");
    say(&mut world, "site/1/temp", "83");
    world.sleep(seconds(40));
    assert_eq!(runs(&world), before + 2, "what had to go begins anew");
    // The same after a restart: no more are kept than there are places.
    world.restart(true);
    say(&mut world, "site/0/temp", "84");
    world.sleep(seconds(40));
    assert_eq!(runs(&world), before + 2);
}

#[test]
fn a_message_may_say_what_a_handle_of_a_secret_says() {
    let mut world = World::new(
        "
workflow: w
triggers:
  - { id: t, mqtt: a, when: trigger.payload.on, for: 5s }
  - { id: now, mqtt: b }
steps: [{ id: a, set: { x: 1 } }]
outputs: { x: { value: '${ string(trigger.payload[\"$secret\"]) + trigger.topic }' } }
",
    );
    say(&mut world, "a", r#"{"on": true, "$secret": "x", "$join": [1]}"#);
    world.transcript();
    world.pass(seconds(5));
    let told = world.transcript();
    assert!(told.contains(r#"Completed {"x":"xa"}"#), "{told}");
    say(&mut world, "b", r#"{"$secret": "y"}"#);
    assert_eq!(runs(&world), 2);
    // What such messages weigh is counted as of others.
    let mut world = World::new(
        "
workflow: w
triggers: [{ id: t, mqtt: '#', when: trigger.payload.on, for: 5s }]
steps: [{ id: a, set: { x: 1 } }]
",
    );
    let long = "x".repeat(60_000);
    for n in 0..80 {
        say(&mut world, &format!("t/{n}"), &format!(r#"{{"on": true, "$secret": "{long}"}}"#));
    }
    world.transcript();
    let payload = JsonText::parse(&format!(r#"{{"on": true, "$join": "{long}"}}"#)).unwrap();
    let message = Message { topic: "one-more".into(), payload, qos: 0, retained: false };
    world.input("one more", Input::Message(message));
    assert_eq!(world.transcript(), "> one more\n  told dropped hold.full\n");
}

#[test]
fn one_for_which_there_is_no_room_has_not_fired() {
    for more in ["", "debounce: 1s, "] {
        let mut world = World::new(&format!(
            "{{workflow: w, mode: single, triggers: [{{id: hot, mqtt: t, when: trigger.payload > 80, \
               for: 30s, {more}inputs: {{}}}}], steps: [{{id: a, plugin: p@1}}]}}"
        ));
        world.start("{}");
        say(&mut world, "t", "81");
        world.sleep(seconds(35));
        assert_eq!(world.engine.runs().count(), 1);
        world.restart(true);
        world.ok("a", "1");
        // It begins anew, and fires once there is room, as long as somebody says that it is so.
        say(&mut world, "t", "82");
        world.sleep(seconds(35));
        assert_eq!(world.engine.runs().count(), 1, "{more}");
        world.ok("a", "1").sleep(minutes(5));
        assert_eq!(runs(&world), 2, "{more}");
    }
    // While nobody restarts anything, it does so by itself.
    let text = HOT.replace("max: 100", "mode: single").replace("set: { x: 1 }", "plugin: p@1");
    let mut world = World::new(&text);
    world.start(r#"{"from": "me", "temp": 1}"#);
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(31)).ok("a", "1").sleep(seconds(58));
    assert_eq!((runs(&world), world.engine.runs().count()), (1, 0));
    world.sleep(seconds(2)).ok("a", "1").sleep(minutes(5));
    assert_eq!(runs(&world), 2);
    // Where the condition has ended meanwhile, there is nothing to make up for.
    let mut world = World::new(&text);
    world.start(r#"{"from": "me", "temp": 1}"#);
    say(&mut world, "site/a/temp", "81");
    world.sleep(seconds(31));
    say(&mut world, "site/a/temp", "79");
    world.ok("a", "1").sleep(minutes(5));
    assert_eq!(runs(&world), 1);
}

#[test]
fn one_for_which_there_is_no_room_for_long_asks_once_a_minute() {
    let text = HOT.replace("max: 100", "mode: single").replace("set: { x: 1 }", "delay: 1d");
    let mut world = World::new(&text.replace("for: 30s", "for: 100ms"));
    world.start(r#"{"from": "me", "temp": 1}"#);
    say(&mut world, "site/a/temp", "81");
    let commits = world.commits;
    world.transcript();
    world.sleep(minutes(59) + seconds(30));
    let told = world.transcript();
    assert_eq!(told.matches("dropped single").count(), 60, "{told}");
    assert_eq!(world.commits - commits, 60);
    // The first time it waits no longer than it says.
    world.cancel(1, false);
    say(&mut world, "site/b/temp", "81");
    world.sleep(100);
    assert_eq!(world.engine.runs().count(), 1);
}

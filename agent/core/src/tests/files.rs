//! `file`: what of the files in a directory fires.

use openclaw_protocol::id::{TriggerId, WorkflowName};

use super::{World, seconds};
use crate::{FileStat, Input, Listing};

const INBOX: &str = "
workflow: w
max: 3
triggers:
  - id: t
    file: { path: inbox/*.csv, events: [created, modified, deleted], settle: 3s }
    inputs: { what: '${ trigger.event + \" \" + trigger.path + \" \" + string(trigger.size) }' }
inputs: { what: { type: string } }
steps: [{ id: a, set: { x: 1 } }]
outputs: { what: { value: '${ inputs.what }' } }
";

type Dir = [(&'static str, u64)];

fn list_of(world: &mut World, path: &str, files: Option<&Dir>) {
    let stat = |size: &u64| FileStat { size: *size, modified_ns: 1_700_000_000_000_000_000 };
    let files =
        files.map(|files| files.iter().map(|(name, size)| ((*name).into(), stat(size))).collect());
    let (workflow, trigger) = (WorkflowName::parse("w").unwrap(), TriggerId::parse("t").unwrap());
    let path = path.to_owned();
    world.input("list", Input::Files(Listing { workflow, trigger, path, files }));
}

fn list(world: &mut World, files: &Dir) {
    list_of(world, "inbox/*.csv", Some(files));
}

/// Lists the same until it has settled; what ran since this was last asked.
fn settle(world: &mut World, files: &Dir) -> Vec<String> {
    for _ in 0..3 {
        list(world, files);
        world.pass(seconds(2));
    }
    ran(world)
}

fn ran(world: &mut World) -> Vec<String> {
    let transcript = world.transcript();
    let found = transcript.split("result Completed").count() - 1;
    let told = transcript.split("Completed {\"what\":\"").skip(1);
    let told: Vec<String> = told.map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(told.len(), found);
    told
}

fn again(world: &World) -> bool {
    world.engine.listed().next().unwrap().3
}

#[test]
fn a_file_fires_once_for_each_change_when_it_has_settled() {
    let mut world = World::new(INBOX);
    assert!(again(&world), "nothing is known yet");
    list(&mut world, &[("old.csv", 1)]);
    assert!(ran(&mut world).is_empty(), "what was there before is no news");
    assert!(!again(&world));
    // It grows, and fires once it does so no more.
    for size in 1..=3 {
        list(&mut world, &[("new.csv", size), ("old.csv", 1)]);
        world.pass(seconds(2));
        assert!(ran(&mut world).is_empty());
        assert!(again(&world));
    }
    let dir = [("new.csv", 3), ("old.csv", 1)];
    assert_eq!(settle(&mut world, &dir), ["created inbox/new.csv 3"]);
    assert!(settle(&mut world, &dir).is_empty() && !again(&world));
    let dir = [("new.csv", 9), ("old.csv", 1)];
    assert_eq!(settle(&mut world, &dir), ["modified inbox/new.csv 9"]);
    // One that comes and goes between two looks, or before it has settled, was never there.
    list(&mut world, &[("new.csv", 9), ("old.csv", 1), ("x.csv", 1)]);
    world.pass(seconds(2));
    assert!(settle(&mut world, &dir).is_empty());
    assert_eq!(settle(&mut world, &[("new.csv", 9)]), ["deleted inbox/old.csv 1"]);
}

#[test]
fn a_restart_forgets_no_file_and_sees_what_happened_meanwhile() {
    for reboot in [false, true] {
        let mut world = World::new(INBOX);
        settle(&mut world, &[("a.csv", 1), ("b.csv", 1), ("c.csv", 1)]);
        world.sync();
        if reboot {
            world.reboot(seconds(60))
        } else {
            world.restart(true)
        };
        world.transcript();
        let dir = [("a.csv", 1), ("b.csv", 2), ("d.csv", 4)];
        let expected = ["modified inbox/b.csv 2", "deleted inbox/c.csv 1", "created inbox/d.csv 4"];
        assert_eq!(settle(&mut world, &dir), expected, "reboot: {reboot}");
        world.restart(true);
        assert!(settle(&mut world, &dir).is_empty());
    }
}

#[test]
fn what_comes_back_as_it_was_is_no_news() {
    let mut world = World::new(&INBOX.replace(", deleted", ""));
    let dir = [("a.csv", 1), ("b.csv", 1)];
    settle(&mut world, &dir);
    // As when a network file system is away for a while.
    assert!(settle(&mut world, &[]).is_empty());
    world.sync();
    world.restart(true);
    world.transcript();
    assert!(settle(&mut world, &dir).is_empty());
    settle(&mut world, &[]);
    let other = [("a.csv", 1), ("b.csv", 2)];
    assert_eq!(settle(&mut world, &other), ["created inbox/b.csv 2"], "it is another one");
}

#[test]
fn a_file_without_room_for_its_run_waits() {
    for mode in ["mode: single", "mode: queued"] {
        let text = INBOX.replace("max: 3", &format!("max: 1\n{mode}"));
        let mut world = World::new(&text.replace("set: { x: 1 }", "delay: 5m"));
        settle(&mut world, &[]);
        let dir = [("a.csv", 1), ("b.csv", 1), ("c.csv", 1), ("d.csv", 1)];
        for _ in 0..3 {
            list(&mut world, &dir);
            world.pass(seconds(2));
        }
        assert!(again(&world), "some wait");
        for _ in 0..4 {
            let told = world.transcript();
            assert!(!told.contains("dropped"), "{told}");
            world.sleep(seconds(301));
            list(&mut world, &dir);
        }
        world.sleep(seconds(601));
        assert_eq!(world.results().len(), 4, "{mode}");
        assert!(!again(&world));
    }
}

#[test]
fn too_many_fire_nothing_and_that_is_told_once() {
    let mut world = World::new(INBOX);
    list(&mut world, &[("a.csv", 1)]);
    world.transcript();
    list_of(&mut world, "inbox/*.csv", None);
    assert!(world.transcript().contains("dropped files.full"));
    list_of(&mut world, "inbox/*.csv", None);
    assert!(!world.transcript().contains("dropped"));
    assert_eq!(settle(&mut world, &[("a.csv", 2)]), ["modified inbox/a.csv 2"]);
    list_of(&mut world, "inbox/*.csv", None);
    assert!(world.transcript().contains("dropped files.full"));
    // More than are kept in mind: those beyond it are not seen, and what is gone gives way.
    let stat = FileStat { size: 1, modified_ns: 1 };
    let many = |count: usize| {
        let files = (0..count).map(|n| (format!("{n:05}.csv"), stat)).collect();
        let (workflow, trigger) =
            (WorkflowName::parse("w").unwrap(), TriggerId::parse("t").unwrap());
        let path = "inbox/*.csv".to_owned();
        Input::Files(Listing { workflow, trigger, path, files: Some(files) })
    };
    let most = openclaw_protocol::limits::FILES;
    let mut world = World::new(INBOX);
    world.input("", many(most));
    assert!(!again(&world));
    world.input("one more", many(most + 1));
    assert!(world.transcript().contains("dropped files.full"));
    for _ in 0..3 {
        world.input("fewer", many(most - 1)).pass(seconds(2));
    }
    assert!(world.transcript().contains("accepted t"), "one is deleted");
    let mut listing = many(most - 1);
    if let Input::Files(Listing { files: Some(files), .. }) = &mut listing {
        files.push(("new.csv".to_owned(), stat));
    }
    world.input("another", listing);
    assert!(!world.transcript().contains("dropped") && again(&world));
}

#[test]
fn another_path_begins_anew_and_what_is_switched_off_does_not() {
    let mut world = World::new(INBOX);
    let dir = [("a.csv", 1)];
    settle(&mut world, &dir);
    let mut quiet = super::world::deployed(&world.workflows[0]);
    quiet.triggers_enabled = false;
    world.input("", Input::Deploy(vec![quiet]));
    assert!(world.engine.listed().next().is_none());
    assert!(settle(&mut world, &[("a.csv", 1), ("b.csv", 1)]).is_empty());
    world.deploy();
    let dir = [("a.csv", 1), ("b.csv", 1)];
    assert_eq!(settle(&mut world, &dir), ["created inbox/b.csv 1"]);
    // What was listed before the change comes late.
    world.workflows = vec![super::world::workflow(&INBOX.replace("inbox/", "other/"))];
    world.deploy();
    assert!(settle(&mut world, &[]).is_empty());
    list_of(&mut world, "other/*.csv", Some(&dir));
    assert!(settle(&mut world, &[]).is_empty());
    world.sync();
    let rows = |world: &World| {
        let mut known = std::collections::BTreeMap::new();
        for one in &world.disk.files {
            known.insert(one.file.clone(), one.known);
        }
        known.values().flatten().count()
    };
    assert_eq!(rows(&world), 3, "two files, and that they are known");
    world.input("", Input::Deploy(Vec::new()));
    world.sync();
    assert_eq!(rows(&world), 0, "nothing is kept of what is not in force");
}

#[test]
fn no_more_runs_than_one_decision_takes_and_the_rest_follow() {
    let mut world = World::new(&INBOX.replace("max: 3", "max: 1000\nmode: parallel"));
    list(&mut world, &[]);
    let names: Vec<String> = (0..250).map(|n| format!("{n:03}.csv")).collect();
    let listing = || {
        let stat = FileStat { size: 1, modified_ns: 1 };
        let (workflow, trigger) =
            (WorkflowName::parse("w").unwrap(), TriggerId::parse("t").unwrap());
        let files = Some(names.iter().map(|name| (name.clone(), stat)).collect());
        Input::Files(Listing { workflow, trigger, path: "inbox/*.csv".to_owned(), files })
    };
    world.input("", listing()).pass(seconds(4));
    for expected in [100, 200, 250, 250] {
        world.input("", listing());
        assert_eq!(world.results().len(), expected);
    }
    let first = world.events().into_iter().next().unwrap();
    assert!(format!("{first:?}").contains("000.csv"), "in the order of their names: {first:?}");
}

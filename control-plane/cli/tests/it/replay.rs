//! `openclaw replay`: recordings of played scenarios, at the desk again.

use serde_json::{Value, json};

use crate::scenario::{document, documented};
use crate::{Desk, err, out};

/// Every documented scenario in which a run is made, recorded.
fn recorded(mut check: impl FnMut(&Desk, &str)) -> usize {
    let mut count = 0;
    for (definition, scenarios) in documented() {
        for scenario in &scenarios {
            let desk = Desk::new();
            std::fs::write(desk.path().join("d.yaml"), &definition).unwrap();
            std::fs::write(desk.path().join("s.yaml"), scenario).unwrap();
            let done = desk
                .run(&["workflow", "test", "-d", "d.yaml", "-s", "s.yaml", "--record", "run.ocr"]);
            if done.status.code() == Some(2) {
                continue;
            }
            assert!(done.status.success(), "{scenario}\n{}{}", out(&done), err(&done));
            check(&desk, scenario);
            count += 1;
        }
    }
    count
}

#[test]
fn what_was_recorded_replays_and_becomes_a_test_that_passes() {
    let count = recorded(|desk, scenario| {
        let done = desk.run(&["replay", "run.ocr", "--save-test", "saved"]);
        assert!(done.status.success(), "{scenario}\n{}{}", out(&done), err(&done));
        assert!(out(&done).contains("the same as on the device"), "{}", out(&done));
        let done = desk.run(&["workflow", "test", "-s", "saved"]);
        let saved = std::fs::read_dir(desk.path().join("saved")).unwrap();
        let saved: Vec<String> =
            saved.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
        assert!(done.status.success(), "{}\n{}{}", saved.join("\n"), out(&done), err(&done));
    });
    assert!(count >= 5, "only {count} were recorded");
}

fn answer_of(recording: &Value, place: usize) -> Value {
    recording["facts"][place]["fact"]["AttemptSettled"].clone()
}

#[test]
fn a_changed_recording_is_told_and_where() {
    let mut checked = 0;
    recorded(|desk, _| {
        let path = desk.path().join("run.ocr");
        let mut recording: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let facts = recording["facts"].as_array_mut().unwrap();
        let changed = facts
            .iter()
            .position(|one| one["fact"].pointer("/AttemptSettled/outcome/Succeeded").is_some());
        let Some(changed) = changed else { return };
        facts[changed]["fact"]["AttemptSettled"]["outcome"]["Succeeded"]["output"] =
            json!("\"changed\"");
        std::fs::write(&path, recording.to_string()).unwrap();
        let done = desk.run(&["replay", "run.ocr", "-o", "json"]);
        assert_eq!(done.status.code(), Some(1), "{}", err(&done));
        assert!(err(&done).contains("differs from what the device did"), "{}", err(&done));
        let answer: Value = serde_json::from_str(&out(&done)).unwrap();
        assert!(answer["divergence"]["fact"].as_u64().unwrap() > changed as u64);
        let call = &answer["divergence"]["call"];
        let settled = &answer_of(&recording, changed);
        assert_eq!((&call["step"], &call["attempt"]), (&settled["step"], &settled["attempt"]));
        checked += 1;
    });
    assert!(checked >= 2, "only {checked} had a plugin's answer");
}

#[test]
fn what_is_no_recording_is_refused() {
    let desk = Desk::new();
    for text in ["", "{}", "[1]", "{\"recording\": 1}"] {
        std::fs::write(desk.path().join("run.ocr"), text).unwrap();
        let done = desk.run(&["replay", "run.ocr"]);
        assert_eq!(done.status.code(), Some(6), "{text}: {}", err(&done));
        assert!(err(&done).contains("is no recording"), "{}", err(&done));
    }
}

#[test]
fn the_documentation_shows_what_is_said_and_written() {
    let (definition, scenarios) = documented().remove(0);
    let desk = Desk::new();
    std::fs::write(desk.path().join("d.yaml"), definition).unwrap();
    std::fs::write(desk.path().join("s.yaml"), &scenarios[0]).unwrap();
    let recorded =
        desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "s.yaml", "--record", "run.ocr"]);
    assert!(recorded.status.success(), "{}", err(&recorded));
    let said = out(&desk.run(&["replay", "run.ocr"]));
    let recording = std::fs::read_to_string(desk.path().join("run.ocr")).unwrap();
    let recording: Value = serde_json::from_str(&recording).unwrap();
    for name in ["replay.md", "replay.zh-CN.md"] {
        let document = document(name);
        let shown = |kind: &str| {
            let block = document.split(&format!("\n```{kind}\n")).nth(1).unwrap();
            format!("{}\n", block.split("\n```\n").next().unwrap())
        };
        assert_eq!(said, shown("text"), "docs/{name}");
        let mut fact: Value = serde_json::from_str(&shown("json")).unwrap();
        let mut written = recording["facts"][6].clone();
        // A sum changes with whatever is told; that it is one is enough.
        for check in [fact["check"].take(), written["check"].take()] {
            assert!(check.as_u64().is_some_and(|check| u32::try_from(check).is_ok()), "{check}");
        }
        assert_eq!(written, fact, "docs/{name}");
        for key in recording.as_object().unwrap().keys() {
            assert!(document.contains(&format!("\n| `{key}` | ")), "docs/{name}: {key}");
        }
    }
}

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

/// The recordings that every version keeps.
fn corpus() -> Vec<std::path::PathBuf> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../agent/core/tests/corpus/0.1.0");
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "ocr")).collect();
    files.sort();
    files
}

/// What no test can be made of, and why. Recordings that begin with a snapshot say so themselves.
const NOT_SAID: [(&str, &str); 4] = [
    ("publish-offline", "that the site's broker was away is in no recording"),
    ("life-0070", "its turn came late, because of other runs"),
    ("life-0203", "an attempt failed in the very moment in which the agent died"),
    ("life-0355", "an attempt failed in the very moment in which the agent died"),
];

#[test]
fn golden_recordings_become_tests_that_pass() {
    let desk = Desk::new();
    let (mut passed, mut cut, mut failed) = (0, 0, Vec::new());
    for file in corpus() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let path = file.display().to_string();
        let done = desk.run(&["replay", &path, "--save-test", &name]);
        if !done.status.success() {
            assert!(err(&done).contains("begins with a snapshot"), "{name}: {}", err(&done));
            cut += 1;
            continue;
        }
        let done = desk.run(&["workflow", "test", "-s", &name]);
        if done.status.success() {
            passed += 1;
        } else {
            assert!(NOT_SAID.iter().any(|(known, _)| *known == name), "{name}: {}", out(&done));
            failed.push(name);
        }
    }
    failed.sort();
    let mut expected = NOT_SAID.map(|(name, _)| name);
    expected.sort_unstable();
    assert_eq!(failed, expected, "one that passes now is no exception any more");
    assert_eq!((passed, cut), (198, 20));
}

/// The one scenario of a directory.
fn saved(desk: &Desk, dir: &str) -> (std::path::PathBuf, Value) {
    let files = std::fs::read_dir(desk.path().join(dir)).unwrap().map(|file| file.unwrap().path());
    let is_scenario =
        |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".scenario.json");
    let path = files.into_iter().find(is_scenario).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    (path, serde_json::from_str(&text).unwrap())
}

#[test]
fn an_altered_answer_of_a_plugin_makes_the_saved_test_fail() {
    let desk = Desk::new();
    let mut checked = 0;
    for file in corpus() {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("retry-") && !name.starts_with("trap-") {
            continue;
        }
        let path = file.display().to_string();
        let done = desk.run(&["replay", &path, "--save-test", &name]);
        assert!(done.status.success(), "{}", err(&done));
        let (path, mut scenario) = saved(&desk, &name);
        let mocks = scenario["mocks"]["plugins"].as_object_mut().unwrap();
        let answers = mocks.values_mut().flat_map(|mock| mock["answers"].as_array_mut().unwrap());
        let Some(answer) = answers.into_iter().find(|answer| answer.get("output").is_some()) else {
            continue;
        };
        answer.as_object_mut().unwrap().remove("output");
        answer["error"] = json!({ "code": "user.altered", "retryable": false });
        std::fs::write(&path, scenario.to_string()).unwrap();
        let done = desk.run(&["workflow", "test", "-s", &name]);
        assert_eq!(done.status.code(), Some(1), "{name}: {}", out(&done));
        assert!(out(&done).contains("expected"), "{name}: {}", out(&done));
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} had an answer");
}

const BEFORE: &str = "workflow: fill
version: \"1\"
steps:
  - { id: open, plugin: valve.open }
  - { id: rest, delay: 10m }
  - { id: shut, plugin: valve.shut }
outputs: { by: one }
";
const UPDATED: &str = "scenario: 1
definition: one.yaml
mocks: { plugins: { valve: { output: {} } } }
stimuli:
  - { at: 1m, update: two.yaml }
  - { at: 2m, crash: { down: 10s } }
expect: { status: completed, outputs: { by: two }, order: [open, rest, tell, shut] }
";

/// The definition that it goes on with.
fn after() -> String {
    let told = "  - { id: tell, log: shutting }\n  - { id: shut, plugin: valve.shut }\n";
    let after = BEFORE.replace("  - { id: shut, plugin: valve.shut }\n", told);
    after
        .replace("version: \"1\"", "version: \"2\"\non_update: migrate")
        .replace("by: one", "by: two")
}

#[test]
fn a_run_that_went_on_with_another_definition_becomes_a_test_with_both() {
    let desk = Desk::new();
    std::fs::write(desk.path().join("one.yaml"), BEFORE).unwrap();
    std::fs::write(desk.path().join("two.yaml"), after()).unwrap();
    std::fs::write(desk.path().join("s.yaml"), UPDATED).unwrap();
    let done = desk.run(&["workflow", "test", "-s", "s.yaml", "--record", "run.ocr"]);
    assert!(done.status.success(), "{}{}", out(&done), err(&done));
    let text = std::fs::read_to_string(desk.path().join("run.ocr")).unwrap();
    let recording: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(recording["recording"], 3);
    assert_eq!(recording["migrated"].as_array().unwrap().len(), 1);

    let done = desk.run(&["replay", "run.ocr", "--save-test", "saved"]);
    assert!(done.status.success(), "{}{}", out(&done), err(&done));
    let done = desk.run(&["workflow", "test", "-s", "saved"]);
    assert!(done.status.success(), "{}{}", out(&done), err(&done));
    let (path, mut scenario) = saved(&desk, "saved");
    let stimuli = scenario["stimuli"].as_array_mut().unwrap();
    let updates = stimuli.iter().filter(|one| one.get("update").is_some()).count();
    assert_eq!(updates, 1, "{stimuli:#?}");
    // Without it the run ends as its first definition says: the control.
    stimuli.retain(|one| one.get("update").is_none());
    std::fs::write(&path, scenario.to_string()).unwrap();
    let done = desk.run(&["workflow", "test", "-s", "saved"]);
    assert_eq!(done.status.code(), Some(1), "{}", out(&done));
}

#[test]
fn an_update_must_be_of_the_tested_workflow() {
    let desk = Desk::new();
    std::fs::write(desk.path().join("one.yaml"), BEFORE).unwrap();
    std::fs::write(
        desk.path().join("two.yaml"),
        BEFORE.replace("workflow: fill", "workflow: other"),
    )
    .unwrap();
    std::fs::write(desk.path().join("s.yaml"), UPDATED).unwrap();
    let done = desk.run(&["workflow", "test", "-s", "s.yaml"]);
    assert_eq!(done.status.code(), Some(6), "{}", err(&done));
    assert!(
        err(&done).contains("two.yaml is of workflow `other`, not of `fill`"),
        "{}",
        err(&done)
    );
}

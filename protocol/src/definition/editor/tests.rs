//! The schema says what the parser says, as far as a schema can.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::definition::{ProblemCode, parse};

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&json_schema()).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A YAML text as the language reads it.
fn value(text: &str) -> Json {
    let mut problems = crate::definition::draft::Problems::default();
    let tree = crate::definition::draft::read(text, &mut problems).unwrap();
    tree.json()
}

#[track_caller]
fn fits(text: &str) {
    let value = value(text);
    let errors: Vec<String> = validator()
        .iter_errors(&value)
        .map(|error| format!("{}: {error:.300}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{}\n{text}", errors.join("\n"));
}

/// Workflows of the repository.
fn workflows() -> Vec<String> {
    let mut found = Vec::new();
    for folder in
        ["docs/examples", "control-plane/cli/samples", "protocol/src/definition/draft/tests"]
    {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with(".workflow.yaml") {
                found.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(found.len() >= 6, "only {}", found.len());
    found
}

/// The examples of the reference as whole documents, and whether they are said to be right.
fn examples() -> Vec<(String, bool)> {
    let reference = fs::read_to_string(root().join("docs/language.md")).unwrap();
    let mut found = Vec::new();
    for block in reference.split("```yaml").skip(1) {
        let (info, text) = block.split("```").next().unwrap().split_once('\n').unwrap();
        let has = |key: &str| text.lines().any(|line| line.starts_with(key));
        let whole = if has("workflow:") {
            text.to_owned()
        } else if has("- ") {
            format!("workflow: fragment\nsteps:\n{text}")
        } else if has("steps:") {
            format!("workflow: fragment\n{text}")
        } else {
            format!("workflow: fragment\nsteps: [{{id: only, delay: 0}}]\n{text}")
        };
        found.push((whole, info.trim().is_empty()));
    }
    found
}

#[test]
fn it_is_a_schema() {
    assert!(jsonschema::meta::is_valid(&json_schema()));
}

#[test]
fn workflows_fit_in_both_forms() {
    for text in workflows() {
        fits(&text);
        fits(&parse(&text).unwrap().canonical);
    }
}

#[test]
fn what_the_reference_shows_fits_and_what_it_refuses_does_not() {
    let (mut right, mut wrong) = (0, 0);
    for (text, is_right) in examples() {
        let Err(error) = parse(&text) else {
            if is_right {
                fits(&text);
                fits(&parse(&text).unwrap().canonical);
                right += 1;
            }
            continue;
        };
        let by_form =
            |code| matches!(code, ProblemCode::UnknownKey | ProblemCode::Kind | ProblemCode::Type);
        // `secret()` is refused as not of this version, which no schema sees.
        if error.problems.iter().any(|p| by_form(p.code)) && !text.contains("secret(") {
            assert!(!validator().is_valid(&value(&text)), "{text}");
            wrong += 1;
        }
    }
    assert!(right >= 30 && wrong >= 2, "{right} right and {wrong} wrong");
}

#[test]
fn mistakes_are_told_where_they_are() {
    for (step, at) in [
        ("{ id: a, dealy: 5m }", ""),
        ("{ id: a, delay: 5x }", "/delay"),
        ("{ id: a, delay: 5m, then: [] }", "/then"),
        ("{ id: a, delay: 5m, plugin: p }", "/plugin"),
        ("{ id: a, log: { level: loud, message: x } }", "/log"),
        ("{ id: 'a b', delay: 5m }", "/id"),
        ("{ id: a, condition: '${ x }', then: b }", "/condition"),
        ("{ id: a, condition: x, then: [{ id: b, plugin: p, with: 3 }] }", "/then"),
        ("{ id: a, plugin: p, retry: { max_retry: 3 } }", "/retry"),
        ("{ id: a, plugin: p, join: some }", "/join"),
        ("{ id: a, type: delay, config: { form: 5 } }", "/config"),
        ("{ id: a, type: delay, delay: 5 }", "/delay"),
        ("{ id: a, loop: { times: 3, while: x }, do: [{ id: b, delay: 1 }] }", "/loop"),
        ("{ id: a }", ""),
    ] {
        let text = format!("workflow: w\nsteps: [{step}]\n");
        assert!(parse(&text).is_err(), "{step}");
        let document = value(&text);
        let places: BTreeSet<String> =
            validator().iter_errors(&document).map(|e| e.instance_path().to_string()).collect();
        let expected = format!("/steps/0{at}");
        assert!(places.contains(&expected), "{step}: {places:?}");
    }
}

/// Words in quotes that follow one of these openings in the parser's source.
fn in_source(openings: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/definition/draft")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                for opening in openings {
                    for rest in text.split(opening).skip(1) {
                        if let Some(word) = rest.trim_start().strip_prefix('"') {
                            found.insert(word.split('"').next().unwrap().to_owned());
                        }
                    }
                }
            }
        }
    }
    found
}

/// Every key that the schema knows, and every word of a choice.
fn known(schema: &Json, keys: &mut BTreeSet<String>, words: &mut BTreeSet<String>) {
    match schema {
        Json::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("properties", Json::Object(properties)) => {
                        keys.extend(properties.keys().cloned());
                        properties.values().for_each(|schema| known(schema, keys, words));
                        continue;
                    }
                    ("enum", Json::Array(list)) => {
                        words.extend(list.iter().filter_map(Json::as_str).map(str::to_owned));
                    }
                    ("const", Json::String(word)) => {
                        words.insert(word.clone());
                    }
                    _ => {}
                }
                known(value, keys, words);
            }
        }
        Json::Array(list) => list.iter().for_each(|item| known(item, keys, words)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn its_keys_are_those_that_the_parser_asks_for() {
    let (mut keys, mut words) = (BTreeSet::new(), BTreeSet::new());
    known(&json_schema(), &mut keys, &mut words);
    let mut asked = in_source(&[".take(", ".take_set(", ".need(", "way(self, ", "text("]);
    asked.extend(STEP_TABLES.iter().flat_map(|table| table.iter().map(|key| (*key).to_owned())));
    asked.extend(crate::definition::draft::TRIGGER_KINDS.map(str::to_owned));
    asked.extend(schema::ENFORCED.into_iter().chain(schema::NOTES).map(str::to_owned));
    for key in ["while", "times", "signal"] {
        asked.insert(key.to_owned());
    }
    let unknown: Vec<&String> = asked.difference(&keys).collect();
    assert!(unknown.is_empty(), "the parser asks for {unknown:?}, which the schema does not know");
    let invented: Vec<&String> = keys.difference(&asked).collect();
    assert!(invented.is_empty(), "the schema knows {invented:?}, which the parser does not");
}

const STEP_TABLES: [&[&str]; 2] =
    [&crate::definition::draft::STEP_KINDS, &crate::definition::draft::STEP_COMMON];

#[test]
fn its_words_are_those_that_the_parser_takes() {
    let (mut keys, mut words) = (BTreeSet::new(), BTreeSet::new());
    known(&json_schema(), &mut keys, &mut words);
    let mut taken = BTreeSet::new();
    for opening in ["let words = [", "words = [", "&["] {
        for first in in_source(&[opening]) {
            taken.insert(first);
        }
    }
    // The first word of each choice of the parser, so that no choice is forgotten.
    taken.retain(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
    let places: BTreeSet<&str> = [
        "inputs",
        "trigger",
        "output",
        "message",
        "error",
        "loop",
        "while",
        "when",
        "for",
        "count_downtime",
        "require",
        "poll",
        "align",
        "max_catch_up",
        "id",
        "approve",
    ]
    .into();
    let missing: Vec<&String> = taken
        .iter()
        .filter(|word| !words.contains(*word) && !places.contains(word.as_str()))
        .collect();
    assert!(missing.is_empty(), "the schema does not know {missing:?}");
}

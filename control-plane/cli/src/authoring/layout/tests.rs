//! Documents as they are written, and as they come out.

use std::fs;
use std::path::Path;

use super::*;

#[track_caller]
fn becomes(text: &str, expected: &str) {
    let formatted = format(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(formatted, expected, "\n{formatted}");
    assert_eq!(format(&formatted).unwrap(), formatted, "not stable");
}

#[test]
fn layout() {
    becomes(
        "# first\nworkflow:   w   # a name\n\n\n\nversion: '1'\nsteps:\n- id: a\n  delay:     5\n\n\n- {id: b, delay: 1,   name:  'x'}\n# last\n",
        "# first\nworkflow: w     # a name\n\nversion: '1'\nsteps:\n  - id: a\n    delay: 5\n\n  - { id: b, delay: 1, name: 'x' }\n# last\n",
    );
}

#[test]
fn comments_stay_where_they_are() {
    becomes(
        "a:\n    # above\n    b: 1 # behind\n    # below\nc:  # head\n    - 1\n    # in the list\n    - 2\n# end\n",
        "a:\n  # above\n  b: 1   # behind\n  # below\nc:  # head\n  - 1\n  # in the list\n  - 2\n# end\n",
    );
    becomes("a: [1, # one\n  2]\n", "a:\n  - 1  # one\n  - 2\n");
    becomes("- # dash\n  a: 1\n- b\n", "# dash\n- a: 1\n- b\n");
}

#[test]
fn texts_of_several_lines() {
    becomes(
        "a: |\n      x\n        y\n\n      z\nb: >-\n  p\n  q\n",
        "a: |\n  x\n    y\n\n  z\nb: >-\n  p\n  q\n",
    );
    becomes("- a: \"x\n      y\"\n  b: p\n     q\n", "- a: \"x\n    y\"\n  b: p\n    q\n");
}

#[test]
fn long_lines_are_broken_and_short_ones_are_not_joined() {
    let long = "x".repeat(60);
    becomes(
        &format!("a: {{ b: {long}, c: {long} }}\n"),
        &format!("a:\n  b: {long}\n  c: {long}\n"),
    );
    becomes("a:\n  b: 1\n", "a:\n  b: 1\n");
    becomes("a: {}\nb: []\nc:\n", "a: {}\nb: []\nc:\n");
}

#[test]
fn anchors_and_aliases() {
    becomes(
        "a: &x {b: 1}\nc: *x\nd: &y 5\ne: [*y, &z 6]\n",
        "a: &x { b: 1 }\nc: *x\nd: &y 5\ne: [*y, &z 6]\n",
    );
    becomes("a: &x\n  b: 1\nc: *x\n", "a: &x\n  b: 1\nc: *x\n");
}

#[test]
fn json_stays_json() {
    becomes(
        "{\"a\":1.10,\"b\":[],\"c\":[1,{\"d\":null}]}",
        "{\n  \"a\": 1.10,\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \"d\": null\n    }\n  ]\n}\n",
    );
}

#[test]
fn what_cannot_be_kept_is_refused() {
    for text in [
        "a: !!str 1\n",
        "? [1]\n: 2\n",
        "a: |2\n   x\n",
        "%YAML 1.2\n---\na: 1\n",
        "a: 1\n---\nb: 2\n",
        "a: [1",
        "",
    ] {
        assert!(format(text).is_err(), "{text}");
    }
}

#[test]
fn all_workflows_of_the_repository_keep_their_meaning() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = 0;
    for folder in
        ["docs/examples", "control-plane/cli/samples", "protocol/src/definition/draft/tests"]
    {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with(".workflow.yaml") {
                let text = fs::read_to_string(&path).unwrap();
                let once = format(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                assert_eq!(format(&once).unwrap(), once, "{}", path.display());
                found += 1;
            }
        }
    }
    let reference = fs::read_to_string(root.join("docs/language.md")).unwrap();
    for block in reference.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let once = format(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(format(&once).unwrap(), once, "{text}");
        found += 1;
    }
    assert!(found >= 40, "only {found}");
}

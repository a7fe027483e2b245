//! The verbs that help to write a workflow, as people and scripts call them.

use std::fs;

use crate::{Desk, err, json, out};

const RIGHT: &str = "# a pump\nworkflow: pump\nsteps:\n- { id: read,   plugin: p@1 }   # reads\n";
const DOUBTFUL: &str = "workflow: w\nsteps:\n  - { id: sure, approval: Sure? }\n";
const WRONG: &str = "workflow: w\nsteps:\n  - { id: a, dealy: 5m }\n";

fn desk(text: &str) -> Desk {
    let desk = Desk::new();
    fs::write(desk.path().join("w.yaml"), text).unwrap();
    desk
}

#[test]
fn validate_tells_warnings_and_refuses_errors() {
    let valid = desk(DOUBTFUL).run(&["workflow", "validate", "w.yaml"]);
    assert_eq!(valid.status.code(), Some(0), "{}", err(&valid));
    assert!(err(&valid).contains("warning: 3:11: W_NO_TIMEOUT: "), "{}", err(&valid));
    let told = json(&desk(DOUBTFUL).run(&["workflow", "validate", "w.yaml", "-o", "json"]));
    assert_eq!(told["valid"], true);
    assert_eq!(told["warnings"][0]["code"], "W_NO_TIMEOUT");
    let wrong = desk(WRONG).run(&["workflow", "validate", "w.yaml"]);
    assert_eq!(wrong.status.code(), Some(6));
    assert!(err(&wrong).contains("3:14: E_UNKNOWN_KEY: "), "{}", err(&wrong));
}

#[test]
fn lint_ends_as_asked() {
    let lint = |text: &str, more: &[&str]| {
        desk(text).run(&[&["workflow", "lint", "w.yaml"], more].concat())
    };
    for (text, more, code) in [
        (RIGHT, &["--deny-warnings"][..], 0),
        (DOUBTFUL, &[], 0),
        (DOUBTFUL, &["--deny-warnings"], 1),
        (WRONG, &[], 6),
    ] {
        assert_eq!(lint(text, more).status.code(), Some(code), "{text} {more:?}");
    }
    let told = lint(DOUBTFUL, &[]);
    assert!(out(&told).starts_with("w.yaml:3:11: W_NO_TIMEOUT: "), "{}", out(&told));
    let told = json(&lint(DOUBTFUL, &["-o", "json"]));
    let finding = &told[0]["findings"][0];
    assert_eq!(finding["severity"], "warning");
    assert_eq!((finding["line"].as_u64(), finding["column"].as_u64()), (Some(3), Some(11)));
    let cron = "workflow: w\ntriggers: [{ id: t, cron: '@daily' }]\nsteps: [{ id: a, delay: 1 }]\n";
    assert_eq!(lint(cron, &["--deny-warnings"]).status.code(), Some(0));
    assert_eq!(lint(cron, &["--deny-warnings", "--no-clock"]).status.code(), Some(1));
}

#[test]
fn fmt_keeps_words_and_comments() {
    let expected = "# a pump\nworkflow: pump\nsteps:\n  - { id: read, plugin: p@1 }   # reads\n";
    let here = desk(RIGHT);
    let printed = here.run(&["workflow", "fmt", "w.yaml"]);
    assert_eq!(out(&printed), expected, "{}", err(&printed));
    assert_eq!(here.run(&["workflow", "fmt", "--check", "w.yaml"]).status.code(), Some(1));
    let read = || fs::read_to_string(here.path().join("w.yaml")).unwrap();
    assert_eq!(read(), RIGHT);
    assert_eq!(here.run(&["workflow", "fmt", "-w", "w.yaml"]).status.code(), Some(0));
    assert_eq!(read(), expected);
    assert_eq!(here.run(&["workflow", "fmt", "--check", "w.yaml"]).status.code(), Some(0));
    assert_eq!(desk(WRONG).run(&["workflow", "fmt", "w.yaml"]).status.code(), Some(6));
}

#[test]
fn the_canonical_form_is_what_the_hash_is_taken_over() {
    let printed = desk(RIGHT).run(&["workflow", "fmt", "--canonical", "w.yaml"]);
    let workflow = openclaw_protocol::definition::parse(RIGHT).unwrap();
    assert_eq!(out(&printed), format!("{}\n", workflow.canonical));
    let again = openclaw_protocol::definition::parse(&out(&printed)).unwrap();
    assert_eq!(again.hash, workflow.hash);
}

#[test]
fn explain_graph_limits_schema() {
    let here = desk(RIGHT);
    let told = out(&here.run(&["workflow", "explain", "w.yaml"]));
    assert!(told.contains("1. `read` calls the plugin p.execute (^1)."), "{told}");
    assert!(told.contains("after 1m, 2m, 3m (6m in all)"), "{told}");
    let drawn = out(&here.run(&["workflow", "graph", "w.yaml"]));
    assert!(drawn.starts_with("flowchart TD\n") && drawn.contains("start --> s_read"), "{drawn}");
    let drawn = out(&here.run(&["workflow", "graph", "--format", "dot", "w.yaml"]));
    assert!(drawn.starts_with("digraph \"pump\" {\n"), "{drawn}");
    let limits = json(&here.run(&["workflow", "limits", "-o", "json"]));
    let steps = limits.as_array().unwrap().iter().find(|limit| limit["name"] == "steps").unwrap();
    assert_eq!(steps["value"], openclaw_protocol::limits::STEPS);
    let schema = json(&here.run(&["workflow", "schema"]));
    assert_eq!(schema["properties"]["workflow"]["type"], "string");
}

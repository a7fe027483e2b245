//! Documents, right and wrong.

mod kinds;
mod later_triggers;
mod names;
mod outside;
mod properties;
mod right;
mod triggers;
mod wrong;

use super::*;

/// Parses a document that is right, and its canonical form, which must be the same workflow.
fn right(text: &str) -> Workflow {
    let workflow = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let again = parse(&workflow.canonical)
        .unwrap_or_else(|error| panic!("{error}\n{}", workflow.canonical));
    assert_eq!(again.canonical, workflow.canonical);
    assert_eq!(again.hash, workflow.hash);
    assert_eq!(format!("{again:#?}"), format!("{workflow:#?}"));
    workflow
}

/// What is said about a document that is wrong.
fn wrong(text: &str) -> String {
    match parse(text) {
        Ok(workflow) => panic!("this was accepted: {}", workflow.canonical),
        Err(error) => error.to_string(),
    }
}

/// [`right`] around some steps.
fn right_steps(steps: &str) -> Workflow {
    right(&format!("workflow: w\nsteps:\n{steps}\n"))
}

/// [`wrong`] around some steps.
fn wrong_steps(steps: &str) -> String {
    wrong(&format!("workflow: w\nsteps:\n{steps}\n"))
}

/// The canonical form of each step of the root, one on a line.
fn canonical_steps(workflow: &Workflow) -> String {
    let document: serde_json::Value = serde_json::from_str(&workflow.canonical).unwrap();
    let steps = document["steps"].as_array().unwrap().iter();
    steps.map(|step| format!("{step}\n")).collect()
}

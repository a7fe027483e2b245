//! Each warning fires where it should, and keeps quiet where it should.

use super::*;

/// A document of these steps, which are indented by nothing.
fn steps(text: &str) -> String {
    format!("workflow: w\nsteps:\n{text}")
}

/// Findings as `line:column CODE`.
fn found(text: &str) -> Vec<String> {
    let line = |f: &Finding| format!("{}:{} {}", f.line, f.column, f.code);
    lint(text).iter().map(line).collect()
}

#[track_caller]
fn fires(text: &str, expected: &[&str]) {
    let findings = lint(text);
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(found(text), expected, "{text}\n{}", told.join("\n"));
}

#[track_caller]
fn quiet(text: &str) {
    fires(text, &[]);
}

/// The words of the only finding.
#[track_caller]
fn words(text: &str) -> String {
    let findings = lint(text);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings[0].to_string()
}

mod order;
mod rest;
mod simulated;

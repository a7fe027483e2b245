//! Documents: any bytes at all.

use std::time::Duration;

use openclaw_protocol::definition::lint::{Target, lint_for};
use openclaw_protocol::definition::{DraftError, TriggerKind, Workflow, parse};
use openclaw_protocol::json::JsonText;

use crate::patience::within;

/// For a document of at most 32 KiB.
const PATIENCE: Duration = Duration::from_secs(2);
/// Problems told of one document.
const TOLD: usize = 50;

/// Reads a document. What is refused is refused with places in it; what is accepted is the same
/// workflow after its canonical form.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match within(PATIENCE, "reading", || parse(&text)) {
        Ok(workflow) => accepted(&workflow),
        Err(error) => refused(&text, &error),
    }
    linted(&text);
}

fn accepted(workflow: &Workflow) {
    let again = within(PATIENCE, "reading the canonical form", || parse(&workflow.canonical));
    let again = again.unwrap_or_else(|error| panic!("{error}\n{}", workflow.canonical));
    assert_eq!(again.canonical, workflow.canonical);
    assert_eq!(again.hash, workflow.hash);
    assert_eq!(format!("{again:?}"), format!("{workflow:?}"));
    consistent(workflow);
    // What a device asks of a definition first.
    let _ = workflow.check_inputs(&JsonText::null());
    for trigger in &workflow.triggers {
        if let TriggerKind::Cron { schedule, .. } = &trigger.kind {
            for wall_ms in [i64::MIN, 0, 1_772_445_600_000, i64::MAX] {
                let next = within(PATIENCE, "looking for a slot", || schedule.next_after(wall_ms));
                assert!(next.is_none_or(|next| next > wall_ms), "{schedule:?} after {wall_ms}");
            }
        }
    }
}

/// Whoever holds a workflow may follow its indexes.
fn consistent(workflow: &Workflow) {
    assert!(!workflow.steps.is_empty());
    let mut placed = 0;
    for scope in &workflow.scopes {
        assert!(!scope.steps.is_empty() && !scope.entries.is_empty());
        placed += scope.steps.len();
        for ix in &scope.steps {
            let step = workflow.step(*ix);
            assert!(workflow.step_named(step.id.as_str()).is_some());
            assert!(step.edges.iter().all(|edge| scope.steps.contains(&edge.to)));
        }
    }
    assert_eq!(placed, workflow.steps.len(), "each step is in one scope");
}

fn refused(text: &str, error: &DraftError) {
    assert!(!error.problems.is_empty() && error.problems.len() <= TOLD);
    assert!(!error.to_string().is_empty());
    let places = error.problems.iter().map(|problem| {
        assert!(!problem.message.is_empty());
        (problem.line, problem.column, problem.to_string())
    });
    in_text(text, places);
}

/// What the author may regret has its places too.
fn linted(text: &str) {
    let target = Target { no_clock: true };
    let findings = within(PATIENCE, "linting", || lint_for(text, target));
    let places = findings.iter().map(|finding| (finding.line, finding.column, finding.to_string()));
    in_text(text, places);
}

/// Places, from 1, that a text has, in its order.
fn in_text(text: &str, places: impl Iterator<Item = (u32, u32, String)>) {
    // YAML breaks lines at `\n`, `\r\n` and `\r`; where a text ends is a place too.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text.split('\n').collect();
    // Characters that only JSON allows are escaped before the text is read.
    let odd = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let is_odd = text.contains(odd);
    let mut before = (0, 0);
    for (line, column, what) in places {
        assert!(before <= (line, column), "{what}: not in the document's order");
        before = (line, column);
        let (line, column) = (line as usize, column as usize);
        assert!((1..=lines.len()).contains(&line), "{what}: there are {} lines", lines.len());
        let length = lines[line - 1].chars().count();
        assert!(column >= 1, "{what}");
        assert!(column <= length + 1 || is_odd, "{what}: the line has {length} characters");
    }
}

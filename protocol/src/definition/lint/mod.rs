//! What is allowed but seldom meant: warnings about a workflow document, with their places.
//!
//! [`lint`] tells everything at once: what is wrong (the problems of [`super::parse`]) and, where
//! nothing is, what the author may regret. A comment `# lint: allow W_CODE` in a line, or alone in
//! the line above, keeps that warning quiet there.

mod codes;
mod dead;
mod flow;
mod map;
mod order;
mod places;
mod race;
mod refs;
mod secret;
mod sites;
mod time;
mod unused;
mod yaml;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use super::draft::{Place, parse_tree};
use super::model::Workflow;

pub use codes::KNOWN_CODES;
pub(in crate::definition) use refs::check_order;
pub use time::longest_wait_ms;

use order::Order;
use places::Places;

/// What keeps a warning quiet, in a comment before its code.
const ALLOW: &str = "lint: allow ";

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The document is no workflow.
    Error,
    /// It is one, but probably not the one that was meant.
    Warning,
}

/// The stable codes of warnings. Those of errors are [`super::ProblemCode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A step's result is used where the step may not have run.
    MaybeSkipped,
    /// Two steps that no edge orders write the same variable.
    Race,
    /// A step may wait for ever.
    NoTimeout,
    /// A pattern of errors that none of the known codes matches.
    UnknownError,
    /// Retries that cannot all happen in the time there is.
    LongRetry,
    /// A word or number that other YAML tools read as something else.
    Yaml11,
    /// What looks like a secret is written out.
    Secret,
    /// Something goes by a clock that the device may not have.
    Downtime,
    /// Something declared or set is used by nothing.
    Unused,
    /// A question that always has the same answer.
    Constant,
    /// Something that can never run.
    Unreachable,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 11] = [
        Self::MaybeSkipped,
        Self::Race,
        Self::NoTimeout,
        Self::UnknownError,
        Self::LongRetry,
        Self::Yaml11,
        Self::Secret,
        Self::Downtime,
        Self::Unused,
        Self::Constant,
        Self::Unreachable,
    ];

    /// The code as people and tools see it, such as `W_RACE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MaybeSkipped => "W_MAYBE_SKIPPED",
            Self::Race => "W_RACE",
            Self::NoTimeout => "W_NO_TIMEOUT",
            Self::UnknownError => "W_UNKNOWN_ERROR",
            Self::LongRetry => "W_LONG_RETRY",
            Self::Yaml11 => "W_YAML11",
            Self::Secret => "W_SECRET",
            Self::Downtime => "W_DOWNTIME",
            Self::Unused => "W_UNUSED",
            Self::Constant => "W_CONSTANT",
            Self::Unreachable => "W_UNREACHABLE",
        }
    }
}

/// One thing that was found in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable code, such as `W_RACE` or `E_CYCLE`.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// Line in the document, from 1.
    pub line: u32,
    /// Column in the line, in characters from 1.
    pub column: u32,
    /// What was found, and why it matters.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, line, column, message, suggestion, .. } = self;
        write!(f, "{line}:{column}: {code}: {message}")?;
        match suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

/// What is known of where the workflow shall run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    /// The device has no clock to go by after a power cut: no battery, no time from the network.
    pub no_clock: bool,
}

/// Everything about a document, in its order: errors where it is no workflow, else warnings. What
/// other YAML tools read differently is told in any case.
#[must_use]
pub fn lint(text: &str) -> Vec<Finding> {
    lint_for(text, Target::default())
}

/// As [`lint`], for a certain kind of device.
#[must_use]
pub fn lint_for(text: &str, target: Target) -> Vec<Finding> {
    check(text, target).1
}

/// As [`lint_for`], with the workflow where the document is one.
#[must_use]
pub fn check(text: &str, target: Target) -> (Option<Workflow>, Vec<Finding>) {
    let (tree, parsed) = parse_tree(text);
    let mut report = Report::default();
    if let Some(tree) = &tree {
        yaml::yaml11(text, tree, &mut report);
    }
    let workflow = match parsed {
        Ok(workflow) => workflow,
        Err(error) => {
            let mut found: Vec<Finding> = error.problems.iter().map(Finding::from).collect();
            found.extend(report.into_findings(text));
            found.sort_by_key(|finding| (finding.line, finding.column, finding.code));
            return (None, found);
        }
    };
    if let Some(tree) = &tree {
        let places = Places::new(tree, &workflow);
        let order = Order::new(&workflow);
        refs::maybe_skipped(&order, &places, &mut report);
        race::check(&order, &places, &mut report);
        time::check(&order, &places, target, &mut report);
        codes::check(&order, &places, &mut report);
        dead::check(&order, &places, &mut report);
        unused::check(&order, &places, &mut report);
        secret::check(&order, &places, &mut report);
    }
    (Some(workflow), report.into_findings(text))
}

impl From<&super::Problem> for Finding {
    fn from(problem: &super::Problem) -> Self {
        Self {
            code: problem.code.as_str(),
            severity: Severity::Error,
            line: problem.line,
            column: problem.column,
            message: problem.message.clone(),
            suggestion: problem.suggestion.clone(),
        }
    }
}

/// Warnings as they are found.
#[derive(Debug, Default)]
struct Report {
    found: Vec<Finding>,
}

impl Report {
    fn add(
        &mut self,
        code: Code,
        at: Place,
        message: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
        self.found.push(Finding {
            code: code.as_str(),
            severity: Severity::Warning,
            line: at.line,
            column: at.column,
            message: message.into(),
            suggestion: Some(suggestion.into()),
        });
    }

    /// In document order, each once, without those that a comment allows.
    fn into_findings(mut self, text: &str) -> Vec<Finding> {
        let lines: Vec<&str> = text.lines().collect();
        let line = |n: u32| usize::try_from(n).ok().and_then(|n| lines.get(n.checked_sub(1)?));
        self.found.retain(|finding| {
            let here = line(finding.line).is_some_and(|line| allows(line, finding.code));
            let above =
                line(finding.line.saturating_sub(1)).filter(|l| l.trim_start().starts_with('#'));
            !here && !above.is_some_and(|line| allows(line, finding.code))
        });
        let key = |finding: &Finding| (finding.line, finding.column, finding.code);
        self.found.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.message.cmp(&b.message)));
        self.found.dedup();
        self.found
    }
}

/// Whether a line has a comment that keeps warnings of this code quiet.
fn allows(line: &str, code: &str) -> bool {
    let comment = line.split_once('#').and_then(|(_, comment)| comment.split_once(ALLOW));
    let codes = comment.map_or("", |(_, codes)| codes);
    codes.split([' ', ',']).any(|word| word == code)
}

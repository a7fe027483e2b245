//! What is wrong with a document: stable code, words, place, and what to write instead.

use std::fmt;

use super::fields::did_you_mean;
use super::read::excerpt;
use crate::api::ProblemItem;
use crate::ordered::sort_by;

/// Problems told of one document; more are only counted.
const TOLD: usize = 50;
/// Problems kept while a document is read, of which the first [`TOLD`] in its order are told. More
/// than told, because they are not found in the document's order.
const KEPT: usize = 500;

/// The stable codes of problems in a workflow document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemCode {
    /// Not YAML 1.2 or JSON, or a YAML feature that the language leaves out.
    Yaml,
    /// A key that does not belong here.
    UnknownKey,
    /// A key that must be here and is not.
    MissingKey,
    /// A value of the wrong type.
    Type,
    /// A value of the right type that is not allowed here.
    Value,
    /// A step or trigger without a kind, with two, or with one that is not of this version.
    Kind,
    /// A bound of the language was exceeded.
    Limit,
    /// Something that breaks the rules for names.
    Name,
    /// Two steps or two triggers with one id.
    DupId,
    /// Text that is not an expression.
    Expr,
    /// An expression names something that is not there.
    UnknownRef,
    /// A secret is asked for where it must not go.
    Secret,
    /// An edge leads to a step that is not there.
    UnknownTarget,
    /// An edge leads into another scope.
    CrossScope,
    /// Steps lead back to themselves.
    Cycle,
    /// Nothing leads to a step.
    Unreachable,
    /// It is not clear where a scope starts.
    Start,
}

impl ProblemCode {
    /// The code as people and tools see it, such as `E_CYCLE`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yaml => "E_YAML",
            Self::UnknownKey => "E_UNKNOWN_KEY",
            Self::MissingKey => "E_MISSING_KEY",
            Self::Type => "E_TYPE",
            Self::Value => "E_VALUE",
            Self::Kind => "E_KIND",
            Self::Limit => "E_LIMIT",
            Self::Name => "E_NAME",
            Self::DupId => "E_DUP_ID",
            Self::Expr => "E_EXPR",
            Self::UnknownRef => "E_UNKNOWN_REF",
            Self::Secret => "E_SECRET",
            Self::UnknownTarget => "E_UNKNOWN_TARGET",
            Self::CrossScope => "E_CROSS_SCOPE",
            Self::Cycle => "E_CYCLE",
            Self::Unreachable => "E_UNREACHABLE",
            Self::Start => "E_START",
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Stable code.
    pub code: ProblemCode,
    /// What is wrong and why.
    pub message: String,
    /// Line in the document, from 1.
    pub line: u32,
    /// Column in the line, in characters from 1.
    pub column: u32,
    /// What to write instead, such as ``did you mean `delay`?``
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message, line, column, suggestion } = self;
        write!(f, "{line}:{column}: {code}: {message}")?;
        match suggestion {
            Some(suggestion) => write!(f, "; {suggestion}"),
            None => Ok(()),
        }
    }
}

impl From<&Problem> for ProblemItem {
    fn from(problem: &Problem) -> Self {
        Self {
            code: problem.code.as_str().to_owned(),
            message: problem.message.clone(),
            line: problem.line,
            column: problem.column,
            suggestion: problem.suggestion.clone(),
            pointer: None,
        }
    }
}

/// Why a document is not a workflow: everything that is wrong with it, in document order.
///
/// Displays as one line for each problem, `line:column: CODE: message; suggestion`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftError {
    /// At least one problem, at most fifty.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub omitted: usize,
}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "\n" })?;
        }
        match self.omitted {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for DraftError {}

/// A place in a document, from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::definition) struct Place {
    pub(in crate::definition) line: u32,
    pub(in crate::definition) column: u32,
}

/// Problems as they are found.
#[derive(Debug, Default)]
pub(in crate::definition) struct Problems {
    found: Vec<Problem>,
    dropped: usize,
}

impl Problems {
    /// Notes a problem.
    pub(in crate::definition) fn add(
        &mut self,
        code: ProblemCode,
        at: Place,
        message: impl Into<String>,
    ) {
        self.push(code, at, message.into(), None);
    }

    /// Notes a problem with what to write instead.
    pub(in crate::definition) fn suggest(
        &mut self,
        code: ProblemCode,
        at: Place,
        message: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
        self.push(code, at, message.into(), Some(suggestion.into()));
    }

    /// Notes a problem, with a suggestion where there is one.
    pub(in crate::definition) fn push(
        &mut self,
        code: ProblemCode,
        at: Place,
        message: String,
        suggestion: Option<String>,
    ) {
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        let Place { line, column } = at;
        self.found.push(Problem { code, message, line, column, suggestion });
    }

    /// Notes an edge to nowhere.
    pub(in crate::definition) fn unknown_target<'a>(
        &mut self,
        at: Place,
        from: &str,
        to: &str,
        steps: impl Iterator<Item = &'a str>,
    ) {
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        let message =
            format!("`{from}` leads to `{}`, and there is no such step here", excerpt(to));
        self.push(ProblemCode::UnknownTarget, at, message, did_you_mean(to, steps));
    }

    /// How many problems there are so far.
    pub(in crate::definition) fn len(&self) -> usize {
        self.found.len() + self.dropped
    }

    /// Whether more problems would only be counted. Looking for suggestions is dear, so that it
    /// must stop somewhere.
    pub(in crate::definition) fn is_full(&self) -> bool {
        self.found.len() >= KEPT
    }

    /// Whether nothing is wrong so far.
    pub(in crate::definition) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All problems in document order, at least one.
    pub(in crate::definition) fn into_error(mut self) -> DraftError {
        if self.found.is_empty() {
            self.add(ProblemCode::Type, Place { line: 1, column: 1 }, "this is no workflow");
        }
        let place = |problem: &Problem| (problem.line, problem.column, problem.code);
        sort_by(&mut self.found, &|a, b| place(a).cmp(&place(b)));
        self.found.dedup();
        let omitted = self.found.len().saturating_sub(TOLD) + self.dropped;
        self.found.truncate(TOLD);
        DraftError { problems: self.found, omitted }
    }
}

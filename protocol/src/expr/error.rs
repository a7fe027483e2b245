//! What goes wrong with an expression: when it is compiled and when it is evaluated.

use std::fmt;

/// A place in a source text, in bytes, end exclusive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A span from byte offsets; sources are at most a few KiB, so they always fit.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        let fit = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Self { start: fit(start), end: fit(end) }
    }

    /// From the start of `self` to the end of `other`.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end.max(self.start) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Why a text is not an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at byte {})", span.start)]
pub struct ExprError {
    /// What is wrong and what was expected.
    pub message: String,
    /// Where.
    pub span: Span,
}

impl ExprError {
    /// The stable code of every compile error.
    pub const CODE: &'static str = "expr.parse";

    pub(super) fn new(message: impl Into<String>, span: Span) -> Self {
        Self { message: message.into(), span }
    }

    /// The stable code, [`Self::CODE`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        Self::CODE
    }
}

/// Something in an expression that compiles but fails whenever it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What will fail, with a suggestion where there is one.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// The kinds of evaluation failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A value of the wrong type, out of range, or not convertible; an unknown function.
    Type,
    /// A name, key or index that is not there.
    Key,
    /// A bound of [`super::budget`] was reached. Never absorbed by an operator.
    Budget,
}

impl ErrorKind {
    /// The stable code: `expr.type`, `expr.key` or `expr.budget`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Type => "expr.type",
            Self::Key => "expr.key",
            Self::Budget => "expr.budget",
        }
    }
}

/// Why an evaluation gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at byte {})", span.start)]
pub struct EvalError {
    /// Which kind of failure.
    pub kind: ErrorKind,
    /// What failed and why.
    pub message: String,
    /// Where in the source.
    pub span: Span,
}

impl EvalError {
    /// The stable code of the kind.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

/// A failure before it is known where in the source it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn wrong_type(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Type, message: message.into() }
    }

    pub(super) fn no_key(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Key, message: message.into() }
    }

    pub(super) fn budget(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Budget, message: message.into() }
    }

    pub(super) fn at(self, span: Span) -> EvalError {
        EvalError { kind: self.kind, message: self.message, span }
    }
}

/// Shortens text that came from data for use in a message.
pub(super) fn excerpt(text: &str) -> String {
    const CHARS: usize = 40;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

//! Errors as the engine itself makes them.

use openclaw_protocol::expr::{EvalError, TemplateFailure};
use openclaw_protocol::run::{ErrorCause, RunError};

use crate::limits;

/// An error that another attempt would not mend. Step and attempt are filled in where it is
/// noticed.
pub(crate) fn fault(code: &str, message: impl Into<String>) -> RunError {
    RunError::new(code, cut(message.into()))
}

/// Adds an error that belongs to another one; a few are kept.
pub(crate) fn attach(error: &mut RunError, cause: &RunError) {
    if error.causes.len() < limits::CAUSES {
        error.causes.push(ErrorCause {
            code: cause.code.clone(),
            message: cause.message.clone(),
            step: cause.step.clone(),
        });
    }
}

/// An attempt, a step or a run took too long.
pub(crate) fn timeout(what: &str, bound_ms: u64) -> RunError {
    RunError {
        retryable: true,
        ..fault("timeout", format!("{what} took longer than {bound_ms} ms"))
    }
}

/// What was under way has been cancelled.
pub(crate) fn cancelled() -> RunError {
    fault("cancelled", "cancelled")
}

/// An expression gave no value.
pub(crate) fn expression(what: &str, error: &EvalError) -> RunError {
    fault(error.code(), format!("{what}: {error}"))
}

/// A value with expressions in it could not be made.
pub(crate) fn template(what: &str, failure: &TemplateFailure) -> RunError {
    fault(failure.code(), format!("{what}: {failure}"))
}

/// A text is no topic, or no filter of topics.
pub(crate) fn topic(text: &str, why: &str) -> RunError {
    let shown = cut_to(text.to_owned(), 80);
    fault("expr.type", format!("topic `{shown}`: {why}"))
}

/// A value is larger than what a run may keep.
pub(crate) fn payload(what: &str, bytes: usize, bound: usize) -> RunError {
    fault(
        "limit.payload",
        format!("{what} has {bytes} bytes; the most is {bound}: keep less of it"),
    )
}

/// Cuts a message to its bound, between characters.
pub(crate) fn cut(message: String) -> String {
    cut_to(message, limits::MESSAGE_BYTES)
}

/// Cuts a message to so many bytes, between characters.
pub(crate) fn cut_to(mut message: String, bytes: usize) -> String {
    if message.len() > bytes {
        let end = (0..=bytes).rev().find(|at| message.is_char_boundary(*at));
        message.truncate(end.unwrap_or(0));
    }
    message
}

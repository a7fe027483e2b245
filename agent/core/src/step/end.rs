//! `succeed` and `fail`: the ends that an author writes.

use openclaw_protocol::expr::Template;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use openclaw_protocol::run::{RunError, StepPath, StepStatus};

use crate::fault;
use crate::run::{Phase, StepRef, Turn, outer};
use crate::scope::{Ending, ScopeKey};
use crate::settle::Follows;

/// What the code of an author's error begins with.
const USER: &str = "user.";

impl Turn<'_> {
    /// Ends the run well. All that is under way is cancelled; `finally` blocks run.
    pub(super) fn end_well(&mut self, at: &StepRef, path: &StepPath, outputs: Option<&Template>) {
        let outputs = match outputs {
            Some(template) => {
                match self.run.names(at, &path.0, self.at).fill("succeed", template) {
                    Ok(outputs) => Some(outputs),
                    Err(error) => return self.attempt_ended(at, Err(error)),
                }
            }
            None => None,
        };
        let attempts = self.run.active(at).map_or(1, |active| active.attempt);
        self.record(at, StepStatus::Succeeded, None, attempts);
        self.settle(at, StepStatus::Succeeded, attempts, None, Follows::Nothing);
        // Where the run is being ended already, that decides.
        let decides = self.run.phase == Phase::Main
            || self.run.phase == Phase::Finally && self.run.error.is_none();
        if decides && self.run.cancelled.is_none() {
            self.run.succeeding.get_or_insert(outputs);
            self.close_scope(ScopeKey::from(""), Ending::Cancelled);
        } else {
            self.close_scope(at.scope.clone(), Ending::Cancelled);
        }
    }

    /// The error that a `fail` step raises.
    pub(super) fn failure(
        &self,
        at: &StepRef,
        path: &StepPath,
        code: &Template,
        message: &Template,
        details: Option<&Template>,
    ) -> RunError {
        self.try_failure(at, path, code, message, details).unwrap_or_else(|error| error)
    }

    fn try_failure(
        &self,
        at: &StepRef,
        path: &StepPath,
        code: &Template,
        message: &Template,
        details: Option<&Template>,
    ) -> Result<RunError, RunError> {
        let names = self.run.names(at, &path.0, self.at);
        let code = names.text("code", code)?;
        let message = names.text("message", message)?;
        let details = match details {
            Some(template) => Some(outer(&names.fill("details", template)?)),
            None => None,
        };
        if !code.starts_with(USER) || code.len() > limits::ID_BYTES {
            let message = format!(
                "`{}` is no code for an error: it begins with `{USER}` and has at most {} bytes",
                fault::cut_to(code, limits::ID_BYTES),
                limits::ID_BYTES
            );
            return Err(fault::fault("expr.type", message));
        }
        let bytes = details.as_ref().map_or(0, JsonText::len);
        if bytes > limits::VALUE_BYTES {
            return Err(fault::payload("details", bytes, limits::VALUE_BYTES));
        }
        Ok(RunError { details, ..fault::fault(&code, message) })
    }
}

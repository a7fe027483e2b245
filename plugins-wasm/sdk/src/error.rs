//! What a plugin's action returns where it cannot do its work.

use openclaw_plugin_abi::{Failure, Status};

/// The result of an action or of a call to the host.
pub type Result<T> = std::result::Result<T, Error>;

/// A failure with a stable code that a workflow can match on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// A code such as `user.sensor_missing`; a code without a known family gets `user.` in front.
    pub code: String,
    /// What failed, why, and what to try.
    pub message: String,
    /// Whether trying again later may help.
    pub retryable: bool,
}

impl Error {
    /// A failure that a repetition will not cure.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), retryable: false }
    }

    /// The same failure, worth another attempt.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    pub(crate) fn of_host(status: Status, message: String) -> Self {
        let (code, retryable) = match status {
            Status::Denied => ("permission.denied", false),
            Status::NotFound => ("user.not_found", false),
            Status::TooLarge => ("user.too_large", false),
            Status::Failed => ("plugin.error", true),
            Status::Invalid => ("inputs.invalid", false),
            Status::Cancelled => ("cancelled", false),
        };
        Self { code: code.into(), message, retryable }
    }

    pub(crate) fn into_failure(self) -> Failure {
        Failure { code: self.code, message: self.message, retryable: self.retryable }
    }
}

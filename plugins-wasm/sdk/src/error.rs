//! What a plugin's action returns where it cannot do its work.

use openclaw_plugin_abi::{Failure, Status};

/// Nothing there under that name.
pub(crate) const NOT_FOUND: &str = "user.not_found";
/// Not in the time that was given.
pub(crate) const TIMED_OUT: &str = "user.timed_out";
/// A stream that ended before all was there.
pub(crate) const UNEXPECTED_EOF: &str = "user.unexpected_eof";

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

    /// Whether it says that there is no such key, file or directory.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code == NOT_FOUND
    }

    /// Whether it says that the time was over. What is under way may still come.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.code == TIMED_OUT
    }

    /// Whether it says that a stream ended before all was there.
    #[must_use]
    pub fn is_eof(&self) -> bool {
        self.code == UNEXPECTED_EOF
    }

    pub(crate) fn of_host(status: Status, message: String) -> Self {
        let (code, retryable) = match status {
            Status::Denied => ("permission.denied", false),
            Status::NotFound => (NOT_FOUND, false),
            Status::TooLarge => ("user.too_large", false),
            Status::Failed => ("plugin.error", true),
            Status::Invalid => ("inputs.invalid", false),
            Status::Cancelled => ("cancelled", false),
            Status::TimedOut => (TIMED_OUT, true),
        };
        Self { code: code.into(), message, retryable }
    }

    /// A value that cannot be written as JSON.
    pub(crate) fn of_json(error: &serde_json::Error) -> Self {
        Self::new("plugin.output", format!("not JSON: {error}"))
    }

    pub(crate) fn into_failure(self) -> Failure {
        Failure { code: self.code, message: self.message, retryable: self.retryable }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind;
        let kind = match error.code.as_str() {
            "permission.denied" => ErrorKind::PermissionDenied,
            NOT_FOUND => ErrorKind::NotFound,
            TIMED_OUT => ErrorKind::TimedOut,
            UNEXPECTED_EOF => ErrorKind::UnexpectedEof,
            "inputs.invalid" => ErrorKind::InvalidInput,
            "cancelled" => ErrorKind::Interrupted,
            _ => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

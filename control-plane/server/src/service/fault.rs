//! Why a wish of a person was not granted. `http/error.rs` gives each a status.

use openclaw_protocol::api::ProblemItem;

use crate::store::StoreError;

/// What a service function answers.
pub(crate) type Outcome<T> = Result<T, Fault>;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// Nobody is logged in, or the credential is no good. One text for all reasons.
    #[error("log in first, or send a valid token as `Authorization: Bearer`")]
    Unauthorized,
    /// Wrong name or password. One text for both.
    #[error("user name or password is wrong")]
    WrongPassword,
    /// The principal may not.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing here; also where it belongs to somebody else.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name as asked for.
        id: String,
    },
    /// What was sent cannot be read.
    #[error("{0}")]
    BadRequest(String),
    /// What was sent can be read, but is wrong.
    #[error("{detail}")]
    Invalid {
        /// Stable code.
        code: &'static str,
        /// What is wrong, and what to try.
        detail: String,
        /// Single faults, with where they are.
        errors: Vec<ProblemItem>,
    },
    /// What was sent is longer than its address takes.
    #[error("the body is larger than this address takes")]
    TooLarge,
    /// It does not fit what is there.
    #[error("{detail}")]
    Conflict {
        /// Stable code.
        code: &'static str,
        /// What stands against it, and what to try.
        detail: String,
    },
    /// Too often.
    #[error("too many attempts; try again in {retry_after_s} s")]
    TooMany {
        /// When another attempt makes sense, in seconds.
        retry_after_s: u32,
    },
    /// The database could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of ours is broken.
    #[error("{0}")]
    Internal(String),
}

impl Fault {
    /// Nothing of this kind has this name.
    pub(crate) fn not_found(what: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound { what, id: id.into().chars().take(80).collect() }
    }

    /// Wrong without single faults to name.
    pub(crate) fn invalid(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Invalid { code, detail: detail.into(), errors: Vec::new() }
    }

    /// Does not fit what is there.
    pub(crate) fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Conflict { code, detail: detail.into() }
    }
}

impl From<openclaw_protocol::id::IdError> for Fault {
    fn from(error: openclaw_protocol::id::IdError) -> Self {
        Self::invalid("id.invalid", error.to_string())
    }
}
